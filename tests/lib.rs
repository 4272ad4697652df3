//! Whole-system tests. The tests themselves are in the folders of their tiers; here is what they share.
#![forbid(unsafe_code)]

mod applied;
pub mod facts;
mod keeper;
pub mod manifest;
pub mod status;
pub mod steps;
mod wait;

pub use applied::Applied;
pub use keeper::ask_keeper;
pub use wabe_testkit as testkit;
pub use wait::{eventually, eventually_within};
