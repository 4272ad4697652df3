//! `sk_lookup`, in each workload's network namespace: admission.

use aya_ebpf::{bindings::bpf_sk_lookup, macros::sk_lookup, programs::SkLookupContext};
use wabe_abi::{Be16, DropReason, Ip, Reporter, Tuple, maps::counter};
use wabe_verdict::{Arrival, Inbound, inbound};

use crate::{
    connect::generation,
    report,
    tables::{KernelTables, PROXIES, count},
};

/// `SK_DROP`: TCP gets an RST, UDP a port-unreachable.
const DROP: u32 = 0;
/// `SK_PASS`: on to the application's own sockets.
const PASS: u32 = 1;
/// `AF_INET`.
const INET: u32 = 2;
/// The index of `lo` in every network namespace.
const LO: u32 = 1;

#[sk_lookup]
pub fn wabe_admit(ctx: SkLookupContext) -> u32 {
    // SAFETY: the context is valid while the program runs.
    let over_lo = unsafe { (*ctx.lookup).ingress_ifindex } == LO;
    let arrival = Arrival { tuple: tuple(ctx.lookup), over_lo };
    match inbound(&KernelTables, &arrival) {
        Inbound::Admit { .. } => PASS,
        Inbound::ToProxy { workload } => {
            if PROXIES.redirect_sk_lookup(&ctx, workload, 0).is_ok() {
                return PASS;
            }
            refuse(&arrival.tuple, DropReason::NoProxy, 0, workload, 0)
        }
        Inbound::Stray => {
            count(counter::STRAYS);
            DROP
        }
        Inbound::Refuse { reason, rule, source, destination } => {
            refuse(&arrival.tuple, reason, rule, source, destination)
        }
    }
}

#[inline(always)]
fn refuse(tuple: &Tuple, reason: DropReason, rule: u32, source: u32, destination: u32) -> u32 {
    report::tell(&report::Refusal {
        source: tuple.source,
        destination: tuple.destination,
        generation: generation(),
        workload: source,
        peer_workload: destination,
        service: 0,
        rule,
        source_port: tuple.source_port,
        port: tuple.destination_port,
        protocol: tuple.protocol,
        reporter: Reporter::Destination,
        reason,
    });
    DROP
}

/// Reads a word of the context. Volatile, because the compiler would else merge the reads of both families into one
/// from a computed address, which the verifier refuses for a context.
macro_rules! word {
    ($context:ident . $($field:tt)+) => {
        // SAFETY: the context is valid while the program runs; the fields of the other family read as zero.
        unsafe { (&raw const (*$context).$($field)+).read_volatile() }
    };
}

#[inline(always)]
fn tuple(context: *const bpf_sk_lookup) -> Tuple {
    let mut source = Ip::v6([
        word!(context.remote_ip6[0]),
        word!(context.remote_ip6[1]),
        word!(context.remote_ip6[2]),
        word!(context.remote_ip6[3]),
    ]);
    let mut destination = Ip::v6([
        word!(context.local_ip6[0]),
        word!(context.local_ip6[1]),
        word!(context.local_ip6[2]),
        word!(context.local_ip6[3]),
    ]);
    let (source_v4, destination_v4) = (word!(context.remote_ip4), word!(context.local_ip4));
    if word!(context.family) == INET {
        source = Ip::v4(source_v4);
        destination = Ip::v4(destination_v4);
    }
    Tuple::new(
        word!(context.protocol) as u8,
        source,
        Be16::from_network(word!(context.remote_port)),
        destination,
        Be16::new(word!(context.local_port) as u16),
    )
}
