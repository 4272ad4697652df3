//! All of the proxy's threads serve, none has more power than the first, and what they count is one sum.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::eventually;

use super::{
    CALLER, WORKERS,
    relief::{CONNECTIONS, Load, RATE, in_charge},
};

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
    let (seconds, counted_before) = (5, counted());
    let load = Load::begin(mesh, "shop/load-workers", seconds);
    load.nothing_failed(seconds);
    eventually("all are counted", || (counted() - counted_before >= RATE * seconds).then_some(()));
    // Longer than it takes until all workers have told.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(counted() - counted_before, RATE * seconds, "and none twice");
    let after = threads(pid);
    let ran: Vec<u64> = before.iter().map(|(thread, ran)| after[thread] - ran).collect();
    println!(
        "nanoseconds that each worker ran for {} requests on {CONNECTIONS} connections: {ran:?}",
        RATE * seconds
    );
    let (least, most) = (ran.iter().min().expect("some"), ran.iter().max().expect("some"));
    // To look for news ten times a second takes far less.
    assert!(least * 20 > *most, "each has its share of the connections: {ran:?}");
}

pub(super) fn more_workers_are_started_at_once_and_fewer_by_the_next_proxy(mesh: &TestMesh) {
    let pid = in_charge(mesh);
    let set = |workers: usize| {
        let spec = json!({ "proxyWorkers": workers });
        let config = format!(
            "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {{name: mesh}}\nspec: {spec}\n"
        );
        let _ = mesh.apply(&config).success();
    };
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
