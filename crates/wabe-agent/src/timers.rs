//! What is to happen later.

use std::{collections::BTreeMap, time::Instant};

/// Things in the order of their time; those of one time in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    entries: BTreeMap<(Instant, u64), T>,
    sequence: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), sequence: 0 }
    }
}

impl<T> Timers<T> {
    /// Adds a thing.
    pub(crate) fn add(&mut self, at: Instant, thing: T) {
        self.sequence += 1;
        self.entries.insert((at, self.sequence), thing);
    }

    /// When the next thing is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(key, _)| key.0)
    }

    /// Takes a thing that is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<T> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn things_come_when_due_and_in_order() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.add(at(2), "c");
        timers.add(at(1), "a");
        timers.add(at(1), "b");
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.due(start), None);
        assert_eq!((timers.due(at(1)), timers.due(at(1)), timers.due(at(1))), (Some("a"), Some("b"), None));
        assert_eq!(timers.due(at(9)), Some("c"));
        assert_eq!(timers.next(), None);
    }
}
