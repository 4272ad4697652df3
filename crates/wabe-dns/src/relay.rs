//! What to make of a nameserver's reply.

use hickory_proto::{
    op::{Query, ResponseCode},
    serialize::binary::{BinDecodable, BinDecoder},
};

use crate::{
    reply,
    request::{Asked, HEADER, id_of},
    respond::Carrier,
};

/// A nameserver's reply, judged.
#[derive(Debug, PartialEq, Eq)]
pub enum Relay {
    /// Not an answer to our question: somebody guesses. Wait on.
    Foreign,
    /// For the client.
    Answer(Vec<u8>),
    /// For the client, if no other server knows better.
    Failure(Vec<u8>),
}

/// Judges `packet`, that came from the server that was asked `asked` under the id `id`.
pub fn judge(asked: &Asked, id: u16, carrier: Carrier, packet: &[u8]) -> Relay {
    if packet.len() < HEADER || id_of(packet) != Some(id) || packet[2] & 0xf8 != 0x80 {
        return Relay::Foreign;
    }
    let code = ResponseCode::from_low(packet[3] & 0x0f);
    let failed = matches!(code, ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp);
    match packet[4..6] {
        [0, 1] if repeats(&asked.query, packet) => {}
        // Some servers leave the question out of errors. Clients would not recognise those: they are told anew.
        [0, 0] if failed || code == ResponseCode::FormErr => {
            let bytes = reply::error(asked, code);
            return if failed { Relay::Failure(bytes) } else { Relay::Answer(bytes) };
        }
        _ => return Relay::Foreign,
    }
    let mut bytes = packet.to_vec();
    bytes[..2].copy_from_slice(&asked.id.to_be_bytes());
    if carrier == Carrier::Udp && bytes.len() > usize::from(asked.payload()) {
        bytes = reply::truncated(asked);
    }
    if failed { Relay::Failure(bytes) } else { Relay::Answer(bytes) }
}

/// Whether the packet's question is `query`. Some servers change the letters' case.
fn repeats(query: &Query, packet: &[u8]) -> bool {
    let mut decoder = BinDecoder::new(packet);
    decoder.read_slice(HEADER).is_ok()
        && Query::read(&mut decoder).is_ok_and(|it| {
            it.query_type == query.query_type && it.query_class == query.query_class && it.name == query.name
        })
}

#[cfg(test)]
mod tests {
    use hickory_proto::{
        op::{Message, MessageType, OpCode},
        rr::{RData, Record, RecordType},
    };

    use super::*;

    fn asked(name: &str) -> Asked {
        Asked {
            id: 1,
            query: Query::query(name.parse().expect("name"), RecordType::A),
            recursion_desired: true,
            checking_disabled: false,
            edns: None,
        }
    }

    fn reply_with(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::response(9, OpCode::Query);
        message.add_query(asked("www.example.").query);
        change(&mut message);
        message.to_vec().expect("message")
    }

    fn judged(change: impl FnOnce(&mut Message)) -> Relay {
        judge(&asked("www.example."), 9, Carrier::Udp, &reply_with(change))
    }

    #[test]
    fn passes_answers_with_the_clients_id() {
        let Relay::Answer(bytes) = judged(|_| {}) else { panic!("answer expected") };
        assert_eq!(id_of(&bytes), Some(1));
        assert_eq!(bytes[2..], reply_with(|_| {})[2..]);
        let other_case = |it: &mut Message| it.queries[0].name = "WWW.Example.".parse().expect("name");
        assert!(matches!(judged(other_case), Relay::Answer(_)));
    }

    #[test]
    fn ignores_what_was_not_asked() {
        type Change = fn(&mut Message);
        let changes: [(&str, Change); 7] = [
            ("id", |it| it.metadata.id = 8),
            ("a question", |it| it.metadata.message_type = MessageType::Query),
            ("operation", |it| it.metadata.op_code = OpCode::Notify),
            ("name", |it| it.queries[0].name = "www2.example.".parse().expect("name")),
            ("type", |it| it.queries[0].query_type = RecordType::AAAA),
            ("two questions", |it| it.queries.push(it.queries[0].clone())),
            ("no question", |it| it.queries.clear()),
        ];
        for (what, change) in changes {
            assert_eq!(judged(change), Relay::Foreign, "{what}");
        }
        assert_eq!(judge(&asked("www.example."), 9, Carrier::Udp, &[0, 9, 0x80]), Relay::Foreign);
    }

    #[test]
    fn a_failure_is_for_the_client_only_if_nobody_knows_better() {
        for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
            assert!(matches!(judged(|it| it.metadata.response_code = code), Relay::Failure(_)), "{code}");
        }
        for code in [ResponseCode::NXDomain, ResponseCode::FormErr] {
            assert!(matches!(judged(|it| it.metadata.response_code = code), Relay::Answer(_)), "{code}");
        }
    }

    #[test]
    fn errors_without_question_are_told_anew() {
        let Relay::Answer(bytes) = judged(|it| {
            it.queries.clear();
            it.metadata.response_code = ResponseCode::FormErr;
        }) else {
            panic!("answer expected")
        };
        let message = Message::from_vec(&bytes).expect("message");
        assert_eq!(message.queries, [asked("www.example.").query]);
        assert_eq!((message.metadata.id, message.metadata.response_code), (1, ResponseCode::FormErr));
    }

    #[test]
    fn an_oversized_reply_is_cut_for_udp_only() {
        let fill = |it: &mut Message| {
            let address = |n| RData::A(std::net::Ipv4Addr::new(192, 0, 2, n).into());
            let owner = it.queries[0].name.clone();
            it.add_answers((0..60).map(|n| Record::from_rdata(owner.clone(), 1, address(n))));
        };
        let Relay::Answer(bytes) = judged(fill) else { panic!("answer expected") };
        assert!(bytes.len() <= 512);
        assert!(Message::from_vec(&bytes).expect("message").metadata.truncation);
        let whole = reply_with(fill);
        let relayed = judge(&asked("www.example."), 9, Carrier::Tcp, &whole);
        assert!(matches!(relayed, Relay::Answer(bytes) if bytes.len() == whole.len()));
    }
}
