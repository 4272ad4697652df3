//! TCP between two workloads is TCP.

use std::time::Duration;

use wabe_testkit::{Finished, TestMesh, testbox};
use wabe_tests::facts::Facts;

use super::CALLER;

pub(super) fn plain_tcp_between_two_workloads(mesh: &TestMesh) {
    let target = format!("{}:80", Facts::of(mesh).service("s/tcp")[0]);
    // Half-close both ways, RST on unread close, splice, MSG_WAITALL, sendfile, 20 MB each way, 640 uploads.
    check(&run(mesh, &["tcp-semantics", "check", &target]), 8);
}

pub(super) fn plain_tcp_over_ipv6(mesh: &TestMesh) {
    let target = format!("[{}]:80", Facts::of(mesh).service("s/tcp")[1]);
    check(&run(mesh, &["tcp-semantics", "check", &target, "--count", "64", "--bytes", "65536"]), 8);
}

fn run(mesh: &TestMesh, args: &[&str]) -> Finished {
    let testbox = testbox();
    let words = [&["exec", CALLER, "--", testbox.to_str().expect("a path in UTF-8")], args].concat();
    // Two hundred megabytes, in a debug build on a busy machine.
    mesh.machine().run_within(mesh.machine().wabe_command(&words), Duration::from_secs(240))
}

fn check(finished: &Finished, cases: usize) {
    let lines = finished.clone().success().json_lines();
    assert_eq!(lines.len(), cases, "{finished}");
    for line in lines {
        println!("{} took {} ms", line["case"], line["ms"]);
        assert_eq!(line["ok"], true, "{line}");
    }
}
