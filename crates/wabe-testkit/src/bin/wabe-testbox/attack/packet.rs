//! Packets, built by hand.

use std::net::IpAddr;

/// Any port will do, as long as a test can look for it.
const SOURCE_PORT: u16 = 40_999;

/// A SYN with IP header; `None` if the addresses differ in family.
pub(super) fn syn(source: IpAddr, destination: IpAddr, port: u16) -> Option<Vec<u8>> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let tcp = tcp(&[&source[..], &destination, &[0, 6, 0, 20]].concat(), port);
            // Version and length, TOS, total length, id, fragment, TTL, protocol, checksum, addresses.
            let mut ip = [&[0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0][..], &source, &destination].concat();
            put_checksum(&mut ip, 10, &[]);
            Some([ip, tcp].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let tcp = tcp(&[&source[..], &destination, &[0, 0, 0, 20, 0, 0, 0, 6]].concat(), port);
            // Version, class and label, payload length, next header, hop limit, addresses.
            Some([&[0x60, 0, 0, 0, 0, 20, 6, 64][..], &source, &destination, &tcp].concat())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// A datagram of one byte with IP header; `None` if the addresses differ in family.
pub(super) fn datagram(source: IpAddr, destination: IpAddr, port: u16) -> Option<Vec<u8>> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let udp = udp(&[&source[..], &destination, &[0, 17, 0, 9]].concat(), port);
            let mut ip = [&[0x45, 0, 0, 29, 0, 1, 0x40, 0, 64, 17, 0, 0][..], &source, &destination].concat();
            put_checksum(&mut ip, 10, &[]);
            Some([ip, udp].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (source, destination) = (source.octets(), destination.octets());
            let udp = udp(&[&source[..], &destination, &[0, 0, 0, 9, 0, 0, 0, 17]].concat(), port);
            Some([&[0x60, 0, 0, 0, 0, 9, 17, 64][..], &source, &destination, &udp].concat())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

fn udp(pseudo_header: &[u8], port: u16) -> Vec<u8> {
    // Ports, length, checksum, the byte.
    let mut udp = [&SOURCE_PORT.to_be_bytes()[..], &port.to_be_bytes(), &[0, 9, 0, 0, b'x']].concat();
    put_checksum(&mut udp, 6, pseudo_header);
    udp
}

fn tcp(pseudo_header: &[u8], port: u16) -> Vec<u8> {
    // Ports, sequence, acknowledgement, length and SYN, window, checksum, urgent pointer.
    let mut tcp = [&SOURCE_PORT.to_be_bytes()[..], &port.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 0]].concat();
    tcp.extend([5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    put_checksum(&mut tcp, 16, pseudo_header);
    tcp
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
