//! The codec from outside: what it reads, what it refuses, what it writes, and whether others agree.
#![expect(clippy::unwrap_used, reason = "in tests")]

mod bodies;
mod heads;
mod hyper_agrees;
mod limits;
mod malformed;
mod nginx_agrees;
mod plain;
mod round_trip;
mod splits;
mod support;
