//! Ordinary sockets with something extraordinary about them: privileged options, a foreign address, a foreign maker.

use std::{
    io::{self, Read as _},
    mem,
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use anyhow::{Result, bail};
use libc::{AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOCK_STREAM, SOL_SOCKET};
use serde_json::json;

use crate::{args::Args, connect, report, sockets};

/// `IPV6_TRANSPARENT` of `linux/in6.h`.
const IPV6_TRANSPARENT: i32 = 75;
/// `IPV6_FREEBIND` of `linux/in6.h`.
const IPV6_FREEBIND: i32 = 78;

/// `options`: tries the options that choose routes and addresses.
pub(crate) fn options() -> Result<()> {
    for (name, domain, level, option) in [
        ("mark", AF_INET, SOL_SOCKET, libc::SO_MARK),
        ("mark6", AF_INET6, SOL_SOCKET, libc::SO_MARK),
        ("transparent", AF_INET, IPPROTO_IP, libc::IP_TRANSPARENT),
        ("transparent6", AF_INET6, IPPROTO_IPV6, IPV6_TRANSPARENT),
    ] {
        let set = sockets::open(domain, SOCK_STREAM, IPPROTO_TCP).and_then(|it| set(&it, level, option));
        report::line(&report::attempt(name, &set));
    }
    Ok(())
}

/// `foreign-bind SRC ADDR`: connects from an address that is not ours, which IP_FREEBIND lets anybody bind to.
pub(crate) fn foreign_bind(args: &mut Args) -> Result<()> {
    let source: std::net::IpAddr = args.word("a source address")?.parse()?;
    let target = connect::target(args)?;
    let timeout = args.millis("timeout", 1000)?;
    let (domain, level, option) = if source.is_ipv6() {
        (AF_INET6, IPPROTO_IPV6, IPV6_FREEBIND)
    } else {
        (AF_INET, IPPROTO_IP, libc::IP_FREEBIND)
    };
    let socket = sockets::open(domain, SOCK_STREAM, IPPROTO_TCP)?;
    let bound = set(&socket, level, option).and_then(|()| bind(&socket, SocketAddr::new(source, 0)));
    report::line(&report::attempt("bind", &bound));
    report::line(&dialled(TcpStream::from(socket), target, timeout));
    Ok(())
}

/// `inherited ADDR`: connects the socket that came as stdin, made by who knows whom.
pub(crate) fn inherited(args: &mut Args) -> Result<()> {
    let target = connect::target(args)?;
    let timeout = args.millis("timeout", 1000)?;
    // SAFETY: stdin is open for as long as the program runs.
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    let stream = TcpStream::from(stdin.try_clone_to_owned()?);
    if stream.read_timeout().is_err() {
        bail!("stdin is no socket");
    }
    report::line(&dialled(stream, target, timeout));
    Ok(())
}

/// How connecting this socket went, and what the peer said first.
fn dialled(mut stream: TcpStream, target: SocketAddr, timeout: Duration) -> serde_json::Value {
    // The timeout for sending also limits connect(2), see socket(7).
    let limited = stream.set_write_timeout(Some(timeout)).and(stream.set_read_timeout(Some(timeout)));
    let outcome = limited.and_then(|()| dial(&stream, target));
    let mut line = report::attempt("tcp", &outcome);
    if outcome.is_ok() {
        let mut buffer = [0; 256];
        line["first"] = match stream.read(&mut buffer) {
            Ok(length) => json!(String::from_utf8_lossy(&buffer[..length]).trim_end()),
            Err(error) => json!(report::errno(&error)),
        };
    }
    line
}

fn dial(stream: &TcpStream, target: SocketAddr) -> io::Result<()> {
    let (address, length) = sockets::raw(target);
    // SAFETY: the address is as long as said, and lives until the call returns.
    outcome(unsafe { libc::connect(stream.as_raw_fd(), (&raw const address).cast(), length) })
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (address, length) = sockets::raw(address);
    // SAFETY: the address is as long as said, and lives until the call returns.
    outcome(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

fn set(socket: &OwnedFd, level: i32, option: i32) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: the kernel reads an int, which lives until the call returns.
    outcome(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            mem::size_of::<i32>() as libc::socklen_t,
        )
    })
}

fn outcome(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
