use wabe_abi::{Action, Balance, ClassKey, Exchange, Limits, TCP, UDP};

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
        vended: false,
        layer7_generation: 0,
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
fn rules_of_layer_7_lead_to_the_proxy_and_what_the_proxy_connects_is_judged_as_the_callers_own() {
    let mut tables = mesh();
    for service in tables.services.values_mut() {
        service.flags |= service_flag::PROXY;
    }
    for destination in ["10.9.0.1", "::ffff:10.9.0.1", "10.9.0.2"] {
        let Outbound::Go(target) = call(&tables, TCP, destination, 80) else { panic!("{destination}") };
        assert_eq!((target.lane, target.address, target.port.host()), (Lane::Proxy, ip(destination), 80));
        assert_eq!((target.workload, target.endpoint, target.service), (0, 0, 1));
    }
    let by_proxy =
        |destination, port| outbound(&tables, &Caller { vended: true, ..caller(TCP, destination, port) });
    assert_eq!(lane(by_proxy("10.9.0.1", 80)), Lane::Direct, "no second proxy");
    assert_eq!(lane(by_proxy("10.8.1.2", 8080)), Lane::Direct);
    assert_eq!(reason(by_proxy("192.0.2.80", 80)), Some(DropReason::Egress), "the caller's own rights");
    tables.ticket_counts.insert(1, tables.config.max_tickets.into());
    assert_eq!(reason(call(&tables, TCP, "10.9.0.1", 80)), Some(DropReason::TooManyTickets));
}

#[test]
fn who_has_policies_of_layer_7_is_dialled_by_its_service() {
    let mut tables = mesh();
    tables.workloads.get_mut(&2).expect("workload").layer7_generation = 7;
    for (destination, port) in [("10.8.1.2", 8080), ("::ffff:10.8.1.2", 8080), ("10.9.0.1", 80)] {
        let refusal = reason(call(&tables, TCP, destination, port));
        assert_eq!(refusal, Some(DropReason::NotByProxy), "{destination}: nobody leads it to the proxy");
    }
    for (layer7_generation, refusal) in
        [(0, Some(DropReason::PolicyNewer)), (6, Some(DropReason::PolicyNewer)), (7, None), (8, None)]
    {
        let by_proxy = Caller { vended: true, layer7_generation, ..caller(TCP, "10.8.1.2", 8080) };
        assert_eq!(reason(outbound(&tables, &by_proxy)), refusal, "{layer7_generation}");
    }
    let direct = Caller { layer7_generation: 8, ..caller(TCP, "10.8.1.2", 8080) };
    assert_eq!(reason(outbound(&tables, &direct)), Some(DropReason::NotByProxy), "only the proxy may say so");
    assert_eq!(lane(call(&tables, UDP, "10.8.1.2", 8080)), Lane::Direct);
    tables.workloads.get_mut(&2).expect("workload").datagram_table = 9;
    assert_eq!(reason(call(&tables, UDP, "10.8.1.2", 8080)), Some(DropReason::PolicyUnknown));
    tables.services.values_mut().for_each(|service| service.flags |= service_flag::PROXY);
    assert_eq!(lane(call(&tables, TCP, "10.9.0.1", 80)), Lane::Proxy);
    // Its own connections are as before.
    let own = Caller { workload: 2, ..caller(TCP, "10.8.1.1", 80) };
    assert_eq!(lane(outbound(&tables, &own)), Lane::Direct);
    let within = Caller { workload: 2, ..caller(TCP, "10.8.1.2", 8080) };
    assert_eq!(lane(outbound(&tables, &within)), Lane::Local);
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
fn each_resolver_and_each_of_the_node_s_addresses_is_asked_for_names() {
    let mut tables = mesh();
    let resolvers = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    tables.config.resolvers = resolvers.map(ip);
    for destination in resolvers.into_iter().chain(["127.0.0.53", "10.8.0.1", "fd08::ffff"]) {
        assert_eq!(lane(call(&tables, UDP, destination, 53)), Lane::Names, "{destination}");
        assert_ne!(lane(call(&tables, UDP, destination, 54)), Lane::Names, "{destination}:54");
    }
    assert_eq!(reason(call(&tables, UDP, "192.0.2.5", 53)), Some(DropReason::Egress));
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
    tables.set_table(2, 9);
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
    tables.set_table(1, 9);
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

/// Workload 2 behind 10.9.0.1:53, and its second copy 3.
fn datagram_mesh() -> Fake {
    let mut tables = Fake::two_workloads();
    let third = tables.workloads[&2];
    tables.workloads.insert(3, WorkloadRecord { v4: ip("10.8.1.3"), v6: ip("fd08::3"), ..third });
    tables.addresses.insert(ip("10.8.1.3"), 3);
    let service = tables.service_with(Balance::RoundRobin, &[100, 100]);
    for (index, workload) in [(0, 2), (1, 3)] {
        let key = wabe_abi::EndpointKey { set: service.endpoint_set, index };
        let endpoint = tables.endpoints.get_mut(&key).expect("endpoint");
        (endpoint.workload, endpoint.endpoint) = (workload, workload);
        (endpoint.address, endpoint.port) = (ip(&std::format!("10.8.1.{workload}")), Be16::new(5300));
        let listed = *endpoint;
        tables.endpoints.insert(wabe_abi::member(service.endpoint_set, workload), listed);
    }
    tables.services.insert(ServiceKey::port(ip("10.9.0.1"), Be16::new(53), UDP), service);
    tables
}

fn chosen(tables: &Fake, caller: &Caller) -> u32 {
    let Outbound::Go(target) = outbound(tables, caller) else { panic!("refused") };
    target.workload
}

#[test]
fn a_socket_s_datagrams_stay_at_their_endpoint_until_it_leaves_or_time_passes() {
    let mut tables = datagram_mesh();
    let mine = caller(UDP, "10.9.0.1", 53);
    let other = Caller { source_port: Be16::new(4001), ..mine };
    let first = chosen(&tables, &mine);
    assert_ne!(chosen(&tables, &other), first, "in turn");
    let second = 1_000_000_000;
    // Whatever the pause, up to a minute.
    for pause in [1, 29, 31, 59, 60, 1, 60, 30, 60] {
        tables.now.set(tables.now.get() + pause * second);
        assert_eq!(chosen(&tables, &mine), first, "after a pause of {pause} s");
    }
    tables.now.set(tables.now.get() + 91 * second);
    let again = chosen(&tables, &mine);
    assert_ne!(again, first, "in turn: the other has had one more");
    let service = tables.services.values().next().copied().expect("a service");
    tables.endpoints.remove(&wabe_abi::member(service.endpoint_set, again));
    let moved: std::collections::BTreeSet<u32> = (0..4).map(|_| chosen(&tables, &mine)).collect();
    assert!(moved.len() > 1 || !moved.contains(&again), "it is no endpoint any more: {moved:?}");
}

#[test]
fn a_socket_without_a_port_has_sent_nothing_and_stays_nowhere() {
    let tables = datagram_mesh();
    let unbound = Caller { source_port: Be16::new(0), ..caller(UDP, "10.9.0.1", 53) };
    assert_ne!(chosen(&tables, &unbound), chosen(&tables, &unbound), "in turn");
    assert!(tables.affinities.borrow().is_empty());
}

#[test]
fn where_the_table_says_where_a_caller_goes_its_sockets_need_no_note() {
    let mut tables = datagram_mesh();
    tables.services.values_mut().for_each(|service| service.balance = Balance::Consistent as u8);
    let mine = caller(UDP, "10.9.0.1", 53);
    assert_eq!(chosen(&tables, &mine), chosen(&tables, &mine));
    assert!(tables.affinities.borrow().is_empty());
}

#[test]
fn connecting_a_socket_for_datagrams_is_a_decision_for_services_only() {
    let tables = datagram_mesh();
    let connect = |destination, port| {
        let caller = Caller { only_names: true, source_port: Be16::new(0), ..caller(UDP, destination, port) };
        outbound(&tables, &caller)
    };
    assert_eq!(lane(connect("10.9.0.1", 53)), Lane::Direct);
    for (destination, port) in [("10.9.0.1", 9), ("10.8.1.2", 0), ("10.8.1.77", 65535)] {
        assert_eq!(lane(connect(destination, port)), Lane::Local, "{destination}:{port}");
    }
}

#[test]
fn datagrams_are_no_connections_to_limits() {
    let mut tables = datagram_mesh();
    tables.connections = tables.config.max_connections.into();
    tables.ticket_counts.insert(1, tables.config.max_tickets.into());
    tables.live.insert(2, 10);
    tables.live.insert(3, 10);
    for workload in tables.workloads.values_mut() {
        workload.inbound = Limits { connections: 1, per_second: 1 };
        workload.outbound = Limits { connections: 1, per_second: 1 };
    }
    for _ in 0..10 {
        assert_eq!(lane(call(&tables, UDP, "10.9.0.1", 53)), Lane::Direct);
    }
    assert_eq!(reason(call(&tables, UDP, "10.8.1.2", 9)), None);
    assert_ne!(reason(call(&tables, TCP, "10.8.1.2", 9)), None);
}

#[test]
fn exchanges_are_bounded_and_those_that_are_open_go_on() {
    let mut tables = datagram_mesh();
    tables.exchange_counts.insert(1, tables.config.max_exchanges.into());
    assert_eq!(reason(call(&tables, UDP, "10.8.1.2", 9)), Some(DropReason::TooManyExchanges));
    let tuple = Tuple::new(UDP, ip("10.8.1.1"), Be16::new(4000), ip("10.8.1.2"), Be16::new(9));
    let known = Exchange { generation: 1, source_workload: 1, rule: 5, ..Exchange::default() };
    tables.exchanges.insert(tuple, known);
    let Outbound::Go(target) = call(&tables, UDP, "10.8.1.2", 9) else { panic!("refused") };
    assert_eq!((target.rule, target.lane), (5, Lane::Direct));
}

#[test]
fn an_answer_is_told_from_a_call() {
    let mut tables = datagram_mesh();
    // Workload 2 has asked from its port 4000; workload 1 answers from its own, 4000 as well.
    let question = Tuple::new(UDP, ip("10.8.1.2"), Be16::new(4000), ip("10.8.1.1"), Be16::new(4000));
    tables.exchanges.insert(question, Exchange { source_workload: 2, ..Exchange::default() });
    // It would not be allowed to call.
    tables.set_table(2, 9);
    assert_eq!(call(&tables, UDP, "10.8.1.2", 4000), Outbound::Answer);
    assert_eq!(reason(call(&tables, UDP, "10.8.1.2", 4001)), Some(DropReason::PolicyUnknown));
    let other_port = Caller { source_port: Be16::new(1), ..caller(UDP, "10.8.1.2", 4000) };
    assert_eq!(reason(outbound(&tables, &other_port)), Some(DropReason::PolicyUnknown));
    // A connection of a socket that was bound to the same port is none.
    let bound = Caller { source_port: Be16::new(4000), ..caller(TCP, "10.8.1.2", 4000) };
    assert_eq!(reason(outbound(&tables, &bound)), Some(DropReason::PolicyUnknown));
}

#[test]
fn an_exchange_of_datagrams_admits_no_connection_and_no_socket_without_a_port() {
    let mut tables = mesh();
    tables.set_table(2, 9);
    for source_port in [0, 4000] {
        let tuple = Tuple::new(UDP, ip("10.8.1.1"), Be16::new(source_port), ip("10.8.1.2"), Be16::new(9));
        tables.exchanges.insert(tuple, Exchange { generation: 1, source_workload: 1, ..Exchange::default() });
        tables.exchanges.insert(tuple.reversed(), Exchange { source_workload: 2, ..Exchange::default() });
    }
    assert_eq!(from_port(&tables, UDP, 4000), Outbound::Answer);
    for (protocol, port) in [(TCP, 4000), (TCP, 0), (UDP, 0)] {
        assert_eq!(
            reason(from_port(&tables, protocol, port)),
            Some(DropReason::PolicyUnknown),
            "{protocol} {port}"
        );
    }
    let question = Tuple::new(UDP, ip("10.8.1.2"), Be16::new(9), ip("10.8.1.1"), Be16::new(4000));
    tables.exchanges.remove(&question);
    assert_eq!(lane(from_port(&tables, UDP, 4000)), Lane::Direct, "its own exchange goes on");
    assert_eq!(reason(from_port(&tables, TCP, 4000)), Some(DropReason::PolicyUnknown));
}

/// To port 9 of workload 2, from a port of our own.
fn from_port(tables: &Fake, protocol: u8, port: u16) -> Outbound {
    outbound(tables, &Caller { source_port: Be16::new(port), ..caller(protocol, "10.8.1.2", 9) })
}

#[test]
fn the_host_is_answered_by_datagrams_only() {
    let mut tables = mesh();
    tables.config.host_v4 = ip("198.51.100.1");
    tables.config.host_v6 = ip("fd77::1");
    assert_eq!(reason(call(&tables, UDP, "fd77::1", 40_000)), Some(DropReason::Egress), "it is a stranger");
    tables.set_table(1, 9);
    tables.identity_classes.insert(ClassKey { table: 9, identity: wabe_abi::STRANGER }, 0);
    tables.admit(9, 0, 0, 0, Action::Allow as u8);
    for host in ["198.51.100.1", "fd77::1"] {
        assert_eq!(call(&tables, UDP, host, 40_000), Outbound::Answer, "{host}");
        assert_eq!(reason(call(&tables, TCP, host, 40_000)), Some(DropReason::Egress), "{host}");
    }
    assert_eq!(reason(call(&tables, UDP, "198.51.100.2", 40_000)), Some(DropReason::Egress));
}
