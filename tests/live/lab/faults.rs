//! What goes wrong while a run lasts: nothing is left, and no result looks valid that is not.

use std::{fs, process::Command};

use super::{alone, finish, folder, left, long_run, results, said, until_measured, wabe_lab};

#[test]
fn an_interrupted_run_keeps_what_it_measured_and_says_so() {
    let _machine = alone();
    let (_folder, out) = folder();
    let mut child = long_run(&out);
    until_measured(&mut child, &out);
    signal(child.id(), "INT");
    let output = child.wait_with_output().expect("wabe ends");
    assert!(!output.status.success() && said(&output).contains("interrupted"), "{}", said(&output));
    let results = results(&out);
    assert_eq!(results["run"]["complete"], false);
    assert!(results["run"]["ended"].as_str().expect("why").contains("interrupted"), "{}", results["run"]);
    assert!(!results["samples"].as_array().expect("samples").is_empty());
    let report = fs::read_to_string(out.join("report.html")).expect("a report");
    assert!(report.contains("interrupted"), "the report does not tell");
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn a_killed_run_leaves_results_that_say_so_and_the_next_run_cleans_up() {
    let _machine = alone();
    let (_folder, out) = folder();
    let mut child = long_run(&out);
    until_measured(&mut child, &out);
    // Another one meanwhile is refused, and disturbs nothing.
    let second = finish(wabe_lab(&["flood", "--services", "1", "--pods", "1"]));
    assert!(
        !second.status.success() && said(&second).contains("another lab is running"),
        "{}",
        said(&second)
    );
    signal(child.id(), "KILL");
    let _ = child.wait();
    assert!(!left().is_empty(), "a killed run can't have cleaned up");
    assert_eq!(results(&out)["run"]["complete"], false);
    let next = finish(wabe_lab(&["flood", "--services", "1", "--pods", "1"]));
    assert!(next.status.success(), "{}", said(&next));
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn a_server_that_dies_ends_the_run_and_is_named() {
    let _machine = alone();
    let (_folder, out) = folder();
    let mut child = long_run(&out);
    until_measured(&mut child, &out);
    for pid in servers() {
        signal(pid, "KILL");
    }
    let output = child.wait_with_output().expect("wabe ends");
    let said = said(&output);
    assert!(!output.status.success() && said.contains("ended with signal: 9"), "{said}");
    let results = results(&out);
    assert_eq!(results["run"]["complete"], false);
    assert!(results["run"]["ended"].as_str().expect("why").contains("none"), "{}", results["run"]);
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn results_that_are_there_are_not_written_over() {
    let _machine = alone();
    let (_folder, out) = folder();
    fs::create_dir_all(&out).expect("a folder");
    fs::write(out.join("results.json"), "{}").expect("a file");
    let path = out.to_str().expect("a path in UTF-8");
    let output = finish(wabe_lab(&["run", "udp", "--quick", "--arms", "none", "--out", path]));
    assert!(!output.status.success() && said(&output).contains("has results already"), "{}", said(&output));
    assert_eq!(fs::read_to_string(out.join("results.json")).expect("a file"), "{}");
}

/// The servers of the arm `none`.
fn servers() -> Vec<u32> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let root = mounts
        .lines()
        .find(|it| it.contains(" cgroup2 "))
        .and_then(|it| it.split(' ').nth(1))
        .expect("cgroup2");
    let text = fs::read_to_string(format!("{root}/wabe-lab/none/server-app/cgroup.procs"))
        .expect("the arm's cgroup");
    text.lines().filter_map(|it| it.parse().ok()).collect()
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "no process {pid}");
}
