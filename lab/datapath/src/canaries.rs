//! What applications expect of TCP, tried: some of it breaks when sockets are joined to each other.

mod order;
mod pair;
mod reading;
mod window;

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process,
};

use crate::{Error, place};

/// Something that an application expects of TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// `splice`, `MSG_WAITALL`, `blocking read`, `edge-triggered read`, `reset`, `receive window`, `order`.
    pub name: &'static str,
    /// What an application expects.
    pub expected: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

/// Where to try it.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The cgroup that sockets are to be made in: this process moves there, and back at the end. Nothing else in it
    /// should make sockets meanwhile. `None`: where the process is, which is plain TCP.
    pub cgroup: Option<&'a Path>,
    /// The network namespace of the caller.
    pub client_netns: BorrowedFd<'a>,
    /// The network namespace of the workload; may be the same.
    pub server_netns: BorrowedFd<'a>,
    /// An address of the workload's namespace. Ports are the kernel's choice.
    pub server_address: Ipv4Addr,
}

/// Tries everything, one after the other. Each takes 3 s at most, all together some 5 s.
///
/// # Errors
/// If a namespace is not of the lab's own or can't be entered, the cgroup neither, or no connection comes about. What
/// does not hold is no error.
pub fn canaries(scene: &Scene<'_>) -> Result<Vec<Canary>, Error> {
    place::check_namespace(scene.client_netns)?;
    place::check_namespace(scene.server_netns)?;
    let _membership = scene.cgroup.map(Membership::enter).transpose()?;
    let all: [fn(&Scene<'_>) -> io::Result<Canary>; 7] = [
        reading::splice,
        reading::wait_for_all,
        reading::blocking_read,
        reading::edge_triggered,
        reading::reset,
        window::receive_window,
        order::order,
    ];
    all.into_iter().map(|canary| canary(scene).map_err(Error::place("a canary's connection"))).collect()
}

/// Being in a cgroup. Back where it came from when dropped.
struct Membership {
    before: PathBuf,
}

impl Membership {
    fn enter(cgroup: &Path) -> Result<Self, Error> {
        const OWN: &str = "/proc/self/cgroup";
        place::Cgroup::open(cgroup)?;
        let table = fs::read_to_string(OWN).map_err(Error::place(OWN))?;
        let path = table.lines().find_map(|line| line.strip_prefix("0::/"));
        let missing = || Error::place(OWN)(io::Error::other("is in no cgroup of version 2"));
        let path = path.ok_or_else(missing)?;
        let root = place::mount_points()?.into_iter().next().ok_or_else(missing)?;
        let before = root.join(path);
        join(cgroup)?;
        Ok(Self { before })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // The group may be gone; then there is nowhere to go back to.
        let _ = join(&self.before);
    }
}

fn join(cgroup: &Path) -> Result<(), Error> {
    let list = cgroup.join("cgroup.procs");
    fs::write(&list, process::id().to_string()).map_err(Error::place(list.display().to_string()))
}
