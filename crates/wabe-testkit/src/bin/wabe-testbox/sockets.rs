//! Kinds of sockets that a confined workload may not have, or only under watch.

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::Result;
use libc::{
    AF_INET, AF_INET6, AF_PACKET, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_MPTCP, IPPROTO_SCTP, IPPROTO_TCP,
    IPPROTO_UDP, IPPROTO_UDPLITE, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM,
};

use crate::{args::Args, connect, report};

/// Name, domain, type, protocol.
const KINDS: [(&str, i32, i32, i32); 10] = [
    ("tcp", AF_INET, SOCK_STREAM, IPPROTO_TCP),
    ("udp4", AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    ("raw-socket", AF_INET, SOCK_RAW, IPPROTO_TCP),
    ("raw-socket6", AF_INET6, SOCK_RAW, IPPROTO_TCP),
    // Protocol 0 receives nothing: it is the right to send that matters.
    ("packet-socket", AF_PACKET, SOCK_RAW, 0),
    ("mptcp", AF_INET, SOCK_STREAM, IPPROTO_MPTCP),
    ("udp-lite", AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE),
    ("icmp", AF_INET, SOCK_DGRAM, IPPROTO_ICMP),
    ("icmp6", AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6),
    ("sctp", AF_INET, SOCK_STREAM, IPPROTO_SCTP),
];

/// Whether `kind` is a program of this module: a kind of socket, or `sockets` for all of them.
pub(crate) fn knows(kind: &str) -> bool {
    kind == "sockets" || KINDS.iter().any(|it| it.0 == kind)
}

/// Tries to make one; `mptcp ADDR` also to connect it.
pub(crate) fn run(kind: &str, args: &mut Args) -> Result<()> {
    for (name, domain, sort, protocol) in KINDS {
        if kind != name && kind != "sockets" {
            continue;
        }
        let made = open(domain, sort, protocol);
        report::line(&report::attempt(name, &made));
        if name == "mptcp"
            && kind == name
            && let Some(word) = args.maybe_word()
        {
            let mut target = Args::parse([word].into_iter())?;
            let target = connect::target(&mut target)?;
            let domain = if target.is_ipv6() { AF_INET6 } else { AF_INET };
            let connected = open(domain, sort, protocol).and_then(|socket| dial(&socket, target));
            report::line(&report::attempt("mptcp connect", &connected));
        }
    }
    Ok(())
}

/// socket(2).
pub(crate) fn open(domain: i32, sort: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let socket = unsafe { libc::socket(domain, sort | libc::SOCK_CLOEXEC, protocol) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// An address as the kernel wants it, and its length.
pub(crate) fn raw(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeros is a valid sockaddr_storage (AF_UNSPEC).
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let length = match address {
        SocketAddr::V4(v4) => {
            let raw = (&raw mut storage).cast::<libc::sockaddr_in>();
            // SAFETY: a sockaddr_storage is large and aligned enough for any address.
            unsafe {
                (*raw).sin_family = AF_INET as libc::sa_family_t;
                (*raw).sin_port = v4.port().to_be();
                (*raw).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            }
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let raw = (&raw mut storage).cast::<libc::sockaddr_in6>();
            // SAFETY: as above.
            unsafe {
                (*raw).sin6_family = AF_INET6 as libc::sa_family_t;
                (*raw).sin6_port = v6.port().to_be();
                (*raw).sin6_addr.s6_addr = v6.ip().octets();
            }
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

fn dial(socket: &OwnedFd, target: SocketAddr) -> io::Result<()> {
    let (address, length) = raw(target);
    // SAFETY: the address is as long as said, and lives until the call returns.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
