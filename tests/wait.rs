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
pub fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + scaled(PATIENCE);
    loop {
        if let Some(value) = answer() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
