//! From what the kernel's tables say to what they should say, in steps none of which a connection could trip over.
//!
//! A record never names what is not there: endpoint sets and policy tables are written under fresh ids first, then the
//! records that name them, and what nobody names any more is removed after a grace in which programs that are running
//! now can end. The generation is raised last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use wabe_abi::{Balance, Config, NO_POLICY, ServiceKey, ServiceRecord, WorkloadRecord, service_flag};
use wabe_datapath::Write;
use wabe_policy::CompiledPolicy;

use crate::{
    balance,
    mirror::Mirror,
    sizes::Rows,
    snapshot::{Desired, DesiredEndpoint, DesiredService},
};

#[cfg(test)]
mod tests;

/// An endpoint set's id, and what it was made from.
type Set = (u32, Balance, Vec<DesiredEndpoint>);

/// What is in the kernel, and what it was made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Installed {
    /// The tables, with what awaits removal.
    pub mirror: Mirror,
    /// The set of a service's port, and the endpoints that it was made from.
    pub(crate) sets: BTreeMap<ServiceKey, Set>,
    /// The policy that a table was made from.
    tables: BTreeMap<u32, Arc<CompiledPolicy>>,
    /// Workloads whose open connections are counted already, whether the tables have rows of them or not: tables of another layout
    /// begin empty, counters do not. Until the first plan.
    pub(crate) counted: BTreeSet<u32>,
    /// The highest ids ever given.
    pub last: LastIds,
}

/// The highest ids ever given to what is swapped under fresh ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastIds {
    /// To an endpoint set.
    pub set: u32,
    /// To a policy table.
    pub table: u32,
    /// To a state of the tables: it never goes back, though maps of a new layout begin empty.
    #[serde(default)]
    pub generation: u64,
}

/// Steps from one state of the tables to the next.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// To be written now, in this order. Empty if nothing changes.
    pub writes: Vec<Write>,
    /// To be written after a grace.
    pub later: Vec<Write>,
    /// Workloads whose policy changes: their live connections are to be examined.
    pub examine: BTreeSet<u32>,
    /// Rows that there are once `writes` are done and `later` are not.
    pub rows: Rows,
    /// What else to remember once `writes` are done.
    made: Made,
}

/// What a plan makes the tables from.
#[derive(Clone, Debug, Default, PartialEq)]
struct Made {
    /// New sets of services' ports; `None` for those that have none any more.
    sets: Vec<(ServiceKey, Option<Set>)>,
    /// New policy tables.
    tables: BTreeMap<u32, Arc<CompiledPolicy>>,
    /// Policy tables that nobody names any more.
    old_tables: Vec<u32>,
    last: LastIds,
}

impl Installed {
    /// What a dump of the kernel's tables shows. Endpoint sets and policy tables are unknown then: the next plan writes
    /// fresh ones, with ids above `last`, and removes these.
    pub fn found(rows: &[Write], last: LastIds) -> Self {
        let mut mirror = Mirror::default();
        rows.iter().for_each(|row| mirror.apply(row));
        let last_set = mirror.endpoints.ids().next_back().unwrap_or(0);
        let last_table = [
            mirror.identity_classes.keys().map(|key| key.table).max(),
            mirror.verdicts.keys().map(|key| key.table).max(),
            mirror.workloads.values().map(|record| record.table.max(record.datagram_table)).max(),
        ];
        let last_table = last_table.into_iter().flatten().max().unwrap_or(0);
        let last = LastIds {
            set: last_set.max(last.set),
            table: last_table.max(last.table),
            generation: last.generation.max(mirror.config.generation),
        };
        Self { mirror, last, ..Self::default() }
    }

    /// What another dump shows, after writes of which some failed.
    pub(crate) fn found_again(&self, rows: &[Write]) -> Self {
        Self { counted: self.counted.clone(), ..Self::found(rows, self.last) }
    }

    /// The number of the generation that a plan would raise to.
    pub fn next_generation(&self) -> u64 {
        self.mirror.config.generation.max(self.last.generation) + 1
    }

    /// Remembers what a plan wrote. Costs as much as the plan's changes.
    pub fn commit(&mut self, plan: Plan) {
        plan.writes.iter().for_each(|write| self.mirror.apply(write));
        for (key, set) in plan.made.sets {
            match set {
                Some(set) => drop(self.sets.insert(key, set)),
                None => drop(self.sets.remove(&key)),
            }
        }
        plan.made.old_tables.iter().for_each(|table| drop(self.tables.remove(table)));
        self.tables.extend(plan.made.tables);
        self.counted.clear();
        self.last = plan.made.last;
    }
}

/// Computes the steps to everything that is desired, and what nobody names any more, whoever left it. Without a change
/// the plan is empty and the generation stays.
pub fn plan(installed: &Installed, desired: &Desired) -> Plan {
    let mut planner = Planner::new(installed);
    planner.lead_to_proxy(desired);
    let examine = planner.workloads(desired);
    for (key, service) in &desired.services {
        planner.service(key, service);
    }
    let gone = installed.mirror.services.keys().filter(|key| !desired.services.contains_key(key));
    gone.for_each(|key| planner.no_service(key));
    planner.removals(desired);
    planner.raise(&Config { generation: installed.mirror.config.generation, ..desired.config });
    // What nobody names: replaced now, or left behind by an agent that died between a plan and its grace.
    let old_sets = installed.mirror.endpoints.ids().filter(|set| !planner.sets.contains(set));
    let old_tables: Vec<u32> =
        tables_present(installed).into_iter().filter(|table| !planner.used_tables.contains(table)).collect();
    let mut later: Vec<Write> = old_sets.flat_map(|set| installed.mirror.removal_of_set(set)).collect();
    later.extend(old_tables.iter().flat_map(|table| installed.mirror.removal_of_table(*table)));
    planner.made.old_tables = old_tables;
    planner.finish(later, examine)
}

/// Computes the steps to some services' ports and addresses, `None` being those that go; the rest stays as it is. Costs
/// as much as these do, and ends where [`plan`] would. `config` is what is in force, `last` the highest ids given.
pub fn plan_services(
    installed: &Installed,
    changes: &BTreeMap<ServiceKey, Option<DesiredService>>,
    config: &Config,
    last: LastIds,
) -> Plan {
    let mut planner = Planner::new(installed);
    planner.made.last = last;
    let mut later = Vec::new();
    for (key, change) in changes {
        let before = installed.mirror.services.get(key).map(|record| record.endpoint_set);
        match change {
            Some(service) => planner.service(key, service),
            None => planner.no_service(key),
        }
        if let Some(set) = before.filter(|set| !planner.sets.contains(set)) {
            later.extend(installed.mirror.removal_of_set(set));
        }
    }
    if !planner.writes.is_empty() {
        planner.raise(config);
    }
    planner.finish(later, BTreeSet::new())
}

struct Planner<'a> {
    before: &'a Installed,
    writes: Vec<Write>,
    made: Made,
    rows: Rows,
    /// Sets that are named once the plan is executed, of the services that it looked at.
    sets: BTreeSet<u32>,
    used_tables: BTreeSet<u32>,
}

impl<'a> Planner<'a> {
    fn new(before: &'a Installed) -> Self {
        Self {
            before,
            writes: Vec::new(),
            made: Made { last: before.last, ..Made::default() },
            rows: before.mirror.count(),
            sets: BTreeSet::new(),
            used_tables: BTreeSet::new(),
        }
    }

    fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Raises the generation if anything changes, or the mesh's own facts do.
    fn raise(&mut self, config: &Config) {
        if !self.writes.is_empty() || *config != self.before.mirror.config || config.generation == 0 {
            let generation = config.generation.max(self.made.last.generation) + 1;
            self.made.last.generation = generation;
            let raised = Config { generation, ..*config };
            self.write(Write::Config(Box::new(raised)));
        }
    }

    fn finish(self, later: Vec<Write>, examine: BTreeSet<u32>) -> Plan {
        Plan { writes: self.writes, later, examine, rows: self.rows, made: self.made }
    }

    /// Services whose callers are led to the proxy from now on: before their workloads refuse whoever does not come from there.
    fn lead_to_proxy(&mut self, desired: &Desired) {
        let led = |flags: u8| flags & service_flag::PROXY != 0;
        for (key, _) in desired.services.iter().filter(|(_, it)| led(it.flags)) {
            if let Some(before) = self.before.mirror.services.get(key).filter(|it| !led(it.flags)) {
                let record = ServiceRecord { flags: before.flags | service_flag::PROXY, ..*before };
                self.write(Write::Service(*key, Some(record)));
            }
        }
    }

    /// Policy tables, then the workloads that name them, then what leads to the workloads. Returns the workloads whose
    /// policy or standing changed.
    fn workloads(&mut self, desired: &Desired) -> BTreeSet<u32> {
        let mut changed = BTreeSet::new();
        let mut records = Vec::new();
        for (id, workload) in &desired.workloads {
            let [table, datagram_table] = match &workload.policies {
                Some(policies) => [self.table(&policies.connections), self.table(&policies.datagrams)],
                None => [NO_POLICY; 2],
            };
            let record = WorkloadRecord { table, datagram_table, ..workload.record };
            let before = self.before.mirror.workloads.get(id).copied();
            let judged_by = |it: &WorkloadRecord| (it.table, it.identity, it.layer7_generation);
            if before.is_some_and(|before| judged_by(&before) != judged_by(&record)) {
                changed.insert(*id);
            }
            if before != Some(record) {
                records.push((*id, record, before.is_none()));
            }
        }
        for (id, record, is_new) in records {
            if is_new {
                self.rows.workloads += 1;
                // Who had the id before may have left counts.
                if !self.before.counted.contains(&id) {
                    self.write(Write::ResetLoad(id));
                }
            }
            self.write(Write::Workload(id, Some(record)));
        }
        for (key, id) in &desired.addresses {
            if self.before.mirror.addresses.get(key) != Some(id) {
                self.write(Write::Address(*key, Some(*id)));
            }
        }
        for (key, record) in &desired.veths {
            if self.before.mirror.veths.get(key) != Some(record) {
                self.write(Write::Veth(*key, Some(*record)));
            }
        }
        // Last: from here on the workload's sockets are stamped.
        for (key, id) in &desired.cgroups {
            if self.before.mirror.cgroups.get(key) != Some(id) {
                self.write(Write::Cgroup(*key, Some(*id)));
            }
        }
        changed
    }

    /// The table of a policy: the one that it has, or a fresh one.
    fn table(&mut self, policy: &Arc<CompiledPolicy>) -> u32 {
        let same = |known: &Arc<CompiledPolicy>| Arc::ptr_eq(known, policy) || known == policy;
        let mut known = self.before.tables.iter().chain(&self.made.tables);
        if let Some((table, _)) = known.find(|(_, known)| same(known)) {
            let table = *table;
            self.used_tables.insert(table);
            return table;
        }
        self.made.last.table += 1;
        let table = self.made.last.table;
        policy
            .identity_rows(table)
            .for_each(|(key, class)| self.write(Write::IdentityClass(key, Some(class))));
        policy.port_rows(table).for_each(|(key, class)| self.write(Write::PortClass(key, Some(class))));
        policy.prefix_rows(table).for_each(|(key, class)| self.write(Write::PrefixClass(key, Some(class))));
        policy.verdict_rows(table).for_each(|(key, verdict)| self.write(Write::Verdict(key, Some(verdict))));
        let rows = [
            policy.identity_classes.len(),
            policy.port_classes.len(),
            policy.prefix_classes.len(),
            policy.verdicts.len(),
        ];
        self.rows.policies += rows.into_iter().max().unwrap_or(0);
        self.made.tables.insert(table, Arc::clone(policy));
        self.used_tables.insert(table);
        table
    }

    fn service(&mut self, key: &ServiceKey, service: &DesiredService) {
        let set = if service.endpoints.is_empty() { 0 } else { self.set(key, service) };
        if set == 0 && self.before.sets.contains_key(key) {
            self.made.sets.push((*key, None));
        }
        self.sets.insert(set);
        let record = ServiceRecord {
            service: service.service,
            endpoint_set: set,
            endpoints: balance::places(service),
            affinity: service.affinity,
            balance: service.balance as u8,
            flags: service.flags,
            reserved: [0; 2],
        };
        let before = self.before.mirror.services.get(key);
        self.rows.services += usize::from(before.is_none());
        if before != Some(&record) {
            self.write(Write::Service(*key, Some(record)));
        }
    }

    fn no_service(&mut self, key: &ServiceKey) {
        if self.before.mirror.services.contains_key(key) {
            self.made.sets.push((*key, None));
            self.write(Write::Service(*key, None));
        }
    }

    /// The endpoint set of a service's port: the one that it has, or a fresh one.
    fn set(&mut self, key: &ServiceKey, service: &DesiredService) -> u32 {
        if let Some((set, balance, endpoints)) = self.before.sets.get(key)
            && (*balance, endpoints) == (service.balance, &service.endpoints)
        {
            return *set;
        }
        self.made.last.set += 1;
        let set = self.made.last.set;
        let rows = balance::rows(service, set);
        self.rows.endpoints += rows.len();
        self.writes.extend(rows.into_iter().map(|(place, record)| Write::Endpoint(place, Some(record))));
        self.made.sets.push((*key, Some((set, service.balance, service.endpoints.clone()))));
        set
    }

    /// Workloads that are gone: what leads to them first.
    fn removals(&mut self, desired: &Desired) {
        let mirror = &self.before.mirror;
        let mut gone = Vec::new();
        let cgroups = mirror.cgroups.keys().filter(|key| !desired.cgroups.contains_key(key));
        gone.extend(cgroups.map(|key| Write::Cgroup(*key, None)));
        let addresses = mirror.addresses.keys().filter(|key| !desired.addresses.contains_key(key));
        gone.extend(addresses.map(|key| Write::Address(*key, None)));
        let veths = mirror.veths.keys().filter(|key| !desired.veths.contains_key(key));
        gone.extend(veths.map(|key| Write::Veth(*key, None)));
        let workloads = mirror.workloads.keys().filter(|key| !desired.workloads.contains_key(key));
        gone.extend(workloads.map(|key| Write::Workload(*key, None)));
        gone.into_iter().for_each(|write| self.write(write));
    }
}

fn tables_present(installed: &Installed) -> BTreeSet<u32> {
    let mirror = &installed.mirror;
    let identities = mirror.identity_classes.keys().map(|key| key.table);
    let ports = mirror.port_classes.keys().map(|key| key.table);
    let prefixes = mirror.prefix_classes.keys().map(|key| key.table);
    identities.chain(ports).chain(prefixes).chain(mirror.verdicts.keys().map(|key| key.table)).collect()
}
