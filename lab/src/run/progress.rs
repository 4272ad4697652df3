//! What a person sees while a run lasts: where it is, and how long it still takes.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use super::{Wish, whole_slice};
use crate::scenario::Spec;

/// The line on stderr.
#[derive(Debug)]
pub(super) struct Progress {
    quick: bool,
    rounds: u32,
    terminal: bool,
    /// Time of all slices, and of those that are done, as planned.
    all: Duration,
    done: Duration,
    began: Instant,
}

impl Progress {
    pub(super) fn new(specs: &[Spec], wish: &Wish) -> Self {
        let all = specs.iter().map(|it| round(it, wish.quick) * wish.rounds).sum();
        let terminal = std::io::stderr().is_terminal();
        let progress = Self {
            quick: wish.quick,
            rounds: wish.rounds,
            terminal,
            all,
            done: Duration::ZERO,
            began: Instant::now(),
        };
        eprintln!(
            "{} points, {} rounds: about {} and the time to set up",
            specs.len(),
            wish.rounds,
            words(all)
        );
        progress
    }

    /// An arm is about to be loaded.
    pub(super) fn show(&self, spec: &Spec, round: u32, arm: &str) {
        if self.terminal {
            eprint!(
                "\r\x1b[K{}: round {} of {}, {arm}; about {} left",
                spec.point.name,
                round + 1,
                self.rounds,
                words(self.left())
            );
            let _ = std::io::stderr().flush();
        }
    }

    /// A round is over.
    pub(super) fn round(&mut self, spec: &Spec) {
        self.done += round(spec, self.quick);
        if !self.terminal {
            eprintln!("{}: a round is done; about {} left", spec.point.name, words(self.left()));
        }
    }

    /// All rounds are over.
    pub(super) fn end(&self) {
        if self.terminal {
            eprintln!("\r\x1b[K");
        }
        eprintln!("rounds took {}", words(self.began.elapsed()));
    }

    /// As planned, stretched by how much longer than planned it took until now.
    fn left(&self) -> Duration {
        let planned = self.all.saturating_sub(self.done);
        if self.done.is_zero() {
            return planned;
        }
        let stretch = self.began.elapsed().as_secs_f64() / self.done.as_secs_f64();
        planned.mul_f64(stretch.clamp(1.0, 5.0))
    }
}

fn round(spec: &Spec, quick: bool) -> Duration {
    whole_slice(quick, spec.point.open) * u32::try_from(spec.point.arms.len()).unwrap_or(u32::MAX)
}

fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 90 { format!("{seconds} s") } else { format!("{} min", (seconds + 30) / 60) }
}
