//! From a packet to a question.

use hickory_proto::op::{Message, Query, ResponseCode};

use crate::reply;

/// Octets of a DNS header.
pub(crate) const HEADER: usize = 12;
/// What every client can take over UDP.
pub(crate) const MIN_PAYLOAD: u16 = 512;

/// What a packet is.
#[derive(Debug)]
pub(crate) enum Request {
    /// Not to be answered: no id, or an answer itself.
    Ignored,
    /// To be answered by this error.
    Rejected(Vec<u8>),
    /// A question.
    Asked(Asked),
}

/// A well-formed question.
#[derive(Clone, Debug)]
pub struct Asked {
    pub(crate) id: u16,
    pub(crate) query: Query,
    pub(crate) recursion_desired: bool,
    pub(crate) checking_disabled: bool,
    pub(crate) edns: Option<AskedEdns>,
}

/// What the client's OPT record says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedEdns {
    /// Largest UDP answer it takes, at least 512.
    pub(crate) payload: u16,
    pub(crate) dnssec_ok: bool,
}

impl Asked {
    /// Largest UDP answer that the client takes.
    pub(crate) fn payload(&self) -> u16 {
        self.edns.map_or(MIN_PAYLOAD, |edns| edns.payload)
    }
}

/// Reads `packet`.
pub(crate) fn read(packet: &[u8]) -> Request {
    let Some(id) = id_of(packet) else { return Request::Ignored };
    let flags = packet.get(2).copied().unwrap_or(0);
    if flags & 0x80 != 0 {
        return Request::Ignored;
    }
    let reject = |code| Request::Rejected(reply::header_only(id, flags, code));
    if packet.len() < HEADER {
        return reject(ResponseCode::FormErr);
    }
    // Other operations have other formats: they are told apart before anything is parsed.
    if flags & 0x78 != 0 {
        return reject(ResponseCode::NotImp);
    }
    if packet[4..6] != [0, 1] {
        return reject(ResponseCode::FormErr);
    }
    let Ok(mut message) = Message::from_vec(packet) else { return reject(ResponseCode::FormErr) };
    let Some(query) = message.queries.pop() else { return reject(ResponseCode::FormErr) };
    let asked = Asked {
        id,
        query,
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        edns: message.edns.as_ref().map(|edns| AskedEdns {
            payload: edns.max_payload().max(MIN_PAYLOAD),
            dnssec_ok: edns.flags().dnssec_ok,
        }),
    };
    if message.edns.is_some_and(|edns| edns.version() != 0) {
        return Request::Rejected(reply::error(&asked, ResponseCode::BADVERS));
    }
    Request::Asked(asked)
}

/// A message's id.
pub(crate) fn id_of(packet: &[u8]) -> Option<u16> {
    packet.first_chunk().map(|id| u16::from_be_bytes(*id))
}
