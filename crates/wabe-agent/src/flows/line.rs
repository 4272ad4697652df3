//! A joined report with names in place of numbers.

use std::{
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use wabe_abi::{Be16, DropReason, EventKind, Ip, Lane, UDP};

use super::join::Joined;
use crate::{
    api::{End, Flow, FlowKind},
    published::Published,
};

/// How far the monotonic clock, which the kernel's reports use, is behind the calendar.
pub struct Clock {
    offset: u64,
}

impl Clock {
    /// Compares both clocks.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { offset: (since.as_nanos() as u64).saturating_sub(monotonic()) }
    }

    fn milliseconds(&self, monotonic: u64) -> u64 {
        monotonic.saturating_add(self.offset) / 1_000_000
    }
}

/// Nanoseconds of the monotonic clock.
pub(super) fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The line of a report.
pub fn line(joined: &Joined, names: &Published, clock: &Clock) -> Flow {
    let event = &joined.event;
    let kind = match EventKind::from_number(event.kind) {
        Some(EventKind::Opened) => FlowKind::Opened,
        Some(EventKind::Closed) => FlowKind::Closed,
        Some(EventKind::Failed) => FlowKind::Failed,
        Some(EventKind::Refused) | None => FlowKind::Refused,
    };
    let reporters = [(joined.source, "source"), (joined.destination, "destination")];
    Flow {
        time: clock.milliseconds(event.time),
        kind,
        reporters: reporters.iter().filter(|(is, _)| *is).map(|(_, name)| (*name).into()).collect(),
        protocol: if event.protocol == UDP { "udp" } else { "tcp" }.into(),
        from: end(event.source_workload, event.source, event.source_port, names),
        to: end(event.destination_workload, event.destination, event.destination_port, names),
        service: names.services.get(&event.service).map(|service| service.name.clone()),
        dialled: address(event.dialled),
        dialled_port: event.dialled_port.host(),
        lane: Lane::from_number(event.lane).map_or("unknown", Lane::name).into(),
        verdict: if kind == FlowKind::Refused { "refused" } else { "allowed" }.into(),
        reason: DropReason::from_number(event.reason).map(|reason| reason.name().into()),
        rule: (event.rule != 0).then(|| names.rule(event.rule)),
        generation: event.generation,
        bytes_sent: event.bytes_sent,
        bytes_received: event.bytes_received,
        duration: event.duration / 1000,
        rtt: event.rtt,
        retransmits: event.retransmits,
        reset: event.reset != 0,
        suppressed: event.suppressed,
    }
}

fn end(workload: u32, ip: Ip, port: Be16, names: &Published) -> End {
    let known = names.workloads.get(&workload);
    End {
        workload: known.map(|it| it.name.clone()),
        replica: known.map(|it| it.replica),
        address: address(ip),
        port: port.host(),
    }
}

fn address(ip: Ip) -> Option<IpAddr> {
    (!ip.is_unspecified()).then(|| IpAddr::from(ip))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use wabe_abi::{Event, Reporter};

    use super::*;
    use crate::published::PublishedWorkload;

    #[test]
    fn numbers_become_names() {
        let mut names = Published::default();
        let frontend =
            PublishedWorkload { name: "shop/frontend".into(), replica: 1, ..PublishedWorkload::default() };
        names.workloads.insert(4, frontend);
        names.rules.insert(3, "shop/payment rule 1".into());
        let event = Event {
            kind: EventKind::Refused as u8,
            reporter: Reporter::Source as u8,
            lane: Lane::Refused as u8,
            reason: DropReason::PolicyDeny as u8,
            rule: 3,
            source_workload: 4,
            destination_workload: 99,
            duration: 5_000,
            ..Event::default()
        };
        let line = line(&Joined { event, source: true, destination: false }, &names, &Clock { offset: 0 });
        assert_eq!(line.from.workload.as_deref(), Some("shop/frontend"));
        assert_eq!((line.to.workload, line.to.address), (None, None));
        assert_eq!(line.rule.as_deref(), Some("shop/payment rule 1"));
        assert_eq!((&*line.verdict, line.reason.as_deref()), ("refused", Some("policy_deny")));
        assert_eq!((line.duration, line.reporters.as_slice()), (5, &[Cow::from("source")][..]));
    }
}
