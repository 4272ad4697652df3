//! The snapshot's file, read once for all workers whenever it was replaced.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fs::{self, Metadata},
    io, mem,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

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
}

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
        let state = State { seen: None, read: Arc::default(), before: VecDeque::new(), understood: true };
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
        let read = serde_json::from_slice::<Snapshot>(&text);
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

impl Read {
    pub(crate) fn of(snapshot: Snapshot, known: &Known) -> Self {
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
                router: Arc::new(HttpRouter::new(&facts.table)),
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
