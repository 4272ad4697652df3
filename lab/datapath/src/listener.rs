//! The sidecar's listener, which is the sidecar's: this process gets a descriptor of the same socket.

use std::{
    fs,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    net::{getsockname, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use crate::Error;

/// A descriptor of the socket with which a process listens on a TCP port. It needs the right to trace the process. Where
/// several share the port, it is any of them: the kernel chooses among them for each connection.
///
/// # Errors
/// If there is no such process or it does not listen there yet.
pub fn listener_of(pid: u32, port: u16) -> Result<OwnedFd, Error> {
    let folder = format!("/proc/{pid}/fd");
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Error::NoListener { pid, port })?;
    let handle = pidfd_open(process, PidfdFlags::empty())
        .map_err(|error| Error::place(format!("process {pid}"))(error.into()))?;
    for entry in fs::read_dir(&folder).map_err(Error::place(&folder))?.flatten() {
        let is_socket =
            fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
        let number = entry.file_name().to_string_lossy().parse();
        let (true, Ok(number)) = (is_socket, number) else { continue };
        // One that was closed in the meantime is not the one.
        let Ok(socket) = pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()) else { continue };
        if listens_on(&socket, port) {
            return Ok(socket);
        }
    }
    Err(Error::NoListener { pid, port })
}

fn listens_on(socket: impl AsFd, port: u16) -> bool {
    let own = getsockname(&socket).ok().and_then(|address| SocketAddr::try_from(address).ok());
    own.is_some_and(|own| own.port() == port) && sockopt::socket_acceptconn(&socket) == Ok(true)
}
