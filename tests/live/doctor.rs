//! `wabe doctor` finds what was broken by hand, and nothing else; `--fix` repairs what it says it repairs.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use wabe_testkit::{ForeignProgram, Machine, TestMesh};
use wabe_tests::{
    eventually,
    facts::until_all,
    manifest::{Service, Workload, all},
    steps,
};

const CALLER: &str = "a/caller";

#[test]
fn doctor() {
    let mesh = TestMesh::up(&all(&[
        &Workload::idle(CALLER),
        &Workload::server("s/server"),
        &Service::new("s/server"),
    ]));
    steps::run(
        &mesh,
        &wabe_tests::steps![
            a_healthy_mesh_is_healthy,
            only_root_is_told,
            a_missing_link_is_found_and_repaired,
            a_missing_admission_is_found_and_repaired,
            an_agent_that_does_not_answer_is_found,
            a_foreign_program_is_told_and_lives_beside,
            a_folder_that_can_not_be_written_is_found_and_the_last_state_stays,
            what_a_dead_mesh_left_is_found_and_removed,
            a_missing_interface_is_found,
        ],
    );
    mesh.down();
}

/// What `wabe doctor words...` says of this mesh.
fn examine(mesh: &TestMesh, words: &[&str]) -> Value {
    let said = mesh.wabe(&[&["doctor", "-o", "json"], words].concat());
    let report = said.json();
    assert_eq!(said.code(), Some(i32::from(report["healthy"] == false)), "{said}");
    report
}

/// Codes of what is not only good to know.
fn found(report: &Value) -> Vec<(&str, bool)> {
    let all = report["findings"].as_array().expect("a list");
    let bad = all.iter().filter(|it| it["severity"] != "info");
    bad.map(|it| (it["code"].as_str().expect("a code"), it["fixable"] == true)).collect()
}

fn works(mesh: &TestMesh) {
    let said = mesh.testbox(CALLER, &["connect", "server.s:80"]).success().json();
    assert_eq!(said["first"], "server/0", "{said}");
}

fn a_healthy_mesh_is_healthy(mesh: &TestMesh) {
    let report = examine(mesh, &[]);
    assert_eq!(found(&report), [], "{report:#}");
    assert!(report["meshes"].as_array().is_some_and(|all| all.contains(&json!(mesh.name()))), "{report}");
    let text = mesh.wabe(&["doctor"]).success().stdout;
    assert!(text.contains("healthy") && text.contains(mesh.name()), "{text}");
}

fn only_root_is_told(mesh: &TestMesh) {
    for words in [&["doctor"][..], &["doctor", "--fix"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups"]).arg(wabe_testkit::wabe()).args(words);
        let said = mesh.machine().run(command);
        assert_eq!(said.code(), Some(3), "{said}");
        assert!(said.stderr.contains("root"), "{said}");
    }
    works(mesh);
}

fn a_missing_link_is_found_and_repaired(mesh: &TestMesh) {
    // Nothing but the pin holds it: this detaches the program.
    repaired_after_removing(mesh, "wabe_connect4");
}

fn a_missing_admission_is_found_and_repaired(mesh: &TestMesh) {
    let id = &mesh.json(&["status"])["workloads"][1]["instances"][0]["id"];
    repaired_after_removing(mesh, &format!("admission-{id}"));
}

fn repaired_after_removing(mesh: &TestMesh, link: &str) {
    fs::remove_file(format!("/run/wabe/{}/bpf/links/{link}", mesh.name())).expect("a pin");
    let report = examine(mesh, &[]);
    assert_eq!(found(&report), [("link_missing", true)], "{report:#}");
    assert!(report["findings"].to_string().contains(link), "{report:#}");
    let report = examine(mesh, &["--fix"]);
    assert_eq!(found(&report), [], "{report:#}");
    assert!(report["repaired"][0].as_str().is_some_and(|it| it.contains("anew")), "{report:#}");
    works(mesh);
}

fn an_agent_that_does_not_answer_is_found(mesh: &TestMesh) {
    let agent = mesh.machine().role("agent").expect("an agent").to_string();
    signal("STOP", &agent);
    let report = examine(mesh, &[]);
    signal("CONT", &agent);
    assert_eq!(found(&report), [("agent_away", false)], "{report:#}");
    works(mesh);
    assert_eq!(found(&examine(mesh, &[])), []);
}

fn a_foreign_program_is_told_and_lives_beside(mesh: &TestMesh) {
    let file = fs::read_to_string(format!("/run/wabe/{}/mesh.json", mesh.name())).expect("a mesh");
    let file: Value = serde_json::from_str(&file).expect("JSON");
    let cgroup = Path::new(file["cgroup"].as_str().expect("a path")).join("w");
    let theirs = ForeignProgram::attach("theirs", &cgroup).expect("root may");
    let report = examine(mesh, &[]);
    assert_eq!(found(&report), [], "{report:#}");
    let told = report["findings"].as_array().expect("a list").iter().any(|it| {
        it["code"] == "foreign_program" && it["what"].as_str().is_some_and(|it| it.contains("`theirs`"))
    });
    assert!(told, "{report:#}");
    works(mesh);
    drop(theirs);
    works(mesh);
}

fn a_folder_that_can_not_be_written_is_found_and_the_last_state_stays(mesh: &TestMesh) {
    let folder = format!("/run/wabe/{}", mesh.name());
    let chattr = |change: &str| {
        assert!(Command::new("chattr").args([change, &folder]).status().expect("chattr(1)").success());
    };
    chattr("+i");
    let report = examine(mesh, &[]);
    let applied = mesh.apply(&Service::new("s/another").to_string());
    let said = mesh.testbox(CALLER, &["connect", "server.s:80"]);
    chattr("-i");
    assert_eq!(said.success().json()["first"], "server/0");
    assert!(!applied.status.success() && applied.stderr.contains(&folder), "{applied}");
    let _ = mesh.delete(&Service::new("s/another").to_string());
    assert_eq!(found(&report), [("folder_unfit", false)], "{report:#}");
    assert_eq!(found(&examine(mesh, &[])), []);
}

/// A second mesh is killed from outside, with its folder gone as well.
fn what_a_dead_mesh_left_is_found_and_removed(mesh: &TestMesh) {
    // Another name, on this machine.
    let other = Machine::new();
    let ghost = other.name();
    let _ = mesh.machine().run(other.wabe_command(&["up"])).success();
    let file = fs::read_to_string(format!("/run/wabe/{ghost}/mesh.json")).expect("a mesh");
    let file: Value = serde_json::from_str(&file).expect("JSON");
    let cgroup = Path::new(file["cgroup"].as_str().expect("a path"));
    fs::write(cgroup.join("cgroup.kill"), "1").expect("a cgroup of the mesh");
    let _ = mesh.machine().run(umount(&format!("/run/wabe/{ghost}/bpf")));
    eventually("its folder is gone", || fs::remove_dir_all(format!("/run/wabe/{ghost}")).ok());
    let report = examine(mesh, &[]);
    assert_eq!(found(&report), [("leftovers", true)], "{report:#}");
    assert_eq!(report["findings"][0]["mesh"], ghost, "{report:#}");
    let report = examine(mesh, &["--fix"]);
    assert_eq!(found(&report), [], "{report:#}");
    assert!(!cgroup.exists(), "{report:#}");
    works(mesh);
}

/// The last step: only `down` and `up` help.
fn a_missing_interface_is_found(mesh: &TestMesh) {
    let links = mesh.machine().run({
        let mut command = Command::new("ip");
        command.args(["-j", "link"]);
        command
    });
    let alias = format!("wabe mesh {}", mesh.name());
    let links = links.success().json();
    let link = links.as_array().expect("a list").iter().find(|it| it["ifalias"] == alias.as_str());
    let name = link.and_then(|it| it["ifname"].as_str()).expect("the mesh's interface").to_owned();
    let mut delete = Command::new("ip");
    delete.args(["link", "delete", &name]);
    let _ = mesh.machine().run(delete).success();
    let report = examine(mesh, &[]);
    let codes = found(&report);
    assert!(codes.contains(&("interface_missing", false)), "{report:#}");
    // Its other end went with it, and with that what was attached there.
    assert!(
        codes.iter().all(|(code, _)| ["interface_missing", "link_detached"].contains(code)),
        "{report:#}"
    );
    until_all(mesh, "s/server", true);
    works(mesh);
}

fn umount(folder: &str) -> Command {
    let mut command = Command::new("umount");
    command.args(["--lazy", folder]);
    command
}

fn signal(name: &str, pid: &str) {
    assert!(
        Command::new("kill").args([format!("-{name}"), pid.to_owned()]).status().expect("kill(1)").success()
    );
}
