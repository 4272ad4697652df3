//! Counts requests while they are served: one look-up for each, and nothing is made if there was one like it within a second.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use rustc_hash::FxHashMap;
use wabe_model::ObjectName;
use wabe_policy::http::TableRule;

use super::{DURATIONS, EVERY, Figures, MOST_SUBJECTS, Requests, Rule, Subject, halves::Writer};
use crate::{
    balance::Balancers,
    failure::Failure,
    world::{Service, World},
};

/// Ways to subjects that are remembered. All are forgotten when there are more.
const MOST_WAYS: usize = 4 * MOST_SUBJECTS;

/// What was counted, and where it is told.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counted: RefCell<Counted>,
    writer: RefCell<Option<Writer>>,
    written: Cell<Option<Instant>>,
    complained: Cell<bool>,
}

/// A request that is over.
pub(crate) struct Ended<'a> {
    pub(crate) world: Option<&'a Rc<World>>,
    /// The caller's workload.
    pub(crate) caller: u32,
    pub(crate) service: Option<&'a Rc<Service>>,
    pub(crate) rule: Option<&'a Arc<TableRule>>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) failure: Option<Failure>,
    pub(crate) tries: u32,
    pub(crate) took: Duration,
}

#[derive(Debug, Default)]
struct Counted {
    ways: FxHashMap<Way, Place>,
    /// Places in `requests`.
    subjects: HashMap<Subject, usize>,
    requests: Vec<Requests>,
    other: Requests,
}

/// What tells a subject without its names: addresses of what is in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Way {
    caller: u32,
    service: usize,
    rule: usize,
}

#[derive(Debug)]
struct Place {
    /// `None` if it is one too many.
    number: Option<usize>,
    /// Kept, so that nothing else gets their addresses.
    _service: Option<Rc<Service>>,
    _rule: Option<Arc<TableRule>>,
}

impl Tally {
    /// Counts one.
    pub(crate) fn count(&self, ended: &Ended<'_>) {
        let code = ended.status.map_or(0, |it| it.as_u16());
        let reason = match (ended.failure, ended.status) {
            (Some(failure), _) => Some(reason(failure)),
            (None, None) => Some("no-answer"),
            (None, Some(_)) => None,
        };
        let took = u64::try_from(ended.took.as_micros()).unwrap_or(u64::MAX);
        let mut counted = self.counted.borrow_mut();
        let requests = counted.of(ended);
        requests.answer(code, reason, 1);
        requests.retries += u64::from(ended.tries.saturating_sub(1));
        requests.microseconds = requests.microseconds.saturating_add(took);
        requests.durations[DURATIONS.partition_point(|most| *most < took)] += 1;
    }

    /// The keeper gave a file: what is counted goes there from now on.
    pub(crate) fn write_to(&self, file: OwnedFd) {
        *self.writer.borrow_mut() = Some(Writer::new(file));
        self.written.set(None);
    }

    /// Writes, if it is time to. What snapshots said before is let go of then.
    pub(crate) fn tick(&self, balancers: &Balancers, now: Instant) {
        if self.written.get().is_none_or(|it| now.saturating_duration_since(it) >= EVERY) {
            self.written.set(Some(now));
            self.counted.borrow_mut().ways.clear();
            self.write(balancers, now);
        }
    }

    /// Writes now.
    pub(crate) fn write(&self, balancers: &Balancers, now: Instant) {
        let mut writer = self.writer.borrow_mut();
        let Some(writer) = &mut *writer else { return };
        let mut figures = self.counted.borrow().figures();
        figures.backends = balancers.figures(now);
        let written = writer.write(&figures).or_else(|_| {
            // What was counted matters more.
            figures.backends.clear();
            writer.write(&figures)
        });
        if let Err(error) = written
            && !self.complained.replace(true)
        {
            tracing::error!(%error, "what was counted can't be told; this is said once");
        }
    }
}

impl Counted {
    fn of(&mut self, ended: &Ended<'_>) -> &mut Requests {
        let way = Way {
            caller: ended.caller,
            service: ended.service.map_or(0, |it| Rc::as_ptr(it) as usize),
            rule: ended.rule.map_or(0, |it| Arc::as_ptr(it) as usize),
        };
        let number = match self.ways.get(&way) {
            Some(place) => place.number,
            None => self.find(way, ended),
        };
        match number {
            Some(number) => &mut self.requests[number],
            None => &mut self.other,
        }
    }

    /// By names.
    fn find(&mut self, way: Way, ended: &Ended<'_>) -> Option<usize> {
        let source = ended.world.and_then(|world| world.workloads.get(&ended.caller));
        let rule = |rule: &Arc<TableRule>| Rule {
            kind: rule.kind.as_str().to_owned(),
            route: rule.route.clone(),
            rule: rule.name.clone().unwrap_or_else(|| rule.rule.to_string()),
        };
        let subject = Subject {
            source: source.map(|it| ObjectName::new(it.namespace.clone(), it.name.clone())),
            service: ended.service.map(|it| it.name.clone()),
            rule: ended.rule.map(rule),
        };
        let number = self.subjects.get(&subject).copied().or_else(|| {
            let number = self.requests.len();
            (number < MOST_SUBJECTS).then(|| {
                self.requests.push(Requests::default());
                self.subjects.insert(subject, number);
                number
            })
        });
        if self.ways.len() >= MOST_WAYS {
            self.ways.clear();
        }
        let (service, rule) = (ended.service.cloned(), ended.rule.cloned());
        self.ways.insert(way, Place { number, _service: service, _rule: rule });
        number
    }

    fn figures(&self) -> Figures {
        let requests = self.subjects.iter();
        let requests =
            requests.map(|(subject, number)| (subject.clone(), self.requests[*number].clone())).collect();
        Figures { requests, other: self.other.clone(), backends: Vec::new() }
    }
}

/// One of [`super::REASONS`].
fn reason(failure: Failure) -> &'static str {
    match failure {
        Failure::Malformed(_) => "malformed",
        Failure::UnknownService
        | Failure::NoRoute
        | Failure::InvalidBackend
        | Failure::InvalidFilter
        | Failure::TooMany(_)
        | Failure::Injected(_)
        | Failure::NoHealthyEndpoint
        | Failure::Policy
        | Failure::Forbidden
        | Failure::AmbiguousPath
        | Failure::PolicyNewer
        | Failure::NoSocket
        | Failure::Overflow
        | Failure::BadAnswer
        | Failure::RequestTimeout(_)
        | Failure::BackendTimeout(_)
        | Failure::CallerDeadline(_)
        | Failure::SlowHead
        | Failure::SlowBody
        | Failure::Ending
        | Failure::TooManyConnections
        | Failure::BadHost
        | Failure::Unsupported => failure.reason(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::one_of_each, figures::REASONS};

    fn ended(caller: u32) -> Ended<'static> {
        Ended {
            world: None,
            caller,
            service: None,
            rule: None,
            status: Some(StatusCode::OK),
            failure: None,
            tries: 1,
            took: Duration::from_millis(1),
        }
    }

    fn only(tally: &Tally) -> Requests {
        let figures = tally.counted.borrow().figures();
        assert_eq!(figures.requests.len(), 1, "{figures:?}");
        figures.requests[0].1.clone()
    }

    #[test]
    fn each_request_is_counted_once_whatever_way_it_took() {
        let tally = Tally::default();
        // Callers without a name are told apart on the way only.
        for caller in 0..10_000 {
            tally.count(&ended(caller % 5000));
        }
        let requests = only(&tally);
        assert_eq!((requests.answers[0].code, requests.answers[0].count), (200, 10_000));
        assert!(tally.counted.borrow().ways.len() <= MOST_WAYS);
    }

    #[test]
    fn durations_are_told_apart_up_to_and_with_their_ends() {
        let tally = Tally::default();
        for (microseconds, class) in
            [(0, 0), (500, 0), (501, 1), (1_000, 1), (10_000_000, 13), (10_000_001, 14)]
        {
            let before =
                tally.counted.borrow().figures().requests.first().map_or([0; 15], |it| it.1.durations);
            tally.count(&Ended { took: Duration::from_micros(microseconds), ..ended(1) });
            let after = only(&tally).durations;
            assert_eq!(after[class], before[class] + 1, "{microseconds}");
        }
    }

    #[test]
    fn retries_and_answers_that_never_came_are_counted() {
        let tally = Tally::default();
        tally.count(&Ended { tries: 3, ..ended(1) });
        tally.count(&Ended { tries: 0, status: None, ..ended(1) });
        let requests = only(&tally);
        assert_eq!(requests.retries, 2);
        assert_eq!((requests.answers[1].code, requests.answers[1].reason.as_deref()), (0, Some("no-answer")));
    }

    #[test]
    fn subjects_beyond_the_limit_are_counted_together() {
        let tally = Tally::default();
        for number in 0..MOST_SUBJECTS + 7 {
            let snapshot: crate::Snapshot = serde_json::from_value(serde_json::json!({
                "generation": 1,
                "workloads": { "1": { "namespace": "a", "name": format!("w{number}"), "identity": "",
                    "v4": "10.0.0.1", "v6": "::1" } },
                "ports": [], "backends": [],
            }))
            .expect("a snapshot");
            let world = Rc::new(World::of(snapshot, &Balancers::default()));
            tally.counted.borrow_mut().ways.clear();
            tally.count(&Ended { world: Some(&world), ..ended(1) });
        }
        let figures = tally.counted.borrow().figures();
        assert_eq!(figures.requests.len(), MOST_SUBJECTS);
        assert_eq!(figures.other.answers[0].count, 7);
    }

    #[test]
    fn every_reason_is_one_that_readers_know() {
        for failure in one_of_each() {
            assert!(REASONS.contains(&reason(failure)), "{failure:?}");
        }
    }
}
