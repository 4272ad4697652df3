//! Agent and dns.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use wabe_keeper::protocol::ChildState;

use crate::fixture::{Keeper, eventually};

/// Tells about itself, then stays.
const AGENT: &str = "
    grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status; echo uid $(id -u)
    echo interfaces $(ls /proc/self/net/dev_snmp6 | tr '\\n' ' ')
    echo cgroup $(cat /proc/self/cgroup | grep ^0:)
    echo end; exec sleep 1000";

const DNS: &str = "
    stdout=$(readlink /proc/$$/fd/1)
    { grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status; echo uid $(id -u)
    echo interfaces $(ls /proc/self/net/dev_snmp6 | tr '\\n' ' ')
    echo cgroup $(cat /proc/self/cgroup | grep ^0:)
    echo stdin $(readlink /proc/$$/fd/0) stdout $stdout
    echo mesh $(ls /run/wabe/*)
    echo end; } >&2; exec sleep 1000";

fn child(keeper: &Keeper, name: &str) -> ChildState {
    let children = keeper.client().hello().unwrap().children;
    children.into_iter().find(|it| it.name == name).expect("is a child")
}

fn told(keeper: &Keeper, name: &str) -> String {
    eventually("it told all", || {
        fs::read_to_string(keeper.log_path(name)).is_ok_and(|text| text.ends_with("end\n"))
    });
    keeper.log(name)
}

#[test]
fn the_agent_is_root_at_the_node_with_few_capabilities() {
    let keeper = Keeper::start_with(AGENT, "");
    let text = told(&keeper, "agent");
    // NET_ADMIN 12, PERFMON 38, BPF 39.
    assert!(text.contains("CapEff:\t000000c000001000\n"), "{text}");
    assert!(text.contains("CapBnd:\t000000c000001000\n"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1\n") && text.contains("uid 0\n"), "{text}");
    assert!(text.contains("uplink"), "{text}");
    assert!(text.contains(&format!("wabe-{}/agent\n", keeper.mesh.name())), "{text}");
}

#[test]
fn dns_is_nobody_at_the_host_with_two_sockets_of_the_node() {
    let keeper = Keeper::start_with("", DNS);
    let text = told(&keeper, "dns");
    assert!(text.contains("CapEff:\t0000000000000000\n"), "{text}");
    assert!(text.contains("CapBnd:\t0000000000000000\n"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1\n") && !text.contains("uid 0\n"), "{text}");
    assert!(!text.contains("uplink"), "{text}");
    assert!(text.contains("stdin socket:[") && text.contains("stdout socket:["), "{text}");
    assert!(text.contains("mesh names\n"), "{text}");
    assert!(text.contains(&format!("wabe-{}/dns\n", keeper.mesh.name())), "{text}");
}

#[test]
fn each_is_started_again_when_it_ends() {
    let keeper = Keeper::start_with(AGENT, DNS);
    for name in ["agent", "dns"] {
        told(&keeper, name);
        let before = child(&keeper, name);
        let pid = before.pid.and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("runs");
        kill_process(pid, Signal::KILL).unwrap();
        eventually("it runs again", || {
            let after = child(&keeper, name);
            after.restarts == before.restarts + 1 && after.pid.is_some_and(|it| Some(it) != before.pid)
        });
    }
}

#[test]
fn one_that_ends_at_once_is_reported() {
    let keeper = Keeper::start_with("exec /no/such/agent", "");
    eventually("its end is known", || child(&keeper, "agent").last_exit.is_some());
    eventually("its log says why", || keeper.log("agent").contains("/no/such/agent"));
}
