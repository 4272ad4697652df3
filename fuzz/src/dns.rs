//! DNS: no packet of a client and none of a nameserver panics; what is answered is a message that resolvers can read,
//! with the question's id.
//!
//! An input is a client's packet behind its length in two octets, and then the reply of the host's nameserver to it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType, rdata},
};
use wabe_dns::{
    Asked, Carrier, EndpointNames, Index, Names, Port, Relay, Response, SearchList, ServiceNames, Transport,
    judge, respond,
};

use crate::Seed;

/// The mesh whose names are asked for.
static INDEX: LazyLock<Index> = LazyLock::new(|| Index::new(names()).expect("invariant: a domain name"));
static SEARCH: LazyLock<SearchList> = LazyLock::new(|| SearchList::new(["corp.example"]));

/// Answers the packet, over each transport; passes on the reply if the question is not the mesh's.
///
/// # Panics
/// If a promise is broken.
pub fn run(input: &[u8]) {
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (packet, reply) = rest.split_at(length);
    for carrier in [Carrier::Udp, Carrier::Tcp] {
        match respond(Some(&INDEX), &SEARCH, IpAddr::from([10, 1, 0, 9]), carrier, packet) {
            Response::Ignore => {}
            Response::Reply(bytes) => answers(packet, carrier, &bytes),
            Response::Forward(asked) => relays(&asked, packet, carrier, reply),
        }
    }
}

fn answers(packet: &[u8], carrier: Carrier, bytes: &[u8]) {
    let limit = if carrier == Carrier::Udp { 1232 } else { usize::from(u16::MAX) };
    assert!(bytes.len() <= limit, "{} octets", bytes.len());
    assert_eq!(bytes[..2], packet[..2], "another id");
    let message = Message::from_vec(bytes).expect("the answer can't be read");
    assert_eq!(message.metadata.message_type, MessageType::Response);
}

fn relays(asked: &Asked, packet: &[u8], carrier: Carrier, reply: &[u8]) {
    // The nameserver knows the question's id, which is another than the client's.
    let Some(id) = reply.first_chunk() else { return };
    match judge(asked, u16::from_be_bytes(*id), carrier, reply) {
        Relay::Foreign => {}
        // Passed on as it came but for the id; only the client has to understand it.
        Relay::Answer(bytes) | Relay::Failure(bytes) => assert_eq!(bytes[..2], packet[..2], "another id"),
    }
}

/// Questions of each kind about names of the mesh, and about others with their replies.
pub fn seeds() -> Vec<Seed> {
    let questions = [
        ("a", "catalogue.shop.svc.cluster.local.", RecordType::A),
        ("aaaa-short", "cAtAlogue.", RecordType::AAAA),
        ("any-searched", "catalogue.shop.corp.example.", RecordType::ANY),
        ("a-many", "many.shop.", RecordType::A),
        ("a-endpoint", "many-3.many.shop.svc.cluster.local.", RecordType::A),
        ("srv", "_http._tcp.catalogue.shop.svc.cluster.local.", RecordType::SRV),
        ("srv-many", "_http._tcp.many.shop.svc.cluster.local.", RecordType::SRV),
        ("ptr", "1.0.96.10.in-addr.arpa.", RecordType::PTR),
        (
            "ptr-v6",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
            RecordType::PTR,
        ),
        ("soa", "cluster.local.", RecordType::SOA),
        ("no-name", "nobody.home.svc.cluster.local.", RecordType::A),
        ("no-data", "nobody.shop.", RecordType::A),
        ("transfer", "cluster.local.", RecordType::AXFR),
        ("https", "catalogue.shop.", RecordType::HTTPS),
        ("root", ".", RecordType::NS),
    ];
    let mut seeds: Vec<Seed> = Vec::new();
    for (name, asked, kind) in questions {
        let question = question(asked, kind);
        seeds.push(seed(&format!("{name}-edns"), &edns(&question, 1232, 0), None));
        seeds.push(seed(name, &question, None));
    }
    let own = question("catalogue.", RecordType::A);
    let chaos = changed(&own, |it| {
        it.queries[0].set_query_class(DNSClass::CH);
    });
    seeds.push(seed("chaos", &chaos, None));
    seeds.push(seed("edns-small", &edns(&own, 16, 0), None));
    seeds.push(seed("edns-version-1", &edns(&own, 4096, 1), None));
    seeds.push(seed("notify", &changed(&own, |it| it.metadata.op_code = OpCode::Notify), None));
    seeds.push(seed("two-questions", &changed(&own, |it| it.queries.push(it.queries[0].clone())), None));
    seeds.push(seed(
        "an-answer",
        &changed(&own, |it| it.metadata.message_type = MessageType::Response),
        None,
    ));
    let (name, mut cut) = seed("cut", &own, None);
    cut.truncate(20);
    seeds.push((name, cut));
    for (name, reply) in replies() {
        seeds.push(seed(name, &question("www.example.com.", RecordType::A), Some(&reply)));
    }
    seeds
}

/// What a nameserver may say about `www.example.com`.
fn replies() -> [(&'static str, Message); 6] {
    let owner = || "www.example.com.".parse().expect("invariant: a name");
    let reply = |change: &dyn Fn(&mut Message)| {
        let mut message = Message::response(77, OpCode::Query);
        message.add_query(Query::query(owner(), RecordType::A));
        change(&mut message);
        message
    };
    let fill = |count: u8| {
        move |it: &mut Message| {
            let address = |n| RData::A(Ipv4Addr::new(192, 0, 2, n).into());
            it.add_answers((0..count).map(|n| Record::from_rdata(owner(), 60, address(n))));
        }
    };
    let alias = |it: &mut Message| {
        let target = "host.example.net.".parse().expect("invariant: a name");
        it.add_answer(Record::from_rdata(owner(), 60, RData::CNAME(rdata::CNAME(target))));
    };
    [
        ("forwarded", reply(&fill(2))),
        ("forwarded-large", reply(&fill(60))),
        ("forwarded-alias", reply(&alias)),
        ("forwarded-truncated", reply(&|it| it.metadata.truncation = true)),
        ("forwarded-failure", reply(&|it| it.metadata.response_code = ResponseCode::ServFail)),
        (
            "forwarded-bare-refusal",
            reply(&|it| {
                it.queries.clear();
                it.metadata.response_code = ResponseCode::Refused;
            }),
        ),
    ]
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.parse().expect("invariant: a name"), kind));
    message
}

fn edns(message: &Message, payload: u16, version: u8) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_version(version).set_dnssec_ok(true);
    changed(message, |it| {
        it.set_edns(edns);
    })
}

fn changed(message: &Message, change: impl FnOnce(&mut Message)) -> Message {
    let mut message = message.clone();
    change(&mut message);
    message
}

fn seed(name: &str, packet: &Message, reply: Option<&Message>) -> Seed {
    let bytes = |message: &Message| message.to_vec().expect("invariant: its names fit");
    let packet = bytes(packet);
    let length = u16::try_from(packet.len()).expect("invariant: a short packet").to_be_bytes();
    (name.to_owned(), [&length[..], &packet, &reply.map(bytes).unwrap_or_default()].concat())
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
    let virtual_addresses = vec![[10, 96, 0, 1].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 1].into()];
    Names {
        domain: "cluster.local".into(),
        generation: 7,
        resolver: vec![address(1)],
        services: vec![
            service("catalogue", false, virtual_addresses),
            // Too many for a datagram.
            service("many", true, (10..250).map(address).collect()),
            service("nobody", true, Vec::new()),
        ],
        clients: [(address(9), "shop".to_owned())].into(),
    }
}
