//! `wabe down` leaves nothing, whatever happened before. The whole machine is counted before and after, so each of
//! these tests runs alone.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use wabe_tests::{
    eventually,
    manifest::{Policy, Service, Workload, all},
    status::named,
    testkit::{Inventory, Machine, PATIENCE, TestMesh},
};

/// Counts, runs `body` with a machine, and counts again.
#[track_caller]
fn leaves_nothing(body: impl FnOnce(&Machine)) {
    let machine = Machine::alone();
    let before = Inventory::take_in(machine.namespace());
    let start = Instant::now();
    body(&machine);
    let gone = Instant::now();
    let left = before.left_over(machine.namespace(), Duration::from_secs(10));
    eprintln!("used for {:.1?}, all gone {:.1?} after", gone - start, gone.elapsed());
    assert!(left.is_empty(), "{left:#?}");
    assert!(machine.leftovers().is_empty(), "{:#?}", machine.leftovers());
}

fn manifests() -> String {
    all(&[
        &Workload::idle("shop/caller"),
        &Workload::server("shop/cart").with("replicas", 3.into()),
        &Service::new("shop/cart"),
        &Policy::new(
            "shop/callers",
            json!({ "rules": [{ "from": [{ "source": { "namespaces": ["shop"] } }] }] }),
        ),
        // Refuses to go when asked.
        &Workload::new("shop/stubborn", &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]),
    ])
}

/// `wabe up`, with the manifests in a file that stays until the end of `body`.
fn up(machine: &Machine, body: impl FnOnce(&str)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mesh.yaml");
    let testbox = wabe_tests::testkit::testbox();
    let text = manifests().replace("$TESTBOX", testbox.to_str().expect("UTF-8"));
    std::fs::write(&file, text).expect("our own file");
    let file = file.to_str().expect("UTF-8");
    let _ = machine.wabe(&["up", "-f", file]).success();
    body(file);
}

#[track_caller]
fn works(machine: &Machine) {
    let testbox = wabe_tests::testkit::testbox();
    let testbox = testbox.to_str().expect("UTF-8");
    let said =
        machine.wabe(&["exec", "shop/caller", "--", testbox, "connect", "cart.shop:80"]).success().json();
    assert_eq!(said["ok"], true, "{said}");
}

#[test]
fn after_a_mesh_that_was_used() {
    leaves_nothing(|machine| {
        up(machine, |file| {
            works(machine);
            let _ = machine.wabe(&["scale", "shop/cart", "5"]).success();
            let _ = machine.wabe(&["apply", "-f", file]).success();
            let _ = machine.wabe(&["restart", "shop/cart"]).success();
            works(machine);
        });
        let _ = machine.wabe(&["down"]).success();
    });
}

#[test]
fn after_connections_that_are_still_open() {
    leaves_nothing(|machine| {
        up(machine, |_| {
            let testbox = wabe_tests::testkit::testbox();
            let testbox = testbox.to_str().expect("UTF-8");
            // To itself: what it holds must go with it.
            let args = ["exec", "shop/caller", "--", testbox, "tcp-semantics", "serve", "--listen", "[::]:9"];
            let mut server = machine.start_wabe(&args);
            server.next_line();
            let target = "127.0.0.1:9";
            let mut held =
                machine.start_wabe(&["exec", "shop/caller", "--", testbox, "hold", target, "--count", "9"]);
            assert_eq!(held.next_json()["open"], 9);
            let _ = machine.wabe(&["down"]).success();
        });
    });
}

#[test]
fn after_any_process_was_killed() {
    for roles in [
        &["agent"][..],
        &["dns"],
        &["proxy"],
        &["keeper"],
        &["keeper", "agent"],
        &["keeper", "dns", "proxy", "agent"],
    ] {
        eprintln!("killing {roles:?}");
        leaves_nothing(|machine| {
            up(machine, |_| {
                machine.kill_roles(roles);
            });
            let _ = machine.wabe(&["down"]).success();
        });
    }
}

/// Nothing that lives in memory is there any more: processes, namespaces with their interfaces, cgroups, pins, `/run`.
#[test]
fn after_a_reboot() {
    leaves_nothing(|machine| {
        up(machine, |file| {
            let folder = format!("/run/wabe/{}", machine.name());
            let mesh = std::fs::read_to_string(format!("{folder}/mesh.json")).expect("a mesh");
            let mesh: serde_json::Value = serde_json::from_str(&mesh).expect("JSON");
            let cgroup = std::path::Path::new(mesh["cgroup"].as_str().expect("a path"));
            std::fs::write(cgroup.join("cgroup.kill"), "1").expect("a cgroup of the mesh");
            let mut umount = std::process::Command::new("umount");
            umount.arg(format!("{folder}/bpf"));
            let _ = machine.run(umount).success();
            std::fs::remove_dir_all(&folder).expect("root may");
            eventually("its cgroups are gone", || remove_cgroups(cgroup).ok());
            let is_clean = || machine.leftovers().is_empty().then_some(());
            eventually("its interfaces are gone with their namespaces", is_clean);

            let _ = machine.wabe(&["up", "-f", file]).success();
            works(machine);
            let report = machine.wabe(&["doctor"]);
            assert!(report.status.success(), "{report}");
        });
        let _ = machine.wabe(&["down"]).success();
    });
}

/// Those below first.
fn remove_cgroups(folder: &std::path::Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    std::fs::remove_dir(folder)
}

/// With the keeper dead nobody looks after the mesh; another `up` says so or takes it over, but never adds to it.
#[test]
fn after_a_second_up_over_a_dead_keeper() {
    leaves_nothing(|machine| {
        up(machine, |file| {
            machine.kill_role("keeper");
            let again = machine.wabe(&["up", "-f", file]);
            eprintln!("the second `up`: {}", again.status);
            let words = again.stderr.to_lowercase();
            assert!(again.status.success() || words.contains("down"), "{again}");
        });
        let _ = machine.wabe(&["down"]).success();
    });
}

/// How far `wabe up` is when it is killed: those are its steps as seen from outside, and moments between them.
#[test]
fn after_up_was_killed_at_any_moment() {
    for milliseconds in [0, 5, 20, 50, 100, 200, 400, 800, 1600] {
        leaves_nothing(|machine| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let file = folder.path().join("mesh.yaml");
            let testbox = wabe_tests::testkit::testbox();
            let text = manifests().replace("$TESTBOX", testbox.to_str().expect("UTF-8"));
            std::fs::write(&file, text).expect("our own file");
            let starting = machine.start_wabe(&["up", "-f", file.to_str().expect("UTF-8")]);
            // Chooses the moment; nothing waits for something here.
            thread::sleep(Duration::from_millis(milliseconds));
            // SIGKILL to it and its process group; the keeper has one of its own.
            drop(starting);
            let down = machine.wabe(&["down"]);
            assert!(down.status.success(), "after {milliseconds} ms: {down}");
        });
    }
}

/// Ctrl-C takes the mesh down again by itself.
#[test]
fn after_up_was_interrupted() {
    for milliseconds in [30, 150, 300] {
        leaves_nothing(|machine| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let file = folder.path().join("mesh.yaml");
            // Never ready: `up` is still there to be interrupted.
            let slow = Workload::idle("shop/slow").with("readiness", json!({ "tcp": { "port": 8080 } }));
            std::fs::write(&file, slow.to_string()).expect("our own file");
            let starting = machine.start_wabe(&["up", "-f", file.to_str().expect("UTF-8")]);
            // Chooses the moment; nothing waits for something here.
            thread::sleep(Duration::from_millis(milliseconds));
            let mut interrupt = std::process::Command::new("kill");
            interrupt.args(["-INT", &starting.id().to_string()]);
            let _ = machine.run(interrupt).success();
            let end = starting.finish();
            // Before it can catch signals there is nothing to take down, and the signal ends it.
            assert!(end.code() == Some(130) || end.code().is_none(), "after {milliseconds} ms: {end}");
        });
    }
}

/// Where the keeper or the agent dies while `wabe up` waits for it, that tells so or gets along.
#[test]
fn after_a_role_was_killed_during_up() {
    for role in ["keeper", "agent", "dns", "proxy"] {
        leaves_nothing(|machine| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let file = folder.path().join("mesh.yaml");
            let testbox = wabe_tests::testkit::testbox();
            let text = manifests().replace("$TESTBOX", testbox.to_str().expect("UTF-8"));
            std::fs::write(&file, text).expect("our own file");
            let starting = machine.start_wabe(&["up", "-f", file.to_str().expect("UTF-8")]);
            let pid = eventually(role, || machine.role(role));
            eprintln!("killing {role} {pid}");
            machine.kill_role(role);
            eprintln!("`up`: {}", starting.finish());
            let down = machine.wabe(&["down"]);
            assert!(down.status.success(), "{role}: {down}");
        });
    }
}

#[test]
fn after_an_up_that_failed() {
    leaves_nothing(|machine| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("mesh.yaml");
        let broken = Workload::new("shop/broken", &["/no/such/program"]);
        std::fs::write(&file, broken.to_string()).expect("our own file");
        let up = machine.wabe(&["up", "-f", file.to_str().expect("UTF-8")]);
        assert!(!up.status.success(), "{up}");
        // No `down`: it has cleaned up after itself.
    });
}

#[test]
fn a_second_down_finds_nothing_to_do() {
    leaves_nothing(|machine| {
        up(machine, |_| ());
        for _ in 0..2 {
            let _ = machine.wabe(&["down"]).success();
        }
    });
}

#[test]
fn after_a_hundred_workloads() {
    let machine = Machine::alone();
    let before = Inventory::take_in(machine.namespace());
    let hundred: String = (0..100)
        .map(|number| format!("many/w{number}"))
        .map(|name| format!("{}{}", Workload::server(&name), Service::new(&name)))
        .collect();
    let start = Instant::now();
    let mesh = TestMesh::up_on(machine, &hundred);
    let up = start.elapsed();
    let status = mesh.json(&["status"]);
    for number in 0..100 {
        assert_eq!(named(&status["workloads"], &format!("many/w{number}"))["ready"], 1);
    }
    let said = mesh.testbox("many/w0", &["connect", "w99:80"]).success().json();
    assert_eq!(said["first"], "w99/0");
    let start = Instant::now();
    let _ = mesh.wabe(&["down"]).success();
    eprintln!("100 workloads: up {up:.1?}, down {:.1?}", start.elapsed());
    let left = before.left_over(mesh.machine().namespace(), PATIENCE);
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn uninstall_ends_all_meshes_the_dead_ones_too() {
    leaves_nothing(|machine| {
        up(machine, |_| {
            // A second one, whose keeper is killed with all that it holds.
            let other = format!("{}-other", machine.name());
            let with_name = |arguments: &[&str]| {
                let mut command = std::process::Command::new(wabe_tests::testkit::wabe());
                command.args(["--name", &other]).args(arguments);
                machine.run(command)
            };
            let _ = with_name(&["up"]).success();
            let file = std::fs::read_to_string(format!("/run/wabe/{other}/mesh.json")).expect("a mesh");
            assert!(file.contains(&other));
            let keeper = with_name(&["status", "-o", "json"]).success().json();
            let keeper = named_role(&keeper, "keeper");
            let mut kill = std::process::Command::new("kill");
            kill.args(["-KILL", &keeper.to_string()]);
            let _ = machine.run(kill).success();
            // And whose folder somebody removed: the rest is still found.
            let mut umount = std::process::Command::new("umount");
            umount.args(["--lazy", &format!("/run/wabe/{other}/bpf")]);
            let _ = machine.run(umount);
            std::fs::remove_dir_all(format!("/run/wabe/{other}")).expect("root may");

            let asked = machine.wabe(&["uninstall"]);
            assert!(!asked.status.success() && asked.stderr.contains("--yes"), "{asked}");
            works(machine);
            let report = machine.wabe(&["uninstall", "--yes", "-o", "json"]).success().json();
            assert_eq!(report["left"], json!([]), "{report}");
            assert_eq!(report["meshes"].as_array().map(Vec::len), Some(2), "{report}");
            assert_eq!(report["problems"], json!([]), "{report}");
            let counts = report["counts"].as_object().expect("counts");
            assert!(counts["processes"][0].as_u64() > Some(0), "{report}");
            assert!(counts.values().all(|it| it[1] == 0), "{report}");
            println!("removed: {}", report["removed"].as_array().map_or(0, Vec::len));
        });
    });
}

/// The process of a role.
fn named_role(status: &serde_json::Value, role: &str) -> u64 {
    let processes = status["processes"].as_array().expect("a list");
    processes.iter().find(|it| it["role"] == role).and_then(|it| it["pid"].as_u64()).expect("it runs")
}
