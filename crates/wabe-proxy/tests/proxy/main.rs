//! The whole proxy, with real connections on loopback and a keeper that the test plays.

mod cors;
mod downgrade;
mod drain;
mod figures;
mod frames;
mod h2spec;
mod http1;
mod http2;
mod limits;
mod malformed;
mod mirrors;
mod patience;
mod policies;
mod pool;
mod retries;
mod revoked;
mod scene;
mod streams;
mod told;
mod uploads;
mod workers;
