//! The agent may be dead for long, and every process of the mesh may become another version, without a failed request.
//!
//! The load: new connections that each resolve the name afresh, and connections that stay and are used all the time.
//! The callers are workloads, as commands by `wabe exec` would be in the way of an upgrade.

use std::{
    collections::BTreeSet,
    env,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    ask_keeper, eventually, eventually_within,
    facts::until_nothing_lives,
    manifest::{Service, Workload, all},
    status::{pids, until_ready},
};

/// New connections a second.
const RATE: u64 = 500;
/// Connections that stay.
const STAYING: u64 = 20;
/// Milliseconds between two messages on each of them.
const PAUSE: u64 = 10;

#[test]
fn nothing_fails_while_the_agent_is_dead_for_a_minute() {
    let seconds = 60;
    let mesh = under_load(seconds);
    let bystander = pids(&mesh, "shop/bystander")[0];
    let killed = AtomicU32::new(0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The keeper starts it again, later each time; it never lives long enough to do anything.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(pid) = mesh.machine().role("agent") {
                    signal("KILL", pid);
                    killed.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds / 3) {
            thread::sleep(Duration::from_millis(100));
        }
        // A workload exits, and names are without a server for a moment.
        signal("KILL", u32::try_from(bystander).expect("a process id"));
        let _ = mesh.machine().kill_role("dns");
        while began.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("the agent was killed {} times within {seconds} s", killed.load(Ordering::Relaxed));
    nothing_failed(&mesh, seconds);
    // The next agent knows all of it, the new process too.
    eventually("the next agent answers", || mesh.wabe(&["status"]).status.success().then_some(()));
    until_nothing_lives(&mesh);
    until_ready(&mesh, "shop/bystander", 1);
    assert_ne!(pids(&mesh, "shop/bystander")[0], bystander, "it was started again");
    mesh.down();
}

#[test]
fn nothing_fails_while_all_processes_become_another_version_with_another_layout() {
    let seconds = 20;
    let mesh = under_load(seconds);
    let workloads = ["shop/load", "shop/cart", "shop/echo"].map(|it| pids(&mesh, it));
    let keeper = mesh.machine().role("keeper").expect("a keeper");
    let layout = layout(&mesh);
    for wabe in [other_layout(), wabe_testkit::wabe()] {
        let agent = mesh.machine().role("agent");
        let mut command = Command::new(&wabe);
        command.args(["--name", mesh.name(), "upgrade", "-o", "json"]);
        let said = mesh.machine().run(command).success().json();
        println!("{}: {said}", wabe.display());
        assert_eq!(mesh.machine().role("keeper"), Some(keeper), "the process stays");
        assert_ne!(mesh.machine().role("agent"), agent);
        for role in ["keeper", "agent", "dns"] {
            let pid = mesh.machine().role(role).expect("it runs");
            let program = std::fs::read_link(format!("/proc/{pid}/exe")).expect("a program");
            assert_eq!(program, wabe.canonicalize().expect("a file"), "{role}");
        }
        assert_eq!(["shop/load", "shop/cart", "shop/echo"].map(|it| pids(&mesh, it)), workloads);
        let is_other = self::layout(&mesh) != layout;
        assert_eq!(is_other, wabe != wabe_testkit::wabe(), "tables have that program's layout");
        // Changes are made again.
        let replicas = if wabe == wabe_testkit::wabe() { "1" } else { "2" };
        let _ = mesh.wabe(&["scale", "shop/bystander", replicas]).success();
    }
    nothing_failed(&mesh, seconds);
    // Who is counted as busy for ever gets no connection.
    until_nothing_lives(&mesh);
    mesh.down();
}

#[test]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    let mesh = TestMesh::up(&all(&[&Workload::server("shop/cart")]));
    let first = mesh.machine().role("agent").expect("an agent");
    // As the keeper would start it: in the node's network namespace.
    let mut second = Command::new("nsenter");
    second.arg(format!("--net=/proc/{first}/ns/net")).arg(wabe_testkit::wabe());
    second.args(["--name", mesh.name(), "agent"]);
    let refused = mesh.machine().run(second);
    assert!(!refused.status.success() && refused.stderr.contains("has an agent that works"), "{refused}");
    let _ = mesh.wabe(&["scale", "shop/cart", "2"]).success();
    assert_eq!(mesh.json(&["status"])["agent"], first);
    mesh.down();
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let mesh = TestMesh::up(&all(&[&Workload::server("shop/cart"), &Workload::idle("a/caller")]));
    let before = ["keeper", "agent", "dns"].map(|role| mesh.machine().role(role));
    let not_wabe = mesh.file("not-wabe", "#!/bin/sh\necho I am no wabe >&2; exit 3\n");
    for (program, says) in [(not_wabe.as_str(), "can't be tried"), ("/bin/false", "can't take over")] {
        let request = json!({ "replace": { "program": program } });
        let answer = ask_keeper(&mesh, &request);
        assert!(answer["error"]["message"].as_str().is_some_and(|it| it.contains(says)), "{answer}");
    }
    assert_eq!(["keeper", "agent", "dns"].map(|role| mesh.machine().role(role)), before);
    // A command that runs is not cut off.
    let mut running = mesh.start_exec("a/caller", &["sh", "-c", "echo started; sleep 30"]);
    assert_eq!(running.next_line(), "started");
    let busy = mesh.wabe(&["upgrade"]);
    assert!(busy.stderr.contains("wait for them"), "{busy}");
    mesh.down();
}

/// A mesh with all callers at work for so many seconds.
fn under_load(seconds: u64) -> TestMesh {
    let number = |it: u64| it.to_string();
    let load = ["connect", "cart.shop:80", "--resolve-each", "--summary", "--rate"];
    let (rate, count) = (number(RATE), number(RATE * seconds));
    let load = [&["$TESTBOX"], &load[..], &[rate.as_str(), "--count", count.as_str()]].concat();
    let (staying, pause, messages) = (number(STAYING), number(PAUSE), number(seconds * 1000 / PAUSE));
    let ping =
        ["$TESTBOX", "ping", "echo.shop:80", "--parallel", &staying, "--delay", &pause, "--count", &messages];
    let mesh = TestMesh::up(&all(&[
        &Workload::server("shop/cart").with("replicas", json!(2)),
        &Service::new("shop/cart"),
        &Workload::new("shop/echo", &["$TESTBOX", "echo", "--listen", "[::]:8080"])
            .with("readiness", json!({ "tcp": { "port": 8080 } }))
            .with("ports", json!([{ "name": "main", "port": 8080 }])),
        &Service::new("shop/echo"),
        &Workload::server("shop/bystander"),
    ]));
    // Once the servers serve, so that nothing fails for another reason.
    let callers = all(&[
        &Workload::new("shop/load", &load).with("restartPolicy", json!("Never")),
        &Workload::new("shop/ping", &ping).with("restartPolicy", json!("Never")),
    ]);
    let _ = mesh.apply(&callers).success();
    until_ready(&mesh, "shop/load", 1);
    mesh
}

/// Waits for the callers' reports.
fn nothing_failed(mesh: &TestMesh, seconds: u64) {
    let patience = Duration::from_secs(60);
    let said = |workload: &str| -> Value {
        eventually_within(patience, &format!("{workload} has said how it went"), || {
            let logs = mesh.wabe(&["logs", workload]);
            logs.stdout.lines().last().and_then(|line| serde_json::from_str(line).ok())
        })
    };
    let load = said("shop/load");
    println!("new connections: {load}");
    assert_eq!(load["by_errno"], json!({}), "{load}");
    assert_eq!(load["connections"], RATE * seconds);
    let answers = load["by_answer"].as_object().expect("counts");
    assert!(answers.keys().all(|it| it.starts_with("cart/")), "{load}");
    let ping = said("shop/ping");
    println!("connections that stay: {ping}");
    assert_eq!(ping["errors"], json!([]));
    assert_eq!(ping["echoes"], STAYING * (seconds * 1000 / PAUSE));
}

/// The pins of the mesh's tables, which bear their layouts.
fn layout(mesh: &TestMesh) -> BTreeSet<String> {
    let folder = format!("/run/wabe/{}/bpf/maps", mesh.name());
    let pins = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    pins.map(|it| it.expect("a pin").file_name().into_string().expect("ASCII")).collect()
}

/// The build whose tables have another layout.
fn other_layout() -> PathBuf {
    let path = env::var_os("WABE_OTHER_LAYOUT").expect(
        "WABE_OTHER_LAYOUT names a build with another layout of tables: `cargo xtask other-layout` makes one and prints \
         its path",
    );
    path.into()
}

fn signal(name: &str, pid: u32) {
    // It may have ended by itself.
    let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).output();
}
