//! Bytes that are passed on without a look at them.

use anyhow::Result;

use crate::{
    arm::{Arm, Comparison, Ratios},
    load::Kind,
    place::Place,
    proxy::{Peer, Way},
    server,
    work::{Figure, Work},
};

use super::{
    Prepared,
    proxies::{self, Wanted},
};

/// `proxy-tcp`: many small messages, and many bytes.
pub(super) fn pass_through(place: &Place) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let wanted = Wanted { name: "tcp", way: Way::Tcp, routes: 0, peers: &Peer::ALL };
    let mut arms = proxies::arms(place, wanted, &mut prepared)?;
    let direct = proxies::direct(&arms, server::PORT)?;
    let inside = proxies::inside(place, Way::Tcp, &arms, &mut prepared);
    arms.extend(direct.into_iter().chain(inside));
    for (title, work) in [
        ("proxy-tcp: requests on 32 connections", Work::Wrk),
        ("proxy-tcp: bytes on one connection", Work::Own(Kind::Bytes, Figure::Megabytes)),
    ] {
        let arms = arms.iter().map(Arm::again).collect();
        prepared.comparisons.push(Comparison { title: title.into(), work, ratios: Ratios::OfWabe, arms });
    }
    Ok(prepared)
}
