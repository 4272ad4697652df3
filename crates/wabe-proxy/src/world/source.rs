//! The snapshot's file, read once for all workers whenever it was replaced.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fs::{self, Metadata},
    io, mem,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::value::RawValue;
use wabe_model::AccessLog;
use wabe_policy::http::HttpRouter;

use super::{MEMORIES, Service};
use crate::{
    balance::{Known, Told},
    locked::lock,
    policy::Policies,
    snapshot::{Snapshot, WorkloadFacts},
};

/// The file. What can't be read or understood leaves everything as it was.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    known: Known,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seen: Option<Stamp>,
    read: Arc<Read>,
    /// What was in force before, and until when: the newest first.
    before: VecDeque<(Instant, Arc<Read>)>,
    /// The file that there is was understood; or there is none yet.
    understood: bool,
    routers: Routers,
}

/// Tables of routes that were read, by their texts. Endpoints come and go often, and routes do not: with many regular expressions it
/// takes a while to make them ready, and workers wait meanwhile.
#[derive(Debug, Default)]
struct Routers(HashMap<Box<str>, Arc<HttpRouter>>);

/// What a snapshot said, in parts that are the same for all workers.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) access_log: AccessLog,
    /// How many workers are asked for; `None` if there was no snapshot, or it does not say.
    pub(crate) workers: Option<usize>,
    /// For how long workers look for more before they sleep.
    pub(crate) busy_poll: Duration,
    /// There was a snapshot.
    pub(crate) is_there: bool,
    pub(super) workloads: Arc<BTreeMap<u32, WorkloadFacts>>,
    pub(super) policies: Arc<Policies>,
    /// With their addresses.
    pub(super) services: Vec<(Vec<IpAddr>, Service)>,
    pub(super) backends: Vec<Told>,
}

/// Tells one file from another that takes its name.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    size: u64,
}

impl Source {
    pub(crate) fn new(path: PathBuf) -> Self {
        let state = State {
            seen: None,
            read: Arc::default(),
            before: VecDeque::new(),
            understood: true,
            routers: Routers::default(),
        };
        Self { path, known: Known::default(), state: Mutex::new(state) }
    }

    pub(crate) fn is_understood(&self) -> bool {
        lock(&self.state).understood
    }

    /// What was understood, the newest last, and until when each of the others was in force.
    pub(super) fn history(&self) -> (Vec<(Instant, Arc<Read>)>, Arc<Read>) {
        let state = lock(&self.state);
        (state.before.iter().rev().cloned().collect(), Arc::clone(&state.read))
    }

    /// The newest that was understood. Reads the file if it is another one than before: one `stat` if not.
    pub(crate) fn look(&self) -> Arc<Read> {
        let mut state = lock(&self.state);
        let path = self.path.display();
        let stamp = match fs::metadata(&self.path) {
            Ok(metadata) => Some(Stamp::of(&metadata)),
            // The agent has not written it yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(%path, %error, "can't be read; what was read before stays");
                None
            }
        };
        if stamp.is_none() || state.seen == stamp {
            return Arc::clone(&state.read);
        }
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                // Out of descriptors or memory for a moment, perhaps: it is read at the next look.
                tracing::error!(%path, %error, "can't be read; what was read before stays");
                state.understood = false;
                return Arc::clone(&state.read);
            }
        };
        let read = state.routers.read(&text);
        state.understood = read.is_ok();
        match read {
            Ok(snapshot) => {
                tracing::debug!(generation = snapshot.generation, "read");
                let newest = Arc::new(Read::of(snapshot, &self.known));
                let before = mem::replace(&mut state.read, Arc::clone(&newest));
                if newest.lacks_some_of(&before) {
                    state.before.push_front((Instant::now(), before));
                    state.before.truncate(MEMORIES);
                }
            }
            Err(error) => {
                tracing::error!(%path, %error, "can't be understood; what was read before stays");
            }
        }
        state.seen = stamp;
        Arc::clone(&state.read)
    }
}

impl Routers {
    /// What a snapshot says, with what was read before where it says the same.
    fn read(&mut self, text: &[u8]) -> serde_json::Result<Snapshot<Arc<HttpRouter>>> {
        let mut read = HashMap::new();
        let snapshot = serde_json::from_slice::<Snapshot<&RawValue>>(text)?.with_tables(|table| {
            let text = table.get();
            if let Some(router) = read.get(text) {
                return Ok(Arc::clone(router));
            }
            let router = match self.0.get(text) {
                Some(router) => Arc::clone(router),
                None => Arc::new(HttpRouter::new(&serde_json::from_str(text)?)),
            };
            read.insert(Box::from(text), Arc::clone(&router));
            serde_json::Result::Ok(router)
        })?;
        self.0 = read;
        Ok(snapshot)
    }
}

impl Read {
    pub(crate) fn of(snapshot: Snapshot<Arc<HttpRouter>>, known: &Known) -> Self {
        let Snapshot {
            generation,
            access_log,
            workers,
            busy_poll,
            workloads,
            ports,
            backends,
            policies,
            judged,
        } = snapshot;
        let services = ports.into_iter().map(|facts| {
            let service = Service {
                router: facts.table,
                name: facts.service,
                port: facts.port,
                protocol: facts.protocol,
                consumers: Arc::new(facts.consumers),
                tls: facts.tls.map(Arc::new),
                tcp: facts.tcp.map(Arc::new),
            };
            (facts.addresses, service)
        });
        Self {
            access_log,
            workers: workers.map(usize::from),
            busy_poll,
            is_there: true,
            workloads: Arc::new(workloads),
            policies: Arc::new(Policies::new(generation, policies, judged)),
            services: services.collect(),
            backends: known.take(backends, Instant::now()),
        }
    }

    /// Whether callers of a service are not led here any more.
    fn lacks_some_of(&self, before: &Self) -> bool {
        let known: HashSet<_> = self.destinations().collect();
        before.destinations().any(|it| !known.contains(&it))
    }

    fn destinations(&self) -> impl Iterator<Item = (IpAddr, u16)> {
        self.services.iter().flat_map(|(addresses, service)| addresses.iter().map(|it| (*it, service.port)))
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
        }
    }
}

#[cfg(test)]
impl Read {
    /// Of a snapshot that a test writes.
    pub(crate) fn of_value(snapshot: &serde_json::Value) -> Self {
        let snapshot = Routers::default().read(snapshot.to_string().as_bytes()).expect("a snapshot");
        Self::of(snapshot, &Known::default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(prefixes: &[&str], weight: u32) -> Vec<u8> {
        let port = |(number, prefix): (usize, &&str)| {
            let rule = json!({
                "kind": "HTTPRoute", "route": { "namespace": "shop", "name": "web" }, "rule": 0, "name": null,
                "filters": [], "backends": [], "timeouts": {}, "retry": null,
            });
            let row = json!({ "condition": { "path": { "prefix": prefix } }, "rule": rule });
            json!({
                "service": { "namespace": "shop", "name": format!("web-{number}") }, "addresses": ["10.0.0.1"],
                "port": 80 + number, "table": { "producer": [row], "consumers": {} },
            })
        };
        let ports: Vec<_> = prefixes.iter().enumerate().map(port).collect();
        let endpoint = json!({ "workload": 1, "v4": "10.0.0.2", "v6": "::2", "port": 80, "weight": weight });
        let backend = json!({
            "service": { "namespace": "shop", "name": "web-0" }, "port": 80, "endpoints": [endpoint],
        });
        let all = json!({ "generation": weight, "workloads": {}, "ports": ports, "backends": [backend] });
        all.to_string().into_bytes()
    }

    #[test]
    fn tables_that_stay_as_they_are_are_made_ready_once() {
        let mut routers = Routers::default();
        let mut read = |prefixes: &[&str], weight| {
            let snapshot = routers.read(&snapshot(prefixes, weight)).expect("a snapshot");
            assert_eq!(snapshot.backends[0].endpoints[0].weight, weight);
            snapshot.ports.into_iter().map(|it| it.table).collect::<Vec<_>>()
        };
        let first = read(&["/a", "/b", "/a"], 1);
        assert!(Arc::ptr_eq(&first[0], &first[2]) && !Arc::ptr_eq(&first[0], &first[1]));
        let second = read(&["/a", "/c", "/a"], 2);
        assert!(Arc::ptr_eq(&first[0], &second[0]) && !Arc::ptr_eq(&first[1], &second[1]));
        // What is in no snapshot is not kept.
        let third = read(&["/a", "/b"], 3);
        assert!(Arc::ptr_eq(&first[0], &third[0]) && !Arc::ptr_eq(&first[1], &third[1]));
    }

    #[test]
    fn a_table_that_cant_be_understood_leaves_all_as_it_was() {
        let mut routers = Routers::default();
        let first = routers.read(&snapshot(&["/a"], 1)).expect("a snapshot").ports.remove(0).table;
        let wrong = String::from_utf8(snapshot(&["/a", "/b"], 2)).expect("text").replace("\"/b\"", "7");
        routers.read(wrong.as_bytes()).expect_err("a prefix is a text");
        let second = routers.read(&snapshot(&["/a"], 3)).expect("a snapshot").ports.remove(0).table;
        assert!(Arc::ptr_eq(&first, &second));
    }
}
