//! Proxies side by side: Wabe's first, then its peers.

use anyhow::{Context, Result, ensure};

use crate::{
    arm::{Arm, Comparison, From, Ratios, WABE},
    command::run,
    place::Place,
    proxy::{self, Chain, Peer, Side, Way, route},
    server,
    work::Work,
};

use super::Prepared;

/// The names of arms without a proxy.
pub(crate) const CABLE: &str = "no proxy, a cable";
pub(crate) const MESH: &str = "no proxy, the mesh";

/// The name of [`unread`]'s arm.
pub(crate) const UNREAD: &str = "wabe, passing bytes on";

/// What the names of peers end with that are workloads of Wabe's mesh.
pub(crate) const INSIDE: &str = ", a workload of the mesh";

/// What the arms go through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Tells them from others of the same measure.
    pub(crate) name: &'a str,
    pub(crate) way: Way,
    /// Routes by prefix besides the one for all; the last of them is asked for.
    pub(crate) routes: usize,
    pub(crate) peers: &'a [Peer],
}

/// Sets proxies up. Who can't be had is told in `prepared`.
///
/// # Errors
/// The namespaces can't be made.
pub(crate) fn arms(place: &Place, wanted: Wanted<'_>, prepared: &mut Prepared) -> Result<Vec<Arm>> {
    let Wanted { name, way, routes, peers } = wanted;
    let path = if routes == 0 { String::new() } else { route(routes - 1) };
    let mut arms = Vec::new();
    match proxy::up(place, name, way, routes, 0) {
        Ok((mesh, to)) => {
            arms.push(Arm::mesh(WABE, &mesh, to + &path).through(mesh.proxy()));
        }
        Err(error) => prepared.missing.push((WABE.into(), format!("{error:#}"))),
    }
    let mut chain = Chain::new(place, name)?;
    let mut there = Vec::new();
    for peer in peers {
        match chain.add(place, *peer, Side::Between, routes) {
            Ok(()) => there.push(*peer),
            Err(error) => prepared.missing.push((peer.word().into(), format!("{error:#}"))),
        }
    }
    let chain = std::rc::Rc::new(chain);
    for peer in there {
        let to = Chain::to(peer, Side::Between, way) + &path;
        arms.push(Arm::new(peer.word(), From::Chain(chain.clone()), to).through(chain.processes(peer)));
    }
    Ok(arms)
}

/// Wabe's proxy once more, where it passes on what comes without a look at it: two `recv` and two `send` for what is asked and answered,
/// and hardly anything else. What a proxy does about requests comes on top of that. None without a mesh among `arms`.
///
/// # Errors
/// The mesh does not tell its services.
pub(crate) fn unread(arms: &[Arm]) -> Result<Option<Arm>> {
    let Some((mesh, arm)) = arms.iter().find_map(|arm| match &arm.from {
        From::Mesh(mesh) => Some((mesh, arm)),
        From::Bridge(_) | From::Chain(_) => None,
    }) else {
        return Ok(None);
    };
    let to = mesh.service(proxy::UNREAD, 80)?;
    Ok(Some(Arm::mesh(UNREAD, mesh, to).through(arm.proxy.clone())))
}

/// Peers again, as workloads of the mesh that is among `arms`: what they cost there, where a mesh's work is done for them too.
pub(crate) fn inside(place: &Place, way: Way, arms: &[Arm], prepared: &mut Prepared) -> Vec<Arm> {
    let Some(mesh) = arms.iter().find_map(|arm| match &arm.from {
        From::Mesh(mesh) => Some(mesh),
        From::Bridge(_) | From::Chain(_) => None,
    }) else {
        return Vec::new();
    };
    let mut inside = Vec::new();
    for peer in Peer::ALL {
        let name = format!("{}{INSIDE}", peer.word());
        match proxy::add(place, mesh, peer, way) {
            Ok((to, processes)) => inside.push(Arm::mesh(&name, mesh, to).through(processes)),
            Err(error) => prepared.missing.push((name, format!("{error:#}"))),
        }
    }
    inside
}

/// Those between client and server once more, adding the headers that Wabe's proxy adds: the same work. Whose do not
/// come through is told in `prepared`.
pub(crate) fn introducing(arms: &[Arm], prepared: &mut Prepared) -> Vec<Arm> {
    let mut again = Vec::new();
    for peer in Peer::ALL {
        let Some(arm) = arms.iter().find(|arm| arm.name == peer.word()) else { continue };
        let to = Chain::to_introducing(peer, Side::Between);
        let name = format!("{}, adding the same headers", peer.word());
        match introduces(arm, &to) {
            Ok(()) => again.push(Arm::new(&name, arm.from.clone(), to).through(arm.proxy.clone())),
            Err(error) => prepared.missing.push((name, format!("{error:#}"))),
        }
    }
    again
}

/// An arm must be what it is called.
fn introduces(arm: &Arm, to: &str) -> Result<()> {
    let mut curl = arm.from.client("curl".as_ref());
    curl.args(["-sSf", "--max-time", "10", &format!("http://{to}{}", server::INTRODUCED)]);
    let came = run(&mut curl)?;
    ensure!(came.split_whitespace().count() == server::HEADERS, "of the headers only these came: {came}");
    Ok(())
}

/// For how long Wabe's proxy looks for more before it sleeps where that is measured, microseconds.
pub(crate) const BUSY_POLL: u16 = 50;

/// The same arms once more, beside a Wabe whose proxy polls for [`BUSY_POLL`]. Empty, and told in `prepared`, if it can't be had.
pub(crate) fn polling(place: &Place, name: &str, arms: &[Arm], prepared: &mut Prepared) -> Vec<Arm> {
    let up = || {
        let (mesh, to) = proxy::up(place, &format!("{name}-polls"), Way::Http, 0, BUSY_POLL)?;
        let server = mesh.workload("server", server::PORT)?;
        anyhow::Ok((mesh, to, server))
    };
    match up() {
        Ok((mesh, to, server)) => {
            let again = arms.iter().map(|arm| match arm.name.as_str() {
                WABE => Arm::mesh(WABE, &mesh, to.clone()).through(mesh.proxy()),
                MESH => Arm::mesh(MESH, &mesh, server.clone()),
                _ => arm.again(),
            });
            again.zip(arms).map(|(again, arm)| Arm { direct: arm.direct, ..again }).collect()
        }
        Err(error) => {
            prepared.missing.push((format!("{WABE} that polls"), format!("{error:#}")));
            Vec::new()
        }
    }
}

/// Wabe as it is unless told otherwise beside its peers, and then as it is when it polls.
pub(crate) fn compare(prepared: &mut Prepared, title: String, work: Work, arms: Vec<Arm>, polling: Vec<Arm>) {
    let polls = format!("{title}, wabe with proxyBusyPollMicroseconds: {BUSY_POLL}");
    prepared.comparisons.push(Comparison { title, work: work.clone(), ratios: Ratios::OfWabe, arms });
    if !polling.is_empty() {
        prepared.comparisons.push(Comparison { title: polls, work, ratios: Ratios::OfWabe, arms: polling });
    }
}

/// Arms without a proxy: over a cable between two namespaces; and through the mesh, to the workload's own address, if there is
/// a mesh among `arms`. They are what this machine can at most, with client and server on one core.
///
/// # Errors
/// There are no namespaces among `arms`.
pub(crate) fn direct(arms: &[Arm], port: u16) -> Result<Vec<Arm>> {
    let chain = arms.iter().find_map(|arm| match &arm.from {
        From::Chain(chain) => Some(chain.clone()),
        From::Bridge(_) | From::Mesh(_) => None,
    });
    let to = format!("{}:{port}", Chain::SERVER);
    let mut direct = vec![Arm::new(CABLE, From::Chain(chain.context("no peer could be had")?), to)];
    for arm in arms {
        if let From::Mesh(mesh) = &arm.from {
            let name = if port == proxy::GRPC_PORT { "grpc" } else { "server" };
            direct.push(Arm::mesh(MESH, mesh, mesh.workload(name, port)?));
        }
    }
    Ok(direct)
}

/// Proxies by HTTP/1.1, with those that have none.
///
/// # Errors
/// As [`arms`] and [`direct`].
pub(crate) fn http(place: &Place, name: &str, prepared: &mut Prepared) -> Result<Vec<Arm>> {
    let wanted = Wanted { name, way: Way::Http, routes: 0, peers: &Peer::ALL };
    let mut all = arms(place, wanted, prepared)?;
    let direct = direct(&all, server::PORT)?;
    all.extend(direct);
    Ok(all)
}
