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
            links_that_lead_elsewhere_are_found,
            a_workload_that_is_cut_off_is_found_and_made_anew,
            an_agent_that_does_not_answer_is_found,
            a_dns_that_does_not_run_is_found,
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
    let lanes = report["lanes"].as_array().expect("a list");
    assert!(lanes.len() == 5 && lanes.iter().all(|it| it["lacks"] == json!([])), "{report:#}");
    let text = mesh.wabe(&["doctor"]).success().stdout;
    assert!(text.contains("direct, datagrams, outside, names, short cut\n"), "{text}");
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

/// Both workloads' admission, each under the other's name.
fn links_that_lead_elsewhere_are_found(mesh: &TestMesh) {
    let status = mesh.json(&["status"]);
    let links = format!("/run/wabe/{}/bpf/links", mesh.name());
    let [one, two] = [0, 1].map(|index| {
        let id = &status["workloads"][index]["instances"][0]["id"];
        format!("{links}/admission-{id}")
    });
    let aside = format!("{links}/aside");
    let swap = || {
        for (from, to) in [(&one, &aside), (&two, &one), (&aside, &two)] {
            fs::rename(from, to).expect("a pin");
        }
    };
    swap();
    let report = examine(mesh, &[]);
    swap();
    assert_eq!(found(&report), [("link_elsewhere", false); 2], "{report:#}");
    assert_eq!(found(&examine(mesh, &[])), []);
    works(mesh);
}

fn a_workload_that_is_cut_off_is_found_and_made_anew(mesh: &TestMesh) {
    let agent = mesh.machine().role("agent").expect("an agent").to_string();
    let at_the_node = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{agent}/ns/net")).arg("ip").args(words);
        let _ = mesh.machine().run(command).success();
    };
    let server = || {
        let status = mesh.json(&["status"]);
        let all = status["workloads"].as_array().expect("a list").clone();
        all.into_iter().find(|it| it["name"] == "s/server").expect("it is there")["instances"][0].clone()
    };
    let break_and_restart = |words: &[&str], says: &str, codes: &[&str]| {
        at_the_node(words);
        let report = examine(mesh, &[]);
        let mut told: Vec<&str> = found(&report).into_iter().map(|(code, _)| code).collect();
        told.sort_unstable();
        told.dedup();
        assert_eq!(told, codes, "{words:?}: {report:#}");
        let all = report["findings"].as_array().expect("a list");
        let cut_off = all.iter().find(|it| it["code"] == "workload_cut_off").expect("asserted above");
        assert!(cut_off["what"].as_str().is_some_and(|it| it.contains(says)), "{report:#}");
        let remedy = format!("`wabe --name {} restart s/server`", mesh.name());
        assert!(cut_off["remedy"].as_str().is_some_and(|it| it.contains(&remedy)), "{report:#}");
        let _ = mesh.wabe(&["restart", "s/server"]).success();
        eventually("it is healthy again", || (found(&examine(mesh, &[])).is_empty()).then_some(()));
        until_all(mesh, "s/server", true);
        works(mesh);
    };
    let name = |it: &Value| format!("w{}", it["id"]);
    let address = |it: &Value| it["addresses"][0].as_str().expect("an address").to_owned();
    let now = server();
    break_and_restart(&["route", "del", &address(&now)], "no route to", &["workload_cut_off"]);
    let now = server();
    let words = ["neigh", "del", &address(&now), "dev", &name(&now)];
    break_and_restart(&words, "who has", &["workload_cut_off"]);
    let now = server();
    break_and_restart(&["link", "set", &name(&now), "down"], "is down", &["workload_cut_off"]);
    let now = server();
    let words = ["link", "delete", &name(&now)];
    break_and_restart(&words, "is gone", &["link_detached", "workload_cut_off"]);
}

/// The keeper starts it again, later each time it ends at once: between two lives it is away.
fn a_dns_that_does_not_run_is_found(mesh: &TestMesh) {
    eventually("doctor finds it away", || {
        let _ = mesh.machine().role("dns").map(|pid| signal("KILL", &pid.to_string()));
        let report = examine(mesh, &[]);
        (found(&report) == [("dns_away", false)]).then_some(())
    });
    eventually("it is back", || found(&examine(mesh, &[])).is_empty().then_some(()));
    works(mesh);
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
