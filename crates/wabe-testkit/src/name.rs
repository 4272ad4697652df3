//! Names of tests' meshes, and who holds them.

use std::{
    fs::{self, File},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Whether this is the name of a test's mesh: `t-<pid>-<number>`.
pub(crate) fn is_test(name: &str) -> bool {
    let number = |it: &str| it.parse::<u32>().is_ok();
    name.strip_prefix("t-")
        .and_then(|it| it.split_once('-'))
        .is_some_and(|(pid, count)| number(pid) && number(count))
}

/// A name that no other test has while this lives: a lock on a file says so, which the kernel drops even if the test
/// is killed. (A process id in the name alone would not do: numbers are used again.)
#[derive(Debug)]
pub(crate) struct HeldName {
    name: String,
    // Held for its lock.
    _lock: File,
}

impl HeldName {
    /// A name that was never used by this process.
    pub(crate) fn fresh() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("t-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            if let Some(held) = Self::take(name) {
                return held;
            }
        }
    }

    /// This name, unless somebody who lives holds it.
    pub(crate) fn take(name: String) -> Option<Self> {
        let path = lock_path(&name);
        let lock = File::create(&path).expect("live tests need root: run them with sudo");
        lock.try_lock().ok()?;
        // Whoever held it before removes the file before the lock: then this lock is on a file without a name.
        path.exists().then_some(Self { name, _lock: lock })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    /// As dropping it does, for one that never is.
    pub(crate) fn release(&self) {
        // If it is gone already there is nothing to do.
        fs::remove_file(lock_path(&self.name)).ok();
    }
}

impl Drop for HeldName {
    fn drop(&mut self) {
        self.release();
    }
}

/// Names that have a lock file, held or not.
pub(crate) fn known() -> Vec<String> {
    let files = crate::system::names_in(FOLDER.as_ref());
    files.iter().filter_map(|it| it.strip_prefix(FILE).map(String::from)).collect()
}

const FOLDER: &str = "/run";
const FILE: &str = "wabe-test.";

fn lock_path(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(format!("{FILE}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_name_is_nobody_elses_until_dropped() {
        let held = HeldName::fresh();
        let name = held.as_str().to_owned();
        assert!(HeldName::take(name.clone()).is_none());
        drop(held);
        assert!(HeldName::take(name).is_some());
    }

    #[test]
    fn knows_the_names_of_tests_from_those_of_people() {
        assert!(is_test(HeldName::fresh().as_str()));
        for name in ["default", "t-x", "t-1", "t-1-", "t-a-1", "test-1-1"] {
            assert!(!is_test(name), "{name}");
        }
    }

    #[test]
    fn two_fresh_names_differ() {
        assert_ne!(HeldName::fresh().as_str(), HeldName::fresh().as_str());
    }
}
