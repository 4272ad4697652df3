//! What tests of several modules need.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::place::Place;

/// The lab's place, for one test at a time.
pub(crate) struct OwnPlace {
    // First: the next test takes the place when it is free.
    place: Place,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for OwnPlace {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// Waits until no other test has it, and takes it.
pub(crate) fn place() -> OwnPlace {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    OwnPlace { place: Place::take(&wabe()).expect("the lab's place; no other lab may run"), _turn: turn }
}

/// The program `wabe`, which must be built before: the lab's arms run it.
fn wabe() -> PathBuf {
    let built = std::env::current_exe().expect("a test has a program");
    let beside = built.ancestors().nth(2).expect("target/debug").join("wabe");
    let wabe = std::env::var_os("WABE_BIN").map_or(beside, PathBuf::from);
    assert!(wabe.exists(), "{} is missing: cargo build --package wabe", wabe.display());
    wabe
}
