//! Pauses between restarts.

use std::time::Duration;

/// A process that lived this long gets the shortest pause again.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// Doubles its pause with each short life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, first, longest }
    }

    /// How long to wait after a process that lived so long.
    pub(crate) fn pause(&mut self, lived: Duration) -> Duration {
        if lived >= LONG_LIFE {
            self.next = self.first;
        }
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn doubles_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause(SHORT).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 500, 500]);
    }

    #[test]
    fn a_long_life_is_rewarded() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        backoff.pause(SHORT);
        backoff.pause(SHORT);
        assert_eq!(backoff.pause(LONG_LIFE).as_millis(), 100);
        assert_eq!(backoff.pause(SHORT).as_millis(), 200);
    }
}
