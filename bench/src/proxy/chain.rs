//! Three network namespaces in a row: client, proxies, server; and a cable from client to server, for the way without a proxy.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{END_CORE, GRPC_PORT, Peer, Setting, Way};
use crate::{
    command::{ip, run},
    place::{self, PREFIX, Place},
    server,
};

/// Where a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// In a namespace between the two, as a proxy of a node is.
    Between,
    /// In the client's, over `lo`: this is how Wabe's is reached.
    Client,
}

impl Side {
    fn namespace(self) -> &'static str {
        match self {
            Self::Between => "p",
            Self::Client => "c",
        }
    }

    /// Where the client finds the peer.
    fn address(self) -> &'static str {
        match self {
            Self::Between => "192.0.2.2",
            Self::Client => "127.0.0.1",
        }
    }

    /// Where the peer finds the server.
    fn server(self) -> &'static str {
        match self {
            Self::Between => "198.51.100.2",
            Self::Client => Chain::SERVER,
        }
    }
}

/// The namespaces with servers, and peers as they are started; dropped, all go.
#[derive(Debug)]
pub(crate) struct Chain {
    name: String,
    servers: Vec<Child>,
    peers: Vec<(Peer, Child)>,
}

impl Chain {
    /// Where the client finds the server without a proxy.
    pub(crate) const SERVER: &str = "203.0.113.2";

    /// Makes one with servers and without peers. `name` tells it from others.
    pub(crate) fn new(place: &Place, name: &str) -> Result<Self> {
        place.check()?;
        let mut chain = Self { name: format!("{PREFIX}{name}"), servers: Vec::new(), peers: Vec::new() };
        chain.wire()?;
        let config = place.write(&format!("{name}.conf"), &server::nginx(END_CORE, place.folder(), name))?;
        let mut nginx = Command::new("nginx");
        nginx.args(["-e", "stderr", "-c"]).arg(config);
        let mut calls = Command::new(place.program());
        calls.args(["grpc", &format!("0.0.0.0:{GRPC_PORT}"), &END_CORE.to_string()]);
        for command in [nginx, calls] {
            let child = chain.start(place, "s", &command)?;
            chain.servers.push(child);
        }
        for port in [server::PORT, GRPC_PORT] {
            chain.wait(place, &format!("{}:{port}", Self::SERVER))?;
        }
        Ok(chain)
    }

    /// Starts a peer, and waits until it accepts connections.
    ///
    /// # Errors
    /// It is not there, ends, or accepts none.
    pub(crate) fn add(&mut self, place: &Place, peer: Peer, side: Side, routes: usize) -> Result<()> {
        let name = format!("{}-{}-{}", self.name, peer.word(), side.namespace());
        let setting = Setting { name: &name, folder: place.folder(), server: side.server(), routes };
        let command = peer.command(place, &setting)?;
        let child = self.start(place, side.namespace(), &command)?;
        self.peers.push((peer, child));
        self.wait(place, &Self::to(peer, side, Way::Http))
    }

    /// Where a peer accepts what is to go that way.
    pub(crate) fn to(peer: Peer, side: Side, way: Way) -> String {
        format!("{}:{}", side.address(), peer.port(way))
    }

    /// Where a peer does so with the headers that Wabe's proxy adds.
    pub(crate) fn to_introducing(peer: Peer, side: Side) -> String {
        format!("{}:{}", side.address(), peer.introducing_port())
    }

    /// A command that runs `program` in the client's namespace.
    pub(crate) fn client(&self, program: &Path) -> Command {
        self.inside("c", program)
    }

    /// The processes of a peer.
    pub(crate) fn processes(&self, peer: Peer) -> Vec<u32> {
        let own = self.peers.iter().filter(|(it, _)| *it == peer).map(|(_, child)| child.id());
        own.flat_map(place::with_children).collect()
    }

    /// In a session of its own, as each workload of a mesh is: the kernel shares processors out among sessions first
    /// (`sched_autogroup_enabled`), as among containers.
    fn inside(&self, end: &str, program: &Path) -> Command {
        let mut command = Command::new("setsid");
        command.args(["ip", "netns", "exec", &format!("{}-{end}", self.name)]).arg(program);
        command
    }

    fn wire(&self) -> Result<()> {
        let name = &self.name;
        for end in ["c", "p", "s"] {
            ip(&format!("netns add {name}-{end}"))?;
            ip(&format!("-n {name}-{end} link set lo up"))?;
        }
        let cables = [
            (("c", "192.0.2.1"), ("p", "192.0.2.2")),
            (("p", "198.51.100.1"), ("s", "198.51.100.2")),
            (("c", "203.0.113.1"), ("s", Self::SERVER)),
        ];
        for ((from, near), (to, far)) in cables {
            ip(&format!(
                "-n {name}-{from} link add to-{to} type veth peer name to-{from} netns {name}-{to}"
            ))?;
            for (end, other, address) in [(from, to, near), (to, from, far)] {
                ip(&format!("-n {name}-{end} address add {address}/30 dev to-{other}"))?;
                ip(&format!("-n {name}-{end} link set to-{other} up"))?;
            }
        }
        Ok(())
    }

    fn start(&self, place: &Place, end: &str, command: &Command) -> Result<Child> {
        let mut inside = self.inside(end, command.get_program().as_ref());
        inside.args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = inside.spawn().with_context(|| format!("{inside:?} could not be run"))?;
        place.record(child.id())?;
        Ok(child)
    }

    fn wait(&self, place: &Place, to: &str) -> Result<()> {
        accepts(place, || self.client(&place.program()), to)
    }
}

/// Waits until connections are accepted there. `client` runs the benchmark where the client is.
///
/// # Errors
/// None is for long.
pub(super) fn accepts(place: &Place, client: impl Fn() -> Command, to: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        place.check()?;
        match run(client().args(["probe", to])) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).context(format!("nothing accepts connections at {to}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        for child in self.servers.iter_mut().chain(self.peers.iter_mut().map(|(_, child)| child)) {
            end(child);
        }
        for end in ["c", "p", "s"] {
            if let Err(error) = ip(&format!("netns delete {}-{end}", self.name)) {
                eprintln!("cleaning up: {error:#}");
            }
        }
    }
}

fn end(child: &mut Child) {
    // nginx ends its worker only if asked; a worker without master would stay.
    place::kill(child.id(), rustix::process::Signal::TERM);
    let _ = child.wait();
}
