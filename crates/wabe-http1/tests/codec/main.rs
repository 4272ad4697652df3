//! The codec from outside: what it reads, what it refuses, what it writes, and whether others agree.

#![expect(clippy::unwrap_used, reason = "in tests")]

mod bodies;
mod heads;
mod malformed;
mod support;
