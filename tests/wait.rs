//! Waiting for what the mesh brings about in its own time.

use std::{
    thread,
    time::{Duration, Instant},
};

use wabe_testkit::{PATIENCE, scaled};

/// Asks again and again until the answer is there.
///
/// # Panics
/// If there is none within [`PATIENCE`]; the message says what it was asked for.
#[track_caller]
pub fn eventually<T>(what: &str, answer: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, answer)
}

/// The same, with another patience.
///
/// # Panics
/// If there is no answer within `patience`.
#[track_caller]
pub fn eventually_within<T>(patience: Duration, what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + scaled(patience);
    loop {
        if let Some(value) = answer() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
