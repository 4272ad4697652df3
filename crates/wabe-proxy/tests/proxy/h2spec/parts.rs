//! What the cases are made of.

use super::Step;
use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PING};
pub use crate::frames::{field, frame, reset, settings, window_update};

pub fn send(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Send(bytes.into())
}

/// A head as `CommonHeaders` of h2spec has it.
pub fn head(method: &str) -> Vec<u8> {
    [field(":method", method), rest_of_head()].concat()
}

pub fn rest_of_head() -> Vec<u8> {
    [field(":scheme", "http"), field(":path", "/"), field(":authority", "web")].concat()
}

/// So many long fields, as `DummyHeaders` of h2spec has them.
pub fn dummies(count: usize) -> Vec<u8> {
    (0..count).flat_map(|it| field(&format!("x-dummy{it}"), &"x".repeat(4000))).collect()
}

/// A request with these fields and no body.
pub fn request(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
}

/// A request that goes on.
pub fn begin(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, block)
}

pub fn get() -> Vec<u8> {
    request(&head("GET"))
}

pub fn post() -> Vec<u8> {
    begin(&head("POST"))
}

pub fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

pub fn ping(data: [u8; 8]) -> Vec<u8> {
    frame(PING, 0, 0, &data)
}

/// A dependency on a stream, with a weight.
pub fn priority(stream: u32, exclusive: bool, weight: u8) -> Vec<u8> {
    let stream = stream | u32::from(exclusive) << 31;
    [&stream.to_be_bytes()[..], &[weight]].concat()
}
