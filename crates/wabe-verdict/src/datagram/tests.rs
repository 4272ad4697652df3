use wabe_abi::{Action, ClassKey, Ip, Prefix, UDP};

use super::*;
use crate::fake::{Fake, ip};

const NAMES: u16 = 53;

fn tuple(source: &str, port: u16, destination: &str, to: u16) -> Tuple {
    Tuple::new(UDP, ip(source), Be16::new(port), ip(destination), Be16::new(to))
}

/// From workload 1 to workload 2.
fn question() -> Tuple {
    tuple("10.8.1.1", 4000, "10.8.1.2", 9000)
}

fn exchange(generation: u64) -> Exchange {
    Exchange { generation, source_workload: 1, destination_workload: 2, rule: 5, ..Exchange::default() }
}

fn with(tuple: Tuple, generation: u64) -> Fake {
    let mut tables = Fake::two_workloads();
    tables.exchanges.insert(tuple, exchange(generation));
    tables
}

/// Workload 2 has a policy that says this of workload 1's identity.
fn policy(mut tables: Fake, action: Action) -> Fake {
    tables.set_table(2, 9);
    tables.identity_classes.insert(ClassKey { table: 9, identity: 11 }, 0);
    tables.admit(9, 0, 0, 0, action as u8);
    tables
}

fn refused(reason: DropReason, rule: u32, workload: u32) -> Passage {
    Passage::Refuse { reason, rule, workload }
}

#[test]
fn a_first_datagram_begins_an_exchange_if_policy_allows_it() {
    let allowed = Allowed { generation: 1, workload: 2, rule: 0 };
    assert_eq!(passage(&Fake::two_workloads(), 1, &question()), Passage::Begins(allowed));
    let tables = policy(Fake::two_workloads(), Action::Allow);
    assert_eq!(passage(&tables, 1, &question()), Passage::Begins(Allowed { rule: 77, ..allowed }));
    let tables = policy(Fake::two_workloads(), Action::Deny);
    assert_eq!(passage(&tables, 1, &question()), refused(DropReason::PolicyDeny, 77, 2));
}

#[test]
fn an_exchange_goes_on_without_being_judged_until_something_changes() {
    let before = Allowed { generation: 1, workload: 2, rule: 5 };
    for action in [Action::Allow, Action::Deny] {
        let tables = policy(with(question(), 1), action);
        assert_eq!(passage(&tables, 1, &question()), Passage::Continues(before), "{action:?}");
        assert_eq!(passage(&tables, 2, &question().reversed()), Passage::Answers(before), "{action:?}");
    }
}

#[test]
fn an_exchange_of_an_earlier_generation_is_judged_anew_in_both_directions() {
    let mut tables = policy(with(question(), 1), Action::Allow);
    tables.config.generation = 2;
    let anew = Allowed { generation: 2, workload: 2, rule: 77 };
    assert_eq!(passage(&tables, 1, &question()), Passage::Continues(anew));
    assert_eq!(passage(&tables, 2, &question().reversed()), Passage::Answers(anew));
    tables.admit(9, 0, 0, 0, Action::Deny as u8);
    let denied = refused(DropReason::PolicyDeny, 77, 2);
    assert_eq!(passage(&tables, 1, &question()), denied);
    assert_eq!(passage(&tables, 2, &question().reversed()), denied);
}

#[test]
fn an_exchange_is_judged_by_whoever_has_the_address_now() {
    let mut tables = with(question(), 0);
    tables.addresses.insert(ip("10.8.1.2"), 3);
    assert_eq!(passage(&tables, 1, &question()), refused(DropReason::Inconsistent, 0, 3));
    tables.addresses.remove(&ip("10.8.1.2"));
    assert_eq!(passage(&tables, 1, &question()), refused(DropReason::NoSuchAddress, 0, 0));
    // Nobody is there to be answered.
    let mut tables = with(question(), 0);
    tables.workloads.remove(&1);
    assert_eq!(passage(&tables, 2, &question().reversed()), refused(DropReason::NoSuchAddress, 0, 0));
}

#[test]
fn what_another_workload_left_at_the_address_is_no_exchange() {
    let mut tables = with(question(), 1);
    let left = tables.workloads[&1];
    tables.workloads.insert(7, left);
    let allowed = Allowed { generation: 1, workload: 2, rule: 0 };
    assert_eq!(passage(&tables, 7, &question()), Passage::Begins(allowed));
}

#[test]
fn a_stopping_receiver_and_a_full_table_take_no_new_exchange_and_keep_the_old() {
    let stop = |tables: &mut Fake| {
        tables.workloads.get_mut(&2).expect("workload").flags |= workload_flag::STOPPING;
        tables.exchange_counts.insert(1, tables.config.max_exchanges.into());
    };
    let mut old = with(question(), 0);
    stop(&mut old);
    let anew = Allowed { generation: 1, workload: 2, rule: 0 };
    assert_eq!(passage(&old, 1, &question()), Passage::Continues(anew));
    let mut new = Fake::two_workloads();
    stop(&mut new);
    assert_eq!(passage(&new, 1, &question()), refused(DropReason::Stopping, 0, 2));
    new.workloads.get_mut(&2).expect("workload").flags = 0;
    assert_eq!(passage(&new, 1, &question()), refused(DropReason::TooManyExchanges, 0, 2));
    let room = new.config.max_exchanges - 1;
    new.exchange_counts.insert(1, room.into());
    assert!(matches!(passage(&new, 1, &question()), Passage::Begins(_)));
}

#[test]
fn what_stays_inside_or_asks_for_names_belongs_to_no_exchange() {
    let tables = Fake::two_workloads();
    for (source, destination, port) in [
        ("127.0.0.1", "127.0.0.1", 9000),
        ("10.8.1.1", "10.8.1.1", 9000),
        ("::1", "fd08::1", 9000),
        ("10.8.1.1", "10.8.0.1", NAMES),
        ("fd08::1", "fd08::ffff", NAMES),
    ] {
        let outcome = passage(&tables, 1, &tuple(source, 4000, destination, port));
        assert_eq!(outcome, Passage::Free, "{destination}:{port}");
    }
}

#[test]
fn what_no_hook_has_decided_is_refused_here() {
    let mut tables = Fake::two_workloads();
    let address = wabe_abi::ServiceKey::address(ip("10.9.0.1"));
    tables.services.insert(address, wabe_abi::ServiceRecord::default());
    for (source, destination, port, reason) in [
        ("10.8.1.1", "10.8.0.1", 54, DropReason::NoSuchPort),
        ("10.8.1.1", "10.8.1.77", 9000, DropReason::NoSuchAddress),
        ("10.8.1.1", "10.9.0.1", 9000, DropReason::NoSuchPort),
        ("10.8.1.1", "10.9.0.2", 9000, DropReason::NoSuchAddress),
        ("10.8.1.1", "192.0.2.1", 9000, DropReason::Egress),
        ("10.8.1.1", "224.0.0.251", 5353, DropReason::LinkScoped),
        ("10.8.1.2", "10.8.1.77", 9000, DropReason::ForgedSource),
        ("10.8.1.9", "192.0.2.1", 9000, DropReason::ForgedSource),
    ] {
        let outcome = passage(&tables, 1, &tuple(source, 4000, destination, port));
        assert_eq!(outcome, refused(reason, 0, 0), "{source} to {destination}:{port}");
    }
    assert_eq!(passage(&tables, 9, &question()), refused(DropReason::UnknownWorkload, 0, 0));
    tables.config.generation = 0;
    assert_eq!(passage(&tables, 1, &question()), refused(DropReason::NotConfigured, 0, 0));
}

#[test]
fn the_outside_needs_the_right_to_it_with_each_generation() {
    let mut tables = Fake::two_workloads();
    let out = tuple("10.8.1.1", 4000, "192.0.2.1", 123);
    tables.workloads.get_mut(&1).expect("workload").flags = workload_flag::EGRESS;
    let allowed = Allowed { generation: 1, workload: 0, rule: 0 };
    assert_eq!(passage(&tables, 1, &out), Passage::Begins(allowed));
    tables.exchanges.insert(out, Exchange { source_workload: 1, ..Exchange::default() });
    assert_eq!(passage(&tables, 1, &out), Passage::Continues(allowed));
    tables.workloads.get_mut(&1).expect("workload").flags = 0;
    assert_eq!(passage(&tables, 1, &out), refused(DropReason::Egress, 0, 0));
}

#[test]
fn the_host_is_answered_by_whom_it_may_ask() {
    let mut tables = Fake::two_workloads();
    tables.config.host_v4 = ip("10.8.0.3");
    let answer = tuple("10.8.1.2", 9000, "10.8.0.3", 4000);
    assert_eq!(passage(&tables, 2, &answer), refused(DropReason::NoSuchAddress, 0, 0));
    tables.set_table(2, 9);
    tables.identity_classes.insert(ClassKey { table: 9, identity: STRANGER }, 0);
    let host = Prefix::new("10.8.0.3".parse().expect("an address"), 32);
    tables.prefixes.push((host, 9, 1));
    tables.admit(9, 0, 0, 1, Action::Allow as u8);
    tables.admit(9, 0, 0, 0, Action::NoMatch as u8);
    assert_eq!(passage(&tables, 2, &answer), Passage::Free);
    // Only the host: the rest of the world is a matter of egress.
    tables.prefixes.clear();
    tables.admit(9, 0, 0, 0, Action::Allow as u8);
    assert_eq!(passage(&tables, 2, &answer), Passage::Free);
    let world =
        Tuple { destination: Ip::from("192.0.2.1".parse::<std::net::IpAddr>().expect("v4")), ..answer };
    assert_eq!(passage(&tables, 2, &world), refused(DropReason::Egress, 0, 0));
}
