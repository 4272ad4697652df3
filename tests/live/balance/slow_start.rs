//! `warmup`.

use wabe_testkit::TestMesh;
use wabe_tests::{
    eventually,
    facts::{Facts, until_all},
};

/// Of 2000 calls, those that the second endpoint answered.
fn of_the_new(mesh: &TestMesh) -> u64 {
    let target = format!("{}:80", Facts::of(mesh).service("s/warming")[0]);
    let args = ["connect", &target, "--count", "2000", "--parallel", "4", "--summary"];
    let summary = mesh.testbox("a/caller-1", &args).success().json();
    summary["by_answer"]["warming/1"].as_u64().unwrap_or(0)
}

pub(super) fn a_new_endpoints_share_grows(mesh: &TestMesh) {
    // The old one is warm once it gets no step any more, which both see alike: equal shares.
    until_all(mesh, "s/warming", true);
    let _ = mesh.wabe(&["scale", "s/warming", "2"]).success();
    until_all(mesh, "s/warming", true);
    let first = of_the_new(mesh);
    let last = eventually("its share is nearly half", || {
        let now = of_the_new(mesh);
        (now > 900).then_some(now)
    });
    println!("the new endpoint got {first} of 2000 at first, {last} at last");
    assert!(first < last, "{first} at first, {last} at last");
}
