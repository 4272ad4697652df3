//! The two sockets of a connection joined to each other.

use std::path::Path;

use aya::{
    Ebpf,
    maps::{MapError, SockHash},
    programs::SkMsg,
};

use crate::{
    Counters, Error, Limits,
    object::{self, Settings},
    offsets::Offsets,
    place::Cgroup,
};

/// Bytes that a receiver may have unread before messages go by TCP, at most; and never more than half of its receive
/// buffer, which is 64 KiB at first and grows with what comes by TCP.
pub const MOST_UNREAD: u32 = 4 << 20;

const PAIR: &str = "lab_pair";
const FORWARD: &str = "lab_forward";
const SOCKETS: &str = "SOCKETS";

/// Names of all programs that join sockets.
pub(crate) const PROGRAMS: [&str; 2] = [PAIR, FORWARD];

/// Connections within a cgroup that bypass TCP; new ones no longer do when this is dropped, and what open ones have
/// moved and not read is lost: end them first.
#[derive(Debug)]
pub struct SocketToSocket {
    ebpf: Ebpf,
}

impl SocketToSocket {
    /// Attaches the programs to a cgroup that holds callers and workloads. Connections that are open already stay as
    /// they are.
    ///
    /// # Errors
    /// If the cgroup is not of the lab's own, the kernel has no count of unread bytes, or it refuses. Nothing is
    /// attached then.
    pub fn attach(cgroup: &Path, limits: Limits) -> Result<Self, Error> {
        let cgroup = Cgroup::open(cgroup)?;
        let mut ebpf = object::load(limits, Settings::default(), Some(Offsets::of_kernel()?))?;
        attach(&mut ebpf, &[&cgroup])?;
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

/// Loads and attaches both programs. A socket gets its redirecting functions when it joins the map, so the map has its
/// program first.
pub(crate) fn attach(ebpf: &mut Ebpf, cgroups: &[&Cgroup]) -> Result<(), Error> {
    PROGRAMS.into_iter().try_for_each(|name| object::verify(ebpf, name))?;
    let wrong = |error: MapError| Error::map(SOCKETS, error);
    let map = ebpf.map(SOCKETS).ok_or(Error::Missing(SOCKETS))?;
    let map: SockHash<_, u64> = map.try_into().map_err(wrong)?;
    let map = map.fd().try_clone().map_err(Error::place(SOCKETS))?;
    object::program::<SkMsg>(ebpf, FORWARD)?.attach(&map).map_err(|error| Error::program(FORWARD, error))?;
    cgroups.iter().try_for_each(|cgroup| object::attach(ebpf, PAIR, cgroup))
}
