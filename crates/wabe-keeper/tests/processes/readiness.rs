//! When a workload counts as ready.

use std::fs;

use wabe_keeper::protocol::{EventKind, InstanceSpec, ProbeAction, ProbeSpec};

use crate::fixture::Keeper;

fn probe(action: ProbeAction) -> Option<ProbeSpec> {
    Some(ProbeSpec { action, initial_delay_ms: 0, period_ms: 50, timeout_ms: 2000, failure_threshold: 2 })
}

fn is_ready(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Ready { .. })
}

#[test]
fn a_port_is_found_wherever_the_program_listens() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    let (v4, _) = keeper.file.addresses(4).unwrap();
    for (id, address) in [(1, "127.0.0.1"), (2, "::1"), (3, "::"), (4, &v4.to_string())] {
        let command = [&keeper.program(), "serve", address, "8080", "/"];
        keeper
            .run(InstanceSpec { probe: probe(ProbeAction::Tcp { port: 8080 }), ..keeper.spec(id, &command) });
        assert_eq!(events.until(is_ready), EventKind::Ready { id });
        assert!(keeper.state(id).ready);
    }
}

#[test]
fn not_ready_says_what_the_probe_met() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    let spec = keeper.spec(1, &["sleep", "1000"]);
    keeper.run(InstanceSpec { probe: probe(ProbeAction::Tcp { port: 8080 }), ..spec });
    let event = events.until(|kind| matches!(kind, EventKind::NotReady { .. }));
    let EventKind::NotReady { why, .. } = event else { unreachable!("that is what was waited for") };
    assert!(why.contains("port 8080") && why.contains("Connection refused"), "{why}");
    let state = keeper.state(1);
    assert_eq!((state.ready, state.not_ready_because), (false, Some(why)));
}

#[test]
fn http_follows_the_status() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    let healthy = keeper.folder().join("healthy");
    let command = [&keeper.program(), "serve", "127.0.0.1", "8080", healthy.to_str().unwrap()];
    let action = ProbeAction::Http { port: 8080, path: "/health?x=1".into() };
    keeper.run(InstanceSpec { probe: probe(action), ..keeper.spec(1, &command) });
    events.until(|kind| matches!(kind, EventKind::NotReady { .. }));
    fs::write(&healthy, "").unwrap();
    events.until(is_ready);
    fs::remove_file(&healthy).unwrap();
    let event = events.until(|kind| matches!(kind, EventKind::NotReady { .. }));
    let EventKind::NotReady { why, .. } = event else { unreachable!("that is what was waited for") };
    assert_eq!(why, "GET /health?x=1 on port 8080: status 503");
    fs::write(&healthy, "").unwrap();
    events.until(is_ready);
}

#[test]
fn a_command_decides() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    let healthy = keeper.folder().join("healthy");
    let command = ["test".into(), "-e".into(), healthy.to_str().unwrap().into()].into();
    let action = ProbeAction::Exec { command };
    keeper.run(InstanceSpec { probe: probe(action), ..keeper.spec(1, &["sleep", "1000"]) });
    let event = events.until(|kind| matches!(kind, EventKind::NotReady { .. }));
    let why = "the probe's command ended with exit status 1".into();
    assert_eq!(event, EventKind::NotReady { id: 1, why });
    fs::write(&healthy, "").unwrap();
    events.until(is_ready);
}

#[test]
fn a_stopped_workload_is_not_ready() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    keeper.run(keeper.script(1, "trap '' TERM; while :; do sleep 1; done"));
    events.until(is_ready);
    keeper.client().stop(1, None).unwrap();
    events.until(|kind| matches!(kind, EventKind::NotReady { id: 1, .. }));
    assert!(!keeper.state(1).ready);
}

#[test]
fn packets_pass_once_it_was_started() {
    let keeper = Keeper::start();
    let mut events = keeper.events();
    let (v4, v6) = keeper.file.addresses(1).unwrap();
    let command = [&keeper.program(), "serve", "::", "8080", "/"];
    keeper.run(InstanceSpec { probe: probe(ProbeAction::Tcp { port: 8080 }), ..keeper.spec(1, &command) });
    events.until(is_ready);
    assert!(keeper.reaches_from_host(v4.into(), 8080));
    assert!(keeper.reaches_from_host(v6.into(), 8080));
}
