//! Counts one worker's requests while they are served: one look-up for each, and little is made if there was one like it within a
//! second. What was counted goes to the [`Sums`] of all workers some times a second.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    mem,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use rustc_hash::FxHashMap;
use wabe_model::ObjectName;
use wabe_policy::http::TableRule;

use super::{DURATIONS, EVERY, MOST_SUBJECTS, NO_ANSWER, Requests, Rule, Subject, Sums, sums, sums::About};
use crate::{
    balance::Balancers,
    failure::Failure,
    world::{Service, World},
};

/// Ways to subjects that are remembered. All are forgotten when there are more.
const MOST_WAYS: usize = 16 * MOST_SUBJECTS;

/// What a worker counted and did not hand over yet.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sums: Arc<Sums>,
    counted: RefCell<Counted>,
    /// When ways were forgotten last.
    cleared: Cell<Option<Instant>>,
    lost_lines: Cell<u64>,
}

/// A request that is over.
pub(crate) struct Ended<'a> {
    pub(crate) world: Option<&'a Rc<World>>,
    /// The caller's workload.
    pub(crate) caller: u32,
    pub(crate) service: Option<&'a Rc<Service>>,
    pub(crate) rule: Option<&'a Arc<TableRule>>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) is_grpc: bool,
    /// What became of a call of gRPC, as far as that was told.
    pub(crate) grpc: Option<u8>,
    /// The endpoint's workload.
    pub(crate) endpoint: Option<u32>,
    pub(crate) failure: Option<Failure>,
    pub(crate) tries: u32,
    pub(crate) took: Duration,
    /// Of its body, and of the answer's.
    pub(crate) bytes: (u64, u64),
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
    endpoint: Option<u32>,
    grpc: bool,
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
    pub(crate) fn new(sums: Arc<Sums>) -> Self {
        Self { sums, ..Self::default() }
    }

    /// Counts one.
    pub(crate) fn count(&self, ended: &Ended<'_>) {
        let code = ended.status.map_or(0, |it| it.as_u16());
        let reason = match (ended.failure, ended.status) {
            (Some(failure), _) => Some(reason(failure)),
            (None, None) => Some(NO_ANSWER),
            (None, Some(_)) => None,
        };
        let took = u64::try_from(ended.took.as_micros()).unwrap_or(u64::MAX);
        let mut counted = self.counted.borrow_mut();
        let requests = counted.of(ended);
        requests.answer(code, ended.grpc, reason, 1);
        requests.retries += u64::from(ended.tries.saturating_sub(1));
        requests.microseconds = requests.microseconds.saturating_add(took);
        requests.durations[DURATIONS.partition_point(|most| *most < took)] += 1;
        requests.received.count(ended.bytes.0);
        requests.sent.count(ended.bytes.1);
    }

    /// Hands over what was counted, and has it written if it is time to. What snapshots said before is let go of then.
    pub(crate) fn tick(&self, about: About, balancers: &Balancers, now: Instant) {
        let mut counted = self.counted.borrow_mut();
        if self.cleared.get().is_none_or(|it| now.saturating_duration_since(it) >= EVERY) {
            self.cleared.set(Some(now));
            counted.ways.clear();
        }
        self.sums.unless_busy(|sums| {
            counted.hand_over(sums);
            sums.lose(self.lost_lines.take());
            sums.tick(about, balancers, now);
        });
    }

    /// Hands over what was counted, for the last time.
    pub(crate) fn end(&self) {
        self.sums.change(|sums| {
            self.counted.borrow_mut().hand_over(sums);
            sums.lose(self.lost_lines.take());
        });
    }

    /// Lines of the access log that nobody took, since they were handed over.
    #[cfg(test)]
    pub(crate) fn lost_lines(&self) -> u64 {
        self.lost_lines.get()
    }

    /// Counts lines of the access log that nobody took.
    pub(crate) fn lose(&self, lines: u64) {
        self.lost_lines.set(self.lost_lines.get() + lines);
    }
}

impl Counted {
    fn of(&mut self, ended: &Ended<'_>) -> &mut Requests {
        let way = Way {
            caller: ended.caller,
            service: ended.service.map_or(0, |it| Rc::as_ptr(it) as usize),
            rule: ended.rule.map_or(0, |it| Arc::as_ptr(it) as usize),
            endpoint: ended.endpoint,
            grpc: ended.is_grpc,
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
        let workload = |id: u32| {
            let it = ended.world?.workloads.get(&id)?;
            Some(ObjectName::new(it.namespace.clone(), it.name.clone()))
        };
        let rule = |rule: &Arc<TableRule>| Rule {
            kind: rule.kind.as_str().to_owned(),
            route: rule.route.clone(),
            rule: rule.name.clone().unwrap_or_else(|| rule.rule.to_string()),
        };
        let subject = Subject {
            source: workload(ended.caller),
            service: ended.service.map(|it| it.name.clone()),
            rule: ended.rule.map(rule),
            destination: ended.endpoint.and_then(workload),
            grpc: ended.is_grpc,
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

    fn hand_over(&mut self, sums: &mut sums::State) {
        for (subject, number) in &self.subjects {
            let requests = mem::take(&mut self.requests[*number]);
            if !requests.answers.is_empty() {
                sums.add(Some(subject), &requests);
            }
        }
        if !self.other.answers.is_empty() {
            sums.add(None, &mem::take(&mut self.other));
        }
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
        | Failure::ConnectFailed
        | Failure::ConnectTimeout(_)
        | Failure::ConnectionLimit
        | Failure::Policy
        | Failure::Forbidden
        | Failure::AmbiguousPath
        | Failure::PolicyNewer
        | Failure::NoSocket
        | Failure::Overflow
        | Failure::BadAnswer
        | Failure::UpstreamBroke
        | Failure::CallerLeft
        | Failure::StreamIdle(_)
        | Failure::RequestTimeout(_)
        | Failure::BackendTimeout(_)
        | Failure::CallerDeadline(_)
        | Failure::SlowHead
        | Failure::SlowBody
        | Failure::BadHttp2
        | Failure::Http2Abuse
        | Failure::Ending
        | Failure::TooManyConnections
        | Failure::BadHost
        | Failure::Unsupported => failure.reason(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        failure::one_of_each,
        figures::{Figures, REASONS},
        world::Read,
    };

    /// All that was counted.
    fn figures(tally: &Tally) -> Figures {
        tally.end();
        let mut figures = None;
        tally.sums.change(|it| figures = Some(it.figures()));
        figures.expect("changed at once")
    }

    fn ended(caller: u32) -> Ended<'static> {
        Ended {
            world: None,
            caller,
            service: None,
            rule: None,
            status: Some(StatusCode::OK),
            is_grpc: false,
            grpc: None,
            endpoint: None,
            failure: None,
            tries: 1,
            took: Duration::from_millis(1),
            bytes: (0, 0),
        }
    }

    fn only(tally: &Tally) -> Requests {
        let figures = figures(tally);
        assert_eq!(figures.requests.len(), 1, "{figures:?}");
        figures.requests[0].1.clone()
    }

    #[test]
    fn each_request_is_counted_once_whatever_way_it_took() {
        let tally = Tally::default();
        // Callers without a name are told apart on the way only.
        for caller in 0..40_000 {
            tally.count(&ended(caller % 20_000));
        }
        let requests = only(&tally);
        assert_eq!((requests.answers[0].code, requests.answers[0].count), (200, 40_000));
        assert_eq!(only(&tally), requests, "nothing is handed over twice");
        assert!(tally.counted.borrow().ways.len() <= MOST_WAYS);
    }

    #[test]
    fn durations_are_told_apart_up_to_and_with_their_ends() {
        let tally = Tally::default();
        for (microseconds, class) in
            [(0, 0), (500, 0), (501, 1), (1_000, 1), (10_000_000, 13), (10_000_001, 14)]
        {
            let before = figures(&tally).requests.first().map_or([0; 15], |it| it.1.durations);
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
    fn replicas_are_one_destination_and_other_workloads_another() {
        let tally = Tally::default();
        let workload = |name: &str| serde_json::json!({ "namespace": "a", "name": name, "identity": "", "v4": "10.0.0.1", "v6": "::1" });
        let snapshot = serde_json::json!({
            "generation": 1, "ports": [], "backends": [],
            "workloads": { "1": workload("old"), "2": workload("old"), "3": workload("new") },
        });
        let world = Rc::new(World::of(&Read::of_value(&snapshot), &Balancers::default()));
        for endpoint in [Some(1), Some(2), Some(3), Some(9), None] {
            tally.count(&Ended { world: Some(&world), endpoint, ..ended(9) });
        }
        let mut told = figures(&tally).requests;
        told.sort_by(|one, other| one.0.cmp(&other.0));
        let told: Vec<_> = told
            .iter()
            .map(|it| (it.0.destination.as_ref().map(|it| &*it.name), it.1.answers[0].count))
            .collect();
        assert_eq!(told, [(None, 2), (Some("new"), 1), (Some("old"), 2)]);
    }

    #[test]
    fn calls_of_grpc_are_told_apart_by_what_became_of_them() {
        let tally = Tally::default();
        tally.count(&ended(1));
        for grpc in [Some(0), Some(0), Some(14), None] {
            tally.count(&Ended { is_grpc: true, grpc, ..ended(1) });
        }
        let figures = figures(&tally);
        let calls = figures.requests.iter().find(|it| it.0.grpc).expect("calls");
        let told: Vec<_> = calls.1.answers.iter().map(|it| (it.grpc, it.count)).collect();
        assert_eq!(told, [(Some(0), 2), (Some(14), 1), (None, 1)]);
        assert_eq!(figures.requests.len(), 2, "others are counted by themselves");
    }

    #[test]
    fn subjects_beyond_the_limit_are_counted_together() {
        let tally = Tally::default();
        for number in 0..MOST_SUBJECTS + 7 {
            let snapshot = serde_json::json!({
                "generation": 1,
                "workloads": { "1": { "namespace": "a", "name": format!("w{number}"), "identity": "",
                    "v4": "10.0.0.1", "v6": "::1" } },
                "ports": [], "backends": [],
            });
            let world = Rc::new(World::of(&Read::of_value(&snapshot), &Balancers::default()));
            tally.counted.borrow_mut().ways.clear();
            tally.count(&Ended { world: Some(&world), ..ended(1) });
        }
        let figures = figures(&tally);
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
