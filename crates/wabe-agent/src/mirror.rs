//! What is in the kernel's tables, in memory: the starting point of each plan, and what verdicts are computed on when
//! live connections are examined.

use std::{cell::Cell, collections::BTreeMap};

use wabe_abi::{
    Affinity, AffinityKey, ClassKey, Config, EndpointKey, EndpointRecord, Exchange, Ip, PolicyVerdict,
    PortKey, PrefixKey, ServiceKey, ServiceRecord, Ticket, Tuple, VerdictKey, VethRecord, WorkloadRecord,
    maps,
};
use wabe_datapath::Write;
use wabe_verdict::{Row, Tables};

use crate::sizes::Rows;

mod sets;

pub use sets::Sets;

/// Bits of a prefix key that are the table's: the shortest key there is.
const TABLE_BITS: u32 = 32;

/// The tables that the agent writes, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mirror {
    /// The mesh's own facts; generation 0 before the first write.
    pub config: Config,
    /// cgroup id -> workload id.
    pub cgroups: BTreeMap<u64, u32>,
    /// Workloads by id.
    pub workloads: BTreeMap<u32, WorkloadRecord>,
    /// Address -> workload id.
    pub addresses: BTreeMap<Ip, u32>,
    /// Services' ports and addresses.
    pub services: BTreeMap<ServiceKey, ServiceRecord>,
    /// Endpoint sets.
    pub endpoints: Sets,
    /// Classes of identities.
    pub identity_classes: BTreeMap<ClassKey, u32>,
    /// Classes of ports.
    pub port_classes: BTreeMap<PortKey, u32>,
    /// Classes of source addresses.
    pub prefix_classes: BTreeMap<PrefixKey, u32>,
    /// Verdicts on combinations of classes.
    pub verdicts: BTreeMap<VerdictKey, PolicyVerdict>,
    /// Node-side interfaces.
    pub veths: BTreeMap<u32, VethRecord>,
}

impl Mirror {
    /// Does to memory what the write does to the kernel.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Config(config) => self.config = **config,
            Write::Cgroup(key, value) => put(&mut self.cgroups, *key, *value),
            Write::Workload(key, value) => put(&mut self.workloads, *key, *value),
            Write::Address(key, value) => put(&mut self.addresses, *key, *value),
            Write::Service(key, value) => put(&mut self.services, *key, *value),
            Write::Endpoint(key, value) => self.endpoints.put(*key, *value),
            Write::IdentityClass(key, value) => put(&mut self.identity_classes, *key, *value),
            Write::PortClass(key, value) => put(&mut self.port_classes, *key, *value),
            Write::PrefixClass(key, value) => put(&mut self.prefix_classes, *key, *value),
            Write::Verdict(key, value) => put(&mut self.verdicts, *key, *value),
            Write::Veth(key, value) => put(&mut self.veths, *key, *value),
            Write::ResetLoad(_) => {}
        }
    }

    /// Every row as the write that makes it.
    #[cfg(test)]
    pub fn rows(&self) -> Vec<Write> {
        let mut rows = vec![Write::Config(Box::new(self.config))];
        rows.extend(self.cgroups.iter().map(|(key, value)| Write::Cgroup(*key, Some(*value))));
        rows.extend(self.workloads.iter().map(|(key, value)| Write::Workload(*key, Some(*value))));
        rows.extend(self.addresses.iter().map(|(key, value)| Write::Address(*key, Some(*value))));
        rows.extend(self.services.iter().map(|(key, value)| Write::Service(*key, Some(*value))));
        rows.extend(self.endpoints.iter().map(|(key, value)| Write::Endpoint(key, Some(value))));
        rows.extend(
            self.identity_classes.iter().map(|(key, value)| Write::IdentityClass(*key, Some(*value))),
        );
        rows.extend(self.port_classes.iter().map(|(key, value)| Write::PortClass(*key, Some(*value))));
        rows.extend(self.prefix_classes.iter().map(|(key, value)| Write::PrefixClass(*key, Some(*value))));
        rows.extend(self.verdicts.iter().map(|(key, value)| Write::Verdict(*key, Some(*value))));
        rows.extend(self.veths.iter().map(|(key, value)| Write::Veth(*key, Some(*value))));
        rows
    }

    /// The policy rows of one table as writes that remove them.
    pub fn removal_of_table(&self, table: u32) -> Vec<Write> {
        let identities = ClassKey { table, identity: 0 }..=ClassKey { table, identity: u32::MAX };
        let mut writes: Vec<Write> = self
            .identity_classes
            .range(identities)
            .map(|(key, _)| Write::IdentityClass(*key, None))
            .collect();
        let ports = self.port_classes.keys().filter(|key| key.table == table);
        writes.extend(ports.map(|key| Write::PortClass(*key, None)));
        let prefixes = self.prefix_classes.keys().filter(|key| key.table == table);
        writes.extend(prefixes.map(|key| Write::PrefixClass(*key, None)));
        let verdicts = self.verdicts.keys().filter(|key| key.table == table);
        writes.extend(verdicts.map(|key| Write::Verdict(*key, None)));
        writes
    }

    /// The rows of one endpoint set as writes that remove them.
    pub fn removal_of_set(&self, set: u32) -> Vec<Write> {
        self.endpoints.places(set).map(|key| Write::Endpoint(key, None)).collect()
    }

    /// How many rows there are.
    pub fn count(&self) -> Rows {
        let policies = [
            self.identity_classes.len(),
            self.port_classes.len(),
            self.prefix_classes.len(),
            self.verdicts.len(),
        ];
        Rows {
            workloads: self.workloads.len(),
            services: self.services.len(),
            endpoints: self.endpoints.len(),
            policies: policies.into_iter().max().unwrap_or(0),
        }
    }

    /// How many rows a map of the agent's has, by the map's name; `None` if it is none of those.
    pub fn rows_of(&self, map: &str) -> Option<usize> {
        Some(match map {
            maps::CGROUPS => self.cgroups.len(),
            maps::WORKLOADS => self.workloads.len(),
            maps::ADDRESSES => self.addresses.len(),
            maps::SERVICES => self.services.len(),
            maps::ENDPOINTS => self.endpoints.len(),
            maps::POLICY_IDENTITIES => self.identity_classes.len(),
            maps::POLICY_PORTS => self.port_classes.len(),
            maps::POLICY_PREFIXES => self.prefix_classes.len(),
            maps::POLICY_VERDICTS => self.verdicts.len(),
            maps::VETHS => self.veths.len(),
            _ => return None,
        })
    }
}

fn put<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(table.insert(key, value)),
        None => drop(table.remove(&key)),
    }
}

/// The mirror as verdicts read it. It has no live state: no tickets, no counters, no chance.
pub struct Still<'a> {
    mirror: &'a Mirror,
    turn: Cell<u64>,
    /// Which prefix lengths each table has, so that the longest match needs only as many look-ups.
    lengths: BTreeMap<u32, Vec<u32>>,
}

impl<'a> Still<'a> {
    /// Reads from this mirror.
    pub fn of(mirror: &'a Mirror) -> Self {
        let mut lengths: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        // Keys are ordered by length first, so pushing keeps each list ordered and repeats are neighbours.
        for key in mirror.prefix_classes.keys() {
            let of_table = lengths.entry(key.table).or_default();
            if of_table.last() != Some(&key.bits) {
                of_table.push(key.bits);
            }
        }
        Self { mirror, turn: Cell::new(0), lengths }
    }
}

impl Tables for Still<'_> {
    type Row<T: Copy + 'static> = Row<T>;

    fn config(&self) -> Option<Row<Config>> {
        Some(Row(self.mirror.config))
    }

    fn workload(&self, id: u32) -> Option<Row<WorkloadRecord>> {
        self.mirror.workloads.get(&id).copied().map(Row)
    }

    fn workload_at(&self, address: &Ip) -> Option<u32> {
        self.mirror.addresses.get(address).copied()
    }

    fn service(&self, key: &ServiceKey) -> Option<Row<ServiceRecord>> {
        self.mirror.services.get(key).copied().map(Row)
    }

    fn endpoint(&self, key: &EndpointKey) -> Option<Row<EndpointRecord>> {
        self.mirror.endpoints.get(key).copied().map(Row)
    }

    fn live(&self, _: u32) -> u64 {
        0
    }

    fn turn(&self, _: u32) -> u64 {
        self.turn.replace(self.turn.get() + 1)
    }

    fn affinity(&self, _: &AffinityKey) -> Option<Row<Affinity>> {
        None
    }

    fn stay(&self, _: &AffinityKey, _: &Affinity) {}

    fn now(&self) -> u64 {
        0
    }

    fn identity_class(&self, key: &ClassKey) -> Option<u32> {
        self.mirror.identity_classes.get(key).copied()
    }

    fn port_class(&self, key: &PortKey) -> Option<u32> {
        self.mirror.port_classes.get(key).copied()
    }

    fn prefix_class(&self, key: &PrefixKey) -> Option<u32> {
        let lengths = self.lengths.get(&key.table)?;
        lengths.iter().rev().filter(|bits| **bits <= key.bits).find_map(|bits| {
            let address = leading(&key.address, bits.saturating_sub(TABLE_BITS));
            self.mirror.prefix_classes.get(&PrefixKey { bits: *bits, table: key.table, address }).copied()
        })
    }

    fn verdict(&self, key: &VerdictKey) -> Option<Row<PolicyVerdict>> {
        self.mirror.verdicts.get(key).copied().map(Row)
    }

    fn ticket(&self, _: &Tuple) -> Option<Row<Ticket>> {
        None
    }

    fn tickets_of(&self, _: u32) -> u64 {
        0
    }

    fn exchange(&self, _: &Tuple) -> Option<Row<Exchange>> {
        None
    }

    fn exchanges_of(&self, _: u32) -> u64 {
        0
    }

    fn connections(&self) -> u64 {
        0
    }

    fn random(&self) -> u32 {
        0
    }
}

/// The address with all but its first `bits` bits cleared.
fn leading(address: &Ip, bits: u32) -> Ip {
    let mut address = *address;
    for (index, word) in address.words.iter_mut().enumerate() {
        let here = bits.saturating_sub(index as u32 * 32).min(32);
        let mask = (u64::from(u32::MAX) << (32 - here)) as u32;
        *word = wabe_abi::Be32::new(word.host() & mask);
    }
    address
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn ip(text: &str) -> Ip {
        text.parse::<IpAddr>().expect("a test's address").into()
    }

    #[test]
    fn rows_make_the_same_mirror_again() {
        let mut mirror = Mirror::default();
        mirror.apply(&Write::Cgroup(7, Some(1)));
        mirror.apply(&Write::Workload(1, Some(WorkloadRecord::default())));
        mirror.apply(&Write::Address(ip("10.1.1.1"), Some(1)));
        mirror.apply(&Write::PortClass(PortKey { table: 2, ..PortKey::default() }, Some(3)));
        let mut again = Mirror::default();
        mirror.rows().iter().for_each(|write| again.apply(write));
        assert_eq!(again, mirror);
        mirror.apply(&Write::Cgroup(7, None));
        assert!(mirror.cgroups.is_empty());
    }

    #[test]
    fn the_longest_prefix_of_the_right_table_wins() {
        let mut mirror = Mirror::default();
        for (bits, table, address, class) in [
            (32 + 96 + 8, 1, "10.0.0.0", 1),
            (32 + 96 + 16, 1, "10.1.0.0", 2),
            (32 + 128, 1, "10.1.1.1", 3),
            (32 + 128, 2, "10.1.2.2", 9),
        ] {
            mirror.apply(&Write::PrefixClass(PrefixKey { bits, table, address: ip(address) }, Some(class)));
        }
        let still = Still::of(&mirror);
        let class = |text| still.prefix_class(&PrefixKey { bits: 160, table: 1, address: ip(text) });
        assert_eq!(class("10.1.1.1"), Some(3));
        assert_eq!(class("10.1.2.2"), Some(2));
        assert_eq!(class("10.2.0.1"), Some(1));
        assert_eq!(class("11.0.0.1"), None);
    }

    #[test]
    fn removals_name_the_rows_of_one_table_only() {
        let mut mirror = Mirror::default();
        for table in [1, 2] {
            mirror.apply(&Write::IdentityClass(ClassKey { table, identity: 5 }, Some(0)));
            mirror.apply(&Write::Verdict(
                VerdictKey { table, ..VerdictKey::default() },
                Some(PolicyVerdict::default()),
            ));
            mirror.apply(&Write::Endpoint(
                EndpointKey { set: table, index: 0 },
                Some(EndpointRecord::default()),
            ));
        }
        assert_eq!(mirror.removal_of_table(1).len(), 2);
        assert_eq!(mirror.removal_of_set(2), [Write::Endpoint(EndpointKey { set: 2, index: 0 }, None)]);
    }
}
