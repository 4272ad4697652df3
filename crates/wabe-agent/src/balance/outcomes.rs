//! How connections to services fare, as far as ejections need to know.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use wabe_abi::{Event, EventKind, Reporter, UDP};

/// The services whose endpoints may be ejected, by id; the engine says which.
pub type Watched = Arc<RwLock<BTreeSet<u32>>>;

/// A connection came to be or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The service that was dialled.
    pub service: u32,
    /// The endpoint.
    pub endpoint: u32,
    /// Refused, reset or timed out before it came to be.
    pub failed: bool,
}

/// Picks from the kernel's reports what matters: failures, and the first success after one.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    watched: Watched,
    failing: BTreeSet<(u32, u32)>,
}

impl Outcomes {
    pub(crate) fn of(watched: Watched) -> Self {
        Self { watched, failing: BTreeSet::new() }
    }

    pub(crate) fn see(&mut self, event: &Event) -> Option<Outcome> {
        // Nobody answers a first datagram: that it was sent is no success.
        if event.protocol == UDP {
            return None;
        }
        let (service, endpoint) = (event.service, event.destination_workload);
        if Reporter::from_number(event.reporter) != Some(Reporter::Source) || service == 0 || endpoint == 0 {
            return None;
        }
        let failed = match EventKind::from_number(event.kind)? {
            EventKind::Failed => true,
            EventKind::Opened => false,
            EventKind::Closed | EventKind::Refused => return None,
        };
        if !failed {
            return self.failing.remove(&(service, endpoint)).then_some(Outcome {
                service,
                endpoint,
                failed,
            });
        }
        if !self.watched.read().unwrap_or_else(PoisonError::into_inner).contains(&service) {
            return None;
        }
        self.failing.insert((service, endpoint));
        Some(Outcome { service, endpoint, failed })
    }
}

#[cfg(test)]
mod tests {
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
}
