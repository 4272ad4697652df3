//! What the keeper is told about an instance.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use wabe_keeper::protocol::{self, InstanceSpec, ProbeSpec};
use wabe_model::{Egress, Probe, ProbeAction, RestartPolicy};

use crate::state::Instance;

/// Where programs are looked for unless the manifest says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The keeper's part of an instance.
pub(crate) fn of(instance: &Instance, (v4, v6): (Ipv4Addr, Ipv6Addr)) -> InstanceSpec {
    let workload = &instance.spec;
    InstanceSpec {
        id: instance.id,
        workload: workload.name.to_string(),
        replica: instance.replica,
        name: instance.log_name(),
        v4,
        v6,
        command: workload.command.clone(),
        environment: environment(instance),
        working_directory: workload.working_directory.clone(),
        private_tmp: workload.private_tmp,
        user: workload.user.clone(),
        capabilities: workload.capabilities.clone(),
        restart: match workload.restart {
            RestartPolicy::Always => protocol::RestartPolicy::Always,
            RestartPolicy::OnFailure => protocol::RestartPolicy::OnFailure,
            RestartPolicy::Never => protocol::RestartPolicy::Never,
        },
        probe: workload.readiness.as_ref().map(probe),
        egress_masquerade: match workload.egress {
            Egress::None => false,
            Egress::Masquerade => true,
        },
        grace_ms: milliseconds(workload.grace),
    }
}

/// A minimal environment, and what the manifest says on top.
fn environment(instance: &Instance) -> BTreeMap<String, String> {
    let name = &instance.spec.name;
    let mut environment: BTreeMap<String, String> = [
        ("PATH", PATH.to_owned()),
        ("HOME", "/".to_owned()),
        ("WABE_WORKLOAD", name.name.clone()),
        ("WABE_NAMESPACE", name.namespace.clone()),
        ("WABE_REPLICA", instance.replica.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    environment.extend(instance.spec.environment.clone());
    environment
}

fn probe(probe: &Probe) -> ProbeSpec {
    ProbeSpec {
        action: match &probe.action {
            ProbeAction::Tcp { port } => protocol::ProbeAction::Tcp { port: *port },
            ProbeAction::Http { port, path } => {
                protocol::ProbeAction::Http { port: *port, path: path.clone() }
            }
            ProbeAction::Exec { command } => protocol::ProbeAction::Exec { command: command.clone() },
        },
        initial_delay_ms: milliseconds(probe.initial_delay),
        period_ms: milliseconds(probe.period),
        timeout_ms: milliseconds(probe.timeout),
        failure_threshold: probe.failure_threshold.max(1),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
