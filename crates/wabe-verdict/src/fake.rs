//! Tables in plain memory, for tests.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use wabe_abi::{
    Affinity, AffinityKey, Balance, ClassKey, Config, EndpointKey, EndpointRecord, Exchange, Ip, Pace,
    PolicyVerdict, PortKey, Prefix, PrefixKey, ServiceKey, ServiceRecord, Ticket, Tuple, VerdictKey,
    WorkloadRecord,
};

use crate::{Row, Side, Tables};

#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) config: Config,
    pub(crate) workloads: BTreeMap<u32, WorkloadRecord>,
    pub(crate) addresses: BTreeMap<Ip, u32>,
    pub(crate) services: BTreeMap<ServiceKey, ServiceRecord>,
    pub(crate) endpoints: BTreeMap<EndpointKey, EndpointRecord>,
    pub(crate) live: BTreeMap<u32, u64>,
    pub(crate) identity_classes: BTreeMap<ClassKey, u32>,
    pub(crate) port_classes: BTreeMap<PortKey, u32>,
    /// Prefix, table, class.
    pub(crate) prefixes: std::vec::Vec<(Prefix, u32, u32)>,
    pub(crate) verdicts: BTreeMap<VerdictKey, PolicyVerdict>,
    pub(crate) tickets: HashMap<Tuple, Ticket>,
    pub(crate) ticket_counts: BTreeMap<u32, u64>,
    pub(crate) exchanges: HashMap<Tuple, Exchange>,
    pub(crate) exchange_counts: BTreeMap<u32, u64>,
    pub(crate) connections: u64,
    pub(crate) affinities: RefCell<BTreeMap<AffinityKey, Affinity>>,
    pub(crate) now: Cell<u64>,
    pub(crate) paces: RefCell<BTreeMap<u32, Pace>>,
    turns: Cell<u64>,
    random: Cell<u64>,
}

pub(crate) fn ip(text: &str) -> Ip {
    text.parse::<IpAddr>().expect("a test's address").into()
}

impl Fake {
    /// Workloads 1 (10.8.1.1, identity 11) and 2 (10.8.1.2, identity 12), no service.
    pub(crate) fn two_workloads() -> Self {
        let prefix = |text: &str, length| Prefix::new(text.parse().expect("address"), length);
        let config = Config {
            generation: 1,
            node_v4: ip("10.8.0.1"),
            node_v6: ip("fd08::ffff"),
            workloads_v4: prefix("10.8.0.0", 16),
            workloads_v6: prefix("fd08::", 64),
            services_v4: prefix("10.9.0.0", 16),
            services_v6: prefix("fd09::", 64),
            max_connections: 1000,
            max_tickets: 100,
            max_exchanges: 100,
            ..Config::default()
        };
        let mut tables = Self { config, ..Self::default() };
        for id in [1, 2] {
            let (v4, v6) = (ip(&std::format!("10.8.1.{id}")), ip(&std::format!("fd08::{id}")));
            let record = WorkloadRecord {
                v4,
                v6,
                identity: 10 + id,
                table: 0,
                flags: 0,
                interface: 100 + id,
                locality: 0,
                ..WorkloadRecord::default()
            };
            tables.workloads.insert(id, record);
            tables.addresses.insert(v4, id);
            tables.addresses.insert(v6, id);
        }
        tables
    }

    /// A service whose endpoints are numbered from 1.
    pub(crate) fn service_with(&mut self, balance: Balance, weights: &[u32]) -> ServiceRecord {
        let set = self.endpoints.len() as u32 + 1;
        for (index, endpoint) in alias_table(weights).into_iter().enumerate() {
            self.endpoints.insert(EndpointKey { set, index: index as u32 }, endpoint);
        }
        ServiceRecord {
            service: 1,
            endpoint_set: set,
            endpoints: weights.len() as u32,
            balance: balance as u8,
            ..ServiceRecord::default()
        }
    }

    /// Has a workload go by a policy table, for connections and datagrams.
    pub(crate) fn set_table(&mut self, workload: u32, table: u32) {
        let record = self.workloads.get_mut(&workload).expect("workload");
        (record.table, record.datagram_table) = (table, table);
    }

    /// Writes a verdict of rule 77.
    pub(crate) fn admit(&mut self, table: u32, identity: u16, port: u16, prefix: u16, action: u8) {
        let key = VerdictKey {
            table,
            identity_class: identity,
            port_class: port,
            prefix_class: prefix,
            reserved: 0,
        };
        self.verdicts.insert(key, PolicyVerdict { rule: 77, action, ..PolicyVerdict::default() });
    }
}

/// Naive Walker construction, enough for a handful of weights.
fn alias_table(weights: &[u32]) -> std::vec::Vec<EndpointRecord> {
    let mean = weights.iter().sum::<u32>() as f64 / weights.len().max(1) as f64;
    let mut left: std::vec::Vec<f64> = weights.iter().map(|weight| f64::from(*weight) / mean).collect();
    let mut table: std::vec::Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| EndpointRecord {
            endpoint: index as u32 + 1,
            workload: index as u32 + 1,
            weight: *weight,
            threshold: u32::MAX,
            alias: index as u32,
            ..EndpointRecord::default()
        })
        .collect();
    let mut open: std::vec::Vec<usize> = (0..weights.len()).collect();
    while let Some(small) = open.iter().copied().find(|index| left[*index] < 0.999_999) {
        let large = open.iter().copied().find(|index| left[*index] > 1.000_001).expect("a larger one");
        table[small].threshold = (left[small] * f64::from(u32::MAX)) as u32;
        table[small].alias = large as u32;
        left[large] -= 1.0 - left[small];
        open.retain(|index| *index != small);
    }
    table
}

impl Tables for Fake {
    type Row<T: Copy + 'static> = Row<T>;

    fn config(&self) -> Option<Row<Config>> {
        Some(Row(self.config))
    }
    fn workload(&self, id: u32) -> Option<Row<WorkloadRecord>> {
        self.workloads.get(&id).copied().map(Row)
    }
    fn workload_at(&self, address: &Ip) -> Option<u32> {
        self.addresses.get(address).copied()
    }
    fn service(&self, key: &ServiceKey) -> Option<Row<ServiceRecord>> {
        self.services.get(key).copied().map(Row)
    }
    fn endpoint(&self, key: &EndpointKey) -> Option<Row<EndpointRecord>> {
        self.endpoints.get(key).copied().map(Row)
    }
    fn live(&self, endpoint: u32) -> u64 {
        self.live.get(&endpoint).copied().unwrap_or(0)
    }
    fn turn(&self, _service: u32) -> u64 {
        self.turns.replace(self.turns.get() + 1)
    }
    fn affinity(&self, key: &AffinityKey) -> Option<Row<Affinity>> {
        self.affinities.borrow().get(key).copied().map(Row)
    }
    fn stay(&self, key: &AffinityKey, affinity: &Affinity) {
        self.affinities.borrow_mut().insert(*key, *affinity);
    }
    fn now(&self) -> u64 {
        self.now.get()
    }
    fn pace(&self, workload: u32) -> Pace {
        self.paces.borrow().get(&workload).copied().unwrap_or_default()
    }
    fn set_due(&self, workload: u32, side: Side, due: u64) {
        let mut paces = self.paces.borrow_mut();
        let pace = paces.entry(workload).or_default();
        match side {
            Side::Outbound => pace.outbound = due,
            Side::Inbound => pace.inbound = due,
        }
    }
    fn identity_class(&self, key: &ClassKey) -> Option<u32> {
        self.identity_classes.get(key).copied()
    }
    fn port_class(&self, key: &PortKey) -> Option<u32> {
        self.port_classes.get(key).copied()
    }
    fn prefix_class(&self, key: &PrefixKey) -> Option<u32> {
        let matching = self
            .prefixes
            .iter()
            .find(|(prefix, table, _)| *table == key.table && prefix.contains(&key.address));
        matching.map(|(_, _, class)| *class)
    }
    fn verdict(&self, key: &VerdictKey) -> Option<Row<PolicyVerdict>> {
        self.verdicts.get(key).copied().map(Row)
    }
    fn ticket(&self, tuple: &Tuple) -> Option<Row<Ticket>> {
        self.tickets.get(tuple).copied().map(Row)
    }
    fn tickets_of(&self, workload: u32) -> u64 {
        self.ticket_counts.get(&workload).copied().unwrap_or(0)
    }
    fn exchange(&self, tuple: &Tuple) -> Option<Row<Exchange>> {
        self.exchanges.get(tuple).copied().map(Row)
    }
    fn exchanges_of(&self, workload: u32) -> u64 {
        self.exchange_counts.get(&workload).copied().unwrap_or(0)
    }
    fn connections(&self) -> u64 {
        self.connections
    }
    /// SplitMix64 (Steele and others, 2014).
    fn random(&self) -> u32 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) as u32
    }
}
