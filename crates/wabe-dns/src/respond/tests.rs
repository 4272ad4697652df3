//! Packets in, packets out, without sockets.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::{Name, RecordType},
};
use proptest::prelude::*;

use super::*;
use crate::{
    ServiceNames,
    answer::fixture::{ip, names},
    relay::{self, Relay},
};

const CLIENT: &str = "10.1.0.9";

/// The fixture with a headless service `many` of `count` workloads.
fn index(count: u16) -> Index {
    let mut names = names();
    let addresses = (0..count).map(|n| [10, 2, (n >> 8) as u8, n as u8].into()).collect();
    names.services.push(ServiceNames { name: "many".into(), addresses, ..names.services[3].clone() });
    Index::new(names).expect("names")
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.parse().expect("name"), kind));
    message
}

fn with_edns(mut message: Message, payload: u16, version: u8) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_version(version).set_dnssec_ok(true);
    message.set_edns(edns);
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("message")
}

fn send(index: &Index, carrier: Carrier, packet: &[u8]) -> Response {
    respond(Some(index), &SearchList::new(["corp.example"]), ip(CLIENT), carrier, packet)
}

#[track_caller]
fn reply(index: &Index, carrier: Carrier, packet: &[u8]) -> (Message, usize) {
    match send(index, carrier, packet) {
        Response::Reply(bytes) => (Message::from_vec(&bytes).expect("reply"), bytes.len()),
        other @ (Response::Ignore | Response::Forward(_)) => panic!("reply expected, got {other:?}"),
    }
}

#[track_caller]
fn code(packet: &[u8]) -> ResponseCode {
    reply(&index(0), Carrier::Udp, packet).0.metadata.response_code
}

#[test]
fn repeats_id_question_and_flags() {
    let mut asked = query("cAtAlogue.", RecordType::A);
    asked.metadata.checking_disabled = true;
    let (reply, _) = reply(&index(0), Carrier::Udp, &bytes(&asked));
    assert_eq!(reply.metadata.id, 4711);
    assert!(reply.queries[0].name.eq_case(&asked.queries[0].name));
    assert!(reply.answers[0].name.eq_case(&asked.queries[0].name));
    let flags = &reply.metadata;
    assert!(
        flags.authoritative
            && flags.recursion_desired
            && flags.recursion_available
            && flags.checking_disabled
    );
    assert!(!flags.truncation && reply.edns.is_none());
}

#[test]
fn answers_edns_with_edns() {
    let asked = with_edns(query("catalogue.", RecordType::A), 4096, 0);
    let (reply, _) = reply(&index(0), Carrier::Udp, &bytes(&asked));
    let edns = reply.edns.expect("edns");
    assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 1232, true));
}

#[test]
fn refuses_other_versions_of_edns_for_names_inside_and_outside() {
    for name in ["catalogue.", "www.example.com."] {
        let asked = with_edns(query(name, RecordType::A), 4096, 1);
        let (reply, _) = reply(&index(0), Carrier::Udp, &bytes(&asked));
        // 16 is BADVERS in an OPT record and BADSIG in a TSIG record; the decoder always says BADSIG.
        assert_eq!(u16::from(reply.metadata.response_code), u16::from(ResponseCode::BADVERS));
        assert_eq!(reply.edns.expect("edns").version(), 0);
    }
}

#[test]
fn cuts_answers_to_what_the_client_takes() {
    let index = index(200);
    let asked = query("many.", RecordType::A);
    // No EDNS; less than anybody may ask for; exact sizes; more than we send.
    for (payload, limit) in
        [(None, 512), (Some(100), 512), (Some(700), 700), (Some(1232), 1232), (Some(65_535), 1232)]
    {
        let asked = payload.map_or(asked.clone(), |payload| with_edns(asked.clone(), payload, 0));
        let (reply, length) = reply(&index, Carrier::Udp, &bytes(&asked));
        assert!(length <= limit && length + 16 > limit, "{length} of {limit}: as many records as fit");
        assert!(reply.metadata.truncation);
        assert_eq!(reply.edns.is_some(), payload.is_some());
        assert!((20..200).contains(&reply.answers.len()));
    }
    let (reply, _) = reply(&index, Carrier::Tcp, &bytes(&asked));
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (200, false));
}

#[test]
fn never_exceeds_64_kib_over_tcp() {
    let asked = with_edns(query("many.", RecordType::A), 512, 0);
    let (reply, length) = reply(&index(6000), Carrier::Tcp, &bytes(&asked));
    assert!(length <= 65_535 && length > 65_000);
    assert!(reply.metadata.truncation && reply.edns.is_some());
}

#[test]
fn leaves_out_additional_records_before_it_truncates() {
    let mut names = names();
    names.services[0].addresses = (0..40).map(|n| [10, 96, 2, n].into()).collect();
    let index = Index::new(names).expect("names");
    let asked = query("_http._tcp.catalogue.", RecordType::SRV);
    let (small, _) = reply(&index, Carrier::Udp, &bytes(&asked));
    assert_eq!((small.answers.len(), small.additionals.len(), small.metadata.truncation), (1, 0, false));
    let (whole, _) = reply(&index, Carrier::Tcp, &bytes(&asked));
    assert_eq!(whole.additionals.len(), 40);
}

#[test]
fn rejects_what_is_no_question() {
    let good = bytes(&query("catalogue.", RecordType::A));
    for length in 2..good.len() {
        assert_eq!(code(&good[..length]), ResponseCode::FormErr, "cut to {length}");
    }
    let mut two = query("catalogue.", RecordType::A);
    two.add_query(two.queries[0].clone());
    assert_eq!(code(&bytes(&two)), ResponseCode::FormErr);
    let mut no_question = query("catalogue.", RecordType::A);
    no_question.queries.clear();
    assert_eq!(code(&bytes(&no_question)), ResponseCode::FormErr);
    for operation in [OpCode::Status, OpCode::Notify, OpCode::Update] {
        let mut other = query("catalogue.", RecordType::A);
        other.metadata.op_code = operation;
        let (reply, _) = reply(&index(0), Carrier::Udp, &bytes(&other));
        assert_eq!((reply.metadata.response_code, reply.metadata.op_code), (ResponseCode::NotImp, operation));
        assert_eq!((reply.metadata.id, reply.metadata.recursion_desired), (4711, true));
    }
}

#[test]
fn rejects_two_edns_records() {
    let mut packet = bytes(&with_edns(query("catalogue.", RecordType::A), 1232, 0));
    let option = packet[packet.len() - 11..].to_vec();
    packet.extend(option);
    packet[11] = 2;
    assert_eq!(code(&packet), ResponseCode::FormErr);
}

#[test]
fn ignores_answers_and_what_has_no_id() {
    let mut answer = query("catalogue.", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    for packet in [&[][..], &[1], &bytes(&answer), &[1, 2, 0x80]] {
        assert!(matches!(send(&index(0), Carrier::Udp, packet), Response::Ignore), "{packet:?}");
    }
}

#[test]
fn asks_to_try_again_while_there_are_no_names() {
    for name in ["catalogue.", "www.example.com."] {
        let packet = bytes(&query(name, RecordType::A));
        let response = respond(None, &SearchList::default(), ip(CLIENT), Carrier::Udp, &packet);
        let Response::Reply(bytes) = response else { panic!("reply expected") };
        assert_eq!(Message::from_vec(&bytes).expect("reply").metadata.response_code, ResponseCode::ServFail);
    }
}

/// Names that come close to those of the mesh, and any others.
fn any_name() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let known = prop::sample::select(vec![
        "catalogue",
        "store",
        "many",
        "shop",
        "svc",
        "cluster",
        "local",
        "corp",
        "example",
        "_http",
        "_tcp",
        "10",
        "1",
        "in-addr",
        "ip6",
        "arpa",
        "store-v1-0",
        "cluster.local",
        "",
    ]);
    let label = prop_oneof![8 => known.prop_map(|it| it.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 1..64)];
    prop::collection::vec(label, 0..9)
}

fn any_query() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![prop::sample::select(vec![1, 28, 33, 12, 6, 255, 252, 65]), any::<u16>()];
    let edns = prop::option::of((any::<u16>(), 0u8..3));
    (any::<u16>(), any_name(), kinds, edns).prop_map(|(id, labels, kind, edns)| {
        let labels = labels.iter().filter(|label| !label.is_empty()).map(Vec::as_slice);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message
            .add_query(Query::query(Name::from_labels(labels).unwrap_or_default(), RecordType::from(kind)));
        bytes(&edns.map_or(message.clone(), |(payload, version)| with_edns(message, payload, version)))
    })
}

/// A query with some octets changed, added or cut off.
fn damaged(packet: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (packet, changes, prop::collection::vec(any::<u8>(), 0..20), any::<prop::sample::Index>(), any::<bool>())
        .prop_map(|(mut packet, changes, more, end, cut)| {
            for (place, value) in changes {
                let place = place.index(packet.len());
                packet[place] = value;
            }
            packet.extend(more);
            if cut {
                packet.truncate(end.index(packet.len()));
            }
            packet
        })
}

/// What holds for every packet.
fn check(index: &Index, carrier: Carrier, packet: &[u8]) -> Result<(), TestCaseError> {
    let bytes = match send(index, carrier, packet) {
        Response::Ignore => {
            prop_assert!(packet.len() < 2 || packet.get(2).is_some_and(|flags| flags & 0x80 != 0));
            return Ok(());
        }
        Response::Forward(asked) => {
            let inside = asked.query.name.to_ascii().to_ascii_lowercase();
            let inside = format!(".{inside}").ends_with(".cluster.local.") || inside.ends_with(".svc.");
            prop_assert!(!inside, "{} forwarded", asked.query.name);
            return Ok(());
        }
        Response::Reply(bytes) => bytes,
    };
    let asked = Message::from_vec(packet).ok();
    let limit = match carrier {
        Carrier::Udp => {
            asked.as_ref().and_then(|it| it.edns.as_ref()).map_or(512, |it| it.max_payload().max(512))
        }
        Carrier::Tcp => u16::MAX,
    };
    prop_assert!(bytes.len() <= usize::from(limit), "{} octets of {limit}", bytes.len());
    let reply = Message::from_vec(&bytes);
    prop_assert!(reply.is_ok(), "unparsable: {reply:?}");
    let reply = reply.expect("checked");
    prop_assert_eq!(reply.metadata.message_type, MessageType::Response);
    prop_assert_eq!(&bytes[..2], &packet[..2]);
    if let (Some(asked), [question]) = (asked, &reply.queries[..]) {
        prop_assert!(question.name.eq_case(&asked.queries[0].name));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_octets_get_a_sound_reply_or_none(packet in prop::collection::vec(any::<u8>(), 0..600), tcp: bool) {
        check(&index(100), if tcp { Carrier::Tcp } else { Carrier::Udp }, &packet)?;
    }

    #[test]
    fn any_query_gets_a_sound_reply(packet in any_query(), tcp: bool) {
        check(&index(100), if tcp { Carrier::Tcp } else { Carrier::Udp }, &packet)?;
    }

    #[test]
    fn any_damaged_query_gets_a_sound_reply_or_none(packet in damaged(any_query()), tcp: bool) {
        check(&index(100), if tcp { Carrier::Tcp } else { Carrier::Udp }, &packet)?;
    }

    #[test]
    fn any_reply_of_a_nameserver_is_judged(packet in damaged(any_query()), reply in damaged(any_query()), same: bool) {
        let Request::Asked(asked) = request::read(&packet) else { return Ok(()) };
        let mut reply = if same { packet } else { reply };
        if let Some(flags) = reply.get_mut(2) {
            *flags |= 0x80;
        }
        let id = request::id_of(&reply).unwrap_or(0);
        match relay::judge(&asked, id, Carrier::Udp, &reply) {
            Relay::Foreign => {}
            Relay::Answer(bytes) | Relay::Failure(bytes) => {
                prop_assert!(bytes.len() <= usize::from(asked.payload()));
                prop_assert_eq!(request::id_of(&bytes), Some(asked.id));
            }
        }
    }
}
