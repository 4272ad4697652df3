//! What several workers change. Held for a moment each time, and never while something is awaited.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for its turn. Whoever panicked meanwhile left numbers that are off by one at worst, which is no reason to end.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
