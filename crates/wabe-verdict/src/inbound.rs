//! The receiver's side: what becomes of a packet that looks for a listening socket.

use wabe_abi::{Be16, DropReason, Ip, Lane, STRANGER, TCP, Tuple, UDP, ticket_flag};

use crate::{Tables, authorize, unjudged};

/// Where names are answered.
const NAMES_PORT: Be16 = Be16::new(53);

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Source and destination.
    pub tuple: Tuple,
    /// It came over the workload's own `lo` interface.
    pub over_lo: bool,
}

/// The receiver's side of a verdict.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Reaches the application's socket.
    Admit {
        /// The lane.
        lane: Lane,
        /// The caller's workload; 0 for a stranger.
        source: u32,
        /// The receiver's workload; 0 over `lo`.
        destination: u32,
        /// The rule that admits it; 0 if none was needed.
        rule: u32,
    },
    /// Reaches the listener of the node's proxy inside this workload, which dialled a service.
    ToProxy {
        /// The caller, and the workload whose namespace this is.
        workload: u32,
    },
    /// TCP gets an RST, UDP a port-unreachable.
    Refuse {
        /// Why.
        reason: DropReason,
        /// The rule that refuses; 0 if none does.
        rule: u32,
        /// The caller's workload; 0 for a stranger.
        source: u32,
        /// The receiver's workload; 0 if unknown.
        destination: u32,
    },
    /// A late segment of a connection that is gone (`mechanisms`: the kernel looks these up too): let fall and
    /// counted, but no refusal. A caller's true attempt without a ticket looks the same and fares the same.
    Stray,
}

/// Decides on a connection attempt or datagram at the receiver's side.
#[inline(always)]
pub fn inbound<T: Tables>(tables: &T, arrival: &Arrival) -> Inbound {
    let tuple = &arrival.tuple;
    if tuple.protocol == TCP
        && let Some(ticket) = tables.ticket(tuple)
        && ticket.flags & ticket_flag::PROXY != 0
    {
        return to_proxy(tables, tuple, ticket.workload);
    }
    if arrival.over_lo && tuple.protocol == TCP && is_service(tables, &tuple.destination) {
        // Its ticket is gone, or found no room: a listener of the workload's own at any address must not get it.
        return Inbound::Stray;
    }
    if arrival.over_lo || is_from_itself(tuple) {
        return Inbound::Admit { lane: Lane::Local, source: 0, destination: 0, rule: 0 };
    }
    let refuse = |reason| Inbound::Refuse { reason, rule: 0, source: 0, destination: 0 };
    let Some(config) = tables.config() else { return refuse(DropReason::NotConfigured) };
    if config.generation == 0 {
        return refuse(DropReason::NotConfigured);
    }
    if tuple.protocol == UDP
        && tuple.source_port == NAMES_PORT
        && (tuple.source == config.node_v4 || tuple.source == config.node_v6)
    {
        return Inbound::Admit { lane: Lane::Names, source: 0, destination: 0, rule: 0 };
    }
    let known = if tuple.protocol == UDP { tables.exchange(tuple) } else { None };
    if let Some(known) = &known
        && known.generation == config.generation
    {
        // Judged already, as it left, by the same policy.
        let (source, destination) = (known.source_workload, known.destination_workload);
        return Inbound::Admit { lane: Lane::Direct, source, destination, rule: known.rule };
    }
    let Some(destination) = tables.workload_at(&tuple.destination) else {
        return refuse(DropReason::NoSuchAddress);
    };
    let Some(record) = tables.workload(destination) else {
        return Inbound::Refuse { reason: DropReason::Inconsistent, rule: 0, source: 0, destination };
    };
    let mut done = None;
    let voucher = if tuple.protocol == UDP {
        match &known {
            Some(known) => Some(known.source_workload),
            None => match tables.exchange(&tuple.reversed()) {
                Some(asked) if asked.source_workload == destination => {
                    let (source, rule) = (asked.destination_workload, asked.rule);
                    let lane = if source == 0 { Lane::Outside } else { Lane::Direct };
                    return Inbound::Admit { lane, source, destination, rule };
                }
                Some(_) | None => None,
            },
        }
    } else {
        tables.ticket(tuple).map(|ticket| {
            if ticket.flags & ticket_flag::LAYER7_DONE != 0 {
                done = Some(ticket.generation);
            }
            ticket.workload
        })
    };
    let (source, identity) = match voucher {
        Some(workload) => match tables.workload(workload) {
            Some(caller) if caller.v4 == tuple.source || caller.v6 == tuple.source => {
                (workload, caller.identity)
            }
            Some(_) | None => {
                let reason = DropReason::ForgedSource;
                return Inbound::Refuse { reason, rule: 0, source: workload, destination };
            }
        },
        // Not even a rule about addresses admits it: a workload that gets no ticket (a full table, a datagram sent
        // round the hooks) must not fare better than with one.
        None if tables.workload_at(&tuple.source).is_some() => return Inbound::Stray,
        None => (0, STRANGER),
    };
    let table = if tuple.protocol == UDP { record.datagram_table } else { record.table };
    let outcome = authorize(tables, table, identity, &tuple.source, tuple.destination_port);
    let refusal = match outcome.refusal {
        None if tuple.protocol != UDP => unjudged(&record, done),
        other => other,
    };
    match refusal {
        None if tuple.protocol != UDP && tables.connections() >= u64::from(config.max_connections) => {
            Inbound::Refuse {
                reason: DropReason::TooManyConnections,
                rule: outcome.rule,
                source,
                destination,
            }
        }
        None => Inbound::Admit { lane: Lane::Direct, source, destination, rule: outcome.rule },
        Some(reason) => Inbound::Refuse { reason, rule: outcome.rule, source, destination },
    }
}

#[inline(always)]
fn is_service<T: Tables>(tables: &T, address: &Ip) -> bool {
    tables
        .config()
        .is_some_and(|config| config.services_v4.contains(address) || config.services_v6.contains(address))
}

/// A connection for the proxy never leaves the namespace of the workload that dials, so the ticket's workload, whose
/// address it comes from, is also the one whose listener it gets.
#[inline(always)]
fn to_proxy<T: Tables>(tables: &T, tuple: &Tuple, workload: u32) -> Inbound {
    match tables.workload(workload) {
        Some(caller) if caller.v4 == tuple.source || caller.v6 == tuple.source => {
            Inbound::ToProxy { workload }
        }
        Some(_) | None => {
            let reason = DropReason::ForgedSource;
            Inbound::Refuse { reason, rule: 0, source: workload, destination: 0 }
        }
    }
}

/// Whether a packet is the receiver's own, over `lo`, though the kernel names another interface: to an own address that
/// is no loopback address it names that address's (IPv4: `orig_oif` in `ip_route_output_key_hash_rcu`; IPv6:
/// `ip6_dst_idev` in `ip6_rcv_core`).
///
/// From outside no such packet reaches a socket over IPv4, where own and loopback sources are martians
/// (`fib_validate_source`), nor one with a loopback source over IPv6. That leaves an IPv6 packet that claims to come
/// from its own destination: for TCP it leads nowhere, as its answer goes to the destination too; a datagram could do
/// harm and gets no benefit of the doubt.
#[inline(always)]
fn is_from_itself(tuple: &Tuple) -> bool {
    tuple.source.is_loopback()
        || (tuple.source == tuple.destination && (tuple.source.is_v4() || tuple.protocol == TCP))
}

#[cfg(test)]
mod tests {
    use wabe_abi::{Action, ClassKey, Exchange, Ticket};

    use super::*;
    use crate::fake::{Fake, ip};

    fn arrival(protocol: u8, source: &str, source_port: u16, destination: &str) -> Arrival {
        let tuple = Tuple::new(protocol, ip(source), Be16::new(source_port), ip(destination), Be16::new(80));
        Arrival { tuple, over_lo: false }
    }

    fn refused(reason: DropReason, source: u32, destination: u32) -> Inbound {
        Inbound::Refuse { reason, rule: 0, source, destination }
    }

    fn with_ticket(mut tables: Fake, arrival: &Arrival, workload: u32) -> Fake {
        tables.tickets.insert(arrival.tuple, Ticket { workload, ..Ticket::default() });
        tables
    }

    #[test]
    fn over_lo_is_always_admitted() {
        let mut over_lo = arrival(TCP, "127.0.0.1", 4000, "127.0.0.1");
        over_lo.over_lo = true;
        let admitted = Inbound::Admit { lane: Lane::Local, source: 0, destination: 0, rule: 0 };
        assert_eq!(inbound(&Fake::default(), &over_lo), admitted);
    }

    #[test]
    fn an_own_address_is_over_lo_whatever_interface_is_named() {
        let admitted = Inbound::Admit { lane: Lane::Local, source: 0, destination: 0, rule: 0 };
        let tables = Fake::two_workloads();
        for (protocol, source, destination) in [
            (TCP, "10.8.1.2", "10.8.1.2"),
            (UDP, "10.8.1.2", "10.8.1.2"),
            (TCP, "127.0.0.1", "10.8.1.2"),
            (TCP, "fd08::2", "fd08::2"),
            (UDP, "::1", "fd08::2"),
        ] {
            let outcome = inbound(&tables, &arrival(protocol, source, 4000, destination));
            assert_eq!(outcome, admitted, "{source} to {destination}");
        }
        assert_ne!(inbound(&tables, &arrival(UDP, "fd08::2", 4000, "fd08::2")), admitted);
    }

    #[test]
    fn a_ticket_for_the_proxy_leads_to_the_callers_own_listener() {
        for over_lo in [true, false] {
            let dialled = Arrival { over_lo, ..arrival(TCP, "10.8.1.1", 4000, "10.9.0.7") };
            let mut tables = Fake::two_workloads();
            let ticket = Ticket { workload: 1, flags: ticket_flag::PROXY, ..Ticket::default() };
            tables.tickets.insert(dialled.tuple, ticket);
            assert_eq!(inbound(&tables, &dialled), Inbound::ToProxy { workload: 1 });
            tables.tickets.insert(dialled.tuple, Ticket { workload: 2, ..ticket });
            assert_eq!(inbound(&tables, &dialled), refused(DropReason::ForgedSource, 2, 0));
        }
    }

    #[test]
    fn a_service_address_over_lo_without_a_ticket_reaches_nobody() {
        let dialled = Arrival { over_lo: true, ..arrival(TCP, "10.8.1.1", 4000, "10.9.0.7") };
        assert_eq!(inbound(&Fake::two_workloads(), &dialled), Inbound::Stray);
    }

    #[test]
    fn nothing_is_admitted_before_the_first_generation() {
        let mut tables = Fake::two_workloads();
        tables.config.generation = 0;
        let arrival = arrival(TCP, "10.8.1.1", 4000, "10.8.1.2");
        assert_eq!(inbound(&tables, &arrival), refused(DropReason::NotConfigured, 0, 0));
    }

    #[test]
    fn a_ticket_gives_the_identity() {
        let arrival = arrival(TCP, "10.8.1.1", 4000, "10.8.1.2");
        let tables = with_ticket(Fake::two_workloads(), &arrival, 1);
        let admitted = Inbound::Admit { lane: Lane::Direct, source: 1, destination: 2, rule: 0 };
        assert_eq!(inbound(&tables, &arrival), admitted);
    }

    #[test]
    fn a_mesh_address_without_ticket_is_a_stray() {
        let arrival = arrival(TCP, "10.8.1.1", 4000, "10.8.1.2");
        assert_eq!(inbound(&Fake::two_workloads(), &arrival), Inbound::Stray);
    }

    #[test]
    fn a_rule_about_addresses_is_no_way_round_the_ticket() {
        let mut tables = Fake::two_workloads();
        tables.set_table(2, 9);
        tables.identity_classes.insert(ClassKey { table: 9, identity: STRANGER }, 0);
        tables.admit(9, 0, 0, 0, Action::Allow as u8);
        for protocol in [TCP, UDP] {
            assert_eq!(inbound(&tables, &arrival(protocol, "10.8.1.1", 4000, "10.8.1.2")), Inbound::Stray);
        }
    }

    #[test]
    fn a_stranger_is_refused_unless_a_rule_admits_it() {
        let mut tables = Fake::two_workloads();
        // The host has an address in the workloads' range, too.
        for source in ["192.0.2.9", "10.8.0.1", "10.8.0.2"] {
            let outcome = inbound(&tables, &arrival(TCP, source, 4000, "10.8.1.2"));
            assert_eq!(outcome, refused(DropReason::Stranger, 0, 2), "{source}");
        }
        let arrival = arrival(TCP, "192.0.2.9", 4000, "10.8.1.2");
        tables.set_table(2, 9);
        tables.identity_classes.insert(ClassKey { table: 9, identity: STRANGER }, 0);
        tables.admit(9, 0, 0, 0, Action::Allow as u8);
        let admitted = Inbound::Admit { lane: Lane::Direct, source: 0, destination: 2, rule: 77 };
        assert_eq!(inbound(&tables, &arrival), admitted);
    }

    #[test]
    fn a_ticket_for_another_address_is_a_forgery() {
        let arrival = arrival(TCP, "10.8.1.9", 4000, "10.8.1.2");
        let tables = with_ticket(Fake::two_workloads(), &arrival, 1);
        assert_eq!(inbound(&tables, &arrival), refused(DropReason::ForgedSource, 1, 2));
        let unknown = with_ticket(Fake::two_workloads(), &arrival, 7);
        assert_eq!(inbound(&unknown, &arrival), refused(DropReason::ForgedSource, 7, 2));
    }

    #[test]
    fn an_exchange_vouches_for_its_datagrams() {
        let asks = arrival(UDP, "10.8.1.1", 4000, "10.8.1.2");
        let mut tables = Fake::two_workloads();
        let known = Exchange { source_workload: 1, destination_workload: 2, rule: 5, ..Exchange::default() };
        tables.exchanges.insert(asks.tuple, known);
        let admitted = |rule| Inbound::Admit { lane: Lane::Direct, source: 1, destination: 2, rule };
        assert_eq!(inbound(&tables, &asks), admitted(0), "judged by this generation's policy");
        tables.exchanges.insert(asks.tuple, Exchange { generation: 1, ..known });
        tables.workloads.remove(&1);
        assert_eq!(inbound(&tables, &asks), admitted(5), "judged when it left");
        // A ticket is another protocol's.
        let tables = with_ticket(Fake::two_workloads(), &asks, 1);
        assert_eq!(inbound(&tables, &asks), Inbound::Stray);
    }

    #[test]
    fn an_exchange_of_an_earlier_generation_is_judged_anew() {
        let asks = arrival(UDP, "10.8.1.1", 4000, "10.8.1.2");
        let mut tables = Fake::two_workloads();
        tables.exchanges.insert(asks.tuple, Exchange { source_workload: 1, ..Exchange::default() });
        tables.set_table(2, 9);
        tables.identity_classes.insert(ClassKey { table: 9, identity: 11 }, 0);
        tables.admit(9, 0, 0, 0, Action::Deny as u8);
        let denied = Inbound::Refuse { reason: DropReason::PolicyDeny, rule: 77, source: 1, destination: 2 };
        assert_eq!(inbound(&tables, &asks), denied);
    }

    #[test]
    fn an_answer_comes_in_to_whom_it_answers_whatever_its_own_policy() {
        let answer = arrival(UDP, "10.8.1.2", 80, "10.8.1.1");
        let mut tables = Fake::two_workloads();
        tables.set_table(1, 9);
        let known = Exchange { source_workload: 1, destination_workload: 2, rule: 5, ..Exchange::default() };
        tables.exchanges.insert(answer.tuple.reversed(), known);
        let admitted = Inbound::Admit { lane: Lane::Direct, source: 2, destination: 1, rule: 5 };
        assert_eq!(inbound(&tables, &answer), admitted);
        // From outside the mesh, too.
        let outside = arrival(UDP, "192.0.2.1", 123, "10.8.1.1");
        let known = Exchange { source_workload: 1, ..Exchange::default() };
        tables.exchanges.insert(outside.tuple.reversed(), known);
        let admitted = Inbound::Admit { lane: Lane::Outside, source: 0, destination: 1, rule: 0 };
        assert_eq!(inbound(&tables, &outside), admitted);
        // Nobody else's exchange will do.
        let foreign = Exchange { source_workload: 2, ..Exchange::default() };
        tables.exchanges.insert(outside.tuple.reversed(), foreign);
        assert_eq!(inbound(&tables, &outside), refused(DropReason::PolicyUnknown, 0, 1));
    }

    #[test]
    fn a_full_table_of_connections_is_nothing_to_datagrams() {
        let asks = arrival(UDP, "10.8.1.1", 4000, "10.8.1.2");
        let mut tables = Fake::two_workloads();
        tables.connections = tables.config.max_connections.into();
        tables.exchanges.insert(asks.tuple, Exchange { source_workload: 1, ..Exchange::default() });
        let admitted = Inbound::Admit { lane: Lane::Direct, source: 1, destination: 2, rule: 0 };
        assert_eq!(inbound(&tables, &asks), admitted);
    }

    #[test]
    fn who_has_policies_of_layer_7_takes_connections_of_a_proxy_that_goes_by_them_only() {
        let tcp = arrival(TCP, "10.8.1.1", 4000, "10.8.1.2");
        let mut tables = Fake::two_workloads();
        tables.workloads.get_mut(&2).expect("workload").layer7_generation = 7;
        let done = ticket_flag::DIRECT | ticket_flag::LAYER7_DONE;
        for (flags, generation, refusal) in [
            (ticket_flag::DIRECT, 9, Some(DropReason::NotByProxy)),
            (done, 6, Some(DropReason::PolicyNewer)),
            (done, 7, None),
            (done, 8, None),
        ] {
            let ticket = Ticket { workload: 1, flags, generation, ..Ticket::default() };
            tables.tickets.insert(tcp.tuple, ticket);
            let admitted = Inbound::Admit { lane: Lane::Direct, source: 1, destination: 2, rule: 0 };
            let expected = refusal.map_or(admitted, |reason| refused(reason, 1, 2));
            assert_eq!(inbound(&tables, &tcp), expected, "{flags} {generation}");
        }
        // What stays inside is not judged, and datagrams have a table of their own.
        let lo = arrival(TCP, "10.8.1.2", 4000, "10.8.1.2");
        let inside = Inbound::Admit { lane: Lane::Local, source: 0, destination: 0, rule: 0 };
        assert_eq!(inbound(&tables, &lo), inside);
        let udp = arrival(UDP, "10.8.1.1", 4000, "10.8.1.2");
        tables.exchanges.insert(udp.tuple, Exchange { source_workload: 1, ..Exchange::default() });
        let admitted = Inbound::Admit { lane: Lane::Direct, source: 1, destination: 2, rule: 0 };
        assert_eq!(inbound(&tables, &udp), admitted);
        tables.workloads.get_mut(&2).expect("workload").datagram_table = 9;
        assert_eq!(inbound(&tables, &udp), refused(DropReason::PolicyUnknown, 1, 2));
    }

    #[test]
    fn a_stranger_whose_address_a_rule_admits_is_no_proxy() {
        let arrival = arrival(TCP, "192.0.2.7", 4000, "10.8.1.2");
        let mut tables = Fake::two_workloads();
        tables.set_table(2, 9);
        tables.identity_classes.insert(ClassKey { table: 9, identity: STRANGER }, 0);
        tables.admit(9, 0, 0, 0, Action::Allow as u8);
        assert!(matches!(inbound(&tables, &arrival), Inbound::Admit { source: 0, .. }));
        tables.workloads.get_mut(&2).expect("workload").layer7_generation = 7;
        let refused = Inbound::Refuse { reason: DropReason::NotByProxy, rule: 77, source: 0, destination: 2 };
        assert_eq!(inbound(&tables, &arrival), refused);
    }

    #[test]
    fn an_address_of_nobody_is_refused() {
        let arrival = arrival(TCP, "10.8.1.1", 4000, "10.8.1.77");
        assert_eq!(inbound(&Fake::two_workloads(), &arrival), refused(DropReason::NoSuchAddress, 0, 0));
    }

    #[test]
    fn answers_from_the_name_server_come_in_and_nothing_like_them() {
        let tables = Fake::two_workloads();
        let admitted = Inbound::Admit { lane: Lane::Names, source: 0, destination: 0, rule: 0 };
        assert_eq!(inbound(&tables, &arrival(UDP, "10.8.0.1", 53, "10.8.1.2")), admitted);
        assert_ne!(inbound(&tables, &arrival(UDP, "10.8.0.1", 54, "10.8.1.2")), admitted);
        assert_ne!(inbound(&tables, &arrival(UDP, "10.8.1.1", 53, "10.8.1.2")), admitted);
        assert_ne!(inbound(&tables, &arrival(TCP, "10.8.0.1", 53, "10.8.1.2")), admitted);
    }

    #[test]
    fn a_full_table_admits_no_more() {
        let arrival = arrival(TCP, "10.8.1.1", 4000, "10.8.1.2");
        let mut tables = with_ticket(Fake::two_workloads(), &arrival, 1);
        tables.connections = tables.config.max_connections.into();
        assert_eq!(inbound(&tables, &arrival), refused(DropReason::TooManyConnections, 1, 2));
    }
}
