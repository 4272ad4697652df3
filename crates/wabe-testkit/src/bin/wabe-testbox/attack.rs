//! Attacks: packets with a forged source, and other processes' namespaces.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use libc::{AF_INET, AF_INET6, AF_PACKET, IPPROTO_RAW, SOCK_DGRAM, SOCK_RAW};
use serde_json::json;

use crate::{args::Args, report, sockets};

mod borrowed;
mod intrude;
mod packet;

pub(crate) use borrowed::{foreign_bind, inherited, options};
pub(crate) use intrude::intrude;

/// `spoof SRC DST PORT`: sends a SYN that claims to come from SRC, first by a raw socket, then by a packet socket (on
/// the first interface that is not `lo`; addressed to the neighbour in the ARP table, or to `--mac`). With `--udp` a datagram.
pub(crate) fn spoof(args: &mut Args) -> Result<()> {
    let source: IpAddr = args.word("a source address")?.parse()?;
    let destination: IpAddr = args.word("a destination address")?.parse()?;
    let port: u16 = args.word("a destination port")?.parse()?;
    let build = if args.has("udp") { packet::datagram } else { packet::syn };
    let packet = build(source, destination, port).context("source and destination differ in family")?;
    report::line(&report::attempt("raw", &by_raw_socket(&packet, destination)));
    let mac = match args.option::<String>("mac")? {
        Some(text) => parse_mac(&text).with_context(|| format!("{text:?} is no MAC address"))?,
        None => neighbour().unwrap_or([0xff; 6]),
    };
    report::line(&report::attempt("packet", &by_packet_socket(&packet, destination, mac)));
    Ok(())
}

/// `setns PID`: tries each kind of namespace of that process.
pub(crate) fn setns(args: &mut Args) -> Result<()> {
    let pid: u32 = args.word("a process id")?.parse()?;
    for kind in ["net", "mnt", "cgroup", "pid", "user"] {
        let entered = File::open(format!("/proc/{pid}/ns/{kind}")).and_then(|namespace| {
            // SAFETY: no memory is passed.
            outcome(unsafe { libc::setns(namespace.as_raw_fd(), 0) } as isize)
        });
        let mut line = report::attempt(kind, &entered);
        line["now"] = json!(fs::read_link(format!("/proc/self/ns/{kind}")).ok());
        report::line(&line);
    }
    Ok(())
}

fn by_raw_socket(packet: &[u8], destination: IpAddr) -> io::Result<()> {
    // IPPROTO_RAW: the packet brings its own header, source address included.
    let domain = if destination.is_ipv6() { AF_INET6 } else { AF_INET };
    let socket = sockets::open(domain, SOCK_RAW, IPPROTO_RAW)?;
    let (address, length) = sockets::raw(SocketAddr::new(destination, 0));
    // SAFETY: packet and address are as long as said, and live until the call returns.
    outcome(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const address).cast(),
            length,
        )
    })
}

fn by_packet_socket(packet: &[u8], destination: IpAddr, mac: [u8; 6]) -> io::Result<()> {
    let socket: OwnedFd = sockets::open(AF_PACKET, SOCK_DGRAM, 0)?;
    let protocol = if destination.is_ipv6() { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
    // SAFETY: all zeros is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = AF_PACKET as u16;
    address.sll_protocol = (protocol as u16).to_be();
    address.sll_ifindex = interface()?;
    address.sll_halen = 6;
    address.sll_addr[..6].copy_from_slice(&mac);
    // SAFETY: packet and address are as long as said, and live until the call returns.
    outcome(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    })
}

fn outcome(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number of the first interface that is not `lo`; of `lo` if there is no other.
fn interface() -> io::Result<i32> {
    // SAFETY: returns an array that ends in index 0, or null; it is freed below and not used after.
    let all = unsafe { libc::if_nameindex() };
    if all.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut found = 1;
    for at in 0.. {
        // SAFETY: the loop ends at the entry of index 0, the array's last.
        let index = unsafe { (*all.add(at)).if_index };
        if index == 0 {
            break;
        }
        if index != 1 {
            found = index;
            break;
        }
    }
    // SAFETY: it came from if_nameindex and is freed once.
    unsafe { libc::if_freenameindex(all) };
    Ok(found.cast_signed())
}

/// The first neighbour in the ARP table: to a workload, the host's end of its link.
fn neighbour() -> Option<[u8; 6]> {
    let table = fs::read_to_string("/proc/self/net/arp").ok()?;
    table.lines().skip(1).find_map(|line| parse_mac(line.split_whitespace().nth(3)?).ok())
}

fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next().context("too short")?, 16)?;
    }
    if parts.next().is_some() {
        bail!("too long");
    }
    Ok(mac)
}
