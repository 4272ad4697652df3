//! tcx (or clsact) ingress in the node's namespace.
//!
//! On the node's side of a workload's interface: a workload can't speak with another's address, and its packets to
//! workloads of this node take the short cut. On the uplink: nothing comes in with an address of the mesh's.

use aya_ebpf::{
    helpers::generated::{bpf_check_mtu, bpf_redirect_peer},
    macros::classifier,
    programs::TcContext,
};
use wabe_abi::{DropReason, Ip, maps::counter};
use wabe_verdict::{Departure, Tables, departure, refuse_arrival};

use crate::{
    packet::at,
    tables::{KernelTables, VETHS, count},
};

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: on to whatever comes after.
const NEXT: i32 = -1;
/// `TCX_DROP` and `TC_ACT_SHOT`.
const DROP: i32 = 2;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Offset of the source's MAC address.
const SOURCE_MAC: usize = 6;
/// Offset of the protocol of an Ethernet frame.
const PROTOCOL: usize = 12;
/// Offset of the source address behind an Ethernet header; the destination's follows it.
const SOURCE_V4: usize = 14 + 12;
/// Offset of the source address behind an Ethernet header; the destination's follows it.
const SOURCE_V6: usize = 14 + 8;

#[classifier]
pub fn wabe_guard(ctx: TcContext) -> i32 {
    // Neighbours are permanent, so nothing but IP has any business here.
    let Some((source, destination)) = addresses(&ctx) else { return refuse(DropReason::Protocol) };
    let Some(mac) = at::<[u8; 6]>(&ctx.skb, SOURCE_MAC) else { return refuse(DropReason::Protocol) };
    // SAFETY: entries are freed after an RCU grace period only, and a program runs inside one.
    let Some(veth) = (unsafe { VETHS.get(interface(&ctx)) }) else {
        return refuse(DropReason::UnknownWorkload);
    };
    match departure(&KernelTables, veth, mac, &source, &destination) {
        Departure::ShortCut { interface } => short_cut(&ctx, interface),
        Departure::Stack => NEXT,
        Departure::Refuse(reason) => refuse(reason),
    }
}

#[classifier]
pub fn wabe_uplink(ctx: TcContext) -> i32 {
    // The node's and the host's neighbours are permanent; what is not IP goes no further than the node.
    let Some((source, _)) = addresses(&ctx) else { return NEXT };
    let Some(config) = KernelTables.config() else { return refuse(DropReason::NotConfigured) };
    match refuse_arrival(config, &source) {
        Some(reason) => refuse(reason),
        None => NEXT,
    }
}

/// Straight to the other end of `interface`. What is too large for it needs the stack, which answers with the path
/// MTU; the check also finds an interface that is gone, for which a redirect would be a silent drop.
#[inline(always)]
fn short_cut(ctx: &TcContext, interface: u32) -> i32 {
    let mut mtu = 0;
    // SAFETY: the helper takes the program's context and a word of its stack.
    if unsafe { bpf_check_mtu(ctx.skb.skb.cast(), interface, &raw mut mtu, 0, 0) } != 0 {
        return NEXT;
    }
    // SAFETY: a helper without pointers.
    unsafe { bpf_redirect_peer(interface, 0) as i32 }
}

#[inline(always)]
fn refuse(reason: DropReason) -> i32 {
    count(counter::REASONS + reason as u32);
    DROP
}

#[inline(always)]
fn interface(ctx: &TcContext) -> u32 {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*ctx.skb.skb).ingress_ifindex }
}

/// Source and destination; `None` for what is not IP or too short to have them.
#[inline(always)]
fn addresses(ctx: &TcContext) -> Option<(Ip, Ip)> {
    match u16::from_be(at(&ctx.skb, PROTOCOL)?) {
        IPV4 => {
            let [source, destination] = at::<[u32; 2]>(&ctx.skb, SOURCE_V4)?;
            Some((Ip::v4(source), Ip::v4(destination)))
        }
        IPV6 => {
            let [a, b, c, d, e, f, g, h] = at::<[u32; 8]>(&ctx.skb, SOURCE_V6)?;
            Some((Ip::v6([a, b, c, d]), Ip::v6([e, f, g, h])))
        }
        _ => None,
    }
}
