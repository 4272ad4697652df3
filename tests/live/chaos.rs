//! Everything goes wrong, in an order that a seed decides, under load: no request fails but those that a fault explains,
//! nobody gets in who may not, no byte is lost, nothing leaks.
//!
//! `WABE_CHAOS_SECONDS` (120) and `WABE_TEST_SEED` (1) decide how long and which; `cargo xtask chaos` runs ten minutes.

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use serde_json::json;
use wabe_testkit::TestMesh;
use wabe_tests::{
    facts::until_nothing_lives,
    manifest::{Policy, Service, Workload, all},
    status::until_ready,
};

#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/judge.rs"]
mod judge;

use faults::{Chaos, FAULTS};
use judge::Judge;

/// New connections a second to the service whose endpoints suffer.
const RATE: u64 = 200;
/// New connections a second of the one who may not.
const INTRUSIONS: u64 = 50;
/// Connections that stay, to a service that nothing happens to.
const STAYING: u64 = 10;
/// Milliseconds between two messages on each of them, and between two datagrams.
const PAUSE: u64 = 10;

#[test]
fn chaos() {
    let number = |name: &str, default| env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default);
    let (seconds, seed) = (number("WABE_CHAOS_SECONDS", 120), number("WABE_TEST_SEED", 1));
    println!("seed {seed}, {seconds} s");
    let mesh = TestMesh::up(&manifests());
    let _ = mesh.apply(&callers(seconds)).success();
    until_ready(&mesh, "shop/load", 1);
    let judge = Judge::new(&mesh);
    let mut chaos = Chaos::new(&mesh, seed);
    let began = Instant::now();
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    // The callers go on for a moment after the last fault.
    while began.elapsed() + Duration::from_secs(10) < Duration::from_secs(seconds) {
        let (name, fault) = FAULTS[chaos.random(FAULTS.len() as u64) as usize];
        println!("{:6.2} s: {name}", began.elapsed().as_secs_f64());
        fault(&mut chaos);
        *done.entry(name).or_default() += 1;
        chaos.breathe();
    }
    let excuses = chaos.recover();
    println!("faults: {done:?}");
    let violations = judge.violations(&mesh, &excuses, seconds);
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    until_nothing_lives(&mesh);
    judge.nothing_leaked(&mesh);
    mesh.down();
}

/// Who is called, and what may be done to whom.
fn manifests() -> String {
    all(&[
        &Workload::server("shop/cart").with("replicas", json!(4)),
        &Service::new("shop/cart"),
        &Workload::new("shop/echo", &["$TESTBOX", "echo", "--listen", "[::]:8080"])
            .with("readiness", json!({ "tcp": { "port": 8080 } }))
            .with("ports", json!([{ "name": "main", "port": 8080 }])),
        &Service::new("shop/echo"),
        &Workload::new("shop/answers", &["$TESTBOX", "id", "--udp", "--listen", "[::]:5300"])
            .with("replicas", json!(2)),
        &Service::new("shop/answers")
            .with("ports", json!([{ "port": 53, "targetPort": 5300, "protocol": "UDP" }])),
        &Workload::server("shop/vault"),
        &Service::new("shop/vault"),
        &Workload::server("shop/bystander").with("replicas", json!(2)),
        &Service::new("shop/bystander"),
        &Policy::new("shop/vault", vault("custodian")),
    ])
}

/// Admits one service account to the vault; never the intruder's.
fn vault(account: &str) -> serde_json::Value {
    let principal = format!("cluster.local/ns/shop/sa/{account}");
    json!({
        "selector": { "matchLabels": { "app": "vault" } },
        "action": "ALLOW",
        "rules": [{ "from": [{ "source": { "principals": [principal] } }] }],
    })
}

/// The load, for so many seconds.
fn callers(seconds: u64) -> String {
    let connect = |target: &str, rate: u64| -> Vec<String> {
        let (rate, count) = (rate.to_string(), (rate * seconds).to_string());
        let options = ["--resolve-each", "--summary", "--failures", "--timeout", "3000", "--rate"];
        let words = ["$TESTBOX", "connect", target].into_iter().chain(options);
        words.map(String::from).chain([rate, "--count".into(), count]).collect()
    };
    let ping = ["$TESTBOX", "ping", "echo.shop:80", "--parallel"].map(String::from).into_iter();
    let ping = ping.chain([STAYING.to_string(), "--delay".into(), PAUSE.to_string()]);
    let messages = (seconds * 1000 / PAUSE).to_string();
    let ping: Vec<_> =
        ping.chain(["--count".into(), messages.clone(), "--timeout".into(), "20000".into()]).collect();
    let ask = ["$TESTBOX", "udp", "answers.shop:53", "--summary", "--timeout", "5000", "--delay"];
    let ask = ask.map(String::from).into_iter().chain([PAUSE.to_string(), "--count".into(), messages]);
    let ask: Vec<_> = ask.collect();
    let caller = |name: &str, command: &[String]| {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        Workload::new(name, &words).with("restartPolicy", json!("Never"))
    };
    all(&[
        &caller("shop/load", &connect("cart.shop:80", RATE)),
        &caller("shop/intruder", &connect("vault.shop:80", INTRUSIONS)),
        &caller("shop/ping", &ping),
        &caller("shop/ask", &ask),
    ])
}
