//! A data path with its servers, up and ready to be loaded.

use std::{
    fs::File,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use wabe_lab_datapath::{Counters, Limits, Redirection, SocketToSocket};

use crate::{arm::Arm, place::Place, results, tools::nginx};

pub mod kube;
mod mesh;
mod pods;
mod rules;
mod server;
mod sidecar;
#[cfg(test)]
mod tests;

use kube::Flood;
use mesh::Mesh;
pub use pods::{CLIENT_CORE, SERVER_CORE};
use pods::{End, Pods, Role};
use rules::Rules;
pub use rules::Technology;
pub use server::echo;

/// An arm that is up; dropped, nothing is left of it.
#[derive(Debug)]
pub(crate) struct World {
    /// Which.
    pub(crate) arm: Arm,
    /// What its node has besides.
    pub(crate) flood: Flood,
    /// What that cost; `None` for an arm without rules.
    pub(crate) facts: Option<results::Rules>,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    // First what is attached: it goes before its cgroups do.
    Pods { attached: Option<Box<Attached>>, pods: Pods, rules: Option<Rules> },
    Mesh { mesh: Mesh, address: String },
}

/// The lab's own programs.
#[derive(Debug)]
enum Attached {
    Redirection(Redirection),
    Sockets(SocketToSocket),
}

/// Where two sockets can meet.
#[derive(Debug)]
pub(crate) struct Meeting {
    /// A cgroup in the arm's.
    pub(crate) cgroup: PathBuf,
    /// The client's network namespace.
    pub(crate) client: PathBuf,
    /// The server's.
    pub(crate) server: PathBuf,
    /// The server's address.
    pub(crate) address: std::net::Ipv4Addr,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// HTTP/1.1: 64 bytes.
    Http,
    /// HTTP/1.1: so many bytes, one of [`nginx::SIZES`].
    Sized(u32),
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Datagrams that come back.
    Echo,
}

impl World {
    /// Sets an arm up. `envoy` is the program for arms that have sidecars.
    ///
    /// # Errors
    /// What could not be had, with the last words of programs that ended.
    pub(crate) fn up(place: &Place, arm: Arm, flood: Flood, envoy: Option<&Path>) -> Result<Self> {
        place.check()?;
        let name = arm.name();
        if let Arm::WabeDirect | Arm::WabeProxy = arm {
            let routed = arm == Arm::WabeProxy;
            let (mesh, facts) = Mesh::up(place, if routed { "proxy" } else { "direct" }, routed, flood)?;
            let address = mesh.service("server")?;
            return Ok(Self { arm, flood, facts: Some(facts), inside: Inside::Mesh { mesh, address } });
        }
        let technology = match arm {
            Arm::None | Arm::Sockmap => None,
            Arm::KubeProxyIptables | Arm::SidecarIptables | Arm::SidecarEbpf | Arm::SidecarEbpfSockmap => {
                Some(Technology::IptablesLegacy)
            }
            Arm::KubeProxyIptablesNft => Some(Technology::IptablesNft),
            Arm::KubeProxyNftables => Some(Technology::Nftables),
            Arm::KubeProxyIpvs => Some(Technology::Ipvs),
            Arm::WabeProxy | Arm::WabeTunnel | Arm::WabeDirect => {
                bail!("{name} can't be set up here")
            }
        };
        let mut pods = Pods::up(place, name, technology.is_some())?;
        let (mut rules, mut facts) = (None, None);
        if let Some(technology) = technology {
            let (written, cost) =
                Rules::program(&pods.namespace(End::Node), technology, &pods::measured(), flood)?;
            (rules, facts) = (Some(written), Some(cost));
        }
        let mut attached = None;
        if arm == Arm::Sockmap {
            attached = Some(Box::new(Attached::Sockets(SocketToSocket::attach(
                pods.all().path(),
                Limits::default(),
            )?)));
        }
        if arm.has_sidecars() {
            let envoy = envoy.context("invariant: arms with sidecars are only set up with an Envoy")?;
            let by = if arm == Arm::SidecarIptables { sidecar::By::Iptables } else { sidecar::By::Other };
            let pid = sidecar::start(place, &mut pods, envoy, by)
                .with_context(|| format!("the sidecars; they said: {}", pods::last_words(pods.folder())))?;
            if by == sidecar::By::Other {
                let programs = redirect(&pods, pid, arm == Arm::SidecarEbpfSockmap)?;
                attached = Some(Box::new(Attached::Redirection(programs)));
            }
        }
        Ok(Self { arm, flood, facts, inside: Inside::Pods { attached, pods, rules } })
    }

    /// A command that runs a program as the client's application, on the client's core if it does not choose another.
    pub(crate) fn client(&self, program: &Command) -> Result<Command> {
        match &self.inside {
            Inside::Pods { pods, .. } => pods.inside(Role::ClientApp, program),
            Inside::Mesh { mesh, .. } => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", &CLIENT_CORE.to_string()]);
                pinned.arg(program.get_program()).args(program.get_args());
                Ok(mesh.client(&pinned))
            }
        }
    }

    /// Where two sockets can meet; `None` if the arm has no pods.
    pub(crate) fn scene(&self) -> Result<Option<Meeting>> {
        let Inside::Pods { pods, .. } = &self.inside else { return Ok(None) };
        Ok(Some(Meeting {
            cgroup: pods.all().child("canaries")?.path().to_owned(),
            client: pods.netns(End::Client),
            server: pods.netns(End::Server),
            address: pods::SERVER,
        }))
    }

    /// Where a target is, as the load generator takes it. With `none` and `sockmap` there is no service address: the pod's.
    pub(crate) fn url(&self, target: Target) -> Result<String> {
        let (service, port) = match target {
            Target::Http | Target::Sized(_) => ("server", (80, server::HTTP)),
            Target::Http2 => ("server", (82, server::HTTP2)),
            Target::Echo => ("echo", (9000, server::ECHO)),
        };
        let host = match &self.inside {
            Inside::Mesh { mesh, .. } if target == Target::Echo => {
                format!("{}:{}", mesh.service(service)?, port.0)
            }
            Inside::Mesh { address, .. } => format!("{address}:{}", port.0),
            Inside::Pods { .. } if self.arm.has_rules() => format!("{}:{}", pods::SERVICE, port.0),
            Inside::Pods { .. } => format!("{}:{}", pods::SERVER, port.1),
        };
        Ok(match target {
            Target::Http | Target::Http2 => format!("http://{host}/get"),
            Target::Sized(size) => format!("http://{host}/get?size={size}"),
            Target::Echo => format!("udp://{host}"),
        })
    }

    /// The arm's processes by role, the client's application left out: it accounts for itself.
    pub(crate) fn processes(&self) -> Result<Vec<(&'static str, Vec<u32>)>> {
        match &self.inside {
            Inside::Mesh { mesh, .. } => mesh.processes(),
            Inside::Pods { pods, .. } => Role::ALL
                .into_iter()
                .filter(|it| *it != Role::ClientApp)
                .map(|role| Ok((role.name(), pods.cgroup(role)?.processes())))
                .filter(|it| it.as_ref().map_or(true, |(_, pids)| !pids.is_empty()))
                .collect(),
        }
    }

    /// Fails if a program of the arm has ended.
    pub(crate) fn alive(&mut self) -> Result<()> {
        match &mut self.inside {
            Inside::Pods { pods, .. } => pods.alive(),
            // The mesh starts what ended; the load tells of it.
            Inside::Mesh { .. } => Ok(()),
        }
    }

    /// What the lab's own programs counted; `None` if the arm has none.
    pub(crate) fn counters(&self) -> Result<Option<Counters>> {
        let Inside::Pods { attached: Some(attached), .. } = &self.inside else { return Ok(None) };
        let counters = match attached.as_ref() {
            Attached::Redirection(it) => it.counters(),
            Attached::Sockets(it) => it.counters(),
        };
        Ok(Some(counters?))
    }

    /// Packets that IPVS led; `None` if the arm has none.
    pub(crate) fn led_by_ipvs(&self) -> Result<Option<u64>> {
        match &self.inside {
            Inside::Pods { rules: Some(rules), .. } => rules.led_by_ipvs(),
            Inside::Pods { rules: None, .. } | Inside::Mesh { .. } => Ok(None),
        }
    }

    /// Changes one endpoint that is not measured; tells how long it took. `None` if there is none.
    pub(crate) fn change(&mut self) -> Result<Option<Duration>> {
        match &mut self.inside {
            Inside::Pods { rules: Some(rules), .. } => rules.change(),
            Inside::Pods { rules: None, .. } => Ok(None),
            Inside::Mesh { mesh, .. } => mesh.change(self.flood),
        }
    }
}

/// Leads the client's connections to its Envoy and the server's to the server's, whose process is `inbound`.
fn redirect(pods: &Pods, inbound: u32, sockmap: bool) -> Result<Redirection> {
    let cgroup = |role| pods.cgroup(role);
    let (client_app, client_proxy) = (cgroup(Role::ClientApp)?, cgroup(Role::ClientProxy)?);
    let (server_app, server_proxy) = (cgroup(Role::ServerApp)?, cgroup(Role::ServerProxy)?);
    let namespace = pods.netns(End::Server);
    let namespace = File::open(&namespace).with_context(|| namespace.display().to_string())?;
    Ok(Redirection::attach(&wabe_lab_datapath::Pods {
        client_app: client_app.path(),
        client_proxy: client_proxy.path(),
        server_app: server_app.path(),
        server_proxy: server_proxy.path(),
        server_netns: namespace.as_fd(),
        server_address: pods::SERVER,
        server_port: server::HTTP,
        inbound_listener: wabe_lab_datapath::listener_of(inbound, sidecar::INBOUND)?,
        sockmap,
        limits: Limits::default(),
    })?)
}

/// The folder with the bodies that nginx serves, made if it is not there.
fn bodies(place: &Place) -> Result<PathBuf> {
    let folder = place.folder().join("bodies");
    nginx::write_bodies(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
