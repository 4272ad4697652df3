//! Who gets how many.

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{eventually, facts::Facts};

use super::CALLER;

/// Answers of so many connections, counted.
fn answers(mesh: &TestMesh, service: &str, count: u32, options: &[&str]) -> Value {
    let target = format!("{}:80", Facts::of(mesh).service(service)[0]);
    let count = count.to_string();
    let args = [&["connect", &target, "--count", &count, "--summary"], options].concat();
    let finished = mesh.testbox(CALLER, &args).success();
    let summary = finished.json();
    assert_eq!(summary["by_errno"], json!({}), "{finished}");
    summary["by_answer"].clone()
}

pub(super) fn turns_are_exact(mesh: &TestMesh) {
    // Four at a time, on all processors: no two of them take the same turn.
    let got = answers(mesh, "s/turns", 300, &["--parallel", "4"]);
    assert_eq!(got, json!({ "turns/0": 100, "turns/1": 100, "turns/2": 100 }));
}

pub(super) fn weights_hold_within_two_percent_over_50_000_connections(mesh: &TestMesh) {
    // One after the other: with two choices an endpoint that is busy gets fewer, which is what they are for.
    weights_hold(mesh, 50_000, &[], 2.0);
    // What else the machine does makes some endpoints busier than others; that passes.
    eventually("shares are nearly as the weights, four at a time", || {
        (farthest(mesh, 10_000, &["--parallel", "4"]) < 4.0).then_some(())
    });
    for balance in ["random", "round-robin"] {
        let _ =
            mesh.apply(&super::weighted().annotation("mesh.wabe.dev/balance", balance).to_string()).success();
        // At random 2 points are five times the deviation or more.
        weights_hold(mesh, 20_000, &["--parallel", "4"], 2.0);
    }
    let _ = mesh.apply(&super::weighted().to_string()).success();
}

fn weights_hold(mesh: &TestMesh, count: u32, options: &[&str], within: f64) {
    let farthest = farthest(mesh, count, options);
    assert!(farthest < within, "a share is {farthest} points from its weight, of {count} {options:?}");
}

/// By how many points the share that is farthest from its weight differs from it.
fn farthest(mesh: &TestMesh, count: u32, options: &[&str]) -> f64 {
    let got = answers(mesh, "s/weighted", count, options);
    println!("weights 60:30:10 gave {got} of {count} {options:?}");
    let weights = [("heavy/0", 60.0), ("middle/0", 30.0), ("light/0", 10.0)];
    let share = |answer: &str| got[answer].as_f64().unwrap_or_default() * 100.0 / f64::from(count);
    weights.iter().map(|(answer, percent): &(&str, f64)| (share(answer) - percent).abs()).fold(0.0, f64::max)
}

pub(super) fn a_slow_endpoint_of_ten_gets_less_than_three_percent(mesh: &TestMesh) {
    let count = 1000;
    // A caller that stood still asks all at once, and then the others are busy, too.
    let got = eventually("it gets less", || {
        let got = answers(mesh, "s/mixed", count, &["--rate", "200"]);
        let slow = got["slow/0"].as_u64().unwrap_or_default();
        println!("the slow endpoint of ten got {slow} of {count} at 200/s");
        (slow * 100 < u64::from(count) * 3).then_some(got)
    });
    let all = got.as_object().expect("counts");
    assert!((0..9).all(|replica| all.contains_key(&format!("quick/{replica}"))), "{got}");
}
