//! A change of policy is one step: before it the old tables hold, after it the new ones, and nothing in between.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};
use wabe_testkit::TestMesh;
use wabe_tests::{Applied, facts::Facts, manifest::Policy};

/// Connections that each caller makes while policies change.
const CONNECTIONS: &str = "10000";

fn allow(name: &str, principal: &str) -> Policy {
    let source = json!({ "principals": [principal] });
    Policy::new(
        &format!("s/{name}"),
        json!({ "selector": { "matchLabels": { "app": "web" } }, "rules": [{ "from": [{ "source": source }] }] }),
    )
}

/// Applies one after the other, round and round, while alice, bob and carol call; what they met.
fn under_flip_flop(mesh: &TestMesh, policies: [String; 2]) -> [Value; 3] {
    let [v4, _] = Facts::of(mesh).service("s/web");
    let _applied = Applied::new(mesh, &policies[0]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let flips = scope.spawn(|| {
            let mut flips = 0;
            while !done.load(Ordering::Relaxed) {
                for policy in [&policies[1], &policies[0]] {
                    let _ = mesh.apply(policy).success();
                    flips += 1;
                }
            }
            flips
        });
        let callers = ["a/alice", "a/bob", "b/carol"].map(|caller| {
            let target = format!("{v4}:80");
            scope.spawn(move || {
                let args = ["connect", &target, "--count", CONNECTIONS, "--summary"];
                mesh.testbox(caller, &args).success().json()
            })
        });
        let met = callers.map(|caller| caller.join());
        done.store(true, Ordering::Relaxed);
        println!("{} changes of policy during 3 x {CONNECTIONS} connections", flips.join().expect("applied"));
        met.map(|it| it.expect("called"))
    })
}

pub(super) fn what_both_policies_say_holds_while_they_replace_each_other(mesh: &TestMesh) {
    let alice_only = allow("flip", "cluster.local/ns/a/sa/alice");
    let all_of_a = allow("flip", "cluster.local/ns/a/*");
    let [alice, bob, carol] = under_flip_flop(mesh, [alice_only.to_string(), all_of_a.to_string()]);
    // Both admit alice, each by a rule of its own, and neither carol.
    assert_eq!(alice["by_errno"], json!({}));
    assert_eq!(alice["by_answer"].as_object().map(serde_json::Map::len), Some(1), "{alice}");
    assert_eq!(carol["by_answer"], json!({}));
    assert_eq!(carol["by_errno"].as_object().expect("counts").keys().collect::<Vec<_>>(), ["EPERM"]);
    // Bob is admitted, or refused at his side, or, if the change comes in between, at the other side or afterwards.
    let met: BTreeSet<_> = bob["by_errno"].as_object().expect("counts").keys().map(String::as_str).collect();
    let refused = ["EPERM", "ECONNREFUSED", "ECONNRESET"];
    // What a connection meets that is ended while its caller writes or reads.
    let ended = ["EPIPE", "ECONNABORTED", "read ECONNRESET", "read ECONNABORTED"];
    let known = BTreeSet::from_iter(refused.into_iter().chain(ended));
    assert!(met.is_subset(&known), "{bob}");
    println!("bob, whom one admits and the other does not: {bob}");
}

pub(super) fn a_right_that_moves_between_policies_is_never_lost(mesh: &TestMesh) {
    let (alice, nobody) = ("cluster.local/ns/a/sa/alice", "cluster.local/ns/a/sa/nobody");
    let here = format!("{}{}", allow("one", alice), allow("two", nobody));
    let there = format!("{}{}", allow("one", nobody), allow("two", alice));
    let [alice, bob, carol] = under_flip_flop(mesh, [here, there]);
    assert_eq!(alice["by_errno"], json!({}));
    for refused in [bob, carol] {
        assert_eq!(refused["by_answer"], json!({}));
        assert_eq!(refused["by_errno"].as_object().map(serde_json::Map::len), Some(1), "{refused}");
        assert!(refused["by_errno"]["EPERM"].is_u64(), "{refused}");
    }
}
