//! What all workers know of backends and endpoints: limits, who has how much to do, who is out. It outlives snapshots.
//!
//! Looked up once for each snapshot; workers keep what they need of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicI64, atomic::AtomicU64},
    time::Instant,
};

use wabe_model::ObjectName;
use wabe_policy::spread::maglev;

use super::{Limits, ejection::Standing, load::Load};
use crate::{
    locked::lock,
    snapshot::{BackendFacts, EndpointFacts},
};

/// All that is known. One for the proxy.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    backends: HashMap<(ObjectName, u16), Backend>,
    /// Endpoints by workload and port, whichever backends they serve.
    loads: HashMap<(u32, u16), Arc<Load>>,
}

#[derive(Debug)]
struct Backend {
    common: Arc<Common>,
    /// By workload and port.
    endpoints: HashMap<(u32, u16), Arc<Own>>,
    /// Workloads and weights that `table` is of.
    members: Vec<(u32, u32)>,
    table: Arc<Vec<usize>>,
}

/// What holds for a backend whichever worker takes a request there.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) limits: Arc<Limits>,
    /// When success rates were compared last.
    pub(super) compared: Mutex<Instant>,
    /// Nobody is out from then on. Held while somebody is put out, as there is a limit to how many may be.
    pub(super) all_in: Mutex<Instant>,
    pub(super) ejections: AtomicU64,
    /// Held while it is found out whose turn it is.
    pub(super) turn: Mutex<()>,
}

/// An endpoint as all requests to one backend see it.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) credit: AtomicI64,
    pub(super) standing: Mutex<Standing>,
}

/// A backend as a snapshot says that it is, with what is known of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) facts: BackendFacts,
    pub(super) common: Arc<Common>,
    /// Of each of the endpoints.
    pub(super) endpoints: Vec<(Arc<Load>, Arc<Own>)>,
    /// Maglev's, of places in the endpoints; empty unless hashes are asked for.
    pub(super) table: Arc<Vec<usize>>,
}

impl Known {
    /// Takes over what a snapshot says. Backends and endpoints that it does not have are forgotten: one that comes back is new.
    pub(crate) fn take(&self, facts: Vec<BackendFacts>, now: Instant) -> Vec<Told> {
        let mut all = lock(&self.0);
        let All { backends, loads } = &mut *all;
        let known: HashSet<_> = facts.iter().map(|it| (&it.service, it.port)).collect();
        backends.retain(|(service, port), _| known.contains(&(service, *port)));
        let serving: HashSet<_> = facts.iter().flat_map(|it| &it.endpoints).map(key).collect();
        loads.retain(|key, _| serving.contains(key));
        let told = facts.into_iter().map(|facts| {
            let backend = backends.entry((facts.service.clone(), facts.port));
            let backend = backend.or_insert_with(|| Backend::new(now));
            backend.take(&facts);
            let endpoint = |it: &EndpointFacts| {
                let load = loads.entry(key(it)).or_insert_with(|| Arc::new(Load::new(now)));
                (Arc::clone(load), Arc::clone(backend.endpoints.entry(key(it)).or_default()))
            };
            let endpoints = facts.endpoints.iter().map(endpoint).collect();
            Told { facts, common: Arc::clone(&backend.common), endpoints, table: Arc::clone(&backend.table) }
        });
        told.collect()
    }

    /// Endpoints that are known.
    #[cfg(test)]
    pub(super) fn endpoints(&self) -> usize {
        lock(&self.0).loads.len()
    }
}

impl Backend {
    fn new(now: Instant) -> Self {
        let common = Common {
            limits: Arc::default(),
            compared: Mutex::new(now),
            all_in: Mutex::new(now),
            ejections: AtomicU64::new(0),
            turn: Mutex::default(),
        };
        let (endpoints, members, table) = (HashMap::new(), Vec::new(), Arc::default());
        Self { common: Arc::new(common), endpoints, members, table }
    }

    fn take(&mut self, facts: &BackendFacts) {
        let serving: HashSet<_> = facts.endpoints.iter().map(key).collect();
        self.endpoints.retain(|key, _| serving.contains(key));
        let members: Vec<_> = facts.endpoints.iter().map(|it| (it.workload, it.weight)).collect();
        if facts.traffic.hash.is_none() {
            self.table = Arc::default();
        } else if self.table.is_empty() || members != self.members {
            // Always of one size: tables of different sizes have hardly anybody at the same place.
            self.table = Arc::new(maglev::table_of(&members, maglev::MOST));
        }
        self.members = members;
        self.common.limits.set(&facts.traffic.pool);
    }
}

fn key(facts: &EndpointFacts) -> (u32, u16) {
    (facts.workload, facts.port)
}
