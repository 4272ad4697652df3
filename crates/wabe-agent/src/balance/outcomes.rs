//! How connections to services fare, as far as ejections need to know.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, PoisonError, RwLock},
};

use wabe_abi::{Event, EventKind, Reporter, Tuple, UDP};

/// The services whose endpoints may be ejected, by id; the engine says which.
pub type Watched = Arc<RwLock<BTreeSet<u32>>>;

/// A connection went well or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The service that was dialled.
    pub service: u32,
    /// The endpoint.
    pub endpoint: u32,
    /// Refused, reset or timed out before it came to be, or reset by the endpoint before it sent anything.
    pub failed: bool,
}

/// What an endpoint failed at, and so what shows that it is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Failing {
    /// Connections do not come to be: the next one that does.
    ToAccept,
    /// They do, and are reset at once: the next one that gets an answer.
    ToAnswer,
}

/// Picks from the kernel's reports what matters: failures, and the first success after one.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    watched: Watched,
    failing: BTreeMap<(u32, u32), Failing>,
    /// Connections whose endpoint has reset them without having sent anything. The caller's end, which knows the service,
    /// reports the same once the reset has come to it: whoever reports first did it.
    reset: VecDeque<Tuple>,
}

/// Of [`Outcomes::reset`]: between both reports there is a round trip. What is not fetched was reset at both ends.
const RESETS: usize = 256;

impl Outcomes {
    pub(crate) fn of(watched: Watched) -> Self {
        Self { watched, ..Self::default() }
    }

    pub(crate) fn see(&mut self, event: &Event) -> Option<Outcome> {
        // Nobody answers a first datagram: that it was sent is no success.
        if event.protocol == UDP {
            return None;
        }
        let kind = EventKind::from_number(event.kind)?;
        if Reporter::from_number(event.reporter) == Some(Reporter::Destination) {
            self.heed_reset(kind, event);
            return None;
        }
        let (service, endpoint) = (event.service, event.destination_workload);
        if service == 0 || endpoint == 0 {
            return None;
        }
        let key = (service, endpoint);
        let failed = match kind {
            EventKind::Failed => Failing::ToAccept,
            EventKind::Closed if self.was_reset(event) => Failing::ToAnswer,
            EventKind::Opened => return self.well(key, Failing::ToAccept),
            EventKind::Closed if event.bytes_received > 0 => return self.well(key, Failing::ToAnswer),
            EventKind::Closed | EventKind::Refused => return None,
        };
        if !self.watched.read().unwrap_or_else(PoisonError::into_inner).contains(&service) {
            return None;
        }
        let failing = self.failing.entry(key).or_insert(failed);
        *failing = failed.max(*failing);
        Some(Outcome { service, endpoint, failed: true })
    }

    /// The row of failures ends, if what went well is as much as what failed.
    fn well(&mut self, key: (u32, u32), at: Failing) -> Option<Outcome> {
        let (service, endpoint) = key;
        let ends = self.failing.get(&key).is_some_and(|failed| *failed <= at);
        ends.then(|| {
            self.failing.remove(&key);
            Outcome { service, endpoint, failed: false }
        })
    }

    fn heed_reset(&mut self, kind: EventKind, event: &Event) {
        if kind == EventKind::Closed && event.reset != 0 && event.bytes_received == 0 {
            self.reset.truncate(RESETS - 1);
            self.reset.push_front(event.tuple());
        }
    }

    fn was_reset(&mut self, event: &Event) -> bool {
        let place = self.reset.iter().position(|it| *it == event.tuple());
        place.is_some_and(|place| self.reset.remove(place).is_some())
    }
}

#[cfg(test)]
mod tests {
    use wabe_abi::Be16;

    use super::*;

    #[test]
    fn failures_and_the_first_success_after_them_matter() {
        let mut outcomes = Outcomes::of(Arc::new(RwLock::new(BTreeSet::from([7]))));
        let event = |service, kind: EventKind, reporter: Reporter| Event {
            service,
            destination_workload: 3,
            kind: kind as u8,
            reporter: reporter as u8,
            ..Event::default()
        };
        let of = |failed| Some(Outcome { service: 7, endpoint: 3, failed });
        for (service, kind, reporter, want) in [
            (7, EventKind::Opened, Reporter::Source, None),
            (7, EventKind::Failed, Reporter::Destination, None),
            (8, EventKind::Failed, Reporter::Source, None),
            (7, EventKind::Failed, Reporter::Source, of(true)),
            (7, EventKind::Closed, Reporter::Source, None),
            (7, EventKind::Opened, Reporter::Source, of(false)),
            (7, EventKind::Opened, Reporter::Source, None),
        ] {
            assert_eq!(
                outcomes.see(&event(service, kind, reporter)),
                want,
                "{service} {kind:?} {reporter:?}"
            );
        }
    }

    fn end(reporter: Reporter, port: u16, reset: bool, received: u64) -> Event {
        Event {
            service: if reporter == Reporter::Source { 7 } else { 0 },
            destination_workload: 3,
            source_port: Be16::new(port),
            kind: EventKind::Closed as u8,
            reporter: reporter as u8,
            reset: reset.into(),
            bytes_received: received,
            ..Event::default()
        }
    }

    #[test]
    fn an_endpoint_that_resets_without_a_word_fails_until_it_answers() {
        use Reporter::{Destination, Source};
        let mut outcomes = Outcomes::of(Arc::new(RwLock::new(BTreeSet::from([7]))));
        let of = |failed| Some(Outcome { service: 7, endpoint: 3, failed });
        let opened = Event { kind: EventKind::Opened as u8, ..end(Source, 3, false, 0) };
        for (what, event, want) in [
            ("the endpoint resets", end(Destination, 1, true, 0), None),
            ("the caller learns it", end(Source, 1, true, 0), of(true)),
            ("another one opens", opened, None),
            ("a caller goes away by itself", end(Source, 3, false, 0), None),
            ("the caller resets first", end(Source, 4, true, 0), None),
            ("... and the endpoint learns it", end(Destination, 4, true, 0), None),
            ("the endpoint resets after it has sent", end(Destination, 5, true, 9), None),
            ("... which the caller got", end(Source, 5, true, 9), of(false)),
            ("nothing is left to put right", end(Source, 6, false, 9), None),
        ] {
            assert_eq!(outcomes.see(&event), want, "{what}");
        }
    }

    #[test]
    fn resets_that_no_caller_tells_of_are_forgotten() {
        let mut outcomes = Outcomes::of(Arc::new(RwLock::new(BTreeSet::from([7]))));
        for port in 0..=RESETS as u16 {
            outcomes.see(&end(Reporter::Destination, port, true, 0));
        }
        assert_eq!(outcomes.reset.len(), RESETS);
        assert_eq!(outcomes.see(&end(Reporter::Source, 0, true, 0)), None, "the oldest went");
        assert!(outcomes.see(&end(Reporter::Source, 1, true, 0)).is_some());
    }
}
