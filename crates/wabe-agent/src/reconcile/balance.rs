//! What balancing needs beyond the snapshot: who failed, who is new, who stays where.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
    time::{Duration, Instant},
};

use wabe_abi::Balance;
use wabe_model::{DestinationRule, Transport};

use super::{Engine, Later, SWEEP};
use crate::{
    balance::{
        self,
        ejection::Ejections,
        outcomes::{Outcome, Watched},
        slow_start,
    },
    datapath::Datapath,
    snapshot::{Desired, selects},
    state::Instance,
};

/// Between two steps of new endpoints' shares.
const STEP: Duration = Duration::from_secs(1);

/// What the engine remembers for balancing. A new agent begins without: all are warm and nobody failed.
pub(super) struct Balancing {
    watched: Watched,
    pub(super) ejections: Ejections,
    /// Endpoints that take connections, since when; `None` if an earlier agent's time.
    ready_since: BTreeMap<u32, Option<Instant>>,
    /// A step of new endpoints' shares is among the timers.
    stepping: bool,
    /// A sweep of affinities is among the timers.
    sweeping: bool,
}

impl Balancing {
    pub(super) fn new(watched: Watched) -> Self {
        Self {
            watched,
            ejections: Ejections::default(),
            ready_since: BTreeMap::new(),
            stepping: false,
            sweeping: false,
        }
    }
}

impl<D: Datapath> Engine<D> {
    /// Endpoints that an earlier agent knew are not new.
    pub(super) fn all_are_warm(&mut self) {
        let ready = self.state.instances.values().filter(|instance| instance.takes_connections());
        self.balancing.ready_since = ready.map(|instance| (instance.id, None)).collect();
    }

    pub(super) fn warm(&mut self) {
        self.balancing.stepping = false;
        self.changed = true;
    }

    /// Takes ejected endpoints out, gives new ones their share so far, and puts near ones first.
    pub(super) fn shape(&mut self, desired: &mut Desired) {
        let (now, state, balancing) = (self.now, &mut self.state, &mut self.balancing);
        let ready: BTreeSet<u32> =
            state.instances.values().filter(|it| it.takes_connections()).map(|it| it.id).collect();
        balancing.ready_since.retain(|id, _| ready.contains(id));
        for id in ready {
            balancing.ready_since.entry(id).or_insert(Some(now));
        }
        let mut rules: BTreeMap<u32, &DestinationRule> = BTreeMap::new();
        for rule in state.objects.destination_rules() {
            if state.objects.service(&rule.service).is_some() {
                rules.insert(state.ids.service(&rule.service), rule);
            }
        }
        let watched: BTreeSet<u32> =
            rules.iter().filter(|(_, rule)| rule.outliers.is_some()).map(|(id, _)| *id).collect();
        let instances = &state.instances;
        balancing.ejections.retain(|id| watched.contains(&id), |id| instances.contains_key(&id));
        *balancing.watched.write().unwrap_or_else(PoisonError::into_inner) = watched;
        let mut warming = false;
        for service in desired.services.values_mut() {
            let Some(rule) = rules.get(&service.service) else { continue };
            if let Some(outliers) = &rule.outliers {
                let hosts = service.endpoints.len();
                let out = balancing.ejections.kept_out(service.service, hosts, outliers, now);
                // A port that only ejected endpoints serve keeps them.
                if service.endpoints.iter().any(|endpoint| !out.contains(&endpoint.workload)) {
                    service.endpoints.retain(|endpoint| !out.contains(&endpoint.workload));
                }
            }
            // A consistent table would move callers with each step.
            if let Some(warmup) = rule.warmup
                && service.balance != Balance::Consistent
            {
                let since = |id: u32| balancing.ready_since.get(&id).copied().flatten();
                warming |= slow_start::scale(&mut service.endpoints, since, warmup, now);
            }
        }
        balance::near(desired, &state.objects, state.instances.values(), &mut state.ids);
        if warming && !balancing.stepping {
            balancing.stepping = true;
            self.timers.add(now + STEP, Later::Warm);
        }
    }

    /// A connection to a service fared so.
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        let Outcome { service: id, endpoint, failed } = outcome;
        if !failed {
            return self.balancing.ejections.succeeded(id, endpoint);
        }
        let (objects, ids) = (&self.state.objects, &mut self.state.ids);
        let Some(service) = objects.services().find(|it| ids.service(&it.name) == id) else { return };
        let mut rules = objects.destination_rules_of(&service.name);
        let Some(outliers) = rules.find_map(|rule| rule.outliers.as_ref()) else { return };
        let is_host = |it: &&Instance| it.takes_connections() && selects(service, it);
        let hosts: Vec<u32> = self.state.instances.values().filter(is_host).map(|it| it.id).collect();
        // Attempts under way when it stopped say nothing about the others.
        if !hosts.contains(&endpoint) {
            return;
        }
        let until = self.balancing.ejections.failed(id, endpoint, hosts.len(), outliers, self.now);
        if let Some(until) = until {
            tracing::info!(service = %service.name, endpoint, "ejected: its connections fail");
            self.timers.add(until, Later::Install);
            self.changed = true;
        }
    }

    /// Keeps sweeping while a service promises callers their endpoint, or has sockets that send datagrams stay at theirs.
    pub(super) fn keep_sweeping(&mut self) {
        let stays = |service: &wabe_model::Service| {
            service.affinity.is_some() || service.ports.iter().any(|it| it.transport == Transport::Udp)
        };
        let promised = self.state.objects.services().any(stays);
        if promised && !self.balancing.sweeping {
            self.balancing.sweeping = true;
            self.timers.add(self.now + SWEEP, Later::SweepAffinities);
        }
    }

    /// Only makes room: a promise whose time is over binds nobody.
    pub(super) fn sweep_affinities(&mut self) {
        self.balancing.sweeping = false;
        if let Err(error) = self.datapath.sweep_affinities() {
            tracing::warn!(%error, "callers whose time at their endpoint is over could not be forgotten");
        }
        self.keep_sweeping();
    }
}
