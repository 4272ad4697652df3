//! Plans over random meshes: at no moment does a record name what is not there.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use wabe_abi::{Balance, Be16, Config, EndpointKey, Ip, PolicyVerdict, VethRecord};

use super::*;
use crate::snapshot::{DesiredWorkload, Policies};

fn ip(number: u32) -> Ip {
    IpAddr::V4(Ipv4Addr::from(0x0a08_0000 + number)).into()
}

/// A policy over `identities` identities whose rows all bear `mark`, so that policies differ by it.
fn policy(identities: u32, mark: u32) -> Arc<CompiledPolicy> {
    let verdict = PolicyVerdict { rule: mark, action: 1, ..PolicyVerdict::default() };
    Arc::new(CompiledPolicy {
        identity_classes: (0..=identities).map(|identity| (identity, (identity % 2) as u16)).collect(),
        port_classes: BTreeMap::from([(80, 1)]),
        prefix_classes: BTreeMap::new(),
        verdicts: [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)].map(|key| (key, verdict)).into(),
    })
}

#[derive(Clone, Debug)]
struct Choice {
    /// Workload id -> mark of its policy; 0 for none.
    workloads: BTreeMap<u32, u32>,
    /// Service -> which of the workloads are its endpoints, and with what weight.
    services: BTreeMap<u32, BTreeMap<u32, u32>>,
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let workloads = prop::collection::btree_map(1u32..8, 0u32..4, 0..8);
    let members = prop::collection::btree_map(1u32..8, 1u32..5, 0..6);
    let services = prop::collection::btree_map(1u32..5, members, 0..5);
    prop::collection::vec(
        (workloads, services).prop_map(|(workloads, services)| Choice { workloads, services }),
        1..7,
    )
}

fn desired(choice: &Choice) -> Desired {
    let mut desired =
        Desired { config: Config { workload_level: 3, ..Config::default() }, ..Desired::default() };
    for (id, mark) in &choice.workloads {
        let record = WorkloadRecord { v4: ip(*id), identity: 1 + id % 3, ..WorkloadRecord::default() };
        let policies = (*mark > 0).then(|| {
            // Every other one has rules about requests.
            let connections = policy(4, *mark);
            let datagrams = if mark % 2 == 0 { policy(5, *mark) } else { Arc::clone(&connections) };
            Policies { connections, datagrams, requests: None }
        });
        desired.workloads.insert(*id, DesiredWorkload { record, policies });
        desired.cgroups.insert(u64::from(*id) + 100, *id);
        desired.addresses.insert(ip(*id), *id);
        desired.veths.insert(*id + 10, VethRecord { workload: *id, ..VethRecord::default() });
    }
    for (service, members) in &choice.services {
        let endpoint = |(workload, weight): (&u32, &u32)| DesiredEndpoint {
            workload: *workload,
            address: ip(*workload),
            port: Be16::new(8080),
            weight: *weight,
        };
        let members = members.iter().filter(|(workload, _)| choice.workloads.contains_key(workload));
        let endpoints = members.map(endpoint).collect();
        let key = ServiceKey::port(ip(1000 + service), Be16::new(80), wabe_abi::TCP);
        desired.services.insert(
            key,
            DesiredService {
                service: *service,
                balance: Balance::TwoChoices,
                affinity: 0,
                datagrams: false,
                flags: 0,
                endpoints,
            },
        );
        let address = ServiceKey::address(ip(1000 + service));
        let nothing = DesiredService {
            service: *service,
            balance: Balance::TwoChoices,
            affinity: 0,
            datagrams: false,
            flags: 0,
            endpoints: Vec::new(),
        };
        desired.services.insert(address, nothing);
    }
    desired
}

/// Everything that a record names is there and whole.
fn assert_sound(mirror: &Mirror, tables: &BTreeMap<u32, Arc<CompiledPolicy>>) {
    for (key, record) in &mirror.services {
        for index in 0..record.endpoints {
            let place = EndpointKey { set: record.endpoint_set, index };
            let endpoint =
                mirror.endpoints.get(&place).copied().unwrap_or_else(|| panic!("{key:?} lacks {place:?}"));
            assert!(endpoint.alias < record.endpoints, "{endpoint:?}");
            assert!(mirror.workloads.contains_key(&endpoint.workload), "{endpoint:?} leads nowhere");
        }
    }
    let named = mirror.workloads.values().flat_map(|record| [record.table, record.datagram_table]);
    for table in named.filter(|table| *table != NO_POLICY) {
        let policy = tables.get(&table).unwrap_or_else(|| panic!("nobody knows {table}"));
        assert!(
            policy.identity_rows(table).all(|(key, class)| mirror.identity_classes.get(&key) == Some(&class))
        );
        assert!(policy.port_rows(table).all(|(key, class)| mirror.port_classes.get(&key) == Some(&class)));
        assert!(policy.verdict_rows(table).all(|(key, row)| mirror.verdicts.get(&key) == Some(&row)));
    }
    let leads_to_workload = |id: &u32| assert!(mirror.workloads.contains_key(id), "workload {id} is missing");
    mirror.cgroups.values().for_each(leads_to_workload);
    mirror.addresses.values().for_each(leads_to_workload);
}

/// The tables say what was desired and nothing else.
fn assert_equals(mirror: &Mirror, desired: &Desired, tables: &BTreeMap<u32, Arc<CompiledPolicy>>) {
    assert_eq!(mirror.cgroups, desired.cgroups);
    assert_eq!(mirror.addresses, desired.addresses);
    assert_eq!(mirror.veths, desired.veths);
    assert!(mirror.workloads.keys().eq(desired.workloads.keys()));
    for (id, wanted) in &desired.workloads {
        let record = mirror.workloads[id];
        let without = WorkloadRecord { table: NO_POLICY, datagram_table: NO_POLICY, ..record };
        assert_eq!(without, wanted.record);
        let policies = wanted.policies.as_ref();
        assert_eq!(tables.get(&record.table), policies.map(|it| &it.connections));
        assert_eq!(tables.get(&record.datagram_table), policies.map(|it| &it.datagrams));
    }
    assert!(mirror.services.keys().eq(desired.services.keys()));
    let mut places = 0;
    for (key, wanted) in &desired.services {
        let record = mirror.services[key];
        assert_eq!(record.endpoints as usize, wanted.endpoints.len());
        places += wanted.endpoints.len();
        for (index, endpoint) in wanted.endpoints.iter().enumerate() {
            let key = EndpointKey { set: record.endpoint_set, index: index as u32 };
            let row = mirror.endpoints.get(&key).expect("a place");
            assert_eq!(
                (row.workload, row.address, row.weight),
                (endpoint.workload, endpoint.address, endpoint.weight)
            );
        }
    }
    assert_eq!(mirror.endpoints.len(), places, "endpoint rows are left over");
    let used: BTreeSet<u32> =
        mirror.workloads.values().flat_map(|record| [record.table, record.datagram_table]).collect();
    assert!(mirror.identity_classes.keys().all(|key| used.contains(&key.table)), "a table is left over");
    assert!(mirror.verdicts.keys().all(|key| used.contains(&key.table)), "a table is left over");
}

proptest! {
    #[test]
    fn no_step_exposes_a_record_that_names_nothing(choices in choices()) {
        let mut installed = Installed::default();
        let mut kernel = Mirror::default();
        for choice in &choices {
            let desired = desired(choice);
            let plan = plan(&installed, &desired);
            let mut tables = installed.tables.clone();
            tables.extend(plan.made.tables.clone());
            for (index, write) in plan.writes.iter().enumerate() {
                kernel.apply(write);
                assert_sound(&kernel, &tables);
                let last = index + 1 == plan.writes.len();
                prop_assert_eq!(matches!(write, Write::Config(_)), last, "the generation is raised last");
            }
            let (rows, later) = (plan.rows, plan.later.clone());
            installed.commit(plan);
            prop_assert_eq!(&kernel, &installed.mirror);
            prop_assert!(at_most(&kernel, &rows));
            for write in &later {
                kernel.apply(write);
                installed.mirror.apply(write);
                assert_sound(&kernel, &tables);
            }
            assert_equals(&kernel, &desired, &installed.tables);
        }
    }

    #[test]
    fn an_agent_that_finds_tables_ends_up_with_the_same(choices in choices(), skip_removals: bool) {
        let mut installed = Installed::default();
        for choice in &choices {
            let plan = plan(&installed, &desired(choice));
            let later = plan.later.clone();
            installed.commit(plan);
            let mut kernel = installed.mirror;
            if !skip_removals {
                later.iter().for_each(|write| kernel.apply(write));
            }
            // The agent dies here, with or without having removed what it replaced.
            installed = Installed::found(&kernel.rows(), installed.last);
        }
        let desired = desired(choices.last().expect("one at least"));
        let plan = plan(&installed, &desired);
        let later = plan.later.clone();
        installed.commit(plan);
        let mut kernel = installed.mirror.clone();
        later.iter().for_each(|write| kernel.apply(write));
        assert_equals(&kernel, &desired, &installed.tables);
    }

    #[test]
    fn planning_only_what_changed_ends_where_planning_all_of_it_does(choices in choices()) {
        // Services change only; workloads are all there.
        let workloads: BTreeMap<u32, u32> = (1..8).map(|id| (id, 0)).collect();
        let (mut whole, mut parts) = (Installed::default(), Installed::default());
        let begin = Choice { workloads: workloads.clone(), services: BTreeMap::new() };
        for installed in [&mut whole, &mut parts] {
            let plan = plan(installed, &desired(&begin));
            installed.commit(plan);
        }
        let mut before = desired(&begin).services;
        for choice in &choices {
            let now = desired(&Choice { workloads: workloads.clone(), services: choice.services.clone() });
            let keys = before.keys().chain(now.services.keys()).copied();
            let changes: BTreeMap<ServiceKey, Option<DesiredService>> = keys
                .filter(|key| before.get(key) != now.services.get(key))
                .map(|key| (key, now.services.get(&key).cloned()))
                .collect();
            let by_parts = plan_services(&parts, &changes, &parts.mirror.config, parts.last);
            let by_whole = plan(&whole, &now);
            prop_assert_eq!(by_parts.rows, by_whole.rows);
            for (installed, plan) in [(&mut whole, by_whole), (&mut parts, by_parts)] {
                let later = plan.later.clone();
                installed.commit(plan);
                assert_sound(&installed.mirror, &installed.tables);
                later.iter().for_each(|write| installed.mirror.apply(write));
                assert_equals(&installed.mirror, &now, &installed.tables);
            }
            prop_assert_eq!(&parts.sets.keys().collect::<Vec<_>>(), &whole.sets.keys().collect::<Vec<_>>());
            prop_assert_eq!(parts.mirror.config.generation, whole.mirror.config.generation);
            before = now.services;
        }
    }
}

fn at_most(mirror: &Mirror, rows: &Rows) -> bool {
    let now = mirror.count();
    now.workloads <= rows.workloads
        && now.services <= rows.services
        && now.endpoints <= rows.endpoints
        && now.policies <= rows.policies
}

fn two() -> Choice {
    Choice {
        workloads: BTreeMap::from([(1, 1), (2, 2)]),
        services: BTreeMap::from([(1, BTreeMap::from([(1, 100), (2, 100)])), (2, BTreeMap::from([(2, 1)]))]),
    }
}

/// The tables after one more plan.
fn after(installed: &Installed, desired: &Desired) -> Installed {
    let mut next = installed.clone();
    next.commit(plan(installed, desired));
    next
}

#[test]
fn nothing_changes_nothing_is_written() {
    let desired = desired(&two());
    let first = after(&Installed::default(), &desired);
    let second = plan(&first, &desired);
    assert_eq!((second.writes, second.later), (Vec::new(), Vec::new()));
    assert_eq!(first.mirror.config.generation, 1);
    assert_eq!(after(&first, &desired), first);
}

#[test]
fn an_empty_mesh_has_a_generation_too() {
    let first = after(&Installed::default(), &Desired::default());
    assert_eq!(first.mirror.config.generation, 1);
}

#[test]
fn what_does_not_change_keeps_its_ids() {
    let mut choice = two();
    let first = after(&Installed::default(), &desired(&choice));
    choice.services.insert(1, BTreeMap::from([(1, 100)]));
    choice.workloads.insert(2, 3);
    let plan = plan(&first, &desired(&choice));
    assert_eq!(plan.examine, BTreeSet::from([2]));
    assert!(!plan.writes.iter().any(|write| matches!(write, Write::ResetLoad(_))), "counters stay");
    let mut second = first.clone();
    second.commit(plan);
    let set = |installed: &Installed, service: u32| {
        let key = ServiceKey::port(ip(1000 + service), Be16::new(80), wabe_abi::TCP);
        installed.mirror.services[&key].endpoint_set
    };
    assert_ne!(set(&first, 1), set(&second, 1));
    assert_eq!(set(&first, 2), set(&second, 2));
    let table = |installed: &Installed, id: u32| installed.mirror.workloads[&id].table;
    assert_eq!(table(&first, 1), table(&second, 1));
    assert_ne!(table(&first, 2), table(&second, 2));
}

#[test]
fn a_service_that_lost_all_endpoints_gets_them_back() {
    let full = two();
    let mut empty = full.clone();
    empty.services.insert(1, BTreeMap::new());
    let mut installed = Installed::default();
    for choice in [&full, &empty, &full] {
        installed = after(&installed, &desired(choice));
        assert_sound(&installed.mirror, &installed.tables);
    }
}

#[test]
fn workloads_with_one_policy_share_a_table() {
    let choice = Choice { workloads: BTreeMap::from([(1, 1), (2, 1)]), services: BTreeMap::new() };
    let installed = after(&Installed::default(), &desired(&choice));
    assert_eq!(installed.mirror.workloads[&1].table, installed.mirror.workloads[&2].table);
}

#[test]
fn callers_are_led_to_the_proxy_before_it_is_the_only_way() {
    let before = after(&Installed::default(), &desired(&two()));
    let mut judged = desired(&two());
    judged.workloads.get_mut(&2).expect("one of two").record.layer7_generation = 2;
    let led = service_flag::PROXY;
    judged.services.values_mut().for_each(|it| it.flags |= led);
    let plan = plan(&before, &judged);
    let place = |is_it: &dyn Fn(&Write) -> bool| plan.writes.iter().position(is_it).expect("written");
    let judges = place(&|it| matches!(it, Write::Workload(2, Some(record)) if record.layer7_generation == 2));
    let keys: Vec<_> = judged.services.keys().collect();
    for key in keys {
        let leads = place(
            &|it| matches!(it, Write::Service(of, Some(record)) if of == key && record.flags & led != 0),
        );
        assert!(leads < judges, "{:?}", plan.writes);
    }
    let mut installed = before;
    installed.commit(plan);
    assert_sound(&installed.mirror, &installed.tables);
    assert_equals(&installed.mirror, &judged, &installed.tables);
}
