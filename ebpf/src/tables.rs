//! The maps, and how the decisions read them.

use core::{
    arch::asm,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, RingBuf, SockMap, lpm_trie::Key},
    helpers::generated::bpf_get_prandom_u32,
    macros::btf_map,
};
use wabe_abi::{
    Affinity, AffinityKey, ClassKey, Config, Connection, EndpointKey, EndpointLoad, EndpointRecord, Event,
    Exchange, Ip, Pace, PolicyVerdict, PortKey, PrefixKey, RefusalKey, RefusalSeen, ServiceKey,
    ServiceRecord, Ticket, Tuple, VerdictKey, VethRecord, WorkloadRecord,
    maps::{
        EVENTS_BYTES, MAX_AFFINITIES, MAX_CONNECTIONS, MAX_ENDPOINTS, MAX_EXCHANGES, MAX_POLICY_ROWS,
        MAX_REFUSALS, MAX_SERVICES, MAX_TICKETS, MAX_WORKLOADS, counter,
    },
};
use wabe_verdict::{Side, Tables};

use crate::report;

/// Written by the agent only, so rows are allocated as they come; what programs write is allocated beforehand.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
pub static CONFIG: Array<Config, 1> = Array::new();
#[btf_map]
pub static CGROUPS: HashMap<u64, u32, { MAX_WORKLOADS as usize }, ON_DEMAND> = HashMap::new();
#[btf_map]
pub static WORKLOADS: HashMap<u32, WorkloadRecord, { MAX_WORKLOADS as usize }, ON_DEMAND> = HashMap::new();
#[btf_map]
pub static ADDRESSES: HashMap<Ip, u32, { 2 * MAX_WORKLOADS as usize }, ON_DEMAND> = HashMap::new();
#[btf_map]
pub static SERVICES: HashMap<ServiceKey, ServiceRecord, { MAX_SERVICES as usize }, ON_DEMAND> =
    HashMap::new();
#[btf_map]
pub static ENDPOINTS: HashMap<EndpointKey, EndpointRecord, { MAX_ENDPOINTS as usize }, ON_DEMAND> =
    HashMap::new();
#[btf_map]
pub static LOADS: Array<EndpointLoad, { MAX_WORKLOADS as usize }> = Array::new();
#[btf_map]
pub static PACES: Array<Pace, { MAX_WORKLOADS as usize }> = Array::new();
#[btf_map]
pub static TURNS: Array<u64, { MAX_SERVICES as usize }> = Array::new();
#[btf_map]
pub static AFFINITIES: HashMap<AffinityKey, Affinity, { MAX_AFFINITIES as usize }> = HashMap::new();
#[btf_map]
pub static POLICY_IDENTITIES: HashMap<ClassKey, u32, { MAX_POLICY_ROWS as usize }, ON_DEMAND> =
    HashMap::new();
#[btf_map]
pub static POLICY_PORTS: HashMap<PortKey, u32, { MAX_POLICY_ROWS as usize }, ON_DEMAND> = HashMap::new();
#[btf_map]
pub static POLICY_PREFIXES: LpmTrie<TableAddress, u32, { MAX_POLICY_ROWS as usize }> = LpmTrie::new();
#[btf_map]
pub static POLICY_VERDICTS: HashMap<VerdictKey, PolicyVerdict, { MAX_POLICY_ROWS as usize }, ON_DEMAND> =
    HashMap::new();
#[btf_map]
pub static TICKETS: HashMap<Tuple, Ticket, { MAX_TICKETS as usize }> = HashMap::new();
#[btf_map]
pub static TICKET_COUNTS: Array<u64, { MAX_WORKLOADS as usize }> = Array::new();
#[btf_map]
pub static CONNECTIONS: HashMap<Tuple, Connection, { MAX_CONNECTIONS as usize }> = HashMap::new();
#[btf_map]
pub static EXCHANGES: HashMap<Tuple, Exchange, { MAX_EXCHANGES as usize }> = HashMap::new();
#[btf_map]
pub static EXCHANGE_COUNTS: Array<u64, { MAX_WORKLOADS as usize }> = Array::new();
#[btf_map]
pub static VETHS: HashMap<u32, VethRecord, { MAX_WORKLOADS as usize }, ON_DEMAND> = HashMap::new();
#[btf_map]
pub static PROXIES: SockMap<{ MAX_WORKLOADS as usize }> = SockMap::new();
#[btf_map]
pub static REFUSALS: LruHashMap<RefusalKey, RefusalSeen, { MAX_REFUSALS as usize }> = LruHashMap::new();
#[btf_map]
pub static COUNTERS: Array<u64, { counter::LEN as usize }> = Array::new();
#[btf_map]
pub static EVENTS: RingBuf<Event, { EVENTS_BYTES as usize }> = RingBuf::new();

/// What follows the prefix length in a [`PrefixKey`].
#[repr(C)]
pub struct TableAddress {
    table: u32,
    address: Ip,
}

/// Adds to a counter. Several CPUs may do so at once.
#[inline(always)]
pub fn add(counter: *mut u64, amount: u64) {
    // SAFETY: the pointer comes from a map's look-up in this run of the program, so it is valid and aligned.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, amount) };
}

/// Counts one more, and tells how many there were: no two that ask get the same. The compiler has no word for this as long as it
/// writes programs for all versions of the instruction set, of which it is the third one's (Linux 5.12).
#[inline(always)]
fn take_one(counter: *mut u64) -> u64 {
    let mut count = 1_u64;
    // SAFETY: as in `add`; nothing else is touched.
    unsafe {
        asm!(
            "{count} = atomic_fetch_add((u64 *)({at} + 0), {count})",
            count = inout(reg) count,
            at = in(reg) counter,
            options(nostack),
        );
    }
    count
}

/// Counts one more.
#[inline(always)]
pub fn count(index: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        add(counter, 1);
    }
}

/// Counts one less.
#[inline(always)]
pub fn uncount(index: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(index) {
        add(counter, u64::MAX);
    }
}

/// The maps as the decisions see them.
pub struct KernelTables;

impl Tables for KernelTables {
    type Row<T: Copy + 'static> = &'static T;

    #[inline(always)]
    fn config(&self) -> Option<&'static Config> {
        CONFIG.get(0)
    }
    #[inline(always)]
    fn workload(&self, id: u32) -> Option<&'static WorkloadRecord> {
        // SAFETY: entries are freed after an RCU grace period only, and a program runs inside one.
        unsafe { WORKLOADS.get(id) }
    }
    #[inline(always)]
    fn workload_at(&self, address: &Ip) -> Option<u32> {
        // SAFETY: as in `workload`.
        unsafe { ADDRESSES.get(address) }.copied()
    }
    #[inline(always)]
    fn service(&self, key: &ServiceKey) -> Option<&'static ServiceRecord> {
        // SAFETY: as in `workload`.
        unsafe { SERVICES.get(key) }
    }
    #[inline(always)]
    fn endpoint(&self, key: &EndpointKey) -> Option<&'static EndpointRecord> {
        // SAFETY: as in `workload`.
        unsafe { ENDPOINTS.get(key) }
    }
    #[inline(always)]
    fn live(&self, endpoint: u32) -> u64 {
        LOADS.get(endpoint).map_or(0, |load| load.live)
    }
    #[inline(always)]
    fn turn(&self, service: u32) -> u64 {
        TURNS.get_ptr_mut(service).map_or(0, take_one)
    }
    #[inline(always)]
    fn affinity(&self, key: &AffinityKey) -> Option<&'static Affinity> {
        // SAFETY: as in `ticket`: a row that is reused meanwhile names another caller's endpoint, which is used only if
        // it is one of this service's.
        unsafe { AFFINITIES.get(key) }
    }
    #[inline(always)]
    fn stay(&self, key: &AffinityKey, affinity: &Affinity) {
        if AFFINITIES.insert(key, affinity, 0).is_err() {
            count(counter::AFFINITIES_LOST);
        }
    }
    #[inline(always)]
    fn now(&self) -> u64 {
        report::now()
    }
    #[inline(always)]
    fn pace(&self, workload: u32) -> Pace {
        PACES.get(workload).copied().unwrap_or_default()
    }
    #[inline(always)]
    fn set_due(&self, workload: u32, side: Side, due: u64) {
        let Some(pace) = PACES.get_ptr_mut(workload) else { return };
        // SAFETY: a valid pointer into an array map. Two CPUs may note the same time: one connection more is let go.
        unsafe {
            match side {
                Side::Outbound => (&raw mut (*pace).outbound).write_volatile(due),
                Side::Inbound => (&raw mut (*pace).inbound).write_volatile(due),
            }
        }
    }
    #[inline(always)]
    fn identity_class(&self, key: &ClassKey) -> Option<u32> {
        // SAFETY: as in `workload`.
        unsafe { POLICY_IDENTITIES.get(key) }.copied()
    }
    #[inline(always)]
    fn port_class(&self, key: &PortKey) -> Option<u32> {
        // SAFETY: as in `workload`.
        unsafe { POLICY_PORTS.get(key) }.copied()
    }
    #[inline(always)]
    fn prefix_class(&self, key: &PrefixKey) -> Option<u32> {
        POLICY_PREFIXES
            .get(&Key::new(key.bits, TableAddress { table: key.table, address: key.address }))
            .copied()
    }
    #[inline(always)]
    fn verdict(&self, key: &VerdictKey) -> Option<&'static PolicyVerdict> {
        // SAFETY: as in `workload`.
        unsafe { POLICY_VERDICTS.get(key) }
    }
    #[inline(always)]
    fn ticket(&self, tuple: &Tuple) -> Option<&'static Ticket> {
        // SAFETY: as in `workload`; the map is allocated beforehand, so an entry that is removed now may be filled
        // anew for another connection while it is read. Its workload is then that of a connection attempt whose
        // address is compared as well, so the worst is a refusal.
        unsafe { TICKETS.get(tuple) }
    }
    #[inline(always)]
    fn tickets_of(&self, workload: u32) -> u64 {
        TICKET_COUNTS.get(workload).copied().unwrap_or(0)
    }
    #[inline(always)]
    fn exchange(&self, tuple: &Tuple) -> Option<&'static Exchange> {
        // SAFETY: as in `ticket`: a row that is reused meanwhile is another exchange's of the same generation at best, and
        // the datagram is then counted there.
        unsafe { EXCHANGES.get(tuple) }
    }
    #[inline(always)]
    fn exchanges_of(&self, workload: u32) -> u64 {
        EXCHANGE_COUNTS.get(workload).copied().unwrap_or(0)
    }
    #[inline(always)]
    fn connections(&self) -> u64 {
        COUNTERS.get(counter::CONNECTIONS_LIVE).copied().unwrap_or(0)
    }
    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }
}
