//! Packets, built by hand.

use std::net::IpAddr;

/// Any port will do, as long as a test can look for it.
const SOURCE_PORT: u16 = 40_999;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A SYN with IP header; `None` if the addresses differ in family.
pub(super) fn syn(source: IpAddr, destination: IpAddr, port: u16) -> Option<Vec<u8>> {
    // Ports, sequence, acknowledgement, length and SYN, window, checksum, urgent pointer.
    let mut tcp = [&SOURCE_PORT.to_be_bytes()[..], &port.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 0]].concat();
    tcp.extend([5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    packet(source, destination, TCP, tcp, 16)
}

/// A datagram of one byte with IP header; `None` if the addresses differ in family.
pub(super) fn datagram(source: IpAddr, destination: IpAddr, port: u16) -> Option<Vec<u8>> {
    // Ports, length, checksum, the byte.
    let udp = [&SOURCE_PORT.to_be_bytes()[..], &port.to_be_bytes(), &[0, 9, 0, 0, b'x']].concat();
    packet(source, destination, UDP, udp, 6)
}

/// `segment`, whose checksum belongs at `checksum`, behind an IP header.
fn packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    mut segment: Vec<u8>,
    checksum: usize,
) -> Option<Vec<u8>> {
    let length = u8::try_from(segment.len()).expect("invariant: some bytes");
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let pseudo = [&source[..], &destination, &[0, protocol, 0, length]].concat();
            put_checksum(&mut segment, checksum, &pseudo);
            // Version and length, TOS, total length, id, fragment, TTL, protocol, checksum, addresses.
            let head = [0x45, 0, 0, 20 + length, 0, 1, 0x40, 0, 64, protocol, 0, 0];
            let mut ip = [&head[..], &source, &destination].concat();
            put_checksum(&mut ip, 10, &[]);
            Some([ip, segment].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let pseudo = [&source[..], &destination, &[0, 0, 0, length, 0, 0, 0, protocol]].concat();
            put_checksum(&mut segment, checksum, &pseudo);
            // Version, class and label, payload length, next header, hop limit, addresses.
            let head = [0x60, 0, 0, 0, 0, length, protocol, 64];
            Some([&head[..], &source, &destination, &segment].concat())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// RFC 1071.
fn put_checksum(header: &mut [u8], at: usize, before: &[u8]) {
    let words = before.chunks(2).chain(header.chunks(2));
    let mut sum: u32 = words.map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    header[at] = high;
    header[at + 1] = low;
}
