//! The measures: what is set up for each, and what is compared.

use std::rc::Rc;

use anyhow::Result;

use crate::{
    arm::{Arm, Comparison, Ratios, Table},
    bridge::{Bridge, Node},
    command::run,
    hold::Held,
    load::Kind,
    mesh::{Mesh, Wanted},
    place::Place,
    policies,
    work::{Figure, Work},
};

mod http;
mod idle;
mod latency;
mod memory;
mod proxies;
mod routes;
mod tcp;

/// Comparisons to run, facts that need no comparison, and what could not be had.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// Connections that do nothing. First, as they go before what they lead to.
    pub(crate) held: Vec<Held>,
    pub(crate) comparisons: Vec<Comparison>,
    /// Values that were taken while the measure was set up.
    pub(crate) tables: Vec<Table>,
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) missing: Vec<(String, String)>,
}

/// All measures by name, in the order in which they run.
pub(crate) const NAMES: [&str; 15] = [
    "short-cut",
    "hooks",
    "connect",
    "scale",
    "udp",
    "policy",
    "proxy-requests",
    "proxy-latency",
    "proxy-tail",
    "proxy-http2",
    "proxy-grpc",
    "proxy-tcp",
    "proxy-memory",
    "proxy-idle",
    "proxy-routes",
];

/// Sets a measure up.
///
/// # Errors
/// The baseline can't be had. An arm that can't is told in the result.
pub(crate) fn prepare(name: &str, place: &Place, core: usize, quick: bool) -> Result<Prepared> {
    match name {
        "short-cut" => short_cut(place, core),
        "hooks" => hooks(place, core),
        "connect" => connect(place, core),
        "scale" => scale(place, core, quick),
        "udp" => udp(place, core),
        "policy" => policy(place, core, quick),
        "proxy-requests" => http::requests(place),
        "proxy-latency" => latency::added(place),
        "proxy-tail" => latency::tail(place, quick),
        "proxy-http2" => http::http2(place),
        "proxy-grpc" => http::grpc(place),
        "proxy-tcp" => tcp::pass_through(place),
        "proxy-memory" => memory::memory(place, quick),
        "proxy-idle" => idle::with_idle(place, quick),
        "proxy-routes" => routes::many(place, quick),
        other => anyhow::bail!("{other:?} is no measure; they are {}", NAMES.join(", ")),
    }
}

fn short_cut(place: &Place, core: usize) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let bare = Rc::new(Bridge::new(place, "bare", Node::Bare, core)?);
    let mut arms = vec![Arm::bridge("bridge, bare", &bare, Bridge::HTTP)];
    for rules in [1_000, 20_000] {
        let name = format!("bridge, netfilter, {rules} rules");
        match Bridge::new(place, &format!("r{rules}"), Node::Filtered(rules), core) {
            Ok(bridge) => arms.push(Arm::bridge(&name, &Rc::new(bridge), Bridge::HTTP)),
            Err(error) => prepared.missing.push((name, format!("{error:#}"))),
        }
    }
    for (name, short_cut) in [("on", true), ("off", false)] {
        let title = format!("mesh, shortCut: {short_cut}");
        let wanted = Wanted { short_cut: Some(short_cut), ..Wanted::default() };
        match Mesh::up(place, name, &wanted, core) {
            Ok(mesh) => {
                let to = mesh.service("server", 80)?;
                arms.push(Arm::mesh(&title, &Rc::new(mesh), to));
            }
            Err(error) => prepared.missing.push((title, format!("{error:#}"))),
        }
    }
    let title = "short-cut: requests on 32 connections".to_owned();
    prepared.comparisons.push(Comparison {
        title,
        work: Work::Own(Kind::Requests, Figure::Rate),
        ratios: Ratios::ToFirst,
        arms,
    });
    Ok(prepared)
}

const CONNECT: [&str; 9] = [
    "wabe_create",
    "wabe_connect4",
    "wabe_connect6",
    "wabe_sendmsg4",
    "wabe_sendmsg6",
    "wabe_recvmsg4",
    "wabe_recvmsg6",
    "wabe_peername4",
    "wabe_peername6",
];

/// One mesh a step, as a program that was taken off comes back only with the agent's repair: so steps can be interleaved.
fn hooks(place: &Place, core: usize) -> Result<Prepared> {
    let mut kept: Vec<&str> = Vec::new();
    let mut meshes = Vec::new();
    let added: [(&str, &[&str]); 5] = [
        ("nothing", &[]),
        ("+ guard and short cut", &["guard"]),
        ("+ connect", &CONNECT),
        // Before sk_lookup, which refuses a workload's connection for which sockops left no ticket.
        ("+ sockops and flows", &["wabe_sockops", "wabe_egress", "wabe_release"]),
        ("+ sk_lookup", &["admission"]),
    ];
    for (number, (name, programs)) in added.into_iter().enumerate() {
        kept.extend(programs);
        let mut mesh = Mesh::up(place, &format!("step{number}"), &Wanted::default(), core)?;
        // Before the agent stops: it may be asked for the status.
        let to = mesh.workload("server", 8080)?;
        mesh.keep_only(&kept)?;
        meshes.push((name, Rc::new(mesh), to));
    }
    let arms = || meshes.iter().map(|(name, mesh, to)| Arm::mesh(name, mesh, to.clone())).collect();
    let comparison = |title: &str, kind| Comparison {
        title: title.into(),
        work: Work::Own(kind, Figure::Rate),
        ratios: Ratios::ToFirst,
        arms: arms(),
    };
    Ok(Prepared {
        comparisons: vec![
            comparison("hooks: new connections, to the workload's address", Kind::Connections),
            comparison("hooks: requests on 32 connections, to the workload's address", Kind::Requests),
        ],
        ..Prepared::default()
    })
}

/// Ten processes take turns on a core and its caches, with and without a mesh: so a service of ten is compared with ten.
fn connect(place: &Place, core: usize) -> Result<Prepared> {
    let one = Rc::new(Bridge::new(place, "one", Node::Bare, core)?);
    let ten = Rc::new(Bridge::with(10, place, "ten", Node::Bare, core)?);
    let mesh = Rc::new(Mesh::up(place, "ten", &Wanted { replicas: 10, ..Wanted::default() }, core)?);
    let of_one = || -> Result<Vec<Arm>> {
        Ok(vec![
            Arm::bridge("bridge, bare, one server", &one, Bridge::HTTP),
            Arm::mesh("mesh, a workload's address", &mesh, mesh.workload("server", 8080)?),
        ])
    };
    let of_ten = || -> Result<Vec<Arm>> {
        Ok(vec![
            Arm::bridge("bridge, bare, ten servers in turn", &ten, &ten.all_http()),
            Arm::mesh("mesh, a service of ten", &mesh, mesh.service("server", 80)?),
        ])
    };
    let comparison = |title: &str, figure, arms| Comparison {
        title: title.into(),
        work: Work::Own(Kind::Connections, figure),
        ratios: Ratios::ToFirst,
        arms,
    };
    Ok(Prepared {
        comparisons: vec![
            comparison("connect: new connections, each with one request", Figure::Rate, of_one()?),
            comparison("connect: the same, of ten servers", Figure::Rate, of_ten()?),
            comparison("connect: set-up alone, the time of connect()", Figure::SetUps, of_one()?),
            comparison("connect: the same, of ten servers", Figure::SetUps, of_ten()?),
        ],
        ..Prepared::default()
    })
}

fn scale(place: &Place, core: usize, quick: bool) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let (services, endpoints) = if quick { ("1000", "10000") } else { ("100000", "1000000") };
    let small = Rc::new(Mesh::up(place, "small", &Wanted::default(), core)?);
    let help = run(&mut small.wabe(&["debug", "load", "--help"]));
    let words = ["debug", "load", "--services", "10", "--endpoints", "100", "-o", "json"];
    if let Err(error) = help.and_then(|_| run(&mut small.wabe(&words))) {
        prepared.missing.push(("scale".into(), format!("this `wabe` has no `debug load`: {error:#}")));
        return Ok(prepared);
    }
    let big = Rc::new(Mesh::up(place, "big", &Wanted::default(), core)?);
    let words = ["debug", "load", "--services", services, "--endpoints", endpoints, "-o", "json"];
    let start = std::time::Instant::now();
    let told = match run(&mut big.wabe(&words)) {
        Ok(told) => told,
        Err(error) => {
            prepared.missing.push((words.join(" "), format!("{error:#}")));
            return Ok(prepared);
        }
    };
    prepared
        .facts
        .push((format!("`wabe {}`", words.join(" ")), format!("{} s", start.elapsed().as_secs_f64())));
    prepared.facts.push(("what it told".into(), told.trim().to_owned()));
    if let Some(bytes) = big.agent_memory() {
        prepared.facts.push(("agent, most memory (VmHWM)".into(), format!("{} MB", bytes / 1_000_000)));
    }
    match big.map_memory() {
        Ok(bytes) => prepared.facts.push(("maps in the kernel".into(), format!("{} MB", bytes / 1_000_000))),
        Err(error) => prepared.missing.push(("maps in the kernel".into(), format!("{error:#}"))),
    }
    let arms = vec![
        Arm::mesh("mesh of 10 services", &small, small.service("server", 80)?),
        Arm::mesh(
            &format!("mesh of {services} services, {endpoints} endpoints"),
            &big,
            big.service("server", 80)?,
        ),
    ];
    let title = "scale: set-up, the time of connect()".to_owned();
    prepared.comparisons.push(Comparison {
        title,
        work: Work::Own(Kind::Connections, Figure::SetUps),
        ratios: Ratios::ToFirst,
        arms,
    });
    Ok(prepared)
}

fn udp(place: &Place, core: usize) -> Result<Prepared> {
    let bare = Rc::new(Bridge::new(place, "bare", Node::Bare, core)?);
    let mut arms = vec![Arm::bridge("bridge, bare, direct", &bare, Bridge::ECHO)];
    let mut prepared = Prepared::default();
    match Mesh::up(place, "udp", &Wanted { echo: true, ..Wanted::default() }, core) {
        Ok(mesh) => {
            let mesh = Rc::new(mesh);
            arms.push(Arm::mesh("mesh, the workload's address", &mesh, mesh.workload("echo", 9000)?));
            arms.push(Arm::mesh("mesh, service", &mesh, mesh.service("echo", 9000)?));
        }
        Err(error) => prepared.missing.push(("mesh, UDP".into(), format!("{error:#}"))),
    }
    let title = "udp: datagrams of 64 bytes, one at a time".to_owned();
    prepared.comparisons.push(Comparison {
        title,
        work: Work::Own(Kind::Datagrams, Figure::Rate),
        ratios: Ratios::ToFirst,
        arms,
    });
    Ok(prepared)
}

fn policy(place: &Place, core: usize, quick: bool) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let few = Wanted { more: policies::manifests(10, 10), ..Wanted::default() };
    let few = Rc::new(Mesh::up(place, "few", &few, core)?);
    let mut arms = vec![Arm::mesh("10 rules", &few, few.service("server", 80)?)];
    let (rules, selecting) = if quick { (2_000, 100) } else { (100_000, 1_000) };
    let name = format!("{rules} rules, {selecting} select the destination");
    let many = Wanted { more: policies::manifests(rules, selecting), ..Wanted::default() };
    match Mesh::up(place, "many", &many, core) {
        Ok(mesh) => {
            let to = mesh.service("server", 80)?;
            arms.push(Arm::mesh(&name, &Rc::new(mesh), to));
        }
        Err(error) => prepared.missing.push((name, format!("{error:#}"))),
    }
    let title = "policy: set-up, the time of connect()".to_owned();
    prepared.comparisons.push(Comparison {
        title,
        work: Work::Own(Kind::Connections, Figure::SetUps),
        ratios: Ratios::ToFirst,
        arms,
    });
    Ok(prepared)
}
