//! One proxy follows another.

use std::{
    net::SocketAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wabe_testkit::{Running, TestMesh, wabe};
use wabe_tests::{Applied, ask_keeper, eventually, eventually_within, facts::Facts, manifest::Workload};

use super::CALLER;

/// Requests a second, and how many connections they come on.
const RATE: u64 = 1_000;
const CONNECTIONS: u64 = 16;

pub(super) fn three_upgrades_under_load_fail_no_request(mesh: &TestMesh) {
    let seconds = 15;
    let load = Load::begin(mesh, "shop/load-three", seconds);
    // It is answered by the proxy that took it, which drains meanwhile.
    let mut slow = slow_request(mesh, 6_000);
    let first = in_charge(mesh);
    let mut before = first;
    for _ in 0..3 {
        thread::sleep(Duration::from_secs(3));
        let said = mesh.json(&["upgrade", "proxy"]);
        println!("{said}");
        assert_eq!(said["proxy"], in_charge(mesh), "{said}");
        assert_ne!(said["proxy"], before);
        before = in_charge(mesh);
        let doctor = mesh.wabe(&["doctor", "-o", "json"]);
        assert!(!doctor.stdout.contains("proxy"), "two proxies are no finding: {doctor}");
    }
    assert_eq!(slow.next_line(), "200");
    load.nothing_failed(seconds);
    eventually_within(Duration::from_secs(60), "the old ones have ended", || {
        draining(mesh).is_empty().then_some(())
    });
    assert!(!alive(first));
}

pub(super) fn an_upgrade_of_the_whole_mesh_under_load_fails_no_request(mesh: &TestMesh) {
    let seconds = 12;
    let load = Load::begin(mesh, "shop/load-all", seconds);
    let before = in_charge(mesh);
    // A workload, as commands of `wabe exec` would have to end before.
    let url = "http://web.shop/delay/10000";
    let words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}\\n", "--max-time", "30", url];
    let slow = Workload::new("shop/slow", &words).with("restartPolicy", json!("Never"));
    let _slow = Applied::new(mesh, slow);
    eventually("it is connected", || {
        let flows = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
        let is_its = |it: &Value| it["lane"] == "proxy" && it["from"]["workload"] == "shop/slow";
        flows.iter().any(is_its).then_some(())
    });
    thread::sleep(Duration::from_millis(500));
    // One that drains is handed over, too.
    let _ = mesh.json(&["upgrade", "proxy"]);
    assert_eq!(draining(mesh), [before]);
    let said = mesh.json(&["upgrade"]);
    println!("{said}");
    assert_eq!(said["proxy"], in_charge(mesh), "{said}");
    assert!(draining(mesh).contains(&before), "it has a request under way");
    // The next keeper can do the same.
    let _ = mesh.json(&["upgrade", "proxy"]);
    eventually("the slow request is answered by the first", || {
        mesh.wabe(&["logs", "shop/slow"]).stdout.contains("200").then_some(())
    });
    load.nothing_failed(seconds);
    eventually_within(Duration::from_secs(60), "the old ones have ended", || {
        draining(mesh).is_empty().then_some(())
    });
}

pub(super) fn a_program_that_does_not_serve_changes_nothing(mesh: &TestMesh) {
    let before = in_charge(mesh);
    for (program, says) in [("/bin/false", "exit status 1"), ("/no/such/program", "can't be opened")] {
        let answer = ask_keeper(mesh, &json!({ "relieve_proxy": { "program": program } }));
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{program}: {answer}");
    }
    assert_eq!((in_charge(mesh), draining(mesh)), (before, vec![]));
    assert_eq!(status(mesh), "200");
}

pub(super) fn one_that_is_told_to_end_is_followed_at_once(mesh: &TestMesh) {
    let before = in_charge(mesh);
    let mut slow = slow_request(mesh, 5_000);
    signal("TERM", before);
    eventually("another one is in charge", || (in_charge(mesh) != before).then_some(()));
    assert_eq!(status(mesh), "200");
    assert_eq!(draining(mesh), [before], "it still has a request under way");
    assert_eq!(slow.next_line(), "200");
    eventually("it has ended", || draining(mesh).is_empty().then_some(()));
}

pub(super) fn one_that_is_killed_takes_with_it_what_was_under_way_only(mesh: &TestMesh) {
    let seconds = 6;
    let load = Load::begin(mesh, "shop/load-killed", seconds);
    thread::sleep(Duration::from_secs(2));
    let before = in_charge(mesh);
    let began = Instant::now();
    signal("KILL", before);
    assert_eq!(status(mesh), "200");
    println!("answered {:.1?} after it was killed", began.elapsed());
    let said = load.report();
    let failed: u64 = said["failed"].as_object().expect("counts").values().filter_map(Value::as_u64).sum();
    println!("failed: {}, answered: {}", said["failed"], said["answered"]);
    assert!(failed <= CONNECTIONS, "one a connection at most: {said}");
    assert_eq!(failed + said["answered"].as_u64().expect("a count"), RATE * seconds, "{said}");
}

/// Requests at a rate, as a workload: commands of `wabe exec` would be in an upgrade's way.
pub(super) struct Load<'a> {
    mesh: &'a TestMesh,
    name: &'static str,
    _applied: Applied<'a>,
}

impl<'a> Load<'a> {
    /// Begins; requests are on their way when it returns.
    pub(super) fn begin(mesh: &'a TestMesh, name: &'static str, seconds: u64) -> Self {
        let url = format!("http://{}/all", SocketAddr::from((Facts::of(mesh).service("shop/web")[0], 80)));
        let (program, rate, connections) = (wabe(), RATE.to_string(), CONNECTIONS.to_string());
        let (program, duration) = (program.to_str().expect("a path in UTF-8"), format!("{seconds}s"));
        let words = [
            program,
            "lab",
            "load",
            &url,
            "--rate",
            &rate,
            "--duration",
            &duration,
            "--connections",
            &connections,
            // All are counted.
            "--warm-up",
            "0s",
            "-o",
            "json",
        ];
        let workload = Workload::new(name, &words).with("restartPolicy", json!("Never"));
        let applied = Applied::new(mesh, workload);
        eventually("the load runs", || {
            (mesh.json(&["status"])["workloads"].to_string().contains(name)).then_some(())
        });
        Self { mesh, name, _applied: applied }
    }

    fn report(&self) -> Value {
        eventually_within(Duration::from_secs(60), "the load has said how it went", || {
            let said = self.mesh.wabe(&["logs", self.name]).stdout;
            serde_json::from_str(said.get(said.find('{')?..)?).ok()
        })
    }

    pub(super) fn nothing_failed(&self, seconds: u64) {
        let said = self.report();
        assert_eq!(said["failed"], json!({}), "{said}");
        assert_eq!(said["answered"], RATE * seconds, "{said}");
    }
}

/// Prints its status once it is answered.
fn slow_request(mesh: &TestMesh, milliseconds: u32) -> Running {
    let url = format!("http://web.shop/delay/{milliseconds}");
    let words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}\\n", "--max-time", "30", &url];
    // Commands of `wabe exec` run to their end before an upgrade of the whole mesh; this one is for the proxy's only.
    let before = Facts::of(mesh).lane("proxy");
    let running = mesh.start_exec(CALLER, &words);
    eventually("it is connected", || (Facts::of(mesh).lane("proxy") > before).then_some(()));
    thread::sleep(Duration::from_millis(500));
    running
}

fn status(mesh: &TestMesh) -> String {
    let words =
        ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", "http://web.shop/all"];
    mesh.exec(CALLER, &words).success().stdout
}

fn process(mesh: &TestMesh) -> Value {
    let status = mesh.json(&["status"]);
    let all = status["processes"].as_array().expect("a list");
    all.iter().find(|it| it["role"] == "proxy").expect("a proxy").clone()
}

pub(super) fn in_charge(mesh: &TestMesh) -> u32 {
    let pid = eventually("a proxy is in charge", || process(mesh)["pid"].as_u64());
    u32::try_from(pid).expect("a process id")
}

pub(super) fn draining(mesh: &TestMesh) -> Vec<u32> {
    let process = process(mesh);
    let all = process["draining"].as_array().expect("a list");
    all.iter().filter_map(|it| u32::try_from(it.as_u64()?).ok()).collect()
}

fn alive(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}/root")).unwrap_or(false)
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}
