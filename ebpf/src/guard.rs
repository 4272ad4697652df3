//! tcx ingress on the node's side of a workload's interface: a workload can't speak with another's address.

use aya_ebpf::{macros::classifier, programs::TcContext};
use wabe_abi::{DropReason, Ip, maps::counter};
use wabe_verdict::refuse_source;

use crate::tables::{VETHS, count};

/// `TCX_NEXT`: on to whatever comes after.
const NEXT: i32 = -1;
/// `TCX_DROP`.
const DROP: i32 = 2;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Offset of the source address behind an Ethernet header.
const SOURCE_V4: usize = 14 + 12;
/// Offset of the source address behind an Ethernet header.
const SOURCE_V6: usize = 14 + 8;

#[classifier]
pub fn wabe_guard(ctx: TcContext) -> i32 {
    let Some(reason) = refusal(&ctx) else { return NEXT };
    count(counter::REASONS + reason as u32);
    DROP
}

/// Neighbours are permanent, so nothing but IP has any business here.
#[inline(always)]
fn refusal(ctx: &TcContext) -> Option<DropReason> {
    // SAFETY: the context is valid while the program runs.
    let interface = unsafe { (*ctx.skb.skb).ingress_ifindex };
    let Some(source) = source(ctx) else { return Some(DropReason::Protocol) };
    // SAFETY: entries are freed after an RCU grace period only, and a program runs inside one.
    match unsafe { VETHS.get(interface) } {
        Some(veth) => refuse_source(veth, &source),
        None => Some(DropReason::UnknownWorkload),
    }
}

/// `None` for what is not IP or too short to have a source.
#[inline(always)]
fn source(ctx: &TcContext) -> Option<Ip> {
    match u16::from_be(ctx.load::<u16>(12).ok()?) {
        IPV4 => Some(Ip::v4(ctx.load::<u32>(SOURCE_V4).ok()?)),
        IPV6 => Some(Ip::v6(ctx.load::<[u32; 4]>(SOURCE_V6).ok()?)),
        _ => None,
    }
}
