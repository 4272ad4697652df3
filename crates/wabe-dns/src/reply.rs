//! From an answer to a packet.

use hickory_proto::{
    op::{Edns, Message, OpCode, ResponseCode},
    serialize::binary::{BinEncodable, BinEncoder},
};

use crate::{
    Answer,
    request::{Asked, HEADER},
};

/// Largest answer of our own over UDP: fits into one packet on every link (DNS flag day 2020). Clients that take more
/// get no more, the rest goes over TCP.
pub(crate) const MAX_PAYLOAD: u16 = 1232;

/// TC: truncated.
const TRUNCATED: u8 = 0x02;

/// The packet for `answer`, at most `limit` octets (512 or more); `None` if it is to be forwarded. If the answers don't
/// fit, as many as do are sent with TC set: old resolvers without TCP can use those.
pub(crate) fn encode(asked: &Asked, answer: Answer, limit: u16) -> Option<Vec<u8>> {
    let mut message = blank(asked, ResponseCode::NoError);
    message.metadata.authoritative = true;
    match answer {
        Answer::Records { answers, additionals } => {
            message.answers = answers;
            message.additionals = additionals;
        }
        Answer::NoData { soa } => message.authorities = vec![*soa],
        Answer::NoName { soa } => {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.authorities = vec![*soa];
        }
        Answer::Refused => return Some(error(asked, ResponseCode::Refused)),
        Answer::Forward => return None,
    }
    Some(fit(message, limit))
}

/// An answer that has only a response code.
pub(crate) fn error(asked: &Asked, code: ResponseCode) -> Vec<u8> {
    to_bytes(&blank(asked, code))
}

/// Says that the answer is too large for UDP.
pub(crate) fn truncated(asked: &Asked) -> Vec<u8> {
    let mut bytes = to_bytes(&blank(asked, ResponseCode::NoError));
    bytes[2] |= TRUNCATED;
    bytes
}

/// Twelve octets for a packet whose question can't be read. `flags` is the third octet of that packet: its operation
/// and RD are repeated.
pub(crate) fn header_only(id: u16, flags: u8, code: ResponseCode) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes[2] = 0x80 | (flags & 0x79);
    bytes[3] = code.low();
    bytes
}

fn blank(asked: &Asked, code: ResponseCode) -> Message {
    let mut message = Message::error_msg(asked.id, OpCode::Query, code);
    message.metadata.recursion_desired = asked.recursion_desired;
    message.metadata.checking_disabled = asked.checking_disabled;
    message.metadata.recursion_available = true;
    message.add_query(asked.query.clone());
    if let Some(asked) = asked.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_PAYLOAD).set_dnssec_ok(asked.dnssec_ok);
        message.set_edns(edns);
    }
    message
}

fn fit(mut message: Message, limit: u16) -> Vec<u8> {
    let fits = |bytes: &[u8]| bytes.len() <= usize::from(limit) && bytes[2] & TRUNCATED == 0;
    let bytes = to_bytes(&message);
    if fits(&bytes) {
        return bytes;
    }
    // Additional records may be left out without a word (RFC 2181, 9).
    message.additionals.clear();
    let bytes = to_bytes(&message);
    if fits(&bytes) {
        return bytes;
    }
    message.authorities.clear();
    let answers = std::mem::take(&mut message.answers);
    let mut with = |count: usize| {
        message.answers = answers[..count].to_vec();
        to_bytes(&message)
    };
    // All of them are too many: that was tried above.
    let (mut most, mut too_many) = (0, answers.len());
    while too_many - most > 1 {
        let middle = most + (too_many - most) / 2;
        if fits(&with(middle)) {
            most = middle;
        } else {
            too_many = middle;
        }
    }
    let mut bytes = with(most);
    bytes[2] |= TRUNCATED;
    bytes
}

fn to_bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    // Names were read from a packet or checked when the index was made; longer messages than 64 KiB are cut by the
    // encoder, with TC.
    message.emit(&mut encoder).expect("invariant: names fit into a message");
    bytes
}
