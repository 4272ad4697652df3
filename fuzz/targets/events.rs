//! Events: no record of the ring buffer panics, whatever its length and numbers; each that is long enough becomes
//! exactly one line or half of one, which can be told in JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wabe_abi::Event;
use wabe_agent::{
    Published,
    flows::{Clock, Joiner, line},
};
use wabe_datapath::decode;

/// More than any record: what is cut off is a record that is too short.
const RECORD: usize = size_of::<Event>() + 8;

fuzz_target!(|bytes: &[u8]| {
    let (clock, names) = (Clock::now(), Published::default());
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
});
