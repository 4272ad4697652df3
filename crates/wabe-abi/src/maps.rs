//! Names and sizes of the maps. A pin bears its map's name and layout.

use crate::layout::{Layout, fold};

/// [`crate::Config`], one entry.
pub const CONFIG: &str = "CONFIG";
/// cgroup id (`u64`) -> workload id (`u32`).
pub const CGROUPS: &str = "CGROUPS";
/// Workload id (`u32`) -> [`crate::WorkloadRecord`].
pub const WORKLOADS: &str = "WORKLOADS";
/// [`crate::Ip`] -> workload id (`u32`).
pub const ADDRESSES: &str = "ADDRESSES";
/// [`crate::ServiceKey`] -> [`crate::ServiceRecord`].
pub const SERVICES: &str = "SERVICES";
/// [`crate::EndpointKey`] -> [`crate::EndpointRecord`].
pub const ENDPOINTS: &str = "ENDPOINTS";
/// Endpoint id -> [`crate::EndpointLoad`].
pub const LOADS: &str = "LOADS";
/// Workload id -> [`crate::Pace`].
pub const PACES: &str = "PACES";
/// Service id -> number of choices made so far (`u64`), for taking turns.
pub const TURNS: &str = "TURNS";
/// [`crate::AffinityKey`] -> [`crate::Affinity`].
pub const AFFINITIES: &str = "AFFINITIES";
/// [`crate::ClassKey`] -> class (`u32`).
pub const POLICY_IDENTITIES: &str = "POLICY_IDENTITIES";
/// [`crate::PortKey`] -> class (`u32`).
pub const POLICY_PORTS: &str = "POLICY_PORTS";
/// [`crate::PrefixKey`] -> class (`u32`).
pub const POLICY_PREFIXES: &str = "POLICY_PREFIXES";
/// [`crate::VerdictKey`] -> [`crate::PolicyVerdict`].
pub const POLICY_VERDICTS: &str = "POLICY_VERDICTS";
/// [`crate::Tuple`] -> [`crate::Ticket`].
pub const TICKETS: &str = "TICKETS";
/// Workload id -> tickets outstanding (`u64`).
pub const TICKET_COUNTS: &str = "TICKET_COUNTS";
/// [`crate::Tuple`] -> [`crate::Connection`].
pub const CONNECTIONS: &str = "CONNECTIONS";
/// [`crate::Tuple`] of a first datagram -> [`crate::Exchange`].
pub const EXCHANGES: &str = "EXCHANGES";
/// Workload id -> exchanges that it has open as a caller (`u64`).
pub const EXCHANGE_COUNTS: &str = "EXCHANGE_COUNTS";
/// Socket storage: [`crate::Peers`].
pub const PEERS: &str = "PEERS";
/// Socket storage: [`crate::SocketState`].
pub const SOCKETS: &str = "SOCKETS";
/// Interface index in the node's namespace -> [`crate::VethRecord`].
pub const VETHS: &str = "VETHS";
/// Workload id -> the node's proxy's listener inside its network namespace.
pub const PROXIES: &str = "PROXIES";
/// [`crate::RefusalKey`] -> [`crate::RefusalSeen`]; the only LRU map: it holds no flow's state.
pub const REFUSALS: &str = "REFUSALS";
/// Counters, `u64`, indexed by [`counter`].
pub const COUNTERS: &str = "COUNTERS";
/// Ring buffer of [`crate::Event`]s.
pub const EVENTS: &str = "EVENTS";

/// Largest number of workloads (replicas counted) on a node; ids are below it.
pub const MAX_WORKLOADS: u32 = 4096;
/// Service ports, counted once for each address family, and service addresses that have room from the start; the agent
/// makes room for more.
pub const MAX_SERVICES: u32 = 65_536;
/// Endpoints in all sets, old and new ones during a swap included, that have room from the start; the agent makes room
/// for more.
pub const MAX_ENDPOINTS: u32 = 262_144;
/// Rows in each of the policy maps, old and new tables during a swap included, that have room from the start; the agent
/// makes room for more.
pub const MAX_POLICY_ROWS: u32 = 262_144;
/// Largest number of callers, counted once for each service, that stay at their endpoints.
pub const MAX_AFFINITIES: u32 = 65_536;
/// Largest number of connections open between workloads.
pub const MAX_CONNECTIONS: u32 = 131_072;
/// Largest number of connection attempts under way.
pub const MAX_TICKETS: u32 = 65_536;
/// Largest number of attempts under way that one workload may have.
pub const MAX_TICKETS_PER_WORKLOAD: u32 = 16_384;
/// Largest number of exchanges of datagrams open between workloads.
pub const MAX_EXCHANGES: u32 = 65_536;
/// Largest number of exchanges that one workload may have open as a caller.
pub const MAX_EXCHANGES_PER_WORKLOAD: u32 = 16_384;
/// Different refusals that are remembered so as to report each once a second.
pub const MAX_REFUSALS: u32 = 4096;
/// Bytes of the ring buffer: room for some 60 000 events.
pub const EVENTS_BYTES: u32 = 8 << 20;

/// Indices into [`COUNTERS`].
pub mod counter {
    /// Events that found no room in the ring buffer.
    pub const EVENTS_LOST: u32 = 0;
    /// Tickets that found no room.
    pub const TICKETS_LOST: u32 = 1;
    /// Accepted connections that found no room in CONNECTIONS.
    pub const CONNECTIONS_LOST: u32 = 2;
    /// Accepted connections open now.
    pub const CONNECTIONS_LIVE: u32 = 3;
    /// Decisions by lane: this plus the lane's number.
    pub const LANES: u32 = 8;
    /// Refusals by reason: this plus the reason's number.
    pub const REASONS: u32 = 16;
    /// Segments of gone connections that `sk_lookup` let fall; no refusal.
    pub const STRAYS: u32 = 4;
    /// Exchanges of datagrams that found no room.
    pub const EXCHANGES_LOST: u32 = 5;
    /// Callers that could not be noted to stay at their endpoint: the consistent choice alone holds them there.
    pub const AFFINITIES_LOST: u32 = 7;
    /// How many counters there are.
    pub const LEN: u32 = 64;
}

/// What a map looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name, and that of its pin.
    pub name: &'static str,
    /// Bytes of a key; 0 for a ring buffer.
    pub key: u32,
    /// Bytes of a value; 0 for a ring buffer.
    pub value: u32,
    /// Rows, or bytes of a ring buffer; 0 for socket storage.
    pub limit: u32,
    /// Who writes it.
    pub writer: Writer,
    /// Changes with the layout of key and value, and with [`REVISION`].
    pub layout: u64,
    /// What it maps to what.
    pub purpose: &'static str,
}

/// Who writes a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The agent; programs only read.
    Agent,
    /// The programs; user space only reads.
    Kernel,
}

impl Spec {
    /// What becomes of its rows when the agent of another version takes over.
    pub const fn life(&self) -> Life {
        match self.writer {
            Writer::Agent => Life::Rebuilt,
            Writer::Kernel if self.is(TURNS) || self.is(REFUSALS) || self.is(EVENTS) => Life::Restarted,
            Writer::Kernel => Life::Kept,
        }
    }

    const fn is(&self, name: &str) -> bool {
        let (mine, other) = (self.name.as_bytes(), name.as_bytes());
        let mut index = 0;
        while index < mine.len() && index < other.len() && mine[index] == other[index] {
            index += 1;
        }
        index == mine.len() && index == other.len()
    }
}

/// What becomes of a map's rows when the agent of another version takes over, or when the map has to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The agent writes them anew: everything in it comes from objects and instances.
    Rebuilt,
    /// They belong to living connections, which only the same layout keeps. Such a map is never replaced.
    Kept,
    /// They begin anew; nothing is lost but memory of the past.
    Restarted,
}

/// Raised when the meaning of rows that the agent writes changes though their layout does not.
pub const REVISION: u32 = 1;

const fn spec<K: Layout, V: Layout>(
    name: &'static str,
    limit: u32,
    writer: Writer,
    purpose: &'static str,
) -> Spec {
    let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
    let mut spec = Spec { name, key, value, limit, writer, layout: 0, purpose };
    spec.layout = fold(K::HASH, &V::HASH.to_le_bytes());
    if matches!(spec.life(), Life::Rebuilt) {
        spec.layout = fold(spec.layout, &REVISION.to_le_bytes());
    }
    spec
}

/// Every map.
pub const SPECS: [Spec; 26] = {
    use Writer::{Agent, Kernel};
    [
        spec::<u32, crate::Config>(CONFIG, 1, Agent, "the mesh's own facts and the generation"),
        spec::<u64, u32>(CGROUPS, MAX_WORKLOADS, Agent, "cgroup -> workload"),
        spec::<u32, crate::WorkloadRecord>(
            WORKLOADS,
            MAX_WORKLOADS,
            Agent,
            "workload -> addresses, identity, policy table",
        ),
        spec::<crate::Ip, u32>(ADDRESSES, 2 * MAX_WORKLOADS, Agent, "address -> workload"),
        spec::<crate::ServiceKey, crate::ServiceRecord>(
            SERVICES,
            MAX_SERVICES,
            Agent,
            "service address and port -> endpoint set",
        ),
        spec::<crate::EndpointKey, crate::EndpointRecord>(
            ENDPOINTS,
            MAX_ENDPOINTS,
            Agent,
            "place in an endpoint set -> endpoint",
        ),
        spec::<u32, crate::EndpointLoad>(LOADS, MAX_WORKLOADS, Kernel, "endpoint -> open connections"),
        spec::<u32, crate::Pace>(
            PACES,
            MAX_WORKLOADS,
            Kernel,
            "workload -> what its limits are compared with",
        ),
        spec::<u32, u64>(TURNS, MAX_SERVICES, Kernel, "service -> choices made in turn"),
        spec::<crate::AffinityKey, crate::Affinity>(
            AFFINITIES,
            MAX_AFFINITIES,
            Kernel,
            "service and caller -> endpoint where it stays",
        ),
        spec::<crate::ClassKey, u32>(
            POLICY_IDENTITIES,
            MAX_POLICY_ROWS,
            Agent,
            "policy table, identity -> class",
        ),
        spec::<crate::PortKey, u32>(POLICY_PORTS, MAX_POLICY_ROWS, Agent, "policy table, port -> class"),
        spec::<crate::PrefixKey, u32>(
            POLICY_PREFIXES,
            MAX_POLICY_ROWS,
            Agent,
            "policy table, source prefix -> class",
        ),
        spec::<crate::VerdictKey, crate::PolicyVerdict>(
            POLICY_VERDICTS,
            MAX_POLICY_ROWS,
            Agent,
            "policy table, classes -> verdict and rule",
        ),
        spec::<crate::Tuple, crate::Ticket>(
            TICKETS,
            MAX_TICKETS,
            Kernel,
            "connection attempt -> the caller's ticket",
        ),
        spec::<u32, u64>(TICKET_COUNTS, MAX_WORKLOADS, Kernel, "workload -> tickets outstanding"),
        spec::<crate::Tuple, crate::Connection>(
            CONNECTIONS,
            MAX_CONNECTIONS,
            Kernel,
            "open accepted connection -> both workloads",
        ),
        spec::<crate::Tuple, crate::Exchange>(
            EXCHANGES,
            MAX_EXCHANGES,
            Kernel,
            "first datagram -> what a socket and a receiver have sent each other",
        ),
        spec::<u32, u64>(EXCHANGE_COUNTS, MAX_WORKLOADS, Kernel, "workload -> exchanges open"),
        spec::<u32, crate::Peers>(PEERS, 0, Kernel, "socket -> its exchanges"),
        spec::<u32, crate::SocketState>(SOCKETS, 0, Kernel, "socket -> stamp and state"),
        spec::<u32, crate::VethRecord>(
            VETHS,
            MAX_WORKLOADS,
            Agent,
            "node-side interface -> addresses that may come in",
        ),
        spec::<u32, u32>(PROXIES, MAX_WORKLOADS, Agent, "workload -> the proxy's listener inside it"),
        spec::<crate::RefusalKey, crate::RefusalSeen>(
            REFUSALS,
            MAX_REFUSALS,
            Kernel,
            "refusal -> when it was last reported (LRU)",
        ),
        spec::<u32, u64>(COUNTERS, counter::LEN, Kernel, "counters of lanes, refusals, losses"),
        Spec {
            name: EVENTS,
            key: 0,
            value: 0,
            limit: EVENTS_BYTES,
            writer: Kernel,
            layout: crate::Event::HASH,
            purpose: "ring buffer of flow events",
        },
    ]
};
