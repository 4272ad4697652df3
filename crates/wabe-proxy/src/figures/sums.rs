//! What all workers have counted together, and the file where it is told.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Mutex, TryLockError},
    time::{Duration, Instant},
};

use super::{EVERY, Figures, MOST_SUBJECTS, REST, Requests, Subject, halves::Writer};
use crate::{balance::Balancers, locked::lock};

/// One for the proxy.
#[derive(Debug, Default)]
pub(crate) struct Sums(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    requests: HashMap<Subject, Requests>,
    other: Requests,
    about: About,
    lost_lines: u64,
    writer: Option<Writer>,
    written: Option<Instant>,
    /// How long that took.
    took: Duration,
    /// Something was counted since.
    news: bool,
    complained: bool,
}

/// How the proxy is, as a worker sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About {
    /// Of the snapshot that it goes by.
    pub(crate) generation: u64,
    /// Callers' connections that are open.
    pub(crate) connections: u64,
}

impl Sums {
    /// The keeper gave a file: what is counted goes there from now on.
    pub(crate) fn write_to(&self, file: OwnedFd) {
        let mut state = lock(&self.0);
        (state.writer, state.written) = (Some(Writer::new(file)), None);
    }

    /// Has it changed, unless another worker is at it: its writing takes a while, and nobody is to wait for that.
    pub(super) fn unless_busy(&self, change: impl FnOnce(&mut State)) {
        match self.0.try_lock() {
            Ok(mut state) => change(&mut state),
            Err(TryLockError::Poisoned(state)) => change(&mut state.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Has it changed.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.0));
    }

    /// Writes now.
    pub(crate) fn write(&self, balancers: &Balancers, now: Instant) {
        lock(&self.0).write(balancers, now);
    }
}

impl State {
    /// Adds what a worker counted; `None` of those that it could not tell apart.
    pub(super) fn add(&mut self, subject: Option<&Subject>, more: &Requests) {
        self.news = true;
        match subject {
            Some(subject) if self.requests.contains_key(subject) || self.requests.len() < MOST_SUBJECTS => {
                self.requests.entry(subject.clone()).or_default().add(more);
            }
            Some(_) | None => self.other.add(more),
        }
    }

    /// Adds lines that nobody took.
    pub(super) fn lose(&mut self, lines: u64) {
        self.lost_lines = self.lost_lines.saturating_add(lines);
    }

    /// Writes, if it is time to: who is killed takes what was counted since along.
    pub(super) fn tick(&mut self, about: About, balancers: &Balancers, now: Instant) {
        self.about = about;
        let passed = self.written.map(|it| now.saturating_duration_since(it));
        if passed.is_none_or(|it| it >= EVERY || (self.news && it >= self.took * REST)) {
            self.written = Some(now);
            self.write(balancers, now);
            self.took = now.elapsed();
        }
    }

    fn write(&mut self, balancers: &Balancers, now: Instant) {
        let requests = self.requests.iter().map(|(subject, it)| (subject.clone(), it.clone())).collect();
        let Some(writer) = &mut self.writer else { return };
        self.news = false;
        let mut figures = Figures {
            requests,
            other: self.other.clone(),
            backends: balancers.figures(now),
            backends_left_out: false,
            generation: self.about.generation,
            connections: self.about.connections,
            lost_lines: self.lost_lines,
        };
        let written = writer.write(&figures).or_else(|_| {
            // What was counted matters more.
            figures.backends.clear();
            figures.backends_left_out = true;
            writer.write(&figures)
        });
        if let Err(error) = written
            && !self.complained
        {
            self.complained = true;
            tracing::error!(%error, "what was counted can't be told; this is said once");
        }
    }

    #[cfg(test)]
    pub(super) fn figures(&self) -> Figures {
        let requests = self.requests.iter().map(|(subject, it)| (subject.clone(), it.clone())).collect();
        Figures { requests, other: self.other.clone(), ..Figures::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_counted_is_added_up_to_a_limit() {
        let sums = Sums::default();
        let mut one = Requests::default();
        one.answer(200, None, None, 1);
        let subject = |number: usize| Subject {
            source: Some(wabe_model::ObjectName::new("shop", format!("w{number}"))),
            destination: None,
            service: None,
            rule: None,
            grpc: false,
        };
        for _worker in 0..2 {
            for number in 0..MOST_SUBJECTS + 3 {
                sums.change(|it| it.add(Some(&subject(number)), &one));
            }
            sums.change(|it| it.add(None, &one));
        }
        sums.change(|it| {
            let figures = it.figures();
            assert_eq!(figures.requests.len(), MOST_SUBJECTS);
            assert!(figures.requests.iter().all(|it| it.1.answers[0].count == 2), "of two workers");
            assert_eq!(figures.other.answers[0].count, 8);
        });
    }

    #[test]
    fn what_was_counted_is_written_as_soon_as_that_is_cheap() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let told = || {
            let figures = crate::figures::read(&std::fs::read(file.path()).expect("read"))?;
            Some(figures.other.answers.iter().map(|it| it.count).sum::<u64>())
        };
        let (sums, balancers, now) = (Sums::default(), Balancers::default(), Instant::now());
        sums.write_to(OwnedFd::from(file.reopen().expect("open")));
        let tick = |milliseconds, took: Duration| {
            sums.change(|it| {
                it.took = took;
                it.tick(About::default(), &balancers, now + Duration::from_millis(milliseconds));
            });
        };
        let written = || {
            let mut written = None;
            sums.change(|it| written = it.written);
            written
        };
        tick(0, Duration::ZERO);
        assert_eq!(told(), Some(0));
        let mut one = Requests::default();
        one.answer(200, None, None, 1);
        sums.change(|it| it.add(None, &one));
        tick(199, Duration::from_millis(1));
        assert_eq!(told(), Some(0), "a write that takes so long would be too often");
        tick(200, Duration::from_millis(1));
        assert_eq!(told(), Some(1));
        let before = written();
        tick(1199, Duration::ZERO);
        assert_eq!(written(), before, "there is nothing new");
        tick(1200, Duration::ZERO);
        assert_ne!(written(), before, "readers see that it lives");
    }
}
