//! The listening socket of another process.

use std::{fs, os::fd::OwnedFd, path::Path};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::Error;

/// The socket with which process `pid` listens for TCP over IPv4 on `port`, as a descriptor of our own.
pub(crate) fn of(pid: u32, port: u16) -> Result<OwnedFd, Error> {
    let table = format!("/proc/{pid}/net/tcp");
    let text = fs::read_to_string(&table).map_err(|source| Error::Io { path: table.into(), source })?;
    let inodes: Vec<&str> = text.lines().filter_map(|line| listening(line, port)).collect();
    let none = || Error::NoListener { pid, port };
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).map_err(|source| Error::Io { path: folder.into(), source })?;
    let fd = entries
        .flatten()
        .find(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|link| inodes.iter().any(|it| link == Path::new(&format!("socket:[{it}]"))))
        })
        .and_then(|entry| entry.file_name().to_str()?.parse().ok())
        .ok_or_else(none)?;
    let io = |error: rustix::io::Errno| Error::Io {
        path: format!("/proc/{pid}/fd/{fd}").into(),
        source: error.into(),
    };
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(none)?;
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(io)?;
    pidfd_getfd(process, fd, PidfdGetfdFlags::empty()).map_err(io)
}

/// The inode in a line of /proc/net/tcp, if that socket listens on `port`.
fn listening(line: &str, port: u16) -> Option<&str> {
    /// `TCP_LISTEN`.
    const LISTEN: &str = "0A";
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = words[..] else { return None };
    let here = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (here == port && state == LISTEN).then_some(inode)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsFd as _};

    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port_and_is_the_same_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let found = of(std::process::id(), port).expect("we listen");
        let inode = |fd: rustix::fd::BorrowedFd<'_>| rustix::fs::fstat(fd).expect("a socket").st_ino;
        assert_eq!(inode(found.as_fd()), inode(listener.as_fd()));
        drop(listener);
    }

    #[test]
    fn who_does_not_listen_is_told() {
        assert!(matches!(of(std::process::id(), 1), Err(Error::NoListener { port: 1, .. })));
    }
}
