//! What workloads print.

use wabe_keeper::{logs, protocol::EventKind};

use crate::fixture::{Keeper, eventually};

#[test]
fn both_outputs_are_kept_over_restarts() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    keeper.run(keeper.script(1, "echo out; echo err >&2; printf 'no line end'"));
    events.until(|kind| matches!(kind, EventKind::Exited { .. }));
    keeper.client().start(1).unwrap();
    events.until(|kind| matches!(kind, EventKind::Exited { .. }));
    let once = "out\nerr\nno line end";
    eventually("all is written", || keeper.log("test.w1-0") == [once, once].concat());
}

#[test]
fn programs_may_open_their_output_by_its_name() {
    let keeper = Keeper::start();
    keeper.run(keeper.script(1, "echo one > /dev/stdout; echo two > /dev/stderr"));
    eventually("both lines are there", || keeper.log("test.w1-0") == "one\ntwo\n");
}

#[test]
fn nothing_is_lost_when_much_is_printed_and_files_change() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    // 24 MB of numbered lines.
    keeper.run(keeper.script(1, "seq -f 'line %08.0f ...........' 1 1000000"));
    events.until(|kind| matches!(kind, EventKind::Exited { .. }));
    let path = keeper.log_path("test.w1-0");
    eventually("all is written", || {
        logs::read(&path).is_ok_and(|bytes| bytes.ends_with(b"line 01000000 ...........\n"))
    });
    let text = String::from_utf8(logs::read(&path).unwrap()).unwrap();
    let mut count = 0;
    for (number, line) in (1..).zip(text.lines()) {
        assert_eq!(line, format!("line {number:08} ..........."));
        count = number;
    }
    assert_eq!(count, 1_000_000);
    assert!(path.with_extension("log.1").exists());
}
