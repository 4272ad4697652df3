//! All of the proxy's threads serve, none has more power than the first, and what they count is one sum.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use serde_json::{Value, json};
use wabe_testkit::{Finished, TestMesh};
use wabe_tests::eventually;

use super::{CALLER, WORKERS, relief::in_charge};

/// So many callers at a time, and requests of each, one after the other.
const CURLS: u64 = 16;
const EACH: u64 = 500;

/// Its threads: what each may do, and for how many nanoseconds it ran.
fn threads(pid: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let thread = |entry: fs::DirEntry| {
        let ran = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), ran.split(' ').next()?.parse().ok()?))
    };
    tasks.filter_map(|it| thread(it.ok()?)).collect()
}

pub(super) fn all_workers_serve_and_no_request_is_counted_twice(mesh: &TestMesh) {
    let pid = in_charge(mesh);
    let before = eventually("all workers run", || Some(threads(pid)).filter(|it| it.len() == WORKERS));
    let counted = || {
        let scrape = mesh.wabe(&["metrics"]).success().stdout;
        let words = ["istio_requests_total{", "destination_service=\"shop/web\"", "response_code=\"200\""];
        let ours = scrape.lines().filter(|line| words.iter().all(|it| line.contains(it)));
        ours.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    let counted_before = counted();
    // Each has a connection that is busy as long as the others'.
    let curl = format!("curl -sSf -o /dev/null --max-time 60 'http://web.shop/all?[1-{EACH}]'");
    let all = format!(
        "for i in $(seq {CURLS}); do {curl} & curls=\"$curls $!\"; done; for i in $curls; do wait $i || exit 1; done"
    );
    let _ = mesh.exec(CALLER, &["sh", "-c", &all]).success();
    let requests = EACH * CURLS;
    eventually("all are counted", || (counted() - counted_before >= requests).then_some(()));
    // Longer than it takes until all workers have told.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(counted() - counted_before, requests, "and none twice");
    let after = threads(pid);
    let ran: Vec<u64> = before.iter().map(|(thread, ran)| after[thread] - ran).collect();
    println!("nanoseconds that each worker ran for {requests} requests on {CURLS} connections: {ran:?}");
    let (least, most) = (ran.iter().min().expect("some"), ran.iter().max().expect("some"));
    // To look for news ten times a second takes far less.
    assert!(least * 20 > *most, "each has its share of the connections: {ran:?}");
}

fn set(mesh: &TestMesh, spec: &Value) {
    let config = format!(
        "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {{name: mesh}}\nspec: {spec}\n"
    );
    let _ = mesh.apply(&config).success();
}

pub(super) fn who_polls_is_not_woken_for_each_request(mesh: &TestMesh) {
    const REQUESTS: u64 = 300;
    let slept = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", in_charge(mesh))).expect("a process");
        let of_thread = |entry: fs::DirEntry| {
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        };
        tasks.filter_map(|it| of_thread(it.ok()?)).sum::<u64>()
    };
    // One after the other, on one connection.
    let by_curl = |service: &str| {
        let url = format!("http://{service}/all?[1-{REQUESTS}]");
        mesh.exec(CALLER, &["curl", "-sSf", "-o", "/dev/null", "--max-time", "30", &url])
    };
    let ways: [(&str, &dyn Fn() -> Finished); 3] = [
        ("HTTP/1", &|| by_curl("web.shop")),
        ("gRPC", &|| mesh.testbox(CALLER, &["grpc", "calls.shop:80", "--count", &REQUESTS.to_string()])),
        ("bytes", &|| by_curl("bytes.shop")),
    ];
    let slept_while = |ask: &dyn Fn() -> Finished| {
        let before = slept();
        drop(ask().success());
        slept() - before
    };
    // Once for the endpoint's answer at least.
    let as_often = |way: &str, ask: &dyn Fn() -> Finished| {
        eventually(&format!("{way}: it sleeps before each answer"), || {
            Some(slept_while(ask)).filter(|it| *it >= REQUESTS)
        })
    };
    let woken = ways.map(|(way, ask)| as_often(way, ask));
    set(mesh, &json!({ "proxyWorkers": WORKERS, "proxyBusyPollMicroseconds": 1000 }));
    for ((way, ask), woken) in ways.iter().zip(woken) {
        let polling = eventually(&format!("{way}: it sleeps less"), || {
            Some(slept_while(*ask)).filter(|it| *it < REQUESTS && it * 2 < woken)
        });
        println!("times that the proxy slept during {REQUESTS} requests, {way}: {woken}, polling {polling}");
    }
    set(mesh, &json!({ "proxyWorkers": WORKERS }));
    for (way, ask) in ways {
        as_often(way, ask);
    }
}

pub(super) fn more_workers_are_started_at_once_and_fewer_by_the_next_proxy(mesh: &TestMesh) {
    let pid = in_charge(mesh);
    let set = |workers: usize| set(mesh, &json!({ "proxyWorkers": workers }));
    set(WORKERS + 2);
    eventually("there are two more", || (threads(pid).len() == WORKERS + 2).then_some(()));
    for _ in 0..20 {
        let asked = mesh
            .exec(CALLER, &["curl", "-sSf", "-o", "/dev/null", "--max-time", "10", "http://web.shop/all"]);
        drop(asked.success());
    }
    set(1);
    let _ = mesh.wabe(&["upgrade", "proxy"]).success();
    let next = eventually("another one is in charge", || Some(in_charge(mesh)).filter(|it| *it != pid));
    eventually("it has one worker", || (threads(next).len() == 1).then_some(()));
    set(WORKERS);
    eventually("and then all", || (threads(next).len() == WORKERS).then_some(()));
}

pub(super) fn one_serves(mesh: &TestMesh, url: &str) {
    let _ = mesh.exec(CALLER, &["curl", "-sSf", "-o", "/dev/null", "--max-time", "10", url]).success();
    let threads = threads(in_charge(mesh));
    assert_eq!(threads.len(), 1, "{threads:?}");
}
