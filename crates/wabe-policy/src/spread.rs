//! How endpoints share what comes: what the tables for the kernel and the proxy compute alike.

pub mod maglev;
mod warmth;

pub use warmth::warmth;
