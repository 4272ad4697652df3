//! The whole proxy, with real connections on loopback and a keeper that the test plays.

mod downgrade;
mod drain;
mod http1;
mod http2;
mod limits;
mod malformed;
mod retries;
mod scene;
mod streams;
