//! UDP sockets of a workload whose receiver is gone are connected anew, from outside: the application notices nothing.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    net::{AddressFamily, connect, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use crate::{
    cgroup::Cgroup,
    protocol::{Reconnection, Response},
};

/// Finds the sockets in the processes of the cgroup, and connects each.
pub(super) fn all(cgroup: &Cgroup, sockets: &[Reconnection]) -> Response {
    let mut wanted: BTreeMap<u32, SocketAddr> = sockets.iter().map(|it| (it.inode, it.to)).collect();
    let mut reconnected = Vec::new();
    // A process that has ended has no sockets any more.
    for pid in cgroup.processes().unwrap_or_default() {
        for (descriptor, inode) in held_by(pid).unwrap_or_default() {
            let Some(to) = wanted.remove(&inode) else { continue };
            let copied = copy(pid, descriptor);
            if copied.and_then(|socket| anew(socket.as_fd(), to)).is_ok() {
                reconnected.push(inode);
            }
        }
    }
    Response::Reconnected(reconnected)
}

/// The sockets that a process holds: descriptor and inode.
fn held_by(pid: Pid) -> io::Result<Vec<(i32, u32)>> {
    let mut held = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))? {
        let entry = entry?;
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let inode =
            target.to_str().and_then(|it| it.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        let descriptor = entry.file_name().to_str().and_then(|it| it.parse().ok());
        held.extend(descriptor.zip(inode));
    }
    Ok(held)
}

fn copy(pid: Pid, descriptor: i32) -> io::Result<OwnedFd> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())?)
}

/// The hooks of the socket's own cgroup decide where to, as if its application had dialled.
fn anew(socket: BorrowedFd<'_>, to: SocketAddr) -> io::Result<()> {
    let is_v6 = sockopt::socket_domain(socket)? == AddressFamily::INET6;
    let is_mapped = is_v6 && to.is_ipv4();
    let to = if is_mapped { SocketAddr::new(mapped(to.ip()), to.port()) } else { to };
    connect(socket, &to)?;
    // What the old receiver's end left: it is nobody's business any more.
    sockopt::socket_error(socket)?.ok();
    Ok(())
}

fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}
