//! Restarting, scaling and removing workloads, and what happens when they exit.

use std::{collections::BTreeSet, process::Command};

use serde_json::json;
use wabe_tests::{
    eventually,
    manifest::{Service, Workload, all},
    status::{find_named, pids, until_endpoints, until_ready, workload},
    testkit::TestMesh,
};

use super::mesh;

/// The replicas that answered some connections, none of which failed.
#[track_caller]
fn answering(mesh: &TestMesh, target: &str) -> BTreeSet<String> {
    let said =
        mesh.testbox("shop/caller", &["connect", target, "--count", "60", "--summary"]).success().json();
    assert_eq!(said["by_errno"], json!({}), "{said}");
    said["by_answer"].as_object().expect("counts").keys().cloned().collect()
}

fn kill(mesh: &TestMesh, pid: u64) {
    let mut kill = Command::new("kill");
    kill.args(["-KILL", &pid.to_string()]);
    let _ = mesh.machine().run(kill).success();
}

#[test]
fn restart_gives_a_new_process_and_leaves_others_alone() {
    let server = Workload::server("restart/server").with("replicas", 2.into());
    let _ = mesh().apply(&all(&[&server, &Workload::idle("restart/other")])).success();
    until_ready(mesh(), "restart/server", 2);
    until_ready(mesh(), "restart/other", 1);
    let (before, other) = (pids(mesh(), "restart/server"), pids(mesh(), "restart/other"));
    let _ = mesh().wabe(&["restart", "restart/server"]).success();
    let after = eventually("two new processes", || {
        let now = pids(mesh(), "restart/server");
        (now.len() == 2 && now.iter().all(|it| !before.contains(it))).then_some(now)
    });
    until_ready(mesh(), "restart/server", 2);
    assert_eq!(pids(mesh(), "restart/server").len(), after.len());
    assert_eq!(pids(mesh(), "restart/other"), other);
}

#[test]
fn scaling_adds_and_removes_endpoints() {
    let _ = mesh().apply(&all(&[&Workload::server("scale/server"), &Service::new("scale/server")])).success();
    until_endpoints(mesh(), "scale/server", 1);
    for replicas in [4, 2] {
        let _ = mesh().wabe(&["scale", "scale/server", &replicas.to_string()]).success();
        until_ready(mesh(), "scale/server", replicas);
        let expected = (0..replicas).map(|it| format!("server/{it}")).collect();
        assert_eq!(answering(mesh(), "server.scale:80"), expected);
    }
    let _ = mesh().wabe(&["scale", "scale/server", "0"]).success();
    until_ready(mesh(), "scale/server", 0);
    let said = mesh().testbox("shop/caller", &["connect", "server.scale:80"]).success().json();
    assert_eq!(said["errno"], "EHOSTUNREACH");
}

#[test]
fn scaling_to_nonsense_changes_nothing() {
    for nonsense in ["-1", "1001", "many"] {
        let said = mesh().wabe(&["scale", "shop/cart", nonsense]);
        assert!(!said.status.success(), "{said}");
    }
    let said = mesh().wabe(&["scale", "shop/nobody", "2"]);
    assert!(!said.status.success() && said.stderr.contains("shop/nobody"), "{said}");
    assert_eq!(workload(mesh(), "shop/cart")["wanted"], 2);
}

#[test]
fn a_deleted_workload_is_gone_and_its_service_says_so() {
    let server = Workload::server("delete/server");
    let _ = mesh().apply(&all(&[&server, &Service::new("delete/server")])).success();
    until_endpoints(mesh(), "delete/server", 1);
    let pid = pids(mesh(), "delete/server")[0];
    let _ = mesh().delete(&server.to_string()).success();
    eventually("the workload is gone", || {
        find_named(&mesh().json(&["status"])["workloads"], "delete/server").is_none().then_some(())
    });
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    let said = mesh().testbox("shop/caller", &["connect", "server.delete:80"]).success().json();
    assert_eq!(said["errno"], "EHOSTUNREACH");
    let said = mesh().exec("delete/server", &["true"]);
    assert!(!said.status.success() && said.stderr.contains("delete/server"), "{said}");
}

/// Also what has left its process group and session, and whose parent is gone.
#[test]
fn all_that_a_workload_started_ends_with_it() {
    let script = "(setsid sleep 54321.25 &); setsid sleep 54321.5 & exec sleep infinity";
    let daemons = Workload::new("daemons/forks", &["sh", "-c", script]);
    let running = |argument: &str| {
        let mut pgrep = std::process::Command::new("pgrep");
        pgrep.args(["-fx", &format!("sleep {argument}")]);
        mesh().machine().run(pgrep).status.success()
    };
    let both = ["54321.25", "54321.5"];
    let _ = mesh().apply(&daemons.to_string()).success();
    eventually("they run", || both.iter().all(|it| running(it)).then_some(()));
    let _ = mesh().delete(&daemons.to_string()).success();
    eventually("they are gone", || (!both.iter().any(|it| running(it))).then_some(()));
}

#[test]
fn the_restart_policy_decides_what_happens_after_an_exit() {
    let exits = |name: &str, status: u8, policy: &str| {
        Workload::new(&format!("exits/{name}"), &["sh", "-c", &format!("sleep 0.3; exit {status}")])
            .with("restartPolicy", policy.into())
    };
    let _ = mesh()
        .apply(&all(&[
            &exits("always", 0, "Always"),
            &exits("failed", 1, "OnFailure"),
            &exits("done", 0, "OnFailure"),
            &exits("never", 1, "Never"),
        ]))
        .success();
    let restarts = |name: &str| workload(mesh(), name)["instances"][0]["restarts"].as_u64().expect("a count");
    // By the time that these were started three times, the others had every chance.
    for again in ["exits/always", "exits/failed"] {
        eventually("it is started again", || (restarts(again) >= 2).then_some(()));
    }
    for left in ["exits/done", "exits/never"] {
        eventually("it has exited", || pids(mesh(), left).is_empty().then_some(()));
        assert_eq!(restarts(left), 0, "{left}");
    }
    let why = &workload(mesh(), "exits/never")["instances"][0]["trouble"];
    assert!(why.as_str().is_some_and(|it| it.contains("exit status 1")), "{why}");
    let _ = mesh().delete(&all(&[&exits("always", 0, "Always"), &exits("failed", 1, "OnFailure")])).success();
}

#[test]
fn an_endpoint_goes_when_its_process_exits() {
    let server =
        Workload::server("exit/server").with("replicas", 2.into()).with("restartPolicy", "Never".into());
    let _ = mesh().apply(&all(&[&server, &Service::new("exit/server")])).success();
    until_endpoints(mesh(), "exit/server", 2);
    kill(mesh(), pids(mesh(), "exit/server")[0]);
    until_endpoints(mesh(), "exit/server", 1);
    assert_eq!(answering(mesh(), "server.exit:80").len(), 1);
}

#[test]
fn an_endpoint_comes_back_when_its_process_is_started_again() {
    let server = Workload::server("again/server").with("replicas", 2.into());
    let _ = mesh().apply(&all(&[&server, &Service::new("again/server")])).success();
    until_endpoints(mesh(), "again/server", 2);
    let before = pids(mesh(), "again/server");
    kill(mesh(), before[0]);
    eventually("another process serves", || {
        let now = pids(mesh(), "again/server");
        (now.len() == 2 && !now.contains(&before[0])).then_some(())
    });
    until_endpoints(mesh(), "again/server", 2);
    assert_eq!(answering(mesh(), "server.again:80").len(), 2);
}

#[test]
fn a_changed_workload_is_replaced_without_a_failed_connection() {
    let server = |color: &str| {
        let environment = json!([{ "name": "COLOR", "value": color }]);
        Workload::server("change/server").with("replicas", 2.into()).with("env", environment)
    };
    let _ = mesh().apply(&all(&[&server("red"), &Service::new("change/server")])).success();
    until_endpoints(mesh(), "change/server", 2);
    let before = pids(mesh(), "change/server");
    let args = ["connect", "server.change:80", "--count", "400", "--rate", "200", "--summary"];
    let mut calling = mesh().start_testbox("shop/caller", &args);
    let _ = mesh().apply(&server("blue").to_string()).success();
    eventually("both are replaced", || {
        let now = pids(mesh(), "change/server");
        (now.len() == 2 && now.iter().all(|it| !before.contains(it))).then_some(())
    });
    let said = calling.next_json();
    assert_eq!(said["by_errno"], json!({}), "{said}");
}

#[test]
fn nothing_new_is_made_when_the_keeper_runs_short_of_descriptors() {
    let mesh = TestMesh::up(&all(&[
        &Workload::idle("shop/caller"),
        // Enough that a tenth is some.
        &Workload::server("shop/cart").with("replicas", 16.into()),
        &Service::new("shop/cart"),
    ]));
    let keeper = mesh.machine().role("keeper").expect("a keeper");
    let used = std::fs::read_dir(format!("/proc/{keeper}/fd")).expect("root may").count();
    let limit = |most: usize| {
        let options = [format!("--pid={keeper}"), format!("--nofile={most}:20000")];
        let done = Command::new("prlimit").args(options).status();
        assert!(done.expect("prlimit(1)").success());
    };
    limit(used * 10 / 9);
    let more = mesh.file("more.yaml", &Workload::idle("shop/more").to_string());
    let said = mesh.wabe(&["apply", "--wait", "--timeout", "2", "-f", &more]);
    assert_eq!(said.code(), Some(1), "{said}");
    assert!(said.stderr.contains("descriptors") && said.stderr.contains("ulimit -n"), "{said}");
    // What runs goes on, and is seen to.
    answering(&mesh, "cart.shop:80");
    let victim = pids(&mesh, "shop/cart")[0];
    kill(&mesh, victim);
    eventually("another process", || (!pids(&mesh, "shop/cart").contains(&victim)).then_some(()));
    wabe_tests::facts::until_all(&mesh, "shop/cart", true);
    answering(&mesh, "cart.shop:80");
    limit(used * 2);
    wabe_tests::facts::until_all(&mesh, "shop/more", true);
    mesh.down();
}
