//! `cgroup/sock_create`: stamps each socket of a workload, refuses protocols that it has no right to.

use aya_ebpf::{
    helpers::generated::bpf_get_current_ancestor_cgroup_id, macros::cgroup_sock, programs::SockContext,
};
use wabe_abi::{DropReason, socket_flag};
use wabe_verdict::{Creation, Tables, creation};

use crate::{
    report,
    storage::new_state,
    tables::{CGROUPS, KernelTables},
};

#[cgroup_sock(sock_create)]
pub fn wabe_create(ctx: SockContext) -> i32 {
    // SAFETY: the context's socket is valid while the program runs.
    let (family, kind, protocol) = unsafe { ((*ctx.sock).family, (*ctx.sock).type_, (*ctx.sock).protocol) };
    let Some(config) = KernelTables.config() else { return refuse(0, DropReason::NotConfigured) };
    // SAFETY: a helper without pointers.
    let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(config.workload_level as i32) };
    // SAFETY: entries are freed after an RCU grace period only, and a program runs inside one.
    let Some(workload) = (unsafe { CGROUPS.get(cgroup) }).copied() else {
        return refuse(0, DropReason::UnknownWorkload);
    };
    match creation(&KernelTables, workload, family, kind, protocol) {
        Creation::Stamp => {}
        Creation::Refuse(reason) => return refuse(workload, reason),
    }
    let Some(state) = new_state(ctx.sock) else { return refuse(workload, DropReason::Unstamped) };
    state.workload = workload;
    state.flags = socket_flag::STAMPED;
    report::ALLOW
}

#[inline(always)]
fn refuse(workload: u32, reason: DropReason) -> i32 {
    report::refused(&report::Refusal { workload, reason, ..report::Refusal::default() })
}
