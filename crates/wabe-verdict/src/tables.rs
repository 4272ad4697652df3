//! Where decisions read from.

use core::ops::Deref;

use wabe_abi::{
    Affinity, AffinityKey, ClassKey, Config, EndpointKey, EndpointRecord, Exchange, Ip, Pace, PolicyVerdict,
    PortKey, PrefixKey, ServiceKey, ServiceRecord, Ticket, Tuple, VerdictKey, WorkloadRecord,
};

use crate::Side;

/// A row read from a table: a reference into the map in the kernel, a copy on the host.
pub struct Row<T>(pub T);

impl<T> Deref for Row<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The mesh's tables: maps in the kernel, pinned maps or plain memory on the host. `None` is "no such row".
pub trait Tables {
    /// How a row is held.
    type Row<T: Copy + 'static>: Deref<Target = T>;

    /// The mesh's own facts.
    fn config(&self) -> Option<Self::Row<Config>>;
    /// A workload by id.
    fn workload(&self, id: u32) -> Option<Self::Row<WorkloadRecord>>;
    /// The workload that has an address.
    fn workload_at(&self, address: &Ip) -> Option<u32>;
    /// A service's port, or its address.
    fn service(&self, key: &ServiceKey) -> Option<Self::Row<ServiceRecord>>;
    /// An endpoint by its place.
    fn endpoint(&self, key: &EndpointKey) -> Option<Self::Row<EndpointRecord>>;
    /// Connections open towards an endpoint.
    fn live(&self, endpoint: u32) -> u64;
    /// How many times an endpoint of this service was chosen in turn; counts this time.
    fn turn(&self, service: u32) -> u64;
    /// Where a caller stays.
    fn affinity(&self, key: &AffinityKey) -> Option<Self::Row<Affinity>>;
    /// Notes where a caller stays. Only the kernel does; elsewhere nothing happens.
    fn stay(&self, key: &AffinityKey, affinity: &Affinity);
    /// The monotonic clock, in nanoseconds.
    fn now(&self) -> u64;
    /// How many connections a workload has open as a caller, and when its next ones are due. Nothing where nobody counts.
    fn pace(&self, _workload: u32) -> Pace {
        Pace::default()
    }
    /// Notes when a workload's next connection is due. Only the kernel does; elsewhere nothing happens.
    fn set_due(&self, _workload: u32, _side: Side, _due: u64) {}
    /// Class of an identity.
    fn identity_class(&self, key: &ClassKey) -> Option<u32>;
    /// Class of a port.
    fn port_class(&self, key: &PortKey) -> Option<u32>;
    /// Class of a source address, by longest prefix.
    fn prefix_class(&self, key: &PrefixKey) -> Option<u32>;
    /// A policy's verdict on a combination of classes.
    fn verdict(&self, key: &VerdictKey) -> Option<Self::Row<PolicyVerdict>>;
    /// The ticket of a connection.
    fn ticket(&self, tuple: &Tuple) -> Option<Self::Row<Ticket>>;
    /// Tickets that a workload has outstanding.
    fn tickets_of(&self, workload: u32) -> u64;
    /// The exchange of datagrams that began with this one.
    fn exchange(&self, tuple: &Tuple) -> Option<Self::Row<Exchange>>;
    /// Exchanges that a workload has open as a caller.
    fn exchanges_of(&self, workload: u32) -> u64;
    /// Accepted connections open in the mesh.
    fn connections(&self) -> u64;
    /// 32 random bits.
    fn random(&self) -> u32;
}
