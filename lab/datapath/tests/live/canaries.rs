//! What socket to socket redirection breaks, and plain TCP does not.

use crate::scene::{SERVER, Scene};

#[test]
fn plain_tcp_holds_everything() {
    let scene = Scene::new();
    let role = scene.start("client-app", &format!("canaries plain {SERVER}"));
    for _ in 0..7 {
        let line = role.line();
        assert!(line.contains("holds"), "{line}");
        println!("{line}");
    }
}

#[test]
fn joined_sockets_break_what_is_known_and_keep_bound_and_order() {
    let scene = Scene::new();
    let joined =
        wabe_lab_datapath::SocketToSocket::attach(&scene.cgroup, Default::default()).expect("attached");
    let role =
        scene.start("client-app", &format!("canaries {} {SERVER}", scene.group("server-app").display()));
    let lines: Vec<String> = (0..7).map(|_| role.line()).collect();
    println!("{}", lines.join("\n"));
    for (name, holds) in [
        ("splice", false),
        ("MSG_WAITALL", false),
        ("edge-triggered read", false),
        ("reset", false),
        ("receive window", true),
        ("order", true),
    ] {
        let line = lines.iter().find(|line| line.starts_with(name)).expect(name);
        assert_eq!(line.contains("holds"), holds, "{line}");
    }
    assert!(joined.counters().expect("counters").bounded > 0);
}
