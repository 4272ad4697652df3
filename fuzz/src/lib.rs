//! What is fuzzed: functions that take any bytes and panic if what reads them breaks a promise.
//!
//! `cargo xtask fuzz` runs them with libFuzzer (`src/bin`), from the seeds that are given here; `tests/seeds.rs` runs each
//! seed without it. Nothing depends on this crate. An input that found a bug becomes a test of the crate with the bug,
//! and, if mutating it promises more, a seed.
#![forbid(unsafe_code)]

pub mod client_hello;
pub mod detection;
pub mod dns;
pub mod events;
pub mod fields;
pub mod figures;
pub mod http1_request;
pub mod http1_response;
pub mod http2_frames;
pub mod manifests;
pub mod websocket;

/// Something that reads bytes from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As in `cargo xtask fuzz NAME`.
    pub name: &'static str,
    /// Panics if the input shows a bug.
    pub run: fn(&[u8]),
    /// What mutation begins with.
    pub seeds: fn() -> Vec<Seed>,
}

/// An input and the name of its file.
pub type Seed = (String, Vec<u8>);

/// All there are.
pub const TARGETS: [Target; 11] = [
    Target { name: "manifests", run: manifests::run, seeds: manifests::seeds },
    Target { name: "dns", run: dns::run, seeds: dns::seeds },
    Target { name: "events", run: events::run, seeds: events::seeds },
    Target { name: "client-hello", run: client_hello::run, seeds: client_hello::seeds },
    Target { name: "websocket", run: websocket::run, seeds: websocket::seeds },
    Target { name: "http1-request", run: http1_request::run, seeds: http1_request::seeds },
    Target { name: "http1-response", run: http1_response::run, seeds: http1_response::seeds },
    Target { name: "http2-frames", run: http2_frames::run, seeds: http2_frames::seeds },
    Target { name: "detection", run: detection::run, seeds: detection::seeds },
    Target { name: "fields", run: fields::run, seeds: fields::seeds },
    Target { name: "figures", run: figures::run, seeds: figures::seeds },
];
