use wabe_abi::{Action, Balance, ClassKey, UDP};

use super::*;
use crate::fake::{Fake, ip};

fn call(tables: &Fake, protocol: u8, destination: &str, port: u16) -> Outbound {
    outbound(tables, &caller(protocol, destination, port))
}

fn caller(protocol: u8, destination: &str, port: u16) -> Caller {
    let source_port = Be16::new(if protocol == UDP { 4000 } else { 0 });
    Caller {
        workload: 1,
        protocol,
        destination: ip(destination),
        port: Be16::new(port),
        source_port,
        only_names: false,
    }
}

fn lane(outcome: Outbound) -> Lane {
    match outcome {
        Outbound::Go(target) => target.lane,
        Outbound::Answer => Lane::Direct,
        Outbound::Refuse { .. } => Lane::Refused,
    }
}

fn reason(outcome: Outbound) -> Option<DropReason> {
    match outcome {
        Outbound::Go(_) | Outbound::Answer => None,
        Outbound::Refuse { reason, .. } => Some(reason),
    }
}

/// Workload 2 behind 10.9.0.1:80, no endpoint behind 10.9.0.2:80.
fn mesh() -> Fake {
    let mut tables = Fake::two_workloads();
    let service = tables.service_with(Balance::TwoChoices, &[100]);
    let key = |address: &str| ServiceKey::port(ip(address), Be16::new(80), TCP);
    tables.endpoints.values_mut().for_each(|endpoint| {
        (endpoint.workload, endpoint.endpoint) = (2, 2);
        (endpoint.address, endpoint.port) = (ip("10.8.1.2"), Be16::new(8080));
    });
    tables.services.insert(key("10.9.0.1"), service);
    tables.services.insert(ServiceKey::address(ip("10.9.0.1")), service);
    let empty = tables.service_with(Balance::TwoChoices, &[]);
    tables.services.insert(key("10.9.0.2"), empty);
    tables
}

#[test]
fn lanes_and_refusals() {
    let mut tables = mesh();
    tables.config.resolvers[0] = ip("192.0.2.53");
    for (destination, port, protocol, expected_lane, expected_reason) in [
        ("10.9.0.1", 80, TCP, Lane::Direct, None),
        ("::ffff:10.9.0.1", 80, TCP, Lane::Direct, None),
        ("10.9.0.1", 81, TCP, Lane::Refused, Some(DropReason::NoSuchPort)),
        ("10.9.0.2", 80, TCP, Lane::Refused, Some(DropReason::NoEndpoint)),
        ("10.9.0.3", 80, TCP, Lane::Refused, Some(DropReason::NoSuchAddress)),
        ("10.8.1.2", 8080, TCP, Lane::Direct, None),
        ("10.8.1.2", 8080, UDP, Lane::Direct, None),
        ("10.9.0.1", 80, UDP, Lane::Refused, Some(DropReason::NoSuchPort)),
        ("fd08::2", 8080, TCP, Lane::Direct, None),
        ("10.8.1.3", 8080, TCP, Lane::Refused, Some(DropReason::NoSuchAddress)),
        ("10.8.1.1", 8080, TCP, Lane::Local, None),
        ("127.0.0.1", 8080, TCP, Lane::Local, None),
        ("0.0.0.0", 8080, TCP, Lane::Local, None),
        ("::1", 53, UDP, Lane::Local, None),
        ("127.0.0.53", 53, UDP, Lane::Names, None),
        ("192.0.2.53", 53, UDP, Lane::Names, None),
        ("192.0.2.53", 53, TCP, Lane::Names, None),
        ("10.8.0.1", 53, UDP, Lane::Names, None),
        ("10.8.0.1", 80, TCP, Lane::Refused, Some(DropReason::NoSuchPort)),
        ("192.0.2.53", 54, UDP, Lane::Refused, Some(DropReason::Egress)),
        ("192.0.2.80", 80, TCP, Lane::Refused, Some(DropReason::Egress)),
        ("224.0.0.251", 5353, UDP, Lane::Refused, Some(DropReason::LinkScoped)),
    ] {
        let outcome = call(&tables, protocol, destination, port);
        assert_eq!(lane(outcome), expected_lane, "{destination}:{port}");
        assert_eq!(reason(outcome), expected_reason, "{destination}:{port}");
    }
}

#[test]
fn a_service_is_rewritten_to_its_endpoint() {
    let Outbound::Go(target) = call(&mesh(), TCP, "10.9.0.1", 80) else { panic!("refused") };
    assert_eq!((target.address, target.port), (ip("10.8.1.2"), Be16::new(8080)));
    assert_eq!((target.workload, target.endpoint, target.service), (2, 2, 1));
}

#[test]
fn names_go_to_the_node_in_the_family_that_was_asked() {
    let mut tables = mesh();
    tables.config.resolvers = [ip("192.0.2.53"), ip("fd99::53"), Ip::UNSPECIFIED, Ip::UNSPECIFIED];
    for (destination, node) in [("192.0.2.53", "10.8.0.1"), ("fd99::53", "fd08::ffff")] {
        let Outbound::Go(target) = call(&tables, UDP, destination, 53) else { panic!("refused") };
        assert_eq!((target.address, target.port), (ip(node), Be16::new(53)));
    }
}

#[test]
fn a_right_to_egress_leads_outside_only() {
    let mut tables = mesh();
    tables.workloads.get_mut(&1).expect("workload").flags = workload_flag::EGRESS;
    assert_eq!(lane(call(&tables, TCP, "192.0.2.80", 80)), Lane::Outside);
    assert_eq!(reason(call(&tables, TCP, "10.8.1.3", 80)), Some(DropReason::NoSuchAddress));
    assert_eq!(reason(call(&tables, TCP, "10.9.0.3", 80)), Some(DropReason::NoSuchAddress));
}

#[test]
fn the_destination_s_policy_refuses_at_the_caller() {
    let mut tables = mesh();
    tables.workloads.get_mut(&2).expect("workload").table = 9;
    assert_eq!(reason(call(&tables, TCP, "10.9.0.1", 80)), Some(DropReason::PolicyUnknown));
    tables.identity_classes.insert(ClassKey { table: 9, identity: 11 }, 0);
    tables.admit(9, 0, 0, 0, Action::Deny as u8);
    let denied = Outbound::Refuse { reason: DropReason::PolicyDeny, rule: 77, workload: 2, service: 1 };
    assert_eq!(call(&tables, TCP, "10.9.0.1", 80), denied);
    tables.admit(9, 0, 0, 0, Action::Allow as u8);
    let Outbound::Go(target) = call(&tables, TCP, "10.9.0.1", 80) else { panic!("refused") };
    assert_eq!(target.rule, 77);
}

#[test]
fn a_workload_reaches_itself_through_its_service_whatever_the_policy() {
    let mut tables = mesh();
    tables.endpoints.values_mut().for_each(|endpoint| endpoint.workload = 1);
    tables.workloads.get_mut(&1).expect("workload").table = 9;
    assert_eq!(lane(call(&tables, TCP, "10.9.0.1", 80)), Lane::Local);
}

#[test]
fn full_tables_and_missing_rows_refuse() {
    let mut full = mesh();
    full.connections = full.config.max_connections.into();
    assert_eq!(reason(call(&full, TCP, "10.9.0.1", 80)), Some(DropReason::TooManyConnections));
    let mut tickets = mesh();
    tickets.ticket_counts.insert(1, tickets.config.max_tickets.into());
    assert_eq!(reason(call(&tickets, TCP, "10.9.0.1", 80)), Some(DropReason::TooManyTickets));
    let mut stopping = mesh();
    stopping.workloads.get_mut(&2).expect("workload").flags = workload_flag::STOPPING;
    assert_eq!(reason(call(&stopping, TCP, "10.8.1.2", 80)), Some(DropReason::Stopping));
    let mut gone = mesh();
    gone.workloads.remove(&2);
    assert_eq!(reason(call(&gone, TCP, "10.9.0.1", 80)), Some(DropReason::Inconsistent));
    let mut hollow = mesh();
    hollow.endpoints.clear();
    assert_eq!(reason(call(&hollow, TCP, "10.9.0.1", 80)), Some(DropReason::Inconsistent));
    let mut stranger = mesh();
    stranger.workloads.remove(&1);
    assert_eq!(reason(call(&stranger, TCP, "127.0.0.1", 80)), Some(DropReason::UnknownWorkload));
    let mut unwritten = mesh();
    unwritten.config.generation = 0;
    assert_eq!(reason(call(&unwritten, TCP, "127.0.0.1", 80)), Some(DropReason::NotConfigured));
}

#[test]
fn naming_an_address_without_sending_is_no_refusal() {
    let tables = mesh();
    for (destination, expected) in [
        ("10.9.0.1", None),
        ("10.8.1.2", None),
        ("fd08::2", None),
        ("192.0.2.80", Some(DropReason::Egress)),
        ("224.0.0.251", Some(DropReason::LinkScoped)),
    ] {
        let caller = Caller { only_names: true, ..caller(UDP, destination, 80) };
        let outcome = outbound(&tables, &caller);
        assert_eq!(reason(outcome), expected, "{destination}");
        if let Outbound::Go(target) = outcome {
            assert_eq!((target.lane, target.address), (Lane::Local, ip(destination)));
        }
    }
}
