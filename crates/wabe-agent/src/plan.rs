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
use wabe_abi::{Balance, NO_POLICY, ServiceKey, ServiceRecord, WorkloadRecord, maps};
use wabe_datapath::Write;
use wabe_policy::CompiledPolicy;

use crate::{
    balance,
    mirror::Mirror,
    snapshot::{Desired, DesiredEndpoint, DesiredService},
};

#[cfg(test)]
mod tests;

/// What is in the kernel, and what it was made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Installed {
    /// The tables, with what awaits removal.
    pub mirror: Mirror,
    /// The set of a service's port, and the endpoints that it was made from.
    sets: BTreeMap<ServiceKey, (u32, Balance, Vec<DesiredEndpoint>)>,
    /// The policy that a table was made from.
    tables: BTreeMap<u32, Arc<CompiledPolicy>>,
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
    /// What will be installed once `writes` are done.
    pub next: Installed,
}

/// A table has no room for old and new rows side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}: {rows} rows during the change and {limit} fit; try again in a second, or make smaller changes"
)]
pub struct NoRoom {
    what: &'static str,
    rows: usize,
    limit: u32,
}

impl Installed {
    /// What a dump of the kernel's tables shows. Endpoint sets and policy tables are unknown then: the next plan writes
    /// fresh ones, with ids above `last`, and removes these.
    pub fn found(rows: &[Write], last: LastIds) -> Self {
        let mut mirror = Mirror::default();
        rows.iter().for_each(|row| mirror.apply(row));
        let last_set = mirror.endpoints.keys().map(|key| key.set).max().unwrap_or(0);
        let last_table = [
            mirror.identity_classes.keys().map(|key| key.table).max(),
            mirror.verdicts.keys().map(|key| key.table).max(),
            mirror.workloads.values().map(|record| record.table).max(),
        ];
        let last_table = last_table.into_iter().flatten().max().unwrap_or(0);
        let last = LastIds {
            set: last_set.max(last.set),
            table: last_table.max(last.table),
            generation: last.generation.max(mirror.config.generation),
        };
        Self { mirror, last, ..Self::default() }
    }
}

/// Computes the steps. Without a change the plan is empty and the generation stays.
pub fn plan(installed: &Installed, desired: &Desired) -> Result<Plan, NoRoom> {
    let mut planner = Planner { next: installed.clone(), writes: Vec::new() };
    let examine = planner.workloads(desired);
    planner.services(desired);
    planner.removals(desired);
    let used_after = used(&planner.next.mirror);
    planner.next.sets.retain(|_, (set, ..)| used_after.sets.contains(set));
    planner.next.tables.retain(|table, _| used_after.tables.contains(table));
    let mut config = desired.config;
    config.generation = installed.mirror.config.generation;
    if !planner.writes.is_empty() || config != installed.mirror.config || config.generation == 0 {
        config.generation = config.generation.max(planner.next.last.generation) + 1;
        planner.next.last.generation = config.generation;
        planner.write(Write::Config(config));
    }
    // What nobody names: replaced now, or left behind by an agent that died between a plan and its grace.
    let old_sets = planner.sets_present().into_iter().filter(|set| !used_after.sets.contains(set));
    let old_tables = planner.tables_present().into_iter().filter(|table| !used_after.tables.contains(table));
    let mirror = &planner.next.mirror;
    let mut later: Vec<Write> = old_sets.flat_map(|set| mirror.removal_of_set(set)).collect();
    later.extend(old_tables.flat_map(|table| mirror.removal_of_table(table)));
    check_room(mirror)?;
    Ok(Plan { writes: planner.writes, later, examine, next: planner.next })
}

struct Planner {
    next: Installed,
    writes: Vec<Write>,
}

impl Planner {
    fn write(&mut self, write: Write) {
        self.next.mirror.apply(&write);
        self.writes.push(write);
    }

    /// Policy tables, then the workloads that name them, then what leads to the workloads. Returns the workloads whose
    /// policy or standing changed.
    fn workloads(&mut self, desired: &Desired) -> BTreeSet<u32> {
        let mut changed = BTreeSet::new();
        let mut records = Vec::new();
        for (id, workload) in &desired.workloads {
            let table = workload.policy.as_ref().map_or(NO_POLICY, |policy| self.table(policy));
            let record = WorkloadRecord { table, ..workload.record };
            let before = self.next.mirror.workloads.get(id).copied();
            if before.is_some_and(|before| before.table != table || before.identity != record.identity) {
                changed.insert(*id);
            }
            if before != Some(record) {
                records.push((*id, record, before.is_none()));
            }
        }
        for (id, record, is_new) in records {
            if is_new {
                self.write(Write::ResetLoad(id));
            }
            self.write(Write::Workload(id, Some(record)));
        }
        for (key, id) in &desired.addresses {
            if self.next.mirror.addresses.get(key) != Some(id) {
                self.write(Write::Address(*key, Some(*id)));
            }
        }
        for (key, record) in &desired.veths {
            if self.next.mirror.veths.get(key) != Some(record) {
                self.write(Write::Veth(*key, Some(*record)));
            }
        }
        // Last: from here on the workload's sockets are stamped.
        for (key, id) in &desired.cgroups {
            if self.next.mirror.cgroups.get(key) != Some(id) {
                self.write(Write::Cgroup(*key, Some(*id)));
            }
        }
        changed
    }

    /// The table of a policy: the one that it has, or a fresh one.
    fn table(&mut self, policy: &Arc<CompiledPolicy>) -> u32 {
        let same = |known: &Arc<CompiledPolicy>| Arc::ptr_eq(known, policy) || known == policy;
        if let Some((table, _)) = self.next.tables.iter().find(|(_, known)| same(known)) {
            return *table;
        }
        self.next.last.table += 1;
        let table = self.next.last.table;
        policy
            .identity_rows(table)
            .for_each(|(key, class)| self.write(Write::IdentityClass(key, Some(class))));
        policy.port_rows(table).for_each(|(key, class)| self.write(Write::PortClass(key, Some(class))));
        policy.prefix_rows(table).for_each(|(key, class)| self.write(Write::PrefixClass(key, Some(class))));
        policy.verdict_rows(table).for_each(|(key, verdict)| self.write(Write::Verdict(key, Some(verdict))));
        self.next.tables.insert(table, Arc::clone(policy));
        table
    }

    fn services(&mut self, desired: &Desired) {
        for (key, service) in &desired.services {
            let set = if service.endpoints.is_empty() { 0 } else { self.set(key, service) };
            let record = ServiceRecord {
                service: service.service,
                endpoint_set: set,
                endpoints: balance::places(service),
                affinity: service.affinity,
                balance: service.balance as u8,
                flags: service.flags,
                reserved: [0; 2],
            };
            if self.next.mirror.services.get(key) != Some(&record) {
                self.write(Write::Service(*key, Some(record)));
            }
        }
        let gone: Vec<ServiceKey> = self
            .next
            .mirror
            .services
            .keys()
            .filter(|key| !desired.services.contains_key(key))
            .copied()
            .collect();
        gone.into_iter().for_each(|key| self.write(Write::Service(key, None)));
    }

    /// The endpoint set of a service's port: the one that it has, or a fresh one.
    fn set(&mut self, key: &ServiceKey, service: &DesiredService) -> u32 {
        if let Some((set, balance, endpoints)) = self.next.sets.get(key)
            && (*balance, endpoints) == (service.balance, &service.endpoints)
        {
            return *set;
        }
        self.next.last.set += 1;
        let set = self.next.last.set;
        for (place, record) in balance::rows(service, set) {
            self.write(Write::Endpoint(place, Some(record)));
        }
        self.next.sets.insert(*key, (set, service.balance, service.endpoints.clone()));
        set
    }

    /// Workloads that are gone: what leads to them first.
    fn removals(&mut self, desired: &Desired) {
        let mirror = &self.next.mirror;
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

    fn sets_present(&self) -> BTreeSet<u32> {
        self.next.mirror.endpoints.keys().map(|key| key.set).collect()
    }

    fn tables_present(&self) -> BTreeSet<u32> {
        let mirror = &self.next.mirror;
        let identities = mirror.identity_classes.keys().map(|key| key.table);
        let ports = mirror.port_classes.keys().map(|key| key.table);
        let prefixes = mirror.prefix_classes.keys().map(|key| key.table);
        identities.chain(ports).chain(prefixes).chain(mirror.verdicts.keys().map(|key| key.table)).collect()
    }
}

struct Used {
    sets: BTreeSet<u32>,
    tables: BTreeSet<u32>,
}

/// The sets and tables that records name.
fn used(mirror: &Mirror) -> Used {
    Used {
        sets: mirror.services.values().map(|record| record.endpoint_set).collect(),
        tables: mirror.workloads.values().map(|record| record.table).collect(),
    }
}

fn check_room(mirror: &Mirror) -> Result<(), NoRoom> {
    for (what, rows, limit) in [
        ("endpoints", mirror.endpoints.len(), maps::MAX_ENDPOINTS),
        ("services", mirror.services.len(), maps::MAX_SERVICES),
        ("policies", mirror.policy_rows(), maps::MAX_POLICY_ROWS),
        ("workloads", mirror.workloads.len(), maps::MAX_WORKLOADS),
    ] {
        if rows > limit as usize {
            return Err(NoRoom { what, rows, limit });
        }
    }
    Ok(())
}
