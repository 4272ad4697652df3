//! TCP connections and connected UDP sockets of a network namespace: seeing them and ending them, by `sock_diag(7)`.
//!
//! Everything here works on a `NETLINK_SOCK_DIAG` socket that was made inside the namespace, and needs no entering.
//! One request at a time per socket. IPv4 connections of IPv6 sockets (`::ffff:a.b.c.d`) count as IPv4 throughout.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::BorrowedFd,
};

use crate::net::netlink::{flag, talk};

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const QUERY: u16 = 20;
/// `SOCK_DESTROY` of `linux/sock_diag.h`.
const DESTROY: u16 = 21;

/// `AF_INET`.
const INET: u8 = 2;
/// `AF_INET6`.
const INET6: u8 = 10;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// `IPPROTO_UDP`.
const UDP: u8 = 17;
/// What the kernel calls a UDP socket that is connected.
const ESTABLISHED: u32 = 1 << 1;

/// `INET_DIAG_NOCOOKIE`: any socket will do.
const NO_COOKIE: u64 = u64::MAX;

/// The states (`tcp_states.h`) of a connection that somebody holds: ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1,
/// FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING. Neither a listener nor one that only waits for late packets.
const LIVE: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// `TCP_NEW_SYN_RECV`: what the kernel calls a connection that was not accepted yet if asked for it alone.
const NEW_SYN_RECV: u8 = 12;

/// A connection, as the namespace that was asked sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The address and port on this side.
    pub local: SocketAddr,
    /// The address and port of the other side.
    pub remote: SocketAddr,
    /// State as in the kernel's `tcp_states.h`; 1 is ESTABLISHED.
    pub state: u8,
    /// The socket's number, never given twice.
    pub cookie: u64,
}

/// All TCP connections of the namespace, without listeners and without those that only wait for late packets.
///
/// # Errors
/// If the kernel has no `sock_diag` for TCP.
pub fn connections(diag: BorrowedFd<'_>) -> io::Result<Vec<Connection>> {
    let mut found = Vec::new();
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    for family in [INET, INET6] {
        let request = request((family, TCP), LIVE, nobody, nobody, 0);
        talk(diag, QUERY, flag::DUMP, &request, |_, answer| found.extend(parse(answer)))?;
    }
    Ok(found)
}

/// Ends the connection between `remote` and `local` (this side): a blocked read fails with `ECONNABORTED`, the other
/// side gets a reset. `false` if there is no such connection (any more).
///
/// # Errors
/// Without the capability NET_ADMIN, or if the kernel lacks `CONFIG_INET_DIAG_DESTROY`.
pub fn destroy(diag: BorrowedFd<'_>, remote: SocketAddr, local: SocketAddr) -> io::Result<bool> {
    let (remote, local) = (canonical(remote), canonical(local));
    let mut found = None;
    let query = request((family(local), TCP), u32::MAX, remote, local, NO_COOKIE);
    let asked = talk(diag, QUERY, flag::ACK, &query, |_, answer| found = parse(answer));
    if !existed(asked)? {
        return Ok(false);
    }
    // Where there is no such connection the kernel offers the listener on that port instead, and to destroy that
    // would take the whole workload off the network: `inet_diag_find_one_icsk` looks up as for a SYN.
    match found {
        Some(it) if it.is_live() && it.remote == remote && it.local == local => destroy_this(diag, &it),
        _ => Ok(false),
    }
}

/// As [`destroy`], for one that [`connections`] has shown; a later one between the same ports is spared.
///
/// # Errors
/// As [`destroy`].
pub fn destroy_this(diag: BorrowedFd<'_>, connection: &Connection) -> io::Result<bool> {
    destroy_socket(diag, TCP, connection)
}

/// All UDP sockets of the namespace that are connected, and the inodes by which processes hold them.
///
/// # Errors
/// If the kernel has no `sock_diag` for UDP.
pub fn datagram_sockets(diag: BorrowedFd<'_>) -> io::Result<Vec<(Connection, u32)>> {
    let mut found = Vec::new();
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    for family in [INET, INET6] {
        let request = request((family, UDP), ESTABLISHED, nobody, nobody, 0);
        talk(diag, QUERY, flag::DUMP, &request, |_, answer| found.extend(parse(answer).zip(inode(answer))))?;
    }
    Ok(found)
}

/// Disconnects a UDP socket that [`datagram_sockets`] has shown: a blocked read fails with `ECONNABORTED`. `false` if it
/// is no more.
///
/// # Errors
/// As [`destroy`].
pub fn destroy_datagram_socket(diag: BorrowedFd<'_>, socket: &Connection) -> io::Result<bool> {
    destroy_socket(diag, UDP, socket)
}

fn destroy_socket(diag: BorrowedFd<'_>, protocol: u8, socket: &Connection) -> io::Result<bool> {
    let Connection { local, remote, cookie, .. } = *socket;
    let request = request((family(local), protocol), u32::MAX, remote, local, cookie);
    existed(talk(diag, DESTROY, flag::ACK, &request, |_, _| {}))
}

impl Connection {
    fn is_live(&self) -> bool {
        self.state == NEW_SYN_RECV || self.state < 32 && LIVE & 1 << self.state != 0
    }
}

/// `ENOENT`: no such socket; `ESTALE`: another one by now.
fn existed(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => Ok(false),
        Err(error) => Err(error),
    }
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states; then `struct inet_diag_sockid`.
fn request(
    (family, protocol): (u8, u8),
    states: u32,
    remote: SocketAddr,
    local: SocketAddr,
    cookie: u64,
) -> [u8; 56] {
    let mut request = [0; 56];
    request[..2].copy_from_slice(&[family, protocol]);
    request[4..8].copy_from_slice(&states.to_ne_bytes());
    request[8..10].copy_from_slice(&local.port().to_be_bytes());
    request[10..12].copy_from_slice(&remote.port().to_be_bytes());
    request[12..28].copy_from_slice(&address_bytes(local.ip()));
    request[28..44].copy_from_slice(&address_bytes(remote.ip()));
    // Interface 0: any. The cookie is two words, the lower one first.
    request[48..52].copy_from_slice(&low_word(cookie).to_ne_bytes());
    request[52..56].copy_from_slice(&low_word(cookie >> 32).to_ne_bytes());
    request
}

/// `struct inet_diag_msg`: family, state, timer, retransmits; then `struct inet_diag_sockid`; then counters.
fn parse(answer: &[u8]) -> Option<Connection> {
    let answer = answer.first_chunk::<52>()?;
    let port = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    let word = |at: usize| u32::from_ne_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]]);
    let address = |at: usize| -> Option<IpAddr> {
        let bytes = answer[at..].first_chunk::<16>()?;
        match answer[0] {
            INET => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
            INET6 => Some(Ipv6Addr::from(*bytes).to_canonical()),
            _ => None,
        }
    };
    Some(Connection {
        local: SocketAddr::new(address(8)?, port(4)),
        remote: SocketAddr::new(address(24)?, port(6)),
        state: answer[1],
        cookie: u64::from(word(44)) | u64::from(word(48)) << 32,
    })
}

/// The last of the counters.
fn inode(answer: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*answer.get(68..72)?.first_chunk()?))
}

fn low_word(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).expect("invariant: masked to 32 bits")
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The kernel finds an IPv4 connection under the family IPv4, whatever family its socket is of.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn family(address: SocketAddr) -> u8 {
    if address.is_ipv4() { INET } else { INET6 }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_laid_out_as_the_kernel_reads_it() {
        let bytes = request(
            (INET, TCP),
            LIVE,
            "10.1.2.3:258".parse().unwrap(),
            "10.4.5.6:772".parse().unwrap(),
            0x0000_0002_0000_0001,
        );
        assert_eq!(bytes[..4], [2, 6, 0, 0]);
        assert_eq!(bytes[8..16], [3, 4, 1, 2, 10, 4, 5, 6]);
        assert_eq!(bytes[28..32], [10, 1, 2, 3]);
        assert_eq!(bytes[44..48], [0; 4]);
        assert_eq!(bytes[48..52], 1_u32.to_ne_bytes());
        assert_eq!(bytes[52..], 2_u32.to_ne_bytes());
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let mut answer = [0; 72];
        answer[0] = INET6;
        answer[1] = 1;
        answer[4..8].copy_from_slice(&[0, 80, 4, 0]);
        answer[8..24].copy_from_slice(&Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets());
        answer[24..40].copy_from_slice(&Ipv4Addr::new(10, 0, 0, 2).to_ipv6_mapped().octets());
        let connection = parse(&answer).unwrap();
        assert_eq!(connection.local, "10.0.0.1:80".parse().unwrap());
        assert_eq!(connection.remote, "10.0.0.2:1024".parse().unwrap());
        assert!(connection.is_live());
        assert!(parse(&answer[..51]).is_none());
    }

    #[test]
    fn listeners_and_late_ones_are_not_live() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let of = |state| Connection { local: address, remote: address, state, cookie: 0 };
        let live: Vec<_> = (0..=255).filter(|state| of(*state).is_live()).collect();
        assert_eq!(live, [1, 2, 3, 4, 5, 8, 9, 11, 12]);
    }
}
