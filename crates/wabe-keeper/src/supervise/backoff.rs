//! Pauses between restarts.

use std::time::Duration;

/// A process that lived this long gets the shortest pause again.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// Doubles its pause with each short life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    /// After a long life.
    least: Duration,
    /// The least pause after a short one that had none.
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, least: first, first, longest }
    }

    /// The same, but without any pause after the first short life, and after each long one.
    pub(crate) const fn first_at_once(self) -> Self {
        Self { next: Duration::ZERO, least: Duration::ZERO, ..self }
    }

    /// How long to wait after a process that lived so long.
    pub(crate) fn pause(&mut self, lived: Duration) -> Duration {
        if lived >= LONG_LIFE {
            self.next = self.least;
        }
        let pause = self.next;
        self.next = (pause * 2).clamp(self.first, self.longest);
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
    fn the_first_comes_at_once_if_wanted() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(150)).first_at_once();
        let lives = [SHORT, SHORT, SHORT, SHORT, LONG_LIFE, SHORT];
        let pauses = lives.map(|lived| backoff.pause(lived).as_millis());
        assert_eq!(pauses, [0, 50, 100, 150, 0, 50]);
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
