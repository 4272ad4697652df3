//! `cgroup_skb/egress`, which each datagram passes with its final addresses, and `sock_release`, where a socket's
//! exchanges end.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::bpf_get_socket_cookie,
    macros::{cgroup_skb, cgroup_sock},
    programs::{SkBuffContext, SockContext, sk_buff::SkBuff},
};
use wabe_abi::{
    AffinityKey, Be16, DropReason, Event, EventKind, Exchange, Ip, Lane, PEERS_OF_A_SOCKET, Peer, Reporter,
    SocketState, TCP, Tuple, UDP, maps::counter, socket_flag,
};
use wabe_verdict::{Allowed, Passage, Tables, Target, passage};

use crate::{
    connect::generation,
    packet::at,
    report,
    storage::{new_peers, peers_of, state_of},
    tables::{AFFINITIES, EXCHANGE_COUNTS, EXCHANGES, KernelTables, add, count},
};

/// Go on; else the system call fails with EPERM.
const PASS: i32 = 1;
const FAIL: i32 = 0;
const UDP_HEADER: u32 = 8;
const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
/// Offsets in an IP header; the destination's address follows the source's.
const PROTOCOL_V4: usize = 9;
const SOURCE_V4: usize = 12;
const PROTOCOL_V6: usize = 6;
const SOURCE_V6: usize = 8;

#[cgroup_skb(egress)]
pub fn wabe_egress(ctx: SkBuffContext) -> i32 {
    let Some(packet) = datagram(&ctx.skb) else { return PASS };
    let tuple = packet.tuple;
    // SAFETY: the context is valid while the program runs.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk }.cast::<c_void>();
    let stamped = state_of(socket).filter(|state| state.flags & socket_flag::STAMPED != 0);
    let Some(state) = stamped else { return refuse(0, &tuple, DropReason::Unstamped, 0, 0) };
    if packet.is_hidden {
        return refuse(state.workload, &tuple, DropReason::Protocol, 0, 0);
    }
    match passage(&KernelTables, state.workload, &tuple) {
        Passage::Free => PASS,
        Passage::Continues(allowed) => {
            note(&tuple, &allowed, packet.payload, Way::There);
            PASS
        }
        Passage::Answers(allowed) => {
            note(&tuple.reversed(), &allowed, packet.payload, Way::Back);
            PASS
        }
        Passage::Begins(allowed) => {
            // SAFETY: the helper takes the hook's context.
            let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
            if !begin(socket, cookie, &tuple, &connected(state, &tuple, &allowed)) {
                return refuse(state.workload, &tuple, DropReason::TooManyExchanges, 0, allowed.workload);
            }
            note(&tuple, &allowed, packet.payload, Way::There);
            PASS
        }
        Passage::Refuse { reason, rule, workload } => refuse(state.workload, &tuple, reason, rule, workload),
    }
}

#[cgroup_sock(sock_release)]
pub fn wabe_release(ctx: SockContext) -> i32 {
    // Not only those of UDP: a raw socket may have sent datagrams, too.
    // SAFETY: the context's socket is valid while the program runs.
    if unsafe { (*ctx.sock).protocol } == u32::from(TCP) {
        return report::ALLOW;
    }
    let Some(peers) = peers_of(ctx.sock.cast()) else { return report::ALLOW };
    // SAFETY: the helper takes the hook's context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.sock.cast()) };
    for peer in peers.peers.iter().take(PEERS_OF_A_SOCKET as usize) {
        // They are filled in turn.
        if peer.tuple.protocol == 0 {
            break;
        }
        end(peer, cookie);
    }
    report::ALLOW
}

/// Who begins an exchange by naming an address.
pub struct Begin {
    pub socket: *mut c_void,
    pub cookie: u64,
    pub workload: u32,
    pub source_port: Be16,
    pub dialled: Ip,
    pub dialled_port: Be16,
    pub service: u32,
}

/// Begins the exchange that a datagram to `target` belongs to, or goes on with it. `false` if there is no room.
#[inline(always)]
pub fn take_part(who: &Begin, target: &Target) -> bool {
    let (Some(config), Some(record)) = (KernelTables.config(), KernelTables.workload(who.workload)) else {
        return false;
    };
    let source = if target.address.is_v4() { record.v4 } else { record.v6 };
    let tuple = Tuple::new(UDP, source, who.source_port, target.address, target.port);
    if let Some(known) = EXCHANGES.get_ptr_mut(tuple) {
        // SAFETY: a valid pointer into the map.
        let known = unsafe { &mut *known };
        if known.source_workload == who.workload {
            // The same receiver by another name.
            if known.dialled != who.dialled || known.dialled_port != who.dialled_port {
                known.dialled = who.dialled;
                known.dialled_port = who.dialled_port;
                known.service = who.service;
            }
            return true;
        }
    }
    let exchange = Exchange {
        dialled: who.dialled,
        opened: report::now(),
        generation: config.generation,
        cookie: who.cookie,
        source_workload: who.workload,
        destination_workload: target.workload,
        service: who.service,
        rule: target.rule,
        dialled_port: who.dialled_port,
        ..Exchange::default()
    };
    begin(who.socket, who.cookie, &tuple, &exchange)
}

/// The first datagram of a connected socket: it has been decided where to, or that it names a workload itself.
#[inline(always)]
fn connected(state: &SocketState, tuple: &Tuple, allowed: &Allowed) -> Exchange {
    let mut exchange = Exchange {
        dialled: tuple.destination,
        dialled_port: tuple.destination_port,
        opened: report::now(),
        generation: allowed.generation,
        source_workload: state.workload,
        destination_workload: allowed.workload,
        rule: allowed.rule,
        ..Exchange::default()
    };
    if state.lane == Lane::Direct as u8 && state.peer_workload == allowed.workload {
        exchange.dialled = state.dialled;
        exchange.dialled_port = state.dialled_port;
        exchange.service = state.service;
    }
    exchange
}

/// Notes an exchange, and that it ends with the socket. `false` if there is no room.
#[inline(always)]
fn begin(socket: *mut c_void, cookie: u64, tuple: &Tuple, exchange: &Exchange) -> bool {
    let mut exchange = *exchange;
    exchange.cookie = cookie;
    let Some(peers) = new_peers(socket) else {
        count(counter::EXCHANGES_LOST);
        return false;
    };
    if let Some(known) = KernelTables.exchange(tuple)
        && known.source_workload != exchange.source_workload
    {
        // A workload left it that had the address before.
        forget(tuple, known.source_workload);
    }
    if EXCHANGES.insert(tuple, exchange, BPF_NOEXIST.into()).is_err() {
        // Several sockets of a workload may have one port (SO_REUSEPORT): it is everybody's, and ends with the first's.
        let is_there = KernelTables.exchange(tuple).is_some();
        if !is_there {
            count(counter::EXCHANGES_LOST);
        }
        return is_there;
    }
    if let Some(open) = EXCHANGE_COUNTS.get_ptr_mut(exchange.source_workload) {
        add(open, 1);
    }
    let place = peers.begun % PEERS_OF_A_SOCKET;
    peers.begun += 1;
    if let Some(peer) = peers.peers.get_mut(place as usize) {
        if peer.tuple.protocol != 0 {
            end(peer, cookie);
        }
        *peer = Peer { tuple: *tuple, service: exchange.service };
    }
    count(counter::LANES + lane(&exchange) as u32);
    report::send(&event(tuple, &exchange, EventKind::Opened, exchange.opened));
    true
}

/// Ends an exchange, if it is still this socket's.
#[inline(always)]
fn end(peer: &Peer, cookie: u64) {
    let tuple = &peer.tuple;
    let Some(exchange) = KernelTables.exchange(tuple) else { return };
    if exchange.cookie != cookie {
        return;
    }
    let key =
        AffinityKey { client: tuple.source, service: peer.service, port: tuple.source_port, reserved: 0 };
    if KernelTables.affinity(&key).is_some_and(|stays| stays.endpoint == exchange.destination_workload) {
        let _ = AFFINITIES.remove(key);
    }
    let at = report::now();
    let mut closed = event(tuple, exchange, EventKind::Closed, at);
    closed.duration = at - exchange.opened;
    closed.bytes_sent = exchange.sent;
    closed.bytes_received = exchange.received;
    forget(tuple, exchange.source_workload);
    report::send(&closed);
}

/// Removes an exchange; whoever succeeds uncounts it.
#[inline(always)]
fn forget(tuple: &Tuple, workload: u32) {
    if EXCHANGES.remove(tuple).is_ok()
        && let Some(open) = EXCHANGE_COUNTS.get_ptr_mut(workload)
    {
        add(open, u64::MAX);
    }
}

/// Which way a datagram goes, seen from who began.
enum Way {
    There,
    Back,
}

/// Counts a datagram, and who allowed it.
#[inline(always)]
fn note(tuple: &Tuple, allowed: &Allowed, payload: u32, way: Way) {
    let Some(exchange) = EXCHANGES.get_ptr_mut(tuple) else { return };
    // SAFETY: a valid pointer into the map; see `Tables::exchange` for rows that are reused meanwhile.
    unsafe {
        let bytes = match way {
            Way::There => &raw mut (*exchange).sent,
            Way::Back => &raw mut (*exchange).received,
        };
        add(bytes, payload.into());
        if (*exchange).generation != allowed.generation {
            (*exchange).generation = allowed.generation;
            (*exchange).destination_workload = allowed.workload;
            (*exchange).rule = allowed.rule;
        }
    }
}

#[inline(always)]
fn lane(exchange: &Exchange) -> Lane {
    match exchange.destination_workload {
        0 => Lane::Outside,
        itself if itself == exchange.source_workload => Lane::Local,
        _ => Lane::Direct,
    }
}

#[inline(always)]
fn event(tuple: &Tuple, exchange: &Exchange, kind: EventKind, time: u64) -> Event {
    Event {
        source: tuple.source,
        destination: tuple.destination,
        dialled: exchange.dialled,
        time,
        generation: exchange.generation,
        source_workload: exchange.source_workload,
        destination_workload: exchange.destination_workload,
        service: exchange.service,
        rule: exchange.rule,
        source_port: tuple.source_port,
        destination_port: tuple.destination_port,
        dialled_port: exchange.dialled_port,
        kind: kind as u8,
        reporter: Reporter::Source as u8,
        lane: lane(exchange) as u8,
        protocol: UDP,
        ..Event::default()
    }
}

#[inline(always)]
fn refuse(workload: u32, tuple: &Tuple, reason: DropReason, rule: u32, peer_workload: u32) -> i32 {
    report::tell(&report::Refusal {
        source: tuple.source,
        destination: tuple.destination,
        generation: generation(),
        workload,
        peer_workload,
        service: 0,
        rule,
        source_port: tuple.source_port,
        port: tuple.destination_port,
        protocol: UDP,
        reporter: Reporter::Source,
        reason,
    });
    FAIL
}

/// What leaves a socket.
struct Packet {
    tuple: Tuple,
    /// Bytes.
    payload: u32,
    /// What it is stands behind IPv6 extension headers. Nothing looks there, so it may be a datagram.
    is_hidden: bool,
}

/// `None` if it is no UDP. A segmentation offload's datagrams come as one.
#[inline(always)]
fn datagram(packet: &SkBuff) -> Option<Packet> {
    // As far as either protocol's number.
    let head: [u8; PROTOCOL_V4 + 1] = at(packet, 0)?;
    let is_v4 = head[0] >> 4 == 4;
    let protocol = head[if is_v4 { PROTOCOL_V4 } else { PROTOCOL_V6 }];
    let is_hidden = !is_v4 && is_extension(protocol);
    if protocol != UDP && !is_hidden {
        return None;
    }
    let (source, destination, header) = if is_v4 {
        let [source, destination] = at::<[u32; 2]>(packet, SOURCE_V4)?;
        (Ip::v4(source), Ip::v4(destination), u32::from(head[0] & 0xf) * 4)
    } else {
        let [a, b, c, d, e, f, g, h] = at::<[u32; 8]>(packet, SOURCE_V6)?;
        (Ip::v6([a, b, c, d]), Ip::v6([e, f, g, h]), IPV6_HEADER)
    };
    // With options where they are is not known beforehand.
    let ports: Option<[u16; 2]> = match header {
        IPV4_HEADER => at(packet, IPV4_HEADER as usize),
        IPV6_HEADER => at(packet, IPV6_HEADER as usize),
        _ => packet.load(header as usize).ok(),
    };
    let [from, to] = ports?;
    let (from, to) = if is_hidden { (0, 0) } else { (from, to) };
    Some(Packet {
        tuple: Tuple::new(UDP, source, Be16::from_network(from), destination, Be16::from_network(to)),
        payload: packet.len().saturating_sub(header + UDP_HEADER),
        is_hidden,
    })
}

/// Whether another header follows (the IANA registry "IPv6 Extension Header Types").
#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 50 | 51 | 60 | 135 | 139 | 140)
}
