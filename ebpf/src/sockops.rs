//! `sockops`: tickets, live counters, accepted connections and flow events.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_tcp_sock,
    },
    helpers::generated::{bpf_get_socket_cookie, bpf_tcp_sock as figures},
    macros::sock_ops,
    programs::SockOpsContext,
};
use wabe_abi::{
    Be16, Connection, Event, EventKind, Ip, Lane, Reporter, SocketState, TCP, Ticket, Tuple, maps::counter,
    socket_flag, ticket_flag,
};
use wabe_verdict::{payload, reset, tcp_state};

use crate::{
    connect::generation,
    report,
    storage::state_of,
    tables::{CONNECTIONS, LOADS, PACES, TICKET_COUNTS, TICKETS, add, count, uncount},
};

/// `AF_INET6`.
const INET6: u32 = 10;

#[sock_ops]
pub fn wabe_sockops(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => begin(&ctx),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(&ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(&ctx),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == tcp_state::CLOSE => closed(&ctx),
        _ => {}
    }
    0
}

/// The source address is final and the SYN has not left: the ticket is written and the connection counted.
#[inline(always)]
fn begin(ctx: &SockOpsContext) {
    let Some(state) = stamped(ctx) else { return };
    if state.lane == Lane::Local as u8 || state.lane == Lane::Names as u8 {
        return;
    }
    let _ = ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32);
    if state.lane == Lane::Proxy as u8 {
        return vouch(ctx, state, ticket_flag::PROXY);
    }
    if state.lane != Lane::Direct as u8 {
        return;
    }
    if let Some(load) = LOADS.get_ptr_mut(state.endpoint) {
        // SAFETY: a valid pointer into an array map.
        let (live, total) = unsafe { (&raw mut (*load).live, &raw mut (*load).total) };
        add(live, 1);
        add(total, 1);
        if let Some(pace) = PACES.get_ptr_mut(state.workload) {
            // SAFETY: as above.
            add(unsafe { &raw mut (*pace).open }, 1);
            state.flags |= socket_flag::PACED;
        }
        state.flags |= socket_flag::COUNTED;
    }
    vouch(ctx, state, ticket_flag::DIRECT);
}

/// Writes the ticket.
#[inline(always)]
fn vouch(ctx: &SockOpsContext, state: &mut SocketState, flags: u32) {
    let (mut flags, mut generation) = (flags, state.generation);
    if state.flags & socket_flag::VENDED != 0 {
        flags |= ticket_flag::LAYER7_DONE;
        generation = state.layer7_generation;
    }
    let ticket = Ticket { cookie: cookie(ctx), generation, workload: state.workload, flags };
    if TICKETS.insert(outgoing(ctx), ticket, 0).is_err() {
        count(counter::TICKETS_LOST);
        return;
    }
    state.flags |= socket_flag::TICKETED;
    if let Some(tickets) = TICKET_COUNTS.get_ptr_mut(state.workload) {
        add(tickets, 1);
    }
}

#[inline(always)]
fn established(ctx: &SockOpsContext) {
    let Some(state) = stamped(ctx) else { return };
    if state.lane == Lane::Direct as u8
        || state.lane == Lane::Outside as u8
        || state.lane == Lane::Proxy as u8
    {
        report::send(&event(state, &outgoing(ctx), EventKind::Opened, report::now()));
    }
}

/// Takes the ticket: the caller's identity goes into the accepted socket, which inherited its listener's stamp.
#[inline(always)]
fn accepted(ctx: &SockOpsContext) {
    let tuple = outgoing(ctx).reversed();
    let Some(state) = stamped(ctx) else { return led_to_proxy(&tuple) };
    state.flags = socket_flag::STAMPED | socket_flag::ACCEPTED;
    state.opened = report::now();
    state.generation = generation();
    state.dialled = tuple.destination;
    state.dialled_port = tuple.destination_port;
    state.peer_workload = 0;
    state.endpoint = 0;
    state.service = 0;
    state.rule = 0;
    if tuple.source.is_loopback() || tuple.source == tuple.destination {
        state.lane = Lane::Local as u8;
        return;
    }
    state.lane = Lane::Direct as u8;
    let mut flags = 0;
    // SAFETY: entries are read under RCU; see `Tables::ticket`.
    if let Some(ticket) = unsafe { TICKETS.get(tuple) } {
        let workload = ticket.workload;
        flags = ticket.flags;
        state.peer_workload = workload;
        drop_ticket(&tuple, workload);
    }
    let connection = Connection {
        cookie: cookie(ctx),
        opened: state.opened,
        generation: state.generation,
        source_workload: state.peer_workload,
        destination_workload: state.workload,
        flags,
        reserved: 0,
    };
    if CONNECTIONS.insert(tuple, connection, 0).is_ok() {
        count(counter::CONNECTIONS_LIVE);
    } else {
        count(counter::CONNECTIONS_LOST);
    }
    let _ = ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32);
    report::send(&event(state, &tuple, EventKind::Opened, state.opened));
}

/// The proxy has it: its listeners are the keeper's and bear no stamp.
#[inline(always)]
fn led_to_proxy(tuple: &Tuple) {
    // SAFETY: entries are read under RCU; see `Tables::ticket`.
    if let Some(ticket) = unsafe { TICKETS.get(tuple) }
        && ticket.flags & ticket_flag::PROXY != 0
    {
        let workload = ticket.workload;
        drop_ticket(tuple, workload);
    }
}

#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let Some(state) = stamped(ctx) else { return };
    let own = outgoing(ctx);
    let active = state.flags & socket_flag::ACCEPTED == 0;
    let tuple = if active { own } else { own.reversed() };
    if state.flags & socket_flag::COUNTED != 0
        && let Some(load) = LOADS.get_ptr_mut(state.endpoint)
    {
        // SAFETY: a valid pointer into an array map.
        add(unsafe { &raw mut (*load).live }, u64::MAX);
    }
    // One that an earlier version began was not counted.
    if state.flags & socket_flag::PACED != 0
        && let Some(pace) = PACES.get_ptr_mut(state.workload)
    {
        // SAFETY: a valid pointer into an array map.
        add(unsafe { &raw mut (*pace).open }, u64::MAX);
    }
    if state.flags & socket_flag::TICKETED != 0 {
        let own_cookie = cookie(ctx);
        // SAFETY: entries are read under RCU; see `Tables::ticket`.
        if unsafe { TICKETS.get(tuple) }.is_some_and(|ticket| ticket.cookie == own_cookie) {
            drop_ticket(&tuple, state.workload);
        }
    }
    if !active && CONNECTIONS.remove(tuple).is_ok() {
        uncount(counter::CONNECTIONS_LIVE);
    }
    let before = ctx.arg(0);
    let kind = if before == tcp_state::SYN_SENT { EventKind::Failed } else { EventKind::Closed };
    let at = report::now();
    let mut event = event(state, &tuple, kind, at);
    event.duration = at - state.opened;
    event.reset = u8::from(reset(before));
    if let Some(tcp) = tcp(ctx) {
        let (sent, received) = payload(active, before, tcp.bytes_acked, tcp.bytes_received);
        // Source and destination are the caller's and the receiver's, whoever reports.
        (event.bytes_sent, event.bytes_received) = if active { (sent, received) } else { (received, sent) };
        event.rtt = tcp.srtt_us >> 3;
        event.retransmits = tcp.total_retrans;
    }
    report::send(&event);
    state.flags &= socket_flag::STAMPED | socket_flag::VENDED;
}

/// Removes a ticket; whoever succeeds uncounts it.
#[inline(always)]
fn drop_ticket(tuple: &Tuple, workload: u32) {
    if TICKETS.remove(tuple).is_ok()
        && let Some(tickets) = TICKET_COUNTS.get_ptr_mut(workload)
    {
        add(tickets, u64::MAX);
    }
}

#[inline(always)]
fn event(state: &SocketState, tuple: &Tuple, kind: EventKind, time: u64) -> Event {
    let accepted = state.flags & socket_flag::ACCEPTED != 0;
    let (source_workload, destination_workload, reporter) = if accepted {
        (state.peer_workload, state.workload, Reporter::Destination)
    } else {
        (state.workload, state.peer_workload, Reporter::Source)
    };
    Event {
        source: tuple.source,
        destination: tuple.destination,
        dialled: state.dialled,
        time,
        generation: state.generation,
        source_workload,
        destination_workload,
        service: state.service,
        rule: state.rule,
        source_port: tuple.source_port,
        destination_port: tuple.destination_port,
        dialled_port: state.dialled_port,
        kind: kind as u8,
        reporter: reporter as u8,
        lane: state.lane,
        protocol: TCP,
        ..Event::default()
    }
}

/// The socket's state, if it belongs to a workload.
#[inline(always)]
fn stamped(ctx: &SockOpsContext) -> Option<&'static mut SocketState> {
    let state = state_of(socket(ctx))?;
    (state.flags & socket_flag::STAMPED != 0).then_some(state)
}

#[inline(always)]
fn socket(ctx: &SockOpsContext) -> *mut c_void {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*ctx.ops).__bindgen_anon_2.sk.cast() }
}

/// TCP's own figures of the socket.
#[inline(always)]
fn tcp(ctx: &SockOpsContext) -> Option<&bpf_tcp_sock> {
    let socket = socket(ctx);
    if socket.is_null() {
        return None;
    }
    // SAFETY: a socket from the context, not null; the helper returns null for what is no full TCP socket.
    unsafe { figures(socket.cast()).as_ref() }
}

#[inline(always)]
fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the helper takes the hook's context.
    unsafe { bpf_get_socket_cookie(ctx.ops.cast()) }
}

/// From this socket's end to the other. A mapped address shows in `remote_ip6`, its IPv4 form in `remote_ip4`.
#[inline(always)]
fn outgoing(ctx: &SockOpsContext) -> Tuple {
    // SAFETY: the context is valid while the program runs.
    let ops = unsafe { &*ctx.ops };
    let (mut source, mut destination) = (Ip::v4(ops.local_ip4), Ip::v4(ops.remote_ip4));
    if ops.family == INET6 {
        let remote = Ip::v6([ops.remote_ip6[0], ops.remote_ip6[1], ops.remote_ip6[2], ops.remote_ip6[3]]);
        if !remote.is_v4() {
            destination = remote;
            source = Ip::v6([ops.local_ip6[0], ops.local_ip6[1], ops.local_ip6[2], ops.local_ip6[3]]);
        }
    }
    Tuple::new(
        TCP,
        source,
        Be16::new(ops.local_port as u16),
        destination,
        // The port is in the upper half of a word in network order.
        Be16::new(u32::from_be(ops.remote_port) as u16),
    )
}
