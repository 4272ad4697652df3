//! How the mesh is.

use std::collections::BTreeSet;

use wabe_abi::{Balance, DropReason, Lane, maps::counter};
use wabe_model::{ClusterIps, DestinationRule, Transport, Workload};

use super::Engine;
use crate::{
    api::{CounterStatus, EndpointStatus, InstanceStatus, MapStatus, ServiceStatus, Status, WorkloadStatus},
    datapath::Datapath,
    snapshot::{Selected, balance_of, identity_of},
    state::{Instance, Phase},
};

impl<D: Datapath> Engine<D> {
    pub(super) fn status(&self) -> Result<Status, String> {
        let counters = self.datapath.counters().map_err(|error| error.to_string())?;
        let at = |index: u32| counters.get(index as usize).copied().unwrap_or(0);
        let lane = |lane: &Lane| CounterStatus {
            name: lane.name().into(),
            count: at(counter::LANES + u32::from(*lane as u8)),
        };
        let reason = |reason: &DropReason| CounterStatus {
            name: reason.name().into(),
            count: at(counter::REASONS + u32::from(*reason as u8)),
        };
        // Refused without a report of their own: late segments and what looks like them, and what tables had no room
        // for.
        let unreasoned = [
            ("stray", counter::STRAYS),
            ("tickets_full", counter::TICKETS_LOST),
            ("connections_full", counter::CONNECTIONS_LOST),
        ]
        .map(|(name, index)| CounterStatus { name: name.into(), count: at(index) });
        let usage = self.datapath.usage().map_err(|error| error.to_string())?;
        Ok(Status {
            mesh: self.mesh.clone(),
            generation: self.generation(),
            agent: std::process::id(),
            workloads: self.workloads(),
            services: self.services(),
            lanes: Lane::ALL.iter().map(lane).collect(),
            refusals: DropReason::ALL
                .iter()
                .map(reason)
                .chain(unreasoned)
                .filter(|it| it.count > 0)
                .collect(),
            connections: at(counter::CONNECTIONS_LIVE),
            events_lost: at(counter::EVENTS_LOST),
            metrics: self.metrics.map(|it| it.to_string()),
            ejections: self.balancing.ejections.total(),
            affinities_lost: at(counter::AFFINITIES_LOST),
            exchanges_lost: at(counter::EXCHANGES_LOST),
            maps: usage
                .into_iter()
                .map(|it| MapStatus {
                    name: it.name.into(),
                    used: it.used.or(self.rows_of(it.name)),
                    limit: it.limit,
                })
                .collect(),
            warnings: self.warnings.iter().cloned().chain(self.datapath.lacking()).collect(),
        })
    }

    /// What the agent wrote it need not count in the kernel.
    fn rows_of(&self, map: &str) -> Option<u64> {
        let rows = self.installed.mirror.rows_of(map)?;
        Some((rows + self.simulation.rows_of(map)) as u64)
    }

    /// Those that users wrote, and those whose last instances are on their way out.
    fn workloads(&self) -> Vec<WorkloadStatus> {
        let known: Vec<&Workload> = self.state.objects.workloads().collect();
        let mut all: Vec<WorkloadStatus> =
            known.iter().map(|workload| self.workload(workload, workload.replicas)).collect();
        for instance in self.state.instances.values() {
            let name = instance.spec.name.to_string();
            if !all.iter().any(|it| it.name == name) {
                all.push(self.workload(&instance.spec, 0));
            }
        }
        all
    }

    fn workload(&self, workload: &Workload, wanted: u32) -> WorkloadStatus {
        let mut instances: Vec<InstanceStatus> =
            self.state.instances_of(&workload.name).map(|instance| self.instance(instance)).collect();
        instances.sort_by_key(|it| (it.replica, it.id));
        WorkloadStatus {
            name: workload.name.to_string(),
            principal: identity_of(workload, &self.node.trust_domain).principal(),
            ready: self.state.instances_of(&workload.name).filter(|it| it.takes_connections()).count() as u32,
            wanted,
            instances,
        }
    }

    fn instance(&self, instance: &Instance) -> InstanceStatus {
        let load = self.datapath.load_of(instance.id).unwrap_or_default();
        let phase = match instance.phase {
            Phase::Making => "making",
            Phase::Starting => "starting",
            Phase::Started => "started",
            Phase::Draining => "draining",
            Phase::Ending => "ending",
        };
        InstanceStatus {
            id: instance.id,
            replica: instance.replica,
            phase: phase.into(),
            ready: instance.takes_connections(),
            addresses: instance.addresses(),
            pid: instance.pid,
            restarts: instance.restarts,
            live: load.live,
            total: load.total,
            trouble: instance.trouble.clone(),
        }
    }

    fn ejected(&self, service: &wabe_model::Service) -> BTreeSet<u32> {
        let name = service.name.to_string();
        let known = self.published.services.iter().find(|(_, it)| *it.name == *name);
        known.map(|(id, _)| self.balancing.ejections.out(*id, self.now)).unwrap_or_default()
    }

    fn services(&self) -> Vec<ServiceStatus> {
        let endpoint = |out: &BTreeSet<u32>, instance: &Instance| EndpointStatus {
            id: instance.id,
            proxy_ejected: false,
            ejected: out.contains(&instance.id),
            workload: instance.spec.name.to_string(),
            replica: instance.replica,
            ready: instance.takes_connections(),
            weight: instance.spec.weight,
            live: self.datapath.load_of(instance.id).map_or(0, |load| load.live),
        };
        let selected = Selected::of(self.state.instances.values());
        let service = |service: &wabe_model::Service| {
            let out = self.ejected(service);
            ServiceStatus {
                name: service.name.to_string(),
                addresses: match service.cluster_ips {
                    ClusterIps::Headless => Vec::new(),
                    ClusterIps::Virtual { .. } => self.state.ids.addresses_of(&service.name).list(),
                },
                ports: service
                    .ports
                    .iter()
                    .map(|it| format!("{}/{}", it.port, transport(it.transport)))
                    .collect(),
                balance: balance(service, self.state.objects.destination_rules_of(&service.name).next())
                    .into(),
                endpoints: selected.by(service).map(|instance| endpoint(&out, instance)).collect(),
            }
        };
        self.state.objects.services().map(service).collect()
    }
}

fn balance(service: &wabe_model::Service, rule: Option<&DestinationRule>) -> &'static str {
    match balance_of(service, rule) {
        Balance::TwoChoices => "two-choices",
        Balance::Random => "random",
        Balance::RoundRobin => "round-robin",
        Balance::Consistent => "consistent",
    }
}

fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}
