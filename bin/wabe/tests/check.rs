//! `wabe check` as a script meets it: exit status, where the error is, and what to do. Needs neither root nor a mesh.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const GOOD: &str = "
apiVersion: mesh.wabe.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {command: [sleep, '1'], ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
";

fn wabe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wabe")).args(arguments).output().expect("the program runs")
}

fn check(text: &str) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mesh.yaml");
    fs::write(&path, text).expect("written");
    check_path(&path)
}

fn check_path(path: &Path) -> (i32, String, String) {
    let output = wabe(&["check", "-f", path.to_str().expect("UTF-8")]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code().expect("a status"), text(&output.stdout), text(&output.stderr))
}

#[test]
fn good_manifests_pass() {
    let (status, out, errors) = check(GOOD);
    assert_eq!((status, out.as_str(), errors.as_str()), (0, "2 objects, no errors\n", ""));
}

#[test]
fn each_error_has_a_place_and_all_come_at_once() {
    let text = GOOD.replace("port: 80,", "port: 80000,").replace("command:", "comand:");
    let (status, out, errors) = check(&text);
    assert_eq!((status, out.as_str()), (1, ""));
    for part in ["mesh.yaml:5:8: spec.comand: ", "mesh.yaml:10:", "spec.ports[0].port: "] {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
}

#[test]
fn what_only_shows_together_is_found() {
    let (status, _, errors) = check(&GOOD.replace("name: http,", "name: other,"));
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("targetPort"), "{errors}");
}

#[test]
fn more_replicas_than_a_node_runs_are_an_error() {
    let workload = |index| {
        format!(
            "apiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\nmetadata: {{name: w{index}}}\n\
             spec: {{command: [sleep], replicas: 1000}}\n"
        )
    };
    let all: Vec<String> = (0..5).map(workload).collect();
    let (status, _, errors) = check(&all.join("---\n"));
    assert_eq!(status, 1);
    assert!(errors.contains("a node runs 4095"), "{errors}");
}

#[test]
fn a_policy_that_does_not_fit_into_the_kernels_tables_is_an_error() {
    let rule = |index: u32| {
        format!(
            "  - from: [{{source: {{ipBlocks: [10.{}.{}.0/24]}}}}]\n    to: [{{operation: {{ports: ['{}']}}}}]\n",
            index / 200,
            index % 200,
            1000 + index
        )
    };
    let rules: String = (0..300).map(rule).collect();
    let policy =
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n";
    let (status, _, errors) = check(&format!("{GOOD}---\n{policy}spec:\n  rules:\n{rules}"));
    assert_eq!(status, 1);
    assert!(errors.contains("shop/p") && errors.contains("combinations"), "{errors}");
}

#[test]
fn strange_files_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty.yaml"), "").expect("written");
    fs::write(at("binary.yaml"), [0xff, 0xfe, 0, 1]).expect("written");
    fs::write(at("large.yaml"), "a: b\n".repeat(1_000_000)).expect("written");
    fs::create_dir(at("nothing")).expect("made");
    for (name, part) in [
        ("empty.yaml", "no manifest in it"),
        ("binary.yaml", "not UTF-8"),
        ("large.yaml", "larger than"),
        ("nothing", "no manifest is in this folder"),
        ("absent.yaml", "no such file"),
    ] {
        let (status, _, errors) = check_path(&at(name));
        assert_eq!(status, 1, "{name}");
        assert!(errors.contains(part), "{name}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{name}: {errors}");
    }
}

#[test]
fn json_has_every_diagnostic() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.yaml");
    fs::write(&path, "kind: Nonsense\n").expect("written");
    let output = wabe(&["check", "-o", "json", "-f", path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["ok"], false);
    assert_eq!(report["diagnostics"][0]["severity"], "error");
    assert!(report["diagnostics"][0]["remedy"].is_string());
}

#[test]
fn wrong_usage_is_status_two() {
    for arguments in [&["check"][..], &["nonsense"], &["scale", "a", "-1"], &["--name", "A b", "status"]] {
        assert_eq!(wabe(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
