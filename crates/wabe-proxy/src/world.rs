//! The snapshot in force, made ready for look-ups, and read anew when its file was replaced.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fs::{self, Metadata},
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use http::HeaderValue;
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use wabe_model::{AccessLog, AppProtocol, ObjectName};
use wabe_policy::{
    http::HttpRouter,
    stream::{tcp::TcpTable, tls::TlsTable},
};

use crate::{
    balance::{Balancer, Balancers},
    identity::identities,
    policy::Policies,
    snapshot::{BackendFacts, Snapshot, Speaks, WorkloadFacts},
};

/// So many texts are kept at most, of some hundred bytes each.
const PAIRS: usize = 4096;

/// What the proxy goes by.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) access_log: AccessLog,
    pub(crate) workloads: BTreeMap<u32, WorkloadFacts>,
    pub(crate) policies: Policies,
    services: FxHashMap<(IpAddr, u16), Rc<Service>>,
    backends: FxHashMap<ObjectName, Vec<Backend>>,
    /// What [`identities`] says of a caller and an endpoint.
    identities: RefCell<FxHashMap<(u32, u32), Option<HeaderValue>>>,
}

/// A port of a service that requests may go to.
#[derive(Debug)]
pub(crate) struct Backend {
    port: u16,
    pub(crate) speaks: Speaks,
    pub(crate) balancer: Rc<Balancer>,
}

/// A port of a service whose callers are led here.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: ObjectName,
    pub(crate) port: u16,
    pub(crate) protocol: AppProtocol,
    pub(crate) router: HttpRouter,
    pub(crate) tls: Option<TlsTable>,
    pub(crate) tcp: Option<TcpTable>,
}

impl World {
    pub(crate) fn of(snapshot: Snapshot, balancers: &Balancers) -> Self {
        let Snapshot { generation, access_log, workloads, ports, backends, policies, judged } = snapshot;
        let policies = Policies::new(generation, policies, judged);
        let mut services = FxHashMap::default();
        for facts in ports {
            let router = HttpRouter::new(&facts.table);
            let service = Rc::new(Service {
                name: facts.service,
                port: facts.port,
                protocol: facts.protocol,
                router,
                tls: facts.tls,
                tcp: facts.tcp,
            });
            services.extend(facts.addresses.iter().map(|it| ((*it, facts.port), Rc::clone(&service))));
        }
        balancers.update(&backends, Instant::now());
        let mut ports: FxHashMap<ObjectName, Vec<Backend>> = FxHashMap::default();
        for BackendFacts { service, port, speaks, .. } in backends {
            if let Some(balancer) = balancers.backend(&service, port) {
                ports.entry(service).or_default().push(Backend { port, speaks, balancer });
            }
        }
        let (backends, identities) = (ports, RefCell::default());
        Self { access_log, workloads, policies, services, backends, identities }
    }

    /// The service that was dialled.
    pub(crate) fn service(&self, dialled: SocketAddr) -> Option<Rc<Service>> {
        self.services.get(&(dialled.ip().to_canonical(), dialled.port())).cloned()
    }

    /// How an endpoint is told whose request it gets: written once for each two.
    pub(crate) fn identities(&self, caller: u32, endpoint: u32) -> Option<HeaderValue> {
        let mut known = self.identities.borrow_mut();
        if known.len() > PAIRS {
            known.clear();
        }
        let identity = |workload| self.workloads.get(&workload).map(|it| it.identity.as_str());
        let both = known.entry((caller, endpoint));
        both.or_insert_with(|| identities(identity(caller), identity(endpoint))).clone()
    }

    /// Who serves a service's port.
    pub(crate) fn backend(&self, service: &ObjectName, port: u16) -> Option<&Backend> {
        self.backends.get(service)?.iter().find(|it| it.port == port)
    }
}

/// How long callers of a service that is no longer led here are served as before.
const MEMORY: Duration = Duration::from_secs(10);
/// So many older snapshots are kept at most.
const MEMORIES: usize = 16;

/// The snapshot's file. What can't be read or understood leaves everything as it was.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    balancers: Rc<Balancers>,
    seen: RefCell<Option<Stamp>>,
    world: RefCell<Rc<World>>,
    /// What was in force before, and until when: the newest first.
    before: RefCell<VecDeque<(Instant, Rc<World>)>>,
    /// The file that there is was understood; or there is none yet.
    understood: Cell<bool>,
    /// Told whenever another one was.
    news: watch::Sender<()>,
}

/// Tells one file from another that takes its name.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    size: u64,
}

impl Watched {
    pub(crate) fn new(path: PathBuf, balancers: Rc<Balancers>) -> Self {
        let (seen, world, before) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (understood, news) = (Cell::new(true), watch::Sender::new(()));
        let watched = Self { path, balancers, seen, world, before, understood, news };
        watched.look();
        watched
    }

    /// The newest that was understood.
    pub(crate) fn world(&self) -> Rc<World> {
        Rc::clone(&self.world.borrow())
    }

    /// Hears of each newer one.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Whether what there is was understood: not when the agent is of another version.
    pub(crate) fn is_understood(&self) -> bool {
        self.understood.get()
    }

    /// The same for callers of this service, and the service. The newest may know it no more: they were led here a moment ago,
    /// or have been for long and not heard of it. For [`MEMORY`] an older one holds for them.
    pub(crate) fn in_force(&self, dialled: SocketAddr) -> (Rc<World>, Option<Rc<Service>>) {
        let newest = self.world();
        if let Some(service) = newest.service(dialled) {
            return (newest, Some(service));
        }
        let recent = Instant::now().checked_sub(MEMORY);
        let before = self.before.borrow();
        let mut recent = before.iter().take_while(|it| recent.is_none_or(|recent| it.0 > recent));
        let remembered = recent.find_map(|it| Some((Rc::clone(&it.1), Some(it.1.service(dialled)?))));
        remembered.unwrap_or((newest, None))
    }

    /// Whether callers of it are led here now.
    pub(crate) fn is_led_here(&self, dialled: SocketAddr) -> bool {
        self.world.borrow().service(dialled).is_some()
    }

    /// Reads the file if it is another one than before: one `stat` if not.
    pub(crate) fn look(&self) {
        let stamp = match fs::metadata(&self.path) {
            Ok(metadata) => Stamp::of(&metadata),
            // The agent has not written it yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "can't be read; what was read before stays");
                return;
            }
        };
        if self.seen.borrow().as_ref() == Some(&stamp) {
            return;
        }
        let read = fs::read(&self.path).and_then(|text| Ok(serde_json::from_slice::<Snapshot>(&text)?));
        self.understood.set(read.is_ok());
        match read {
            Ok(snapshot) => {
                tracing::debug!(generation = snapshot.generation, "read");
                let newest = Rc::new(World::of(snapshot, &self.balancers));
                let before = self.world.replace(newest);
                let mut all = self.before.borrow_mut();
                all.push_front((Instant::now(), before));
                all.truncate(MEMORIES);
                self.news.send_replace(());
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "can't be understood; what was read before stays");
            }
        }
        *self.seen.borrow_mut() = Some(stamp);
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
