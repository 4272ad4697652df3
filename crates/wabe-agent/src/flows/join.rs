//! Two reports of one connection, by its source and its destination, become one. Pure: time comes from outside.

use std::collections::{HashMap, VecDeque};

use wabe_abi::{Event, EventKind, Lane, Reporter, TCP, Tuple};

/// Reports that wait for their twins; more than this and the oldest goes alone.
const WAITING: usize = 16_384;

/// What is known of one thing that happened to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Both reports in one.
    pub event: Event,
    /// The source reported it.
    pub source: bool,
    /// The destination reported it.
    pub destination: bool,
}

/// Reports that wait for the other end's.
#[derive(Debug, Default)]
pub struct Joiner {
    waiting: HashMap<(Tuple, u8), (Joined, u64)>,
    /// In the order of deadlines, which is that of their coming; entries whose report was joined meanwhile are skipped.
    deadlines: VecDeque<(u64, (Tuple, u8))>,
}

impl Joiner {
    /// Takes a report. Emits it at once if nothing else will come, joined if the other one is there; else it waits until
    /// `deadline` (nanoseconds of whatever clock `expire` is called with), which is never before an earlier report's.
    pub fn take(&mut self, event: &Event, deadline: u64, emit: &mut impl FnMut(&Joined)) {
        let reporter = Reporter::from_number(event.reporter);
        let joined = Joined {
            event: *event,
            source: reporter == Some(Reporter::Source),
            destination: reporter == Some(Reporter::Destination),
        };
        if !has_twin(event) {
            return emit(&joined);
        }
        let key = (event.tuple(), event.kind);
        match self.waiting.remove(&key) {
            Some((first, _)) if first.source != joined.source => return emit(&merge(&first, &joined)),
            // The same end again: the address pair was used again. The first one's twin was lost.
            Some((first, _)) => emit(&first),
            None => {}
        }
        if self.waiting.len() >= WAITING {
            self.expire(self.next_deadline().unwrap_or(u64::MAX), emit);
        }
        self.waiting.insert(key, (joined, deadline));
        self.deadlines.push_back((deadline, key));
    }

    /// Emits the reports that have waited long enough.
    pub fn expire(&mut self, now: u64, emit: &mut impl FnMut(&Joined)) {
        while let Some((deadline, key)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            if self.waiting.get(&key).is_some_and(|(_, its)| *its == deadline)
                && let Some((joined, _)) = self.waiting.remove(&key)
            {
                emit(&joined);
            }
        }
    }

    /// When `expire` has something to do next.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }
}

/// Whether the other end will report the same: both are workloads, and the connection came to be.
fn has_twin(event: &Event) -> bool {
    let established = match EventKind::from_number(event.kind) {
        Some(EventKind::Opened | EventKind::Closed) => true,
        Some(EventKind::Refused | EventKind::Failed) | None => false,
    };
    // Only the source tells of datagrams.
    established
        && event.protocol == TCP
        && Lane::from_number(event.lane) == Some(Lane::Direct)
        && event.source_workload != 0
        && event.destination_workload != 0
}

/// The source knows what was dialled, the destination which rule admitted; counts should agree, and the larger is the
/// one that missed less.
fn merge(one: &Joined, other: &Joined) -> Joined {
    let (source, destination) =
        if one.source { (&one.event, &other.event) } else { (&other.event, &one.event) };
    let event = Event {
        rule: if destination.rule == 0 { source.rule } else { destination.rule },
        service: if source.service == 0 { destination.service } else { source.service },
        generation: source.generation.max(destination.generation),
        bytes_sent: source.bytes_sent.max(destination.bytes_sent),
        bytes_received: source.bytes_received.max(destination.bytes_received),
        retransmits: source.retransmits.saturating_add(destination.retransmits),
        rtt: if source.rtt == 0 { destination.rtt } else { source.rtt },
        duration: source.duration.max(destination.duration),
        time: source.time.min(destination.time),
        reset: source.reset | destination.reset,
        ..*source
    };
    Joined { event, source: true, destination: true }
}

#[cfg(test)]
mod tests {
    use wabe_abi::{Be16, UDP};

    use super::*;

    fn event(kind: EventKind, reporter: Reporter, port: u16) -> Event {
        Event {
            kind: kind as u8,
            reporter: reporter as u8,
            lane: Lane::Direct as u8,
            protocol: TCP,
            source_port: Be16::new(port),
            source_workload: 1,
            destination_workload: 2,
            ..Event::default()
        }
    }

    fn run(steps: &[(Event, u64)], end: u64) -> Vec<Joined> {
        let (mut joiner, mut lines) = (Joiner::default(), Vec::new());
        for (event, deadline) in steps {
            joiner.take(event, *deadline, &mut |joined| lines.push(*joined));
        }
        joiner.expire(end, &mut |joined| lines.push(*joined));
        lines
    }

    #[test]
    fn both_ends_become_one_line_in_either_order() {
        let mut source = event(EventKind::Opened, Reporter::Source, 4000);
        source.service = 7;
        let mut destination = event(EventKind::Opened, Reporter::Destination, 4000);
        destination.rule = 9;
        for steps in [[(source, 10), (destination, 11)], [(destination, 10), (source, 11)]] {
            let lines = run(&steps, 100);
            assert_eq!(lines.len(), 1);
            assert!(lines[0].source && lines[0].destination);
            assert_eq!((lines[0].event.service, lines[0].event.rule), (7, 9));
        }
    }

    #[test]
    fn a_report_whose_twin_does_not_come_goes_alone_when_its_time_is_up() {
        let source = event(EventKind::Closed, Reporter::Source, 4000);
        assert_eq!(run(&[(source, 10)], 9), []);
        let lines = run(&[(source, 10)], 10);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].source && !lines[0].destination);
    }

    #[test]
    fn opening_and_closing_are_different_lines() {
        let steps = [
            (event(EventKind::Opened, Reporter::Source, 4000), 10),
            (event(EventKind::Closed, Reporter::Source, 4000), 11),
            (event(EventKind::Opened, Reporter::Destination, 4000), 12),
            (event(EventKind::Closed, Reporter::Destination, 4000), 13),
        ];
        let kinds: Vec<u8> = run(&steps, 100).iter().map(|line| line.event.kind).collect();
        assert_eq!(kinds, [EventKind::Opened as u8, EventKind::Closed as u8]);
    }

    #[test]
    fn a_refusal_does_not_wait() {
        assert_eq!(run(&[(event(EventKind::Refused, Reporter::Source, 4000), 10)], 0).len(), 1);
    }

    #[test]
    fn a_connection_to_the_outside_has_no_twin() {
        let mut outside = event(EventKind::Opened, Reporter::Source, 4000);
        outside.lane = Lane::Outside as u8;
        outside.destination_workload = 0;
        assert_eq!(run(&[(outside, 10)], 0).len(), 1);
    }

    #[test]
    fn datagrams_are_told_of_by_their_source_alone() {
        let mut datagrams = event(EventKind::Closed, Reporter::Source, 4000);
        datagrams.protocol = UDP;
        assert_eq!(run(&[(datagrams, 10)], 0).len(), 1);
    }

    #[test]
    fn a_pair_of_addresses_that_is_used_again_is_two_lines() {
        let source = event(EventKind::Opened, Reporter::Source, 4000);
        assert_eq!(run(&[(source, 10), (source, 11)], 100).len(), 2);
    }

    #[test]
    fn waiting_reports_are_bounded() {
        let (mut joiner, mut count) = (Joiner::default(), 0);
        for index in 0..WAITING + 10 {
            let mut source = event(EventKind::Opened, Reporter::Source, index as u16);
            source.source_workload = 1;
            source.source.words[3] = wabe_abi::Be32::new(index as u32);
            joiner.take(&source, index as u64, &mut |_| count += 1);
        }
        assert_eq!((joiner.waiting.len(), count), (WAITING, 10));
    }
}
