//! What the kernel's tables should say: computed from users' objects, numbers and the state of instances, without
//! looking at what the tables say now.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;
use wabe_abi::{
    Config, Ip, Prefix, ServiceKey, VethRecord, WorkloadRecord, config_flag, maps, workload_flag,
};
use wabe_keeper::layout::Ranges;
use wabe_model::{Egress, Identity, Objects, Workload};
use wabe_policy::CompiledPolicy;

use crate::{
    balance,
    sizes::{MOST_ENDPOINTS, MOST_POLICY_ROWS, MOST_SERVICES},
    state::{AddressError, Ids, Instance, ServiceRanges, assign},
};

mod policies;
mod services;
#[cfg(test)]
mod tests;

pub use policies::{Compiler, Policies};
pub use services::{DesiredEndpoint, DesiredService};
pub(crate) use services::{Selected, balance as balance_of, selects, target_port};

/// Capabilities with which a workload may open sockets of protocols other than TCP and UDP.
const RAW_SOCKETS: &str = "NET_RAW";

/// What does not change while a mesh is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's address in the mesh.
    pub v4: Ipv4Addr,
    /// The node's address in the mesh.
    pub v6: Ipv6Addr,
    /// The host's address as workloads see it.
    pub host_v4: Ipv4Addr,
    /// The host's address as workloads see it.
    pub host_v6: Ipv6Addr,
    /// Workloads' and services' addresses.
    pub ranges: Ranges,
    /// The trust domain of all identities.
    pub trust_domain: String,
    /// Policies in this namespace hold for the whole mesh.
    pub root_namespace: String,
    /// Name servers that applications may find in `/etc/resolv.conf`; the first four count.
    pub resolvers: Vec<IpAddr>,
    /// How deep a workload's cgroup lies below the root of cgroup v2.
    pub workload_level: u32,
}

/// What the tables should say.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// The mesh's own facts, with generation 0.
    pub config: Config,
    /// cgroup id -> workload id.
    pub cgroups: BTreeMap<u64, u32>,
    /// Workloads by id.
    pub workloads: BTreeMap<u32, DesiredWorkload>,
    /// Address -> workload id.
    pub addresses: BTreeMap<Ip, u32>,
    /// Services' ports, and their addresses with an empty set.
    pub services: BTreeMap<ServiceKey, DesiredService>,
    /// Node-side interfaces.
    pub veths: BTreeMap<u32, VethRecord>,
    /// What users should know but need not be stopped by.
    pub warnings: BTreeSet<String>,
}

/// A workload as the tables should have it.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredWorkload {
    /// Its record; the tables are filled in by the plan, and the generation of its policies of layer 7 by
    /// [`crate::judged::Judged`].
    pub record: WorkloadRecord,
    /// Its policies; `None` if no policy selects it.
    pub policies: Option<Policies>,
}

/// Why objects can't be put into the tables.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Services' addresses.
    #[error(transparent)]
    Addresses(#[from] AddressError),
    /// A policy.
    #[error(transparent)]
    Policy(#[from] wabe_policy::CompileError),
    /// A table is too small.
    #[error("{what}: {wanted} are needed and {limit} fit; {remedy}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many would be needed.
        wanted: usize,
        /// How many fit.
        limit: usize,
        /// What to do.
        remedy: &'static str,
    },
}

/// Computes the tables. New objects get numbers and addresses in `ids`; with an error, `ids` may have some too many.
pub fn desired<'a>(
    node: &Node,
    objects: &Objects,
    instances: impl Iterator<Item = &'a Instance> + Clone,
    ids: &mut Ids,
    compiler: &mut Compiler,
) -> Result<Desired, SnapshotError> {
    let ranges = ServiceRanges { v4: node.ranges.services_v4, v6: node.ranges.services_v6 };
    assign(&objects.services().collect::<Vec<_>>(), &ranges, ids)?;
    let mut desired = Desired { config: config(node, objects), ..Desired::default() };
    let specs = instances.clone().map(|instance| &instance.spec).chain(objects.workloads());
    let known = specs.map(|workload| identity_of(workload, &node.trust_domain));
    compiler.begin(known, ids);
    for instance in instances.clone() {
        let Some(place) = instance.place else { continue };
        let (v4, v6) = (Ip::from(IpAddr::V4(place.v4)), Ip::from(IpAddr::V6(place.v6)));
        let record = WorkloadRecord {
            v4,
            v6,
            layer7_generation: 0,
            identity: ids.identity(&identity_of(&instance.spec, &node.trust_domain)),
            table: wabe_abi::NO_POLICY,
            datagram_table: wabe_abi::NO_POLICY,
            flags: flags(instance),
            interface: place.node_ifindex,
            locality: 0,
            outbound: limits(instance.spec.limits.outbound),
            inbound: limits(instance.spec.limits.inbound),
        };
        let policies = compiler.policies_of(objects, &node.root_namespace, &instance.spec, ids)?;
        desired.workloads.insert(instance.id, DesiredWorkload { record, policies });
        desired.cgroups.insert(place.cgroup, instance.id);
        desired.addresses.insert(v4, instance.id);
        desired.addresses.insert(v6, instance.id);
        desired.veths.insert(place.node_ifindex, VethRecord { v4, v6, workload: instance.id, reserved: 0 });
    }
    compiler.end();
    services::add(&mut desired, &node.root_namespace, objects, instances.clone(), ids);
    check_size(&desired)?;
    Ok(desired)
}

/// Who a workload is.
pub(crate) fn identity_of(workload: &Workload, trust_domain: &str) -> Identity {
    Identity {
        trust_domain: trust_domain.to_owned(),
        namespace: workload.name.namespace.clone(),
        service_account: workload.service_account.clone(),
    }
}

fn config(node: &Node, objects: &Objects) -> Config {
    let mut resolvers = [Ip::UNSPECIFIED; 4];
    for (place, resolver) in resolvers.iter_mut().zip(&node.resolvers) {
        *place = Ip::from(*resolver);
    }
    Config {
        generation: 0,
        node_v4: Ip::from(IpAddr::V4(node.v4)),
        node_v6: Ip::from(IpAddr::V6(node.v6)),
        host_v4: Ip::from(IpAddr::V4(node.host_v4)),
        host_v6: Ip::from(IpAddr::V6(node.host_v6)),
        workloads_v4: prefix(node.ranges.workloads_v4.into()),
        workloads_v6: prefix(node.ranges.workloads_v6.into()),
        services_v4: prefix(node.ranges.services_v4.into()),
        services_v6: prefix(node.ranges.services_v6.into()),
        resolvers,
        workload_level: node.workload_level,
        max_connections: maps::MAX_CONNECTIONS,
        max_tickets: maps::MAX_TICKETS_PER_WORKLOAD,
        max_exchanges: maps::MAX_EXCHANGES_PER_WORKLOAD,
        reserved: 0,
        flags: if objects.mesh_config().short_cut { config_flag::SHORT_CUT } else { 0 },
    }
}

fn prefix(range: IpNet) -> Prefix {
    Prefix::new(range.network(), range.prefix_len())
}

fn limits(limits: wabe_model::DirectionLimits) -> wabe_abi::Limits {
    wabe_abi::Limits { connections: limits.connections, per_second: limits.per_second }
}

fn flags(instance: &Instance) -> u32 {
    let mut flags = 0;
    if instance.spec.capabilities.iter().any(|capability| capability == RAW_SOCKETS) {
        flags |= workload_flag::ANY_PROTOCOL;
    }
    match instance.spec.egress {
        Egress::None => {}
        Egress::Masquerade => flags |= workload_flag::EGRESS,
    }
    if instance.is_leaving() {
        flags |= workload_flag::STOPPING;
    }
    flags
}

/// Old and new sets live side by side during a swap, so only half of a table can be used.
fn check_size(desired: &Desired) -> Result<(), SnapshotError> {
    let too_many = |what, wanted, limit, remedy| SnapshotError::TooMany { what, wanted, limit, remedy };
    let endpoints: usize = desired.services.values().map(balance::set_rows).sum();
    let limit = MOST_ENDPOINTS as usize / 2;
    if endpoints > limit {
        let remedy = "narrow the services' selectors or run fewer replicas";
        return Err(too_many("endpoints of all service ports", endpoints, limit, remedy));
    }
    let limit = MOST_SERVICES as usize;
    if desired.services.len() > limit {
        let remedy = "give the services fewer ports";
        return Err(too_many("service ports of both families", desired.services.len(), limit, remedy));
    }
    let mut seen: Vec<&Arc<CompiledPolicy>> = Vec::new();
    let policies = desired.workloads.values().filter_map(|workload| workload.policies.as_ref());
    for policy in policies.flat_map(|it| [&it.connections, &it.datagrams]) {
        if !seen.iter().any(|known| Arc::ptr_eq(known, policy)) {
            seen.push(policy);
        }
    }
    let limit = MOST_POLICY_ROWS as usize / 2;
    let rows = |count: fn(&CompiledPolicy) -> usize| seen.iter().map(|policy| count(policy)).sum::<usize>();
    let remedy = "let more workloads share the same policies, or name fewer ports and address blocks in them";
    for (what, wanted) in [
        ("policy rows by identity", rows(|policy| policy.identity_classes.len())),
        ("policy rows by port", rows(|policy| policy.port_classes.len())),
        ("policy rows by address", rows(|policy| policy.prefix_classes.len())),
        ("policy verdicts", rows(|policy| policy.verdicts.len())),
    ] {
        if wanted > limit {
            return Err(too_many(what, wanted, limit, remedy));
        }
    }
    Ok(())
}
