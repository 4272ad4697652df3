//! `cgroup/sendmsg4/6`, `recvmsg4/6`: unconnected UDP. An IPv6 socket to a mapped address leaves by sendmsg4 and
//! returns by recvmsg6.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use wabe_abi::{Be16, Lane, Tuple, UDP, socket_flag};
use wabe_verdict::Tables;

use crate::{
    connect::{Call, decide},
    report,
    sock_addr::{Family, named, own_port, rename, socket},
    storage::state_of,
    tables::KernelTables,
};

#[cgroup_sock_addr(sendmsg4)]
pub fn wabe_sendmsg4(ctx: SockAddrContext) -> i32 {
    decide(&ctx, Family::V4, Call::Send)
}

#[cgroup_sock_addr(sendmsg6)]
pub fn wabe_sendmsg6(ctx: SockAddrContext) -> i32 {
    decide(&ctx, Family::V6, Call::Send)
}

#[cgroup_sock_addr(recvmsg4)]
pub fn wabe_recvmsg4(ctx: SockAddrContext) -> i32 {
    answer(&ctx, Family::V4)
}

#[cgroup_sock_addr(recvmsg6)]
pub fn wabe_recvmsg6(ctx: SockAddrContext) -> i32 {
    answer(&ctx, Family::V6)
}

/// An answer seems to come from what was dialled: musl, Go and QUIC compare.
#[inline(always)]
fn answer(ctx: &SockAddrContext, family: Family) -> i32 {
    const NAMES: Be16 = Be16::new(53);
    let (Some(state), Some(config)) = (state_of(socket(ctx)), KernelTables.config()) else {
        return report::ALLOW;
    };
    let (source, port) = named(ctx, family);
    if state.flags & socket_flag::REWRITTEN != 0
        && state.lane == Lane::Names as u8
        && port == NAMES
        && (source == config.node_v4 || source == config.node_v6)
    {
        rename(ctx, family, &state.dialled, state.dialled_port);
        return report::ALLOW;
    }
    let Some(record) = KernelTables.workload(state.workload) else { return report::ALLOW };
    let own = if source.is_v4() { record.v4 } else { record.v6 };
    let question = Tuple::new(UDP, own, own_port(ctx), source, port);
    if let Some(exchange) = KernelTables.exchange(&question) {
        rename(ctx, family, &exchange.dialled, exchange.dialled_port);
    }
    report::ALLOW
}
