//! Manifests that are wrong: each gets one clear message with its place, and the running mesh stays as it was.

use std::{fs, path::Path};

use serde_json::{Value, json};
use wabe_tests::{
    manifest::{Service, Workload, all},
    testkit::{Finished, TestMesh},
};

use super::mesh;

/// A manifest, and the place and words of the complaint about it.
struct Row {
    name: &'static str,
    text: String,
    says: &'static [&'static str],
}

fn rows() -> Vec<Row> {
    let row = |name, text: &str, says| Row { name, text: text.into(), says };
    vec![
        row(
            "unknown kind",
            "apiVersion: v1\nkind: Sevice\nmetadata: {name: a}\n",
            &[":2:7:", "Sevice", "Service"],
        ),
        row(
            "unknown field",
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports: [{port: 80}]\n  sellector: {a: b}\n",
            &[":7:3:", "sellector", "selector"],
        ),
        row(
            "wrong type",
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - port: eighty\n",
            &[":7:11:", "spec.ports[0].port"],
        ),
        row(
            "port out of range",
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - port: 65536\n",
            &[":7:11:", "65536", "65535"],
        ),
        row(
            "JWT",
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec:\n  rules:\n  \
             - from:\n    - source:\n        requestPrincipals: [a]\n",
            &[":8:9:", "requestPrincipals", "the nearest is `principals`"],
        ),
        row(
            "duplicate names",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: \
             {name: a}\n",
            &[":7:", "a is written twice"],
        ),
        row(
            "two services with one address",
            &all(&[
                &Service::new("bad/a").with("clusterIP", "10.200.0.9".into()),
                &Service::new("bad/b").with("clusterIP", "10.200.0.9".into()),
            ]),
            &[":10:20:", "10.200.0.9", "bad/a"],
        ),
        row("empty file", "", &["no manifest"]),
        row("no YAML", "kind: [\n", &[":2:1:", "not YAML"]),
        row("YAML bomb", &bomb(), &[":6:12:", "aliases"]),
    ]
}

/// Nine levels of nine aliases: 387 million values for whoever expands them.
fn bomb() -> String {
    let mut text = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (inner, outer) in ('a'..='h').zip('b'..='i') {
        let nine = vec![format!("*{inner}"); 9].join(", ");
        text += &format!("{outer}: &{outer} [{nine}]\n");
    }
    text
}

/// What must not change. (Counters and processes of other tests' workloads may.)
fn state(mesh: &TestMesh) -> Value {
    mesh.json(&["get", "Service"])
}

#[track_caller]
fn complains(name: &str, said: &Finished, words: &[&str]) {
    assert_eq!(said.code(), Some(1), "{name}: {said}");
    for word in words {
        assert!(said.stderr.contains(word), "{name}: no {word:?}: {said}");
    }
    let lines = said.stderr.lines().count();
    assert!((1..=4).contains(&lines) && said.stderr.len() < 1000, "{name}: one clear message: {said}");
}

#[test]
fn each_gets_one_clear_message_with_its_place() {
    for Row { name, text, says } in rows() {
        let file = mesh().file("bad.yaml", &text);
        for command in ["check", "apply"] {
            let said = mesh().wabe(&[command, "-f", &file]);
            complains(name, &said, says);
            assert!(said.stderr.contains("bad.yaml"), "{name}: {said}");
        }
    }
}

#[test]
fn files_that_are_no_manifests() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let empty = path("empty");
    fs::create_dir(&empty).expect("our own folder");
    fs::write(path("garbage.yaml"), [0xff, 0xfe, 0, 1, 2, 0x80, b'\n']).expect("our own file");
    fs::write(path("nul.yaml"), b"kind: \0\n").expect("our own file");
    large(&folder.path().join("large.yaml"));
    for (file, words) in [
        (empty, &["no manifest"][..]),
        (path("garbage.yaml"), &["UTF-8"]),
        (path("nul.yaml"), &["nul.yaml"]),
        (path("large.yaml"), &["larger than 4 MiB"]),
        (path("missing.yaml"), &["missing.yaml", "no such file"]),
    ] {
        for command in ["check", "apply"] {
            complains(&file, &mesh().wabe(&[command, "-f", &file]), words);
        }
    }
}

/// 50 MB of comments.
fn large(path: &Path) {
    let line = format!("# {}\n", "x".repeat(997));
    fs::write(path, line.repeat(50_000)).expect("our own file");
}

#[test]
fn nothing_of_a_manifest_is_applied_if_something_in_it_is_wrong() {
    let good = Service::new("half/good");
    let before = state(mesh());
    let said = mesh().apply(&format!("{good}---\napiVersion: v1\nkind: Nonsense\nmetadata: {{name: a}}\n"));
    complains("half good", &said, &["Nonsense"]);
    assert!(!mesh().wabe(&["get", "Service", "half/good"]).status.success());
    for service in before.as_array().expect("a list") {
        assert!(state(mesh()).as_array().expect("a list").contains(service), "{service}");
    }
}

#[test]
fn a_service_with_the_address_of_one_that_runs_is_refused() {
    let status = mesh().json(&["status"]);
    let address = wabe_tests::status::named(&status["services"], "shop/cart")["addresses"][0].clone();
    let said = mesh().apply(&Service::new("bad/thief").with("clusterIP", address).to_string());
    complains("taken", &said, &["bad/thief", "shop/cart"]);
    let said = mesh().testbox("shop/caller", &["connect", "cart.shop:80"]).success().json();
    assert!(said["first"].as_str().is_some_and(|it| it.starts_with("cart/")), "{said}");
}

#[test]
fn all_errors_are_told_at_once() {
    let file = mesh().file(
        "many.yaml",
        "apiVersion: v1\nkind: Nonsense\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\n\
         spec: {ports: [{port: 0}]}\n",
    );
    let said = mesh().wabe(&["check", "-f", &file]);
    assert_eq!(said.code(), Some(1), "{said}");
    assert!(said.stderr.contains("many.yaml:2:") && said.stderr.contains("many.yaml:8:"), "{said}");
}

#[test]
fn what_matches_nothing_is_a_warning() {
    let policy = wabe_tests::manifest::Policy::new(
        "warn/policy",
        json!({ "selector": { "matchLabels": { "app": "nobody" } }, "action": "DENY", "rules": [{}] }),
    );
    let file = mesh().file("warn.yaml", &all(&[&Service::new("warn/nobody"), &policy]));
    let said = mesh().wabe(&["check", "-f", &file]).success();
    let said = format!("{}{}", said.stdout, said.stderr);
    let warnings: Vec<_> = said.lines().filter(|it| it.contains("warning")).collect();
    assert_eq!(warnings.len(), 2, "{said}");
    assert!(warnings.iter().all(|it| it.contains("warn.yaml:")), "{said}");
}

#[test]
fn a_command_that_does_not_exist_is_told_and_harms_nobody() {
    let broken = Workload::new("broken/program", &["/no/such/program"]);
    let pids = wabe_tests::status::pids(mesh(), "shop/cart");
    let file = mesh().file("broken.yaml", &broken.to_string());
    let applied = mesh().wabe(&["apply", "--wait", "-f", &file]);
    assert_eq!(applied.code(), Some(1), "{applied}");
    assert!(
        applied.stderr.contains("broken/program") && applied.stderr.contains("/no/such/program"),
        "{applied}"
    );
    let why = wabe_tests::eventually("the status says why", || {
        let workload = wabe_tests::status::workload(mesh(), "broken/program");
        workload["instances"][0]["trouble"].as_str().map(String::from)
    });
    assert!(why.contains("/no/such/program"), "{why}\n{applied}");
    assert_eq!(wabe_tests::status::pids(mesh(), "shop/cart"), pids);
    let _ = mesh().delete(&broken.to_string()).success();
}

/// Whatever is written into `/dev/full` meets a disk without room. On a mesh of its own: nobody else could write meanwhile.
#[test]
fn a_full_disk_is_told_and_the_last_state_stays() {
    let mesh = TestMesh::up(&all(&[
        &Workload::idle("shop/caller"),
        &Workload::server("shop/cart"),
        &Service::new("shop/cart"),
    ]));
    let new = format!("/run/wabe/{}/objects.new", mesh.name());
    // The agent may just be saving what the start left.
    wabe_tests::eventually("nothing is being written", || std::os::unix::fs::symlink("/dev/full", &new).ok());
    let applied = mesh.apply(&Service::new("full/another").to_string());
    let said = mesh.testbox("shop/caller", &["connect", "cart.shop:80"]);
    fs::remove_file(&new).expect("still the link");
    assert_eq!(applied.code(), Some(1), "{applied}");
    let (file, why) = ("objects.json", "No space left on device");
    assert!(applied.stderr.contains(file) && applied.stderr.contains(why), "{applied}");
    assert_eq!(said.success().json()["ok"], true);
    let services = mesh.json(&["get", "Service"]).to_string();
    assert!(!services.contains("another"), "{services}");
    let _ = mesh.apply(&Service::new("full/another").to_string()).success();
    mesh.down();
}

#[test]
fn the_command_line_itself() {
    for args in [&["frobnicate"][..], &["apply"], &["scale", "shop/cart"], &["get", "Nonsense"]] {
        let said = mesh().wabe(args);
        assert_eq!(said.code(), Some(2), "{said}");
        assert!(!said.stderr.is_empty(), "{said}");
    }
}
