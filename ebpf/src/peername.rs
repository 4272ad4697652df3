//! `cgroup/getpeername4/6`: the application sees the address that it dialled.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use wabe_abi::socket_flag;

use crate::{
    report,
    sock_addr::{Family, rename, socket},
    storage::state_of,
};

#[cgroup_sock_addr(getpeername4)]
pub fn wabe_peername4(ctx: SockAddrContext) -> i32 {
    dialled(&ctx, Family::V4)
}

#[cgroup_sock_addr(getpeername6)]
pub fn wabe_peername6(ctx: SockAddrContext) -> i32 {
    dialled(&ctx, Family::V6)
}

#[inline(always)]
fn dialled(ctx: &SockAddrContext, family: Family) -> i32 {
    if let Some(state) = state_of(socket(ctx))
        && state.flags & socket_flag::REWRITTEN != 0
        && state.flags & socket_flag::ACCEPTED == 0
    {
        rename(ctx, family, &state.dialled, state.dialled_port);
    }
    report::ALLOW
}
