//! `wabe up` that can't work says why and leaves nothing. (Dropping a `Machine` checks that nothing of its mesh is
//! left; here it is checked before anything could have cleaned up.)

use std::process::Command;

use serde_json::json;
use wabe_tests::{
    manifest::{Service, Workload, all},
    testkit::{Finished, Machine, TestMesh},
};

use super::mesh;

/// `wabe up` with these manifests, which must fail, say all of `words`, and leave nothing.
#[track_caller]
fn refuses(machine: Machine, manifests: &str, words: &[&str]) {
    let (mesh, said) = TestMesh::try_up_on(machine, manifests);
    assert_eq!(said.code(), Some(1), "{said}");
    for word in words {
        assert!(said.stderr.contains(word), "no {word:?}: {said}");
    }
    let left = mesh.machine().leftovers();
    assert!(left.is_empty(), "{left:#?}\n{said}");
}

#[test]
fn a_program_that_does_not_exist() {
    let broken = Workload::new("shop/broken", &["/no/such/program"]);
    let manifests = all(&[&Workload::server("shop/cart"), &broken]);
    refuses(Machine::new(), &manifests, &["shop/broken", "/no/such/program"]);
}

#[test]
fn a_program_that_exits_at_once() {
    let broken = Workload::new("shop/broken", &["sh", "-c", "echo I have no configuration >&2; exit 3"]);
    // The reason, and the last of what it said.
    refuses(Machine::new(), &broken.to_string(), &["shop/broken", "exit status 3", "no configuration"]);
}

#[test]
fn a_workload_that_never_gets_ready() {
    let machine = Machine::new();
    let broken = Workload::idle("shop/broken").with("readiness", json!({ "tcp": { "port": 8080 } }));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mesh.yaml");
    std::fs::write(&file, broken.to_string()).expect("our own file");
    let said = machine.wabe(&["up", "-f", file.to_str().expect("UTF-8"), "--timeout", "2"]);
    assert!(!said.status.success(), "{said}");
    assert!(said.stderr.contains("shop/broken") && said.stderr.contains("8080"), "{said}");
    assert!(machine.leftovers().is_empty(), "{:#?}", machine.leftovers());
}

#[test]
fn a_user_that_does_not_exist() {
    let broken = Workload::idle("shop/broken").with("user", "nosuchuser".into());
    refuses(Machine::new(), &broken.to_string(), &["shop/broken", "nosuchuser"]);
}

#[test]
fn manifests_that_are_wrong() {
    refuses(Machine::new(), "kind: [", &["mesh.yaml:1:8:"]);
}

#[test]
fn address_ranges_that_the_machine_uses() {
    let machine = Machine::new();
    ip(&machine, &["addr", "add", "10.77.0.1/16", "dev", "lo"]);
    let config = "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: mesh}\n\
                  spec: {addressRanges: {workloads: [10.77.128.0/17]}}\n";
    let manifests = format!("{config}{}", Workload::idle("shop/caller"));
    refuses(machine, &manifests, &["10.77.128.0/17"]);
}

#[test]
fn ranges_that_nobody_chose_avoid_those_of_the_machine() {
    let first = mesh().json(&["status"]);
    let taken: Vec<&str> = first["workloads"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["instances"][0]["addresses"][0].as_str())
        .collect();
    // A machine on which that very address is in use.
    let machine = Machine::new();
    ip(&machine, &["addr", "add", &format!("{}/12", taken[0]), "dev", "lo"]);
    let second = TestMesh::up_on(machine, &Workload::idle("shop/caller").to_string());
    let address = second.json(&["status"])["workloads"][0]["instances"][0]["addresses"][0].clone();
    let part = |address: &str| -> Vec<u8> {
        address.split('.').map(|it| it.parse().expect("a number")).collect::<Vec<u8>>()
    };
    let (ours, theirs) = (part(taken[0]), part(address.as_str().expect("an address")));
    assert!(ours[0] != theirs[0] || ours[1] >> 4 != theirs[1] >> 4, "{address} is within {}/12", taken[0]);
    second.down();
}

fn ip(machine: &Machine, args: &[&str]) {
    let mut command = Command::new("ip");
    command.args(args);
    let _ = machine.run(command).success();
}

#[test]
fn another_mesh_of_the_same_name() {
    let before = mesh().json(&["status"]);
    let file =
        mesh().file("second.yaml", &all(&[&Workload::server("other/server"), &Service::new("other/server")]));
    let said = mesh().wabe(&["up", "-f", &file]);
    assert!(!said.status.success(), "{said}");
    for word in [mesh().name(), "down", "--name"] {
        assert!(said.stderr.contains(word), "no {word:?}: {said}");
    }
    let after = mesh().json(&["status"]);
    assert_eq!(before["processes"], after["processes"]);
    assert!(!mesh().wabe(&["get", "Workload", "other/server"]).status.success());
}

#[test]
fn somebody_who_is_not_root() {
    let machine = Machine::new();
    let file = mesh().file("by-nobody.yaml", &Workload::idle("other/caller").to_string());
    let as_nobody = |args: &[&str]| -> Finished {
        let wabe = machine.wabe_command(args);
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(wabe.get_program())
            .args(wabe.get_args());
        machine.run(command)
    };
    let up = as_nobody(&["up", "-f", &file]);
    assert_eq!(up.code(), Some(3), "{up}");
    assert!(up.stderr.contains("root"), "{up}");
    assert!(machine.leftovers().is_empty(), "{:#?}", machine.leftovers());
    // Looking at manifests needs no rights.
    let _ = as_nobody(&["check", "-f", &file]).success();
}

#[test]
fn commands_for_a_mesh_that_does_not_run() {
    let machine = Machine::new();
    for args in [&["status"][..], &["exec", "a/b", "--", "true"], &["flows"], &["get", "Workload"]] {
        let said = machine.wabe(args);
        assert_eq!(said.code(), Some(3), "{said}");
        assert!(said.stderr.contains(machine.name()) && said.stderr.contains("wabe up"), "{said}");
    }
    // Stopping what does not run is no error: it is how one wants it to be.
    let _ = machine.wabe(&["down"]).success();
}

#[test]
fn a_name_that_can_be_none() {
    let machine = Machine::new();
    let mut command = Command::new(machine.wabe_command(&[]).get_program());
    command.args(["--name", "../escape", "status"]);
    let said = machine.run(command);
    assert!(!said.status.success() && said.stderr.contains("../escape"), "{said}");
}
