//! Events: no record of the ring buffer panics, whatever its length and numbers; each that is long enough becomes
//! exactly one line or half of one, which can be told in JSON.

use wabe_abi::{Be16, Be32, DropReason, Event, EventKind, Ip, Lane, Reporter, TCP, UDP};
use wabe_agent::{
    Published, PublishedService, PublishedWorkload,
    flows::{Clock, Joiner, line},
};
use wabe_datapath::decode;
use zerocopy::IntoBytes as _;

use crate::Seed;

/// More than any record: what is cut off is a record that is too short.
const RECORD: usize = size_of::<Event>() + 8;

/// Takes the records that follow each other in `bytes`.
///
/// # Panics
/// If a promise is broken.
pub fn run(bytes: &[u8]) {
    let (clock, names) = (Clock::now(), names());
    let (mut joiner, mut reports, mut told) = (Joiner::default(), 0, 0);
    let mut tell = |joined: &_| {
        let line = line(joined, &names, &clock);
        told += line.reporters.len().max(1);
        serde_json::to_string(&line).expect("a line can't be told");
    };
    for (deadline, record) in (0..).zip(bytes.chunks(RECORD)) {
        let event = decode(record);
        assert_eq!(event.is_some(), record.len() >= size_of::<Event>());
        if let Some(event) = event {
            reports += 1;
            joiner.take(&event, deadline, &mut tell);
        }
    }
    joiner.expire(u64::MAX, &mut tell);
    assert_eq!(told, reports, "a report is lost or told twice");
}

/// Each kind, lane and reason; both ends of a connection; a pair of addresses that is used again; a record that is cut off.
pub fn seeds() -> Vec<Seed> {
    let [opened, closed, refused, failed] =
        [EventKind::Opened, EventKind::Closed, EventKind::Refused, EventKind::Failed].map(event);
    let there = |event| Event { reporter: Reporter::Destination as u8, rule: 3, ..event };
    let datagrams = Event { protocol: UDP, ..closed };
    let to = |lane: Lane| Event { lane: lane as u8, ..opened };
    let because = |reason: &DropReason| Event { reason: *reason as u8, lane: Lane::Refused as u8, ..refused };
    let conversations = [
        ("opened-and-closed", vec![opened, there(opened), closed, there(closed)]),
        ("destination-first", vec![there(closed), closed]),
        ("used-again", vec![opened, opened, there(opened)]),
        ("failed", vec![failed]),
        ("datagrams", vec![datagrams]),
        ("lanes", Lane::ALL.map(to).to_vec()),
        ("refused", DropReason::ALL.iter().map(because).collect()),
    ];
    let mut seeds: Vec<Seed> =
        conversations.iter().map(|(name, events)| ((*name).to_owned(), records(events))).collect();
    let cut = &opened.as_bytes()[..size_of::<Event>() - 1];
    seeds.push(("cut".to_owned(), cut.to_vec()));
    seeds
}

fn records(events: &[Event]) -> Vec<u8> {
    let padded = |event: &Event| [event.as_bytes(), &[0; RECORD - size_of::<Event>()]].concat();
    events.iter().flat_map(padded).collect()
}

fn event(kind: EventKind) -> Event {
    let address = |last: u32| Ip {
        words: [Be32::new(0), Be32::new(0), Be32::new(0xffff), Be32::new(0x0a01_0000 | last)],
    };
    Event {
        source: address(9),
        destination: address(2),
        dialled: address(0x100),
        time: 5_000_000_000,
        duration: 7_000_000,
        bytes_sent: 90,
        bytes_received: 1400,
        generation: 3,
        source_workload: 4,
        destination_workload: 5,
        service: 6,
        rtt: 80,
        source_port: Be16::new(40_000),
        destination_port: Be16::new(8080),
        dialled_port: Be16::new(80),
        kind: kind as u8,
        reporter: Reporter::Source as u8,
        lane: Lane::Direct as u8,
        protocol: TCP,
        ..Event::default()
    }
}

/// What the seeds' numbers stand for.
fn names() -> Published {
    let workload = |name: &str| PublishedWorkload { name: name.into(), ..PublishedWorkload::default() };
    let catalogue = PublishedService { name: "shop/catalogue".into(), ..PublishedService::default() };
    Published {
        workloads: [(4, workload("shop/frontend")), (5, workload("shop/catalogue"))].into(),
        services: [(6, catalogue)].into(),
        rules: [(3, "shop/catalogue-callers rule 1".into())].into(),
        ..Published::default()
    }
}
