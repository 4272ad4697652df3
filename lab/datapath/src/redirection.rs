//! Sidecars that are reached without iptables.

use std::{
    net::Ipv4Addr,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{MapError, SockMap},
    programs::SkLookup,
};

use crate::{
    Counters, Error, Limits,
    object::{self, Settings},
    offsets::Offsets,
    place::{self, Cgroup},
    sockets,
};

/// Where the caller's sidecar has to listen, on 127.0.0.1: Istio's port.
pub const OUTBOUND_PORT: u16 = 15001;

const CONNECT: &str = "lab_connect";
const PEERNAME: &str = "lab_peername";
const ORIGIN: &str = "lab_origin";
const OUTBOUND: &str = "lab_outbound";
const INBOUND: &str = "lab_inbound";
const STEER: &str = "lab_steer";
const LISTENER: &str = "LISTENER";

/// Names of all programs of a redirection.
pub(crate) const PROGRAMS: [&str; 6] = [CONNECT, PEERNAME, ORIGIN, OUTBOUND, INBOUND, STEER];

/// A caller and a workload with a sidecar each. Each group of processes has a cgroup of its own, in which its sockets
/// are made: also listeners, since what they accept is counted to the cgroup that they were made in.
#[derive(Debug)]
pub struct Pods<'a> {
    /// The application that calls. All its IPv4 TCP connections go to its sidecar, except those to 127.0.0.0/8.
    pub client_app: &'a Path,
    /// Its sidecar, which listens on 127.0.0.1:[`OUTBOUND_PORT`] in the same network namespace.
    pub client_proxy: &'a Path,
    /// The workload. Only socket to socket redirection attaches anything here.
    pub server_app: &'a Path,
    /// Its sidecar.
    pub server_proxy: &'a Path,
    /// The network namespace of workload and sidecar.
    pub server_netns: BorrowedFd<'a>,
    /// The address at which the workload is reached from outside.
    pub server_address: Ipv4Addr,
    /// The port at which the workload is reached, and listens.
    pub server_port: u16,
    /// What the workload's sidecar listens with for it, from [`crate::listener_of`]. Only needed to attach.
    pub inbound_listener: OwnedFd,
    /// Whether the sockets of one connection are joined as well.
    pub sockmap: bool,
    /// How large the tables are.
    pub limits: Limits,
}

/// Sidecars between a caller and a workload; both are bypassed again when this is dropped.
#[derive(Debug)]
pub struct Redirection {
    ebpf: Ebpf,
}

impl Redirection {
    /// Attaches the programs. Connections that are open already stay as they are.
    ///
    /// # Errors
    /// If a cgroup or the namespace is not of the lab's own, or the kernel refuses. Nothing is attached then.
    pub fn attach(pods: &Pods<'_>) -> Result<Self, Error> {
        let open = |path| Cgroup::open(path);
        let client_app = open(pods.client_app)?;
        let client_proxy = open(pods.client_proxy)?;
        let server_app = open(pods.server_app)?;
        let server_proxy = open(pods.server_proxy)?;
        place::check_namespace(pods.server_netns)?;
        let offsets = if pods.sockmap { Some(Offsets::of_kernel()?) } else { None };
        let settings = Settings {
            outbound_port: OUTBOUND_PORT,
            server_address: u32::from_ne_bytes(pods.server_address.octets()),
            server_port: pods.server_port,
        };
        let mut ebpf = object::load(pods.limits, settings, offsets)?;
        PROGRAMS.into_iter().try_for_each(|name| object::verify(&mut ebpf, name))?;
        if pods.sockmap {
            sockets::attach(&mut ebpf, &[&client_app, &client_proxy, &server_app, &server_proxy])?;
        }
        set_listener(&mut ebpf, &pods.inbound_listener)?;
        // Whoever answers is there before anybody is led to it.
        object::attach(&mut ebpf, OUTBOUND, &client_proxy)?;
        object::attach(&mut ebpf, INBOUND, &server_proxy)?;
        object::program::<SkLookup>(&mut ebpf, STEER)?
            .attach(pods.server_netns)
            .map_err(|error| Error::program(STEER, error))?;
        object::attach(&mut ebpf, ORIGIN, &client_proxy)?;
        object::attach(&mut ebpf, ORIGIN, &client_app)?;
        object::attach(&mut ebpf, PEERNAME, &client_app)?;
        object::attach(&mut ebpf, CONNECT, &client_app)?;
        Ok(Self { ebpf })
    }

    /// What the programs counted.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn counters(&self) -> Result<Counters, Error> {
        Counters::read(&self.ebpf)
    }
}

fn set_listener(ebpf: &mut Ebpf, listener: &OwnedFd) -> Result<(), Error> {
    let wrong = |error: MapError| Error::map(LISTENER, error);
    let map = ebpf.map_mut(LISTENER).ok_or(Error::Missing(LISTENER))?;
    let mut map: SockMap<_> = map.try_into().map_err(wrong)?;
    map.set(0, listener, 0).map_err(wrong)
}
