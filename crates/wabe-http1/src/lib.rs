//! HTTP/1.1 between bytes and types: heads, the framing of bodies, trailers; for both sides of a proxy.
//!
//! Strict: what RFC 9112 calls ambiguous is refused, and so is what two readers are known to understand differently. All
//! that is accepted can be written anew in one form that leaves no choice to the next reader. The table of what is refused
//! is data ([`malformed`]), so that whoever uses this crate can send it through.
//!
//! It never does input or output, never waits, never looks at a clock, and has no unsafe code. It decides nothing about
//! routing, hop-by-hop fields or what a connection is used for next: it only says what was said ([`is_persistent`],
//! [`expects_continue`]). The proxy, benchmarks and `fuzz` may depend on it.
//!
//! Reading is stateless until a head is complete: [`request`] and [`response`] look at the whole buffer again whenever
//! more of it has come. A head has [`Limits::head_bytes`] at most, and looking at an unfinished one costs a search for line
//! ends, so that a peer who sends it octet by octet costs less for this than for the packets.
#![forbid(unsafe_code)]

mod authority;
mod body;
mod chunk;
mod connection;
mod encode;
mod fields;
mod framing;
mod limits;
mod lines;
pub mod malformed;
mod plain;
mod refusal;
mod request;
mod response;
mod target;
mod write;

pub use authority::check_host;
pub use body::{BodyDecoder, Piece, check_trailers};
pub use connection::{expects_continue, is_persistent};
pub use encode::{BodyEncoder, EncodeError};
pub use framing::Framing;
pub use limits::Limits;
pub use plain::{PlainHead, PlainRequest, plain_request, plain_response};
pub use refusal::Refusal;
pub use request::{check_method, request};
pub use response::{Reason, response};
pub use write::{write_request_head, write_response_head};
