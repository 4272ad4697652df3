//! A proxy that somebody took over has the proxy's user, link and filters, and can do nothing with them that the workloads on
//! whose behalf it acts could not do themselves.

use std::{collections::BTreeMap, fs};

use rustix::{
    net::{connect_unspec, sockopt::socket_acceptconn},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use serde_json::{Value, json};
use wabe_testkit::{TestMesh, testbox};
use wabe_tests::{
    Applied, ask_keeper, eventually,
    manifest::{Policy, Workload},
};

use super::{CALLER, OTHER, WORKERS};

/// Users that are kept for processes of meshes.
const RESERVED: std::ops::Range<u32> = 0x5762_0000..0x5763_0000;

/// Connections by policies that are not in force any more, and by none, to a workload whose policies look at requests.
const OUTDATED: [&str; 2] = ["older-policies", "no-policies"];

pub(super) fn it_has_no_power(mesh: &TestMesh) {
    let pid = mesh.machine().role("proxy").expect("it runs");
    let tasks = || fs::read_dir(format!("/proc/{pid}/task")).expect("a process").map_while(Result::ok);
    eventually("all workers run", || (tasks().count() == WORKERS).then_some(()));
    for task in tasks() {
        a_thread_has_no_power(&fs::read_to_string(task.path().join("status")).expect("its status"));
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let files = limits.lines().find(|it| it.starts_with("Max file size")).unwrap_or_default();
    let most: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(most, ["4194304", "4194304"], "what it may write fills no memory: {limits}");
}

/// Each is asked: users, capabilities and filters are a thread's.
fn a_thread_has_no_power(status: &str) {
    let line = |name: &str| {
        status.lines().find_map(|it| it.strip_prefix(name)).unwrap_or("missing").trim().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(set), "0000000000000000", "{set} of {status}");
    }
    assert_eq!((line("NoNewPrivs:"), line("Seccomp:")), ("1".into(), "2".into()), "{status}");
    assert_eq!(line("Seccomp_filters:"), "2", "{status}");
    let users: Vec<u32> = line("Uid:").split_whitespace().filter_map(|it| it.parse().ok()).collect();
    assert_eq!(users.len(), 4, "{status}");
    assert!(users.iter().all(|it| *it == users[0] && RESERVED.contains(it)), "{status}");
}

pub(super) fn it_can_not_be_signalled_by_workloads(mesh: &TestMesh) {
    let pid = mesh.machine().role("proxy").expect("it runs").to_string();
    // Commands of `wabe exec` may signal processes of their user.
    let tried = mesh.exec(CALLER, &["sh", "-c", &format!("kill -TERM {pid}")]);
    assert!(!tried.status.success(), "{tried}");
    for line in mesh.testbox(CALLER, &["intrude", &pid]).success().json_lines() {
        assert_eq!(line["ok"], false, "{line}");
    }
}

pub(super) fn no_workload_can_be_its_user(mesh: &TestMesh) {
    let user = RESERVED.start.to_string();
    let twin = Workload::idle("shop/twin").with("user", json!(user));
    let refused = mesh.apply(&twin.to_string());
    assert!(refused.to_string().contains("kept for processes of the mesh"), "{refused}");
    let _ = mesh.delete(&twin.to_string());
}

pub(super) fn it_gets_nowhere(mesh: &TestMesh) {
    let only = json!([{ "from": [{ "source": { "namespaces": ["away"] } }] }]);
    let spec =
        json!({ "selector": { "matchLabels": { "app": "guarded" } }, "action": "ALLOW", "rules": only });
    let _policy = Applied::new(mesh, Policy::new("shop/guarded-for-away", spec));
    let readers = json!([{ "to": [{ "operation": { "methods": ["GET"] } }] }]);
    let spec = json!({ "selector": { "matchLabels": { "app": "judged" } }, "rules": readers });
    let _readers = Applied::new(mesh, Policy::new("shop/readers", spec));
    let keeper = mesh.machine().role("keeper").expect("it runs");
    let before = descriptors(keeper);
    let program = testbox();
    let request = json!({ "relieve_proxy": { "program": program } });
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask_keeper(mesh, &request));
        eventually("the keeper was flooded", || said(mesh).contains_key("flooded").then_some(()));
        let during = descriptors(keeper);
        println!("descriptors of the keeper: {before} before, {during} while 64 000 sockets are asked for");
        assert!(during < before + 200, "what nobody takes is not made");
        assert!(mesh.wabe(&["status"]).status.success());
        asked.join().expect("no panic")
    });
    // Asking for too much at once is its end.
    assert!(answer["error"]["message"].as_str().is_some_and(|it| it.contains("signal 9")), "{answer}");
    let said = said(mesh);
    assert!(!said.contains_key("survived"));
    let reached = |caller: &str, to: &str| {
        let found = said["connect"].iter().find(|it| it["for"] == caller && it["to"] == to);
        found.unwrap_or_else(|| panic!("{caller} to {to}: {said:#?}")).clone()
    };
    assert_eq!(reached(CALLER, "shop/guarded")["errno"], "EPERM", "as the workload itself");
    for (caller, to) in [
        (OTHER, "shop/guarded"),
        (CALLER, "shop/open"),
        (OTHER, "shop/open"),
        (CALLER, "shop/judged"),
        (OTHER, "shop/judged"),
    ] {
        assert_eq!(reached(caller, to)["ok"], true, "{caller} to {to}");
    }
    for kind in OUTDATED {
        // What stays inside a workload is never judged.
        let tries: Vec<_> = said[kind].iter().filter(|it| it["for"] != it["to"]).collect();
        assert!(tries.len() > 2 && tries.iter().all(|it| it["to"] == "shop/judged"), "{tries:?}");
        assert!(tries.iter().all(|it| it["errno"] == "ESTALE"), "{tries:?}");
    }
    let refused = mesh.wabe(&["flows", "--refused", "-o", "json"]).success().json_lines();
    assert!(refused.iter().any(|it| it["reason"] == "policy_newer"), "{refused:#?}");
    let is_other = |kind: &str| kind != "connect" && !OUTDATED.contains(&kind);
    let others = said.iter().filter(|(kind, _)| is_other(kind)).flat_map(|(_, lines)| lines);
    let others: Vec<_> = others.collect();
    println!("{} attempts failed", others.len());
    assert!(others.len() > 20, "{others:#?}");
    for line in others {
        assert_eq!(line["ok"], false, "{line}");
    }
    assert!(said["mark"].iter().all(|it| it["errno"] == "EPERM"));
    // The true one goes on.
    let words = ["curl", "-sS", "--max-time", "10", "http://web.shop/all"];
    assert_eq!(mesh.exec(CALLER, &words).success().json()["workload"], "open");
}

/// What it said, by kind; its output is the proxy's log.
fn said(mesh: &TestMesh) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::<String, Vec<Value>>::new();
    for line in mesh.wabe(&["logs", "proxy"]).stdout.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        if let Some(kind) = line["kind"].as_str() {
            all.entry(kind.into()).or_default().push(line);
        }
    }
    all
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// Whoever has a listener can end it, by `connect` to no address, which no filter of system calls can tell from other calls.
pub(super) fn listeners_that_it_ended_are_made_anew_with_the_mesh(mesh: &TestMesh) {
    let ask = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", "http://web.shop/"];
    let is_served = || mesh.exec(CALLER, &ask).stdout == "200";
    assert!(is_served());
    let pid = mesh.machine().role("proxy").expect("it runs");
    let process = Pid::from_raw(pid.try_into().expect("a process")).expect("a process");
    let process = pidfd_open(process, PidfdFlags::empty()).expect("opened");
    let names = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let numbers = names.map_while(Result::ok).filter_map(|it| it.file_name().to_str()?.parse().ok());
    let descriptors = numbers.filter_map(|it| pidfd_getfd(&process, it, PidfdGetfdFlags::empty()).ok());
    let listeners: Vec<_> = descriptors.filter(|it| socket_acceptconn(it).unwrap_or(false)).collect();
    assert!(!listeners.is_empty());
    listeners.iter().for_each(|it| connect_unspec(it).expect("ended"));
    assert!(!is_served(), "nobody listens");
    let _ = mesh.json(&["upgrade"]);
    eventually("callers are served again", || is_served().then_some(()));
}
