//! The proxies that Wabe's is compared with, and how they are started: one worker on one core, no log.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{PROXY_CORE, envoy, haproxy, nginx};
use crate::place::Place;

/// A proxy of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Nginx,
    HaProxy,
    Envoy,
}

/// What a peer passes on; each at a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1 at both ends.
    Http,
    /// HTTP/2 without TLS; at both ends if the peer can.
    Http2,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
}

/// Where a peer runs and what it leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    /// Of this process, for files of its own.
    pub(crate) name: &'a str,
    pub(crate) folder: &'a Path,
    /// The server's IPv4 address.
    pub(crate) server: &'a str,
    /// Routes by prefix of HTTP/1.1, besides the one for all.
    pub(crate) routes: usize,
}

/// Where the lab puts Envoy, and finds it: it is large.
const PEERS: &str = "/var/lib/wabe-lab-peers";
/// Idle connections and those of the load need one each, and their way on at most as many.
pub(crate) const FILES: u32 = 20_000;

/// Who calls whom, as Wabe's proxy says it in the mesh of the benchmark.
pub(super) const IDENTITIES: &str =
    "By=spiffe://cluster.local/ns/bench/sa/default;URI=spiffe://cluster.local/ns/bench/sa/default";

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::HaProxy, Self::Envoy];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HaProxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    pub(crate) fn port(self, way: Way) -> u16 {
        let first = match self {
            Self::Nginx => 10_000,
            Self::HaProxy => 11_000,
            Self::Envoy => 12_000,
        };
        first
            + match way {
                Way::Http => 0,
                Way::Http2 => 1,
                Way::Grpc => 2,
                Way::Tcp => 3,
            }
    }

    /// Where it does [`Way::Http`] with the headers that Wabe's proxy adds, too.
    pub(crate) fn introducing_port(self) -> u16 {
        self.port(Way::Tcp) + 1
    }

    /// The command that runs it.
    ///
    /// # Errors
    /// It is not there, and can't be had.
    pub(crate) fn command(self, place: &Place, setting: &Setting<'_>) -> Result<Command> {
        let config = |ending: &str, text: &str| place.write(&format!("{}.{ending}", setting.name), text);
        let mut command = Command::new("taskset");
        command.args(["-c", &PROXY_CORE.to_string(), "prlimit", &format!("--nofile={FILES}:{FILES}")]);
        match self {
            Self::Nginx => {
                let config = config("conf", &nginx::config(setting))?;
                command.args(["nginx", "-e", "stderr", "-c"]).arg(config);
            }
            Self::HaProxy => {
                let map = config("map", &haproxy::map(setting))?;
                let config = config("cfg", &haproxy::config(setting, &map))?;
                command.args(["haproxy", "-db", "-q", "-f"]).arg(config);
            }
            Self::Envoy => {
                let envoy = wabe_lab::tools::envoy(Path::new(PEERS))?;
                let config = config("json", &envoy::config(setting).to_string())?;
                command.arg(envoy.path).args(["--concurrency", "1", "-l", "critical", "-c"]).arg(config);
                command.args(["--use-dynamic-base-id", "--disable-hot-restart"]);
            }
        }
        Ok(command)
    }
}
