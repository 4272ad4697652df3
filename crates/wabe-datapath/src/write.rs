//! One change of one map, as plain data.

use wabe_abi::{
    ClassKey, Config, EndpointKey, EndpointRecord, Ip, PolicyVerdict, PortKey, PrefixKey, ServiceKey,
    ServiceRecord, VerdictKey, VethRecord, WorkloadRecord, maps,
};

/// A change of a table in the kernel. `None` removes the entry; removing what is not there is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The mesh's own facts, generation included; boxed, since there is one of it and a million of others.
    Config(Box<Config>),
    /// cgroup id -> workload id.
    Cgroup(u64, Option<u32>),
    /// Workload id -> record.
    Workload(u32, Option<WorkloadRecord>),
    /// Address -> workload id.
    Address(Ip, Option<u32>),
    /// Service address and port -> record.
    Service(ServiceKey, Option<ServiceRecord>),
    /// Place in an endpoint set -> endpoint.
    Endpoint(EndpointKey, Option<EndpointRecord>),
    /// {table, identity} -> class.
    IdentityClass(ClassKey, Option<u32>),
    /// {table, port} -> class.
    PortClass(PortKey, Option<u32>),
    /// {table, source prefix} -> class.
    PrefixClass(PrefixKey, Option<u32>),
    /// {table, classes} -> verdict.
    Verdict(VerdictKey, Option<PolicyVerdict>),
    /// Node-side interface -> the addresses that may come in there.
    Veth(u32, Option<VethRecord>),
    /// Sets an endpoint's counters to zero, before its id is used again.
    ResetLoad(u32),
}

impl Write {
    /// The name of the map that it changes.
    pub fn map(&self) -> &'static str {
        match self {
            Self::Config(_) => maps::CONFIG,
            Self::Cgroup(..) => maps::CGROUPS,
            Self::Workload(..) => maps::WORKLOADS,
            Self::Address(..) => maps::ADDRESSES,
            Self::Service(..) => maps::SERVICES,
            Self::Endpoint(..) => maps::ENDPOINTS,
            Self::IdentityClass(..) => maps::POLICY_IDENTITIES,
            Self::PortClass(..) => maps::POLICY_PORTS,
            Self::PrefixClass(..) => maps::POLICY_PREFIXES,
            Self::Verdict(..) => maps::POLICY_VERDICTS,
            Self::Veth(..) => maps::VETHS,
            Self::ResetLoad(_) => maps::LOADS,
        }
    }
}
