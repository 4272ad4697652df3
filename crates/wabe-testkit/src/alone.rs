//! Tests that count what is on the machine want it for themselves; all others share it.

use std::fs::File;

/// Held by every test's machine, also across test programs. The kernel lets go of it even if the test is killed.
#[derive(Debug)]
pub(crate) struct Presence {
    // Held for its lock.
    _lock: File,
}

impl Presence {
    /// With others that share it.
    pub(crate) fn shared() -> Self {
        let lock = open();
        lock.lock_shared().expect("invariant: a lock on our own file can be waited for");
        Self { _lock: lock }
    }

    /// Alone, once all others have ended.
    pub(crate) fn alone() -> Self {
        let lock = open();
        if lock.try_lock().is_err() {
            eprintln!("waiting for other live tests to end: this one counts what is on the machine");
            lock.lock().expect("invariant: a lock on our own file can be waited for");
        }
        Self { _lock: lock }
    }
}

fn open() -> File {
    // Stays: were it removed, two could hold locks on two files of one name.
    File::create("/run/wabe-tests.lock").expect("live tests need root: run them with sudo")
}
