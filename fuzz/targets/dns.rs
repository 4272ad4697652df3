//! DNS: no packet of a client and none of a nameserver panics; what is answered is a message that resolvers can read,
//! with the question's id.
//!
//! An input is a client's packet and, behind its length in two octets, the reply of the host's nameserver to it.
#![no_main]

use std::{net::IpAddr, sync::LazyLock};

use hickory_proto::op::{Message, MessageType};
use libfuzzer_sys::fuzz_target;
use wabe_dns::{
    Asked, Carrier, EndpointNames, Index, Names, Port, Relay, Response, SearchList, ServiceNames, Transport,
    judge, respond,
};

/// The mesh whose names are asked for.
static INDEX: LazyLock<Index> = LazyLock::new(|| Index::new(names()).expect("invariant: a domain name"));
static SEARCH: LazyLock<SearchList> = LazyLock::new(|| SearchList::new(["corp.example"]));

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (packet, reply) = rest.split_at(length);
    for carrier in [Carrier::Udp, Carrier::Tcp] {
        match respond(Some(&INDEX), &SEARCH, IpAddr::from([10, 1, 0, 9]), carrier, packet) {
            Response::Ignore => {}
            Response::Reply(bytes) => answers(packet, &bytes),
            Response::Forward(asked) => relays(&asked, packet, carrier, reply),
        }
    }
});

fn relays(asked: &Asked, packet: &[u8], carrier: Carrier, reply: &[u8]) {
    // The nameserver knows the question's id, which is another than the client's.
    let Some(id) = reply.first_chunk() else { return };
    match judge(asked, u16::from_be_bytes(*id), carrier, reply) {
        Relay::Foreign => {}
        // Passed on as it came but for the id; only the client has to understand it.
        Relay::Answer(bytes) | Relay::Failure(bytes) => assert_eq!(bytes[..2], packet[..2], "another id"),
    }
}

fn answers(packet: &[u8], bytes: &[u8]) {
    assert!(bytes.len() <= usize::from(u16::MAX));
    assert_eq!(bytes[..2], packet[..2], "another id");
    let message = Message::from_vec(bytes).expect("the answer can't be read");
    assert_eq!(message.metadata.message_type, MessageType::Response);
}

fn names() -> Names {
    let address = |last| IpAddr::from([10, 1, 0, last]);
    let port = |name: Option<&str>, port, transport| Port { name: name.map(str::to_owned), port, transport };
    let service = |name: &str, headless, addresses: Vec<IpAddr>| ServiceNames {
        namespace: "shop".into(),
        name: name.into(),
        endpoints: (0..)
            .zip(&addresses)
            .map(|(n, it)| EndpointNames { hostname: format!("{name}-{n}"), addresses: vec![*it] })
            .collect(),
        addresses,
        headless,
        ports: vec![port(Some("http"), 80, Transport::Tcp), port(None, 99, Transport::Udp)],
    };
    Names {
        domain: "cluster.local".into(),
        generation: 7,
        resolver: vec![address(1)],
        services: vec![
            service("catalogue", false, vec!["10.96.0.1".parse().expect("address"), "fd00::1".parse().expect("address")]),
            // Too many for a datagram.
            service("many", true, (10..250).map(address).collect()),
            service("nobody", true, Vec::new()),
        ],
        clients: [(address(9), "shop".to_owned())].into(),
    }
}
