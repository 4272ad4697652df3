//! Requests per second through one worker.

use std::rc::Rc;

use anyhow::Result;

use crate::{
    arm::{Arm, Comparison, From, Ratios},
    place::Place,
    proxy::{Chain, GRPC_PORT, HTTP2_PORT, Peer, Side, Way},
    work::Work,
};

use super::{
    Prepared,
    proxies::{self, Wanted},
};

/// `proxy-requests`. With nginx and HAProxy once more with the headers that Wabe's proxy adds, once more in the client's namespace, where
/// that is reached, and with all peers as workloads of the mesh: so that nobody has to believe what each of these makes of it. And with Wabe's own
/// that does not look at what it passes on.
pub(super) fn requests(place: &Place) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let mut arms = proxies::http(place, "requests", &mut prepared)?;
    let mut near = Chain::new(place, "near")?;
    let mut there = Vec::new();
    for peer in [Peer::Nginx, Peer::HaProxy] {
        let name = format!("{}, in the client's namespace", peer.word());
        match near.add(place, peer, Side::Client, 0) {
            Ok(()) => there.push((name, peer)),
            Err(error) => prepared.missing.push((name, format!("{error:#}"))),
        }
    }
    let near = Rc::new(near);
    let inside = proxies::inside(place, Way::Http, &arms, &mut prepared);
    arms.extend(proxies::introducing(&arms, &mut prepared));
    arms.extend(there.into_iter().map(|(name, peer)| {
        let to = Chain::to(peer, Side::Client, Way::Http);
        Arm::new(&name, From::Chain(near.clone()), to).through(near.processes(peer))
    }));
    arms.extend(inside);
    let polling = proxies::polling(place, "requests", &arms, &mut prepared);
    arms.extend(proxies::unread(&arms)?);
    let title = "proxy-requests: HTTP/1.1 on 32 connections".to_owned();
    proxies::compare(&mut prepared, title, Work::Wrk, arms, polling);
    Ok(prepared)
}

/// `proxy-http2`. nginx speaks HTTP/1.1 to the server.
pub(super) fn http2(place: &Place) -> Result<Prepared> {
    streams(place, "proxy-http2", Way::Http2, HTTP2_PORT, Work::Http2)
}

/// `proxy-grpc`.
pub(super) fn grpc(place: &Place) -> Result<Prepared> {
    streams(place, "proxy-grpc", Way::Grpc, GRPC_PORT, Work::Grpc)
}

/// 32 under way at once, spread wide and narrow: what a connection costs, and what a stream does. With Wabe's own that does not look at
/// what it passes on.
fn streams(place: &Place, name: &str, way: Way, port: u16, work: fn(u32, u32) -> Work) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let wanted = Wanted { name, way, routes: 0, peers: &Peer::ALL };
    let mut arms = proxies::arms(place, wanted, &mut prepared)?;
    let direct = proxies::direct(&arms, port)?;
    arms.extend(proxies::unread(&arms)?);
    arms.extend(direct);
    for (connections, streams) in [(32, 1), (2, 16)] {
        let title = format!("{name}: {connections} connections, requests under way on each: {streams}");
        let arms = arms.iter().map(Arm::again).collect();
        let work = work(connections, streams);
        prepared.comparisons.push(Comparison { title, work, ratios: Ratios::OfWabe, arms });
    }
    Ok(prepared)
}
