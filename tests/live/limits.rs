//! Limits of one workload: what is beyond them is refused with its reason, and what closes makes room.

use std::time::Instant;

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, until_nothing_lives},
    manifest::{Service, Workload, all},
    steps,
};

const CALLER: &str = "a/caller";
const TARGET: &str = "echo.s:80";

#[test]
fn limits() {
    let mesh = TestMesh::up(&all(&[&caller(json!({})), &echo(json!({})), &Service::new("s/echo")]));
    steps::run(
        &mesh,
        &wabe_tests::steps![
            a_caller_has_as_many_open_as_it_may,
            a_receiver_has_as_many_open_as_it_may,
            what_comes_to_nothing_does_not_count,
            a_rate_is_kept_at_both_ends,
            nothing_is_left_of_a_limit_that_is_gone,
        ],
    );
    until_nothing_lives(&mesh);
    mesh.down();
}

fn caller(limits: Value) -> Workload {
    Workload::idle(CALLER).with("limits", limits)
}

fn echo(limits: Value) -> Workload {
    Workload::new("s/echo", &["$TESTBOX", "echo", "--listen", "[::]:8080"])
        .with("ports", json!([{ "name": "main", "port": 8080 }]))
        .with("readiness", json!({ "tcp": { "port": 8080 } }))
        .with("limits", limits)
}

fn a_caller_has_as_many_open_as_it_may(mesh: &TestMesh) {
    let limited = caller(json!({ "outbound": { "connections": 10 } }));
    ten_and_no_more(mesh, &limited, "too_many_outbound");
    let _ = mesh.apply(&caller(json!({})).to_string()).success();
}

fn a_receiver_has_as_many_open_as_it_may(mesh: &TestMesh) {
    let limited = echo(json!({ "inbound": { "connections": 10 } }));
    ten_and_no_more(mesh, &limited, "too_many_inbound");
    let _ = mesh.apply(&echo(json!({})).to_string()).success();
}

fn ten_and_no_more(mesh: &TestMesh, limited: &Workload, reason: &str) {
    let pids = [CALLER, "s/echo"].map(|it| Facts::of(mesh).pid(it));
    let _ = mesh.apply(&limited.to_string()).success();
    assert_eq!([CALLER, "s/echo"].map(|it| Facts::of(mesh).pid(it)), pids, "in force without a restart");
    let mut held = mesh.start_testbox(CALLER, &["hold", TARGET, "--count", "10"]);
    assert_eq!(held.next_json()["open"], 10);
    let before = Facts::of(mesh).refusals(reason);
    for _ in 0..3 {
        let one = mesh.testbox(CALLER, &["connect", TARGET, "--no-read"]).success().json();
        assert_eq!(one["ok"], false, "{one}");
    }
    assert_eq!(Facts::of(mesh).refusals(reason), before + 3);
    eventually(&format!("flows tell of {reason}"), || {
        let flows = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
        flows.iter().any(|it| it["reason"] == reason).then_some(())
    });
    let said = mesh.wabe(&["explain", CALLER, TARGET, "-o", "json"]).json();
    assert_eq!((&said["verdict"], &said["reason"]), (&json!("refused"), &json!(reason)), "{said}");
    held.send("quit");
    let _ = held.finish();
    until_nothing_lives(mesh);
    let one = mesh.testbox(CALLER, &["connect", TARGET, "--no-read"]).success().json();
    assert_eq!(one["ok"], true, "{one}");
    until_nothing_lives(mesh);
}

fn what_comes_to_nothing_does_not_count(mesh: &TestMesh) {
    let _ = mesh.apply(&caller(json!({ "outbound": { "connections": 10 } })).to_string()).success();
    // Nobody listens there.
    let closed = std::net::SocketAddr::from((Facts::of(mesh).addresses("s/echo")[0], 9)).to_string();
    let said = mesh.testbox(CALLER, &["connect", &closed, "--count", "50", "--summary"]).success().json();
    assert_eq!(said["by_errno"], json!({ "ECONNREFUSED": 50 }), "{said}");
    let mut held = mesh.start_testbox(CALLER, &["hold", TARGET, "--count", "10"]);
    assert_eq!(held.next_json()["open"], 10);
    held.send("quit");
    let _ = held.finish();
    let _ = mesh.apply(&caller(json!({})).to_string()).success();
    until_nothing_lives(mesh);
}

fn a_rate_is_kept_at_both_ends(mesh: &TestMesh) {
    let fifty = json!({ "connectionsPerSecond": 50 });
    for (limited, free) in [
        (caller(json!({ "outbound": fifty })), caller(json!({}))),
        (echo(json!({ "inbound": fifty })), echo(json!({}))),
    ] {
        let _ = mesh.apply(&limited.to_string()).success();
        // A caller that stood still asks late and all at once, and gets less.
        eventually(
            "nearly two seconds' worth are admitted of what is asked for in two seconds or more",
            || {
                let began = Instant::now();
                let args = ["connect", TARGET, "--no-read", "--count", "400", "--rate", "200", "--summary"];
                let said = mesh.testbox(CALLER, &args).success().json();
                let elapsed = began.elapsed().as_secs_f64();
                let refused: u64 =
                    said["by_errno"].as_object().expect("counts").values().filter_map(Value::as_u64).sum();
                let admitted = 400 - refused;
                println!("{admitted} of 400 within {elapsed:.2} s");
                // The rate, a tenth of a second's worth at once, and one for each CPU that asks at the same time.
                assert!(
                    admitted as f64 <= 50.0 * elapsed + 5.0 + 8.0,
                    "{admitted} within {elapsed} s: {said}"
                );
                (admitted >= 80).then_some(())
            },
        );
        let _ = mesh.apply(&free.to_string()).success();
        until_nothing_lives(mesh);
    }
}

fn nothing_is_left_of_a_limit_that_is_gone(mesh: &TestMesh) {
    let args = ["connect", TARGET, "--no-read", "--count", "500", "--summary"];
    let said = mesh.testbox(CALLER, &args).success().json();
    assert_eq!(said["by_errno"], json!({}), "{said}");
}
