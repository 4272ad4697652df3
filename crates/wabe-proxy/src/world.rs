//! The snapshot in force, as one worker sees it: made ready for look-ups.
//!
//! [`Source`] reads it for all workers. What is large they share; what is counted for each request is each worker's own, so that
//! none has to wait for another's processor to let go of it.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderValue;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use wabe_model::{AccessLog, AppProtocol, ObjectName};
use wabe_policy::{
    http::HttpRouter,
    stream::{tcp::TcpTable, tls::TlsTable},
};

use crate::{
    balance::{Balancer, Balancers},
    identity::identities,
    policy::Policies,
    snapshot::{Speaks, WorkloadFacts},
};

mod news;
mod source;

pub(crate) use news::News;
pub(crate) use source::{Read, Source};

use news::Told;

/// So many texts are kept at most, of some hundred bytes each.
const PAIRS: usize = 4096;

/// What the proxy goes by.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) access_log: AccessLog,
    pub(crate) workloads: Arc<BTreeMap<u32, WorkloadFacts>>,
    pub(crate) policies: Arc<Policies>,
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
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: ObjectName,
    pub(crate) port: u16,
    protocol: AppProtocol,
    consumers: Arc<BTreeMap<String, AppProtocol>>,
    pub(crate) router: Arc<HttpRouter>,
    pub(crate) tls: Option<Arc<TlsTable>>,
    pub(crate) tcp: Option<Arc<TcpTable>>,
}

impl Service {
    /// What connections of a caller in this namespace are taken for.
    pub(crate) fn protocol_of(&self, namespace: &str) -> AppProtocol {
        self.consumers.get(namespace).copied().unwrap_or(self.protocol)
    }
}

impl World {
    pub(crate) fn of(read: &Read, balancers: &Balancers) -> Self {
        let mut services = FxHashMap::default();
        for (addresses, service) in &read.services {
            let service = Rc::new(service.clone());
            services.extend(addresses.iter().map(|it| ((*it, service.port), Rc::clone(&service))));
        }
        balancers.update(&read.backends);
        let mut backends: FxHashMap<ObjectName, Vec<Backend>> = FxHashMap::default();
        for told in &read.backends {
            let (service, port, speaks) = (&told.facts.service, told.facts.port, told.facts.speaks);
            if let Some(balancer) = balancers.backend(service, port) {
                backends.entry(service.clone()).or_default().push(Backend { port, speaks, balancer });
            }
        }
        Self {
            access_log: read.access_log,
            workloads: Arc::clone(&read.workloads),
            policies: Arc::clone(&read.policies),
            services,
            backends,
            identities: RefCell::default(),
        }
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

    /// The caller's namespace, by which routes hold for it.
    pub(crate) fn namespace_of(&self, caller: u32) -> &str {
        self.workloads.get(&caller).map_or("", |it| it.namespace.as_str())
    }

    /// Who serves a service's port.
    pub(crate) fn backend(&self, service: &ObjectName, port: u16) -> Option<&Backend> {
        self.backends.get(service)?.iter().find(|it| it.port == port)
    }
}

/// How long callers of a service that is no longer led here are served as before.
const MEMORY: Duration = Duration::from_secs(10);
/// So many older snapshots are kept at most, of those that knew services which the next one did not.
const MEMORIES: usize = 16;

/// What one worker knows of the snapshot's file.
#[derive(Debug)]
pub(crate) struct Watched {
    source: Arc<Source>,
    balancers: Rc<Balancers>,
    /// What `world` was made of.
    read: RefCell<Arc<Read>>,
    world: RefCell<Rc<World>>,
    /// What was in force before, and until when: the newest first.
    before: RefCell<VecDeque<(Instant, Rc<World>)>>,
    /// Who is told whenever there is a newer one.
    told: Told,
    /// How often one came that lacks services of the one before, and who is told of that.
    partings: Cell<u64>,
    parted: Notify,
}

impl Watched {
    pub(crate) fn new(source: Arc<Source>, balancers: Rc<Balancers>) -> Self {
        source.look();
        // A worker that begins late serves callers that were led here before.
        let (before, read) = source.history();
        let world = |read: &Read| Rc::new(World::of(read, &balancers));
        let mut memories = VecDeque::new();
        for (until, before) in before {
            memories.push_front((until, world(&before)));
        }
        let (world, read, before) = (RefCell::new(world(&read)), RefCell::new(read), RefCell::new(memories));
        let (told, partings, parted) = (Told::default(), Cell::default(), Notify::new());
        Self { source, balancers, read, world, before, told, partings, parted }
    }

    /// The newest that was understood.
    pub(crate) fn world(&self) -> Rc<World> {
        Rc::clone(&self.world.borrow())
    }

    /// For how long workers look for more before they sleep.
    pub(crate) fn busy_poll(&self) -> Duration {
        self.read.borrow().busy_poll
    }

    /// Hears of each newer one.
    pub(crate) fn news(&self) -> News<'_> {
        self.told.news()
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

    /// How often there was a snapshot that lacks services of the one before.
    pub(crate) fn partings(&self) -> u64 {
        self.partings.get()
    }

    /// Completes at the next such one.
    pub(crate) async fn parted(&self) {
        self.parted.notified().await;
    }

    /// Has all that is under way look whether it may go on.
    pub(crate) fn tell(&self) {
        self.told.tell();
    }

    /// Takes over what the file says, if it is another one than before: one `stat` if not.
    pub(crate) fn look(&self) {
        let newest = self.source.look();
        if Arc::ptr_eq(&newest, &self.read.borrow()) {
            return;
        }
        let world = Rc::new(World::of(&newest, &self.balancers));
        *self.read.borrow_mut() = newest;
        let before = self.world.replace(Rc::clone(&world));
        if before.services.keys().any(|it| !world.services.contains_key(it)) {
            let mut all = self.before.borrow_mut();
            all.push_front((Instant::now(), before));
            all.truncate(MEMORIES);
            self.partings.set(self.partings.get() + 1);
            self.parted.notify_waiters();
        }
        self.told.tell();
    }
}
