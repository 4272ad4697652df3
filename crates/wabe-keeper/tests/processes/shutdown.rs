//! The end: nothing is left.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use wabe_keeper::client::{Client, ClientError};

use crate::fixture::{Keeper, is_alive};

const STUBBORN: &str = "trap '' TERM; setsid sleep 1000 & while :; do sleep 0.02; done";

fn busy() -> (Keeper, Vec<u32>) {
    let keeper = Keeper::start_with("exec sleep 1000", "exec sleep 1000");
    let mut pids = Vec::new();
    for id in 1..=3 {
        let mut spec = keeper.script(id, STUBBORN);
        spec.grace_ms = 200;
        pids.push(keeper.run_until_started(spec));
    }
    pids.push(keeper.run_until_started(keeper.spec(4, &["sleep", "1000"])));
    drop(keeper.client().create(keeper.spec(5, &["true"])).unwrap());
    let all = fs::read_to_string(keeper.cgroup(1).join("cgroup.procs")).unwrap();
    pids.extend(all.lines().map(|line| line.parse::<u32>().unwrap()));
    pids.extend(keeper.client().hello().unwrap().children.iter().filter_map(|it| it.pid));
    (keeper, pids)
}

#[test]
fn nothing_is_left_when_a_client_ends_the_mesh() {
    let (mut keeper, pids) = busy();
    keeper.client().shutdown().unwrap();
    assert_eq!(keeper.inventory(), []);
    assert_eq!(pids.into_iter().filter(|pid| is_alive(*pid)).count(), 0);
    assert_eq!(keeper.exit_code(), Some(0));
    let error = Client::connect(&keeper.mesh).unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
}

#[test]
fn nothing_is_left_when_a_signal_ends_the_keeper() {
    let (mut keeper, pids) = busy();
    kill_process(Pid::from_raw(keeper.pid().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(keeper.exit_code(), Some(0));
    assert_eq!(keeper.inventory(), []);
    assert_eq!(pids.into_iter().filter(|pid| is_alive(*pid)).count(), 0);
}

#[test]
fn a_mesh_has_one_keeper() {
    let keeper = Keeper::start();
    let second = std::process::Command::new(keeper.program())
        .args(["keeper", keeper.mesh.name(), "", ""])
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("Running("), "{second:?}");
    // The first one is none the worse.
    keeper.run_until_started(keeper.spec(1, &["sleep", "1000"]));
}
