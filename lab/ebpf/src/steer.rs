//! `sk_lookup` in the workload's network namespace: connections from outside go to its sidecar's listener.
//!
//! Nothing is rewritten, so the accepted socket's own address is the one that the caller dialled. What comes from
//! inside, as the sidecar's own connections do, goes to the application.

use aya_ebpf::{
    bindings::bpf_sk_lookup,
    macros::{map, sk_lookup},
    maps::SockMap,
    programs::SkLookupContext,
};

use crate::{count, counter, setting, tuple::is_loopback};

/// `SK_DROP`: the caller gets an RST.
const DROP: u32 = 0;
/// `SK_PASS`.
const PASS: u32 = 1;
const INET: u32 = 2;
const TCP: u32 = 6;
/// The index of `lo` in every network namespace.
const LO: u32 = 1;

/// The sidecar's listener. The kernel takes it out when it is closed.
#[map]
static LISTENER: SockMap = SockMap::with_max_entries(1, 0);

/// Reads a word of the context. Volatile, because the compiler would else merge reads into one from a computed address,
/// which the verifier refuses for a context.
macro_rules! word {
    ($context:ident.$field:ident) => {
        // SAFETY: the context is valid while the program runs.
        unsafe { (&raw const (*$context).$field).read_volatile() }
    };
}

#[sk_lookup]
pub fn lab_steer(ctx: SkLookupContext) -> u32 {
    let lookup = ctx.lookup;
    if word!(lookup.family) != INET
        || word!(lookup.protocol) != TCP
        || is_from_inside(lookup)
        || word!(lookup.local_ip4) != setting::server_address()
        || word!(lookup.local_port) != setting::server_port()
    {
        return PASS;
    }
    // Without the flag that forbids it, the kernel chooses among listeners that share the port: Envoy has one a thread.
    if LISTENER.redirect_sk_lookup(&ctx, 0, 0).is_err() {
        // To pass would be to measure a path without sidecar, and not to know it.
        count(counter::ORPHANED);
        return DROP;
    }
    count(counter::STEERED);
    PASS
}

/// Whether the caller is in the same namespace. What it sends to the workload's own address passes `lo`, but the kernel
/// names the interface that has the address (`orig_oif` in `ip_route_output_key_hash_rcu`); so its source tells.
#[inline(always)]
fn is_from_inside(lookup: *mut bpf_sk_lookup) -> bool {
    let source = word!(lookup.remote_ip4);
    word!(lookup.ingress_ifindex) == LO || is_loopback(source) || source == setting::server_address()
}
