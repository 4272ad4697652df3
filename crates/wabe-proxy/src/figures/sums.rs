//! What all workers have counted together, and the file where it is told.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Mutex, TryLockError},
    time::Instant,
};

use super::{EVERY, Figures, MOST_SUBJECTS, Requests, Subject, halves::Writer};
use crate::{balance::Balancers, locked::lock};

/// One for the proxy.
#[derive(Debug, Default)]
pub(crate) struct Sums(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    requests: HashMap<Subject, Requests>,
    other: Requests,
    writer: Option<Writer>,
    written: Option<Instant>,
    complained: bool,
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
        match subject {
            Some(subject) if self.requests.contains_key(subject) || self.requests.len() < MOST_SUBJECTS => {
                self.requests.entry(subject.clone()).or_default().add(more);
            }
            Some(_) | None => self.other.add(more),
        }
    }

    /// Writes, if it is time to.
    pub(super) fn tick(&mut self, balancers: &Balancers, now: Instant) {
        if self.written.is_none_or(|it| now.saturating_duration_since(it) >= EVERY) {
            self.written = Some(now);
            self.write(balancers, now);
        }
    }

    fn write(&mut self, balancers: &Balancers, now: Instant) {
        let requests = self.requests.iter().map(|(subject, it)| (subject.clone(), it.clone())).collect();
        let Some(writer) = &mut self.writer else { return };
        let mut figures = Figures { requests, other: self.other.clone(), backends: balancers.figures(now) };
        let written = writer.write(&figures).or_else(|_| {
            // What was counted matters more.
            figures.backends.clear();
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
        Figures { requests, other: self.other.clone(), backends: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_counted_is_added_up_to_a_limit() {
        let sums = Sums::default();
        let mut one = Requests::default();
        one.answer(200, None, 1);
        let subject = |number: usize| Subject {
            source: Some(wabe_model::ObjectName::new("shop", format!("w{number}"))),
            service: None,
            rule: None,
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
}
