//! The agent may die: what runs goes on running, and the keeper starts it again.

use wabe_tests::{
    eventually,
    manifest::{Service, Workload, all},
    status::{pids, until_ready},
    testkit::TestMesh,
};

fn up() -> TestMesh {
    TestMesh::up(&all(&[
        &Workload::idle("shop/caller"),
        &Workload::new("shop/echo", &["$TESTBOX", "echo", "--listen", "[::]:8080"])
            .with("readiness", serde_json::json!({ "tcp": { "port": 8080 } }))
            .with("ports", serde_json::json!([{ "name": "main", "port": 8080 }])),
        &Service::new("shop/echo"),
        &Workload::server("shop/cart"),
        &Service::new("shop/cart"),
    ]))
}

#[test]
fn connections_go_on_and_new_ones_are_made_by_name_while_it_is_dead() {
    let mesh = up();
    let mut held = mesh.start_testbox("shop/caller", &["hold", "echo.shop:80", "--count", "50"]);
    assert_eq!(held.next_json()["open"], 50);
    let before = (pids(&mesh, "shop/cart"), pids(&mesh, "shop/echo"));

    let killed = mesh.machine().kill_role("agent");
    // The first ones while it is dead; later ones while it starts and takes over.
    let args = ["connect", "cart.shop:80", "--count", "300", "--rate", "150", "--summary"];
    let said = mesh.testbox("shop/caller", &args).success().json();
    assert_eq!(said["by_answer"]["cart/0"], 300, "{said}");
    held.send("count");
    assert_eq!(held.next_json()["alive"], 50);

    eventually("the keeper starts another", || mesh.machine().role("agent").filter(|it| *it != killed));
    eventually("it answers", || mesh.wabe(&["status"]).status.success().then_some(()));
    assert_eq!((pids(&mesh, "shop/cart"), pids(&mesh, "shop/echo")), before);
    held.send("count");
    assert_eq!(held.next_json()["alive"], 50);

    // It knows all that its predecessor knew, and changes are made again.
    let _ = mesh.wabe(&["scale", "shop/cart", "2"]).success();
    until_ready(&mesh, "shop/cart", 2);
    mesh.down();
}

#[test]
fn a_workload_that_exits_while_it_is_dead_is_started_again() {
    let mesh = up();
    let before = pids(&mesh, "shop/cart")[0];
    let killed = mesh.machine().kill_role("agent");
    let mut kill = std::process::Command::new("kill");
    kill.args(["-KILL", &before.to_string()]);
    let _ = mesh.machine().run(kill).success();
    eventually("it serves again", || {
        let said = mesh.testbox("shop/caller", &["connect", "cart.shop:80"]).success().json();
        (said["first"] == "cart/0").then_some(())
    });
    eventually("the keeper starts another agent", || mesh.machine().role("agent").filter(|it| *it != killed));
    eventually("it knows the new process", || {
        let now = mesh.wabe(&["status", "-o", "json"]);
        now.status.success().then(|| pids(&mesh, "shop/cart")).filter(|it| !it.is_empty() && it[0] != before)
    });
    mesh.down();
}
