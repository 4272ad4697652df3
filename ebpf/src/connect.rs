//! `cgroup/connect4`, `connect6`: what becomes of a connection, decided before its first packet.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use wabe_abi::{Be16, DropReason, Ip, Lane, TCP, UDP, maps::counter, mark, socket_flag, workload_flag};
use wabe_verdict::{Caller, Outbound, Tables, outbound};

use crate::{
    exchange::{self, Begin},
    report,
    sock_addr::{Family, cookie, named, own_port, peer_port, protocol, rename, set_mark, socket},
    storage::state_of,
    tables::{KernelTables, count},
};

#[cgroup_sock_addr(connect4)]
pub fn wabe_connect4(ctx: SockAddrContext) -> i32 {
    decide(&ctx, Family::V4, Call::Connect)
}

#[cgroup_sock_addr(connect6)]
pub fn wabe_connect6(ctx: SockAddrContext) -> i32 {
    decide(&ctx, Family::V6, Call::Connect)
}

/// Which system call names an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Connect,
    Send,
}

/// Judges what the application names and, where the verdict says so, puts the endpoint in its place. Serves
/// `connect` and, for datagrams, `sendmsg`.
#[inline(always)]
pub fn decide(ctx: &SockAddrContext, family: Family, call: Call) -> i32 {
    let (destination, port) = named(ctx, family);
    let protocol = protocol(ctx);
    let Some(state) = state_of(socket(ctx)) else {
        return refuse(0, protocol, destination, port, DropReason::Unstamped);
    };
    if state.flags & socket_flag::STAMPED == 0 {
        return refuse(0, protocol, destination, port, DropReason::Unstamped);
    }
    if protocol != TCP && protocol != UDP {
        return other_protocol(state.workload, protocol, destination, port);
    }
    let only_names = protocol == UDP && call == Call::Connect;
    let source_port = if call == Call::Send { own_port(ctx) } else { Be16::new(0) };
    let vended = state.flags & socket_flag::VENDED != 0;
    let layer7_generation = state.layer7_generation;
    let workload = state.workload;
    let caller =
        Caller { workload, protocol, destination, port, source_port, only_names, vended, layer7_generation };
    let target = match outbound(&KernelTables, &caller) {
        Outbound::Go(target) => target,
        Outbound::Answer => return report::ALLOW,
        Outbound::Refuse { reason, rule, workload, service } => {
            return report::refused(&report::Refusal {
                destination,
                workload: state.workload,
                peer_workload: workload,
                service,
                rule,
                port,
                protocol,
                reason,
                generation: generation(),
                ..report::Refusal::default()
            });
        }
    };
    let rewritten = target.lane != Lane::Outside && (target.address != destination || target.port != port);
    // Each datagram of an unconnected socket may go elsewhere, so its exchange keeps what a connection's socket does.
    let begins = match target.lane {
        Lane::Direct | Lane::Outside => true,
        Lane::Local => rewritten,
        Lane::Names | Lane::Refused | Lane::Proxy => false,
    };
    if call == Call::Send && begins {
        let mut begin = Begin {
            socket: socket(ctx),
            cookie: cookie(ctx),
            workload: state.workload,
            source_port,
            dialled: destination,
            dialled_port: port,
            service: target.service,
        };
        // An IPv6 socket that is connected to a mapped address sends as if it named its peer each time.
        if state.lane == Lane::Direct as u8
            && state.peer_workload == target.workload
            && peer_port(ctx) == target.port
        {
            begin.dialled = state.dialled;
            begin.dialled_port = state.dialled_port;
            begin.service = state.service;
        }
        if !exchange::take_part(&begin, &target) {
            return refuse(state.workload, protocol, destination, port, DropReason::TooManyExchanges);
        }
        if rewritten {
            rename(ctx, family, &target.address, target.port);
        }
        return report::ALLOW;
    }
    if (target.lane == Lane::Proxy || state.lane == Lane::Proxy as u8)
        && !set_mark(ctx, if target.lane == Lane::Proxy { mark::TO_PROXY } else { 0 })
    {
        return refuse(state.workload, protocol, destination, port, DropReason::NoProxy);
    }
    count(counter::LANES + target.lane as u32);
    state.dialled = destination;
    state.dialled_port = port;
    state.opened = report::now();
    state.generation = generation();
    state.peer_workload = target.workload;
    state.endpoint = target.endpoint;
    state.service = target.service;
    state.rule = target.rule;
    state.lane = target.lane as u8;
    // One that was accepted, and disconnected since (`connect` to AF_UNSPEC), calls now.
    state.flags &= !(socket_flag::REWRITTEN | socket_flag::ACCEPTED);
    if rewritten {
        state.flags |= socket_flag::REWRITTEN;
        rename(ctx, family, &target.address, target.port);
    }
    report::ALLOW
}

/// Sockets of other protocols exist only where the workload has the right to them; they get no ticket, so nothing in
/// the mesh takes them for TCP or UDP.
#[inline(always)]
fn other_protocol(workload: u32, protocol: u8, destination: Ip, port: Be16) -> i32 {
    match KernelTables.workload(workload) {
        Some(record) if record.flags & workload_flag::ANY_PROTOCOL != 0 => report::ALLOW,
        Some(_) | None => refuse(workload, protocol, destination, port, DropReason::Protocol),
    }
}

#[inline(always)]
fn refuse(workload: u32, protocol: u8, destination: Ip, port: Be16, reason: DropReason) -> i32 {
    report::refused(&report::Refusal {
        destination,
        workload,
        port,
        protocol,
        reason,
        ..report::Refusal::default()
    })
}

/// The generation in force.
#[inline(always)]
pub fn generation() -> u64 {
    KernelTables.config().map_or(0, |config| config.generation)
}
