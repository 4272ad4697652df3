//! From packet to packet: everything that needs no socket.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;

use crate::{
    Index, SearchList, answer, reply,
    request::{self, Asked, Request},
};

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// One datagram: the answer's size is limited by the client.
    Udp,
    /// A stream: 64 KiB.
    Tcp,
}

/// What to do with a packet.
#[derive(Debug)]
pub enum Response {
    /// Nothing.
    Ignore,
    /// Send this.
    Reply(Vec<u8>),
    /// Ask the host's nameservers.
    Forward(Asked),
}

/// Decides about one packet. Without `index` (no snapshot was ever read) everything is SERVFAIL: a name of the mesh
/// can't be told from one outside, and "try again" is the only answer that is not wrong.
pub fn respond(
    index: Option<&Index>,
    search: &SearchList,
    client: IpAddr,
    carrier: Carrier,
    packet: &[u8],
) -> Response {
    let asked = match request::read(packet) {
        Request::Ignored => return Response::Ignore,
        Request::Rejected(bytes) => return Response::Reply(bytes),
        Request::Asked(asked) => asked,
    };
    let Some(index) = index else { return Response::Reply(reply::error(&asked, ResponseCode::ServFail)) };
    let limit = match carrier {
        Carrier::Udp => asked.payload().min(reply::MAX_PAYLOAD),
        Carrier::Tcp => u16::MAX,
    };
    match reply::encode(&asked, answer(index, client, &asked.query, search, asked.id), limit) {
        Some(bytes) => Response::Reply(bytes),
        None => Response::Forward(asked),
    }
}

#[cfg(test)]
mod tests;
