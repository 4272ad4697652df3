//! `cgroup/connect4`, `connect6` of the keeper's cgroup: sockets that it made for the node's proxy. Whoever uses one, its
//! hooks are those of the cgroup that it was made in.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use wabe_abi::{mark, socket_flag};

use crate::{
    connect::{Call, decide, generation},
    report,
    sock_addr::{Family, marked, priority, socket},
    storage::new_state,
};

#[cgroup_sock_addr(connect4)]
pub fn wabe_vend_connect4(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Family::V4)
}

#[cgroup_sock_addr(connect6)]
pub fn wabe_vend_connect6(ctx: SockAddrContext) -> i32 {
    judge(&ctx, Family::V6)
}

/// The keeper's mark says on whose behalf the socket is used: it is judged as that workload's own. Without CAP_NET_ADMIN
/// nobody can change it.
#[inline(always)]
fn judge(ctx: &SockAddrContext, family: Family) -> i32 {
    // The keeper's own: it probes workloads from inside, over `lo`.
    let Some(workload) = mark::workload_of(marked(ctx)) else { return report::ALLOW };
    if let Some(state) = new_state(socket(ctx).cast()) {
        state.workload = workload;
        state.layer7_generation = mark::generation_of(priority(ctx), generation());
        state.flags |= socket_flag::STAMPED | socket_flag::VENDED;
    }
    // Without room for its state it has no stamp, and is refused.
    decide(ctx, family, Call::Connect)
}
