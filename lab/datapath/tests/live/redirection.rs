//! Sidecars without iptables.

use std::net::Ipv4Addr;

use wabe_lab_datapath::Limits;

use crate::scene::{OUTBOUND, PORT, SERVER, SERVICE, Scene, attached, nothing_attached};

#[test]
fn a_call_passes_both_sidecars_which_see_where_it_was_going() {
    let scene = Scene::new();
    let sidecars = scene.sidecars();
    let redirection = scene.redirect(&sidecars, false, Limits::default());
    let call = scene.start("client-app", &format!("call {SERVICE}:80 100000"));
    assert_eq!(call.line(), format!("done 100000 {SERVICE}:80"), "also the peer's name is as dialled");
    assert_eq!(sidecars.outbound.line(), format!("origin {SERVICE}:80"));
    assert_eq!(sidecars.inbound.line(), format!("origin {SERVER}:{PORT}"));
    let counters = redirection.counters().expect("counters");
    assert_eq!((counters.redirected, counters.answered, counters.steered), (1, 2, 1), "{counters:?}");
    assert_eq!((counters.refused, counters.orphaned, counters.moved), (0, 0, 0), "{counters:?}");
    drop(redirection);
    assert!(nothing_attached(), "{:?}", attached());
}

#[test]
fn loopback_and_processes_outside_the_cgroup_are_left_alone() {
    let scene = Scene::new();
    let sidecars = scene.sidecars();
    let redirection = scene.redirect(&sidecars, false, Limits::default());
    // The relay sees a connection that nobody led to it.
    let local = scene.start("client-app", &format!("call 127.0.0.1:{OUTBOUND} 10"));
    assert_eq!(local.line(), format!("done 10 127.0.0.1:{OUTBOUND}"));
    assert!(sidecars.outbound.line().starts_with("no origin"));
    assert_eq!(redirection.counters().expect("counters").redirected, 0);
    // From elsewhere the service does not exist; the workload is reached through its own sidecar only.
    let outside = scene.start("outside", &format!("call {SERVICE}:80 10"));
    assert!(outside.line().starts_with("failed"));
    let direct = scene.start("outside", &format!("call {SERVER}:{PORT} 10"));
    assert_eq!(direct.line(), format!("done 10 {SERVER}:{PORT}"));
    assert_eq!(redirection.counters().expect("counters").redirected, 0);
    // Within the workload's namespace the application is reached itself.
    let before = redirection.counters().expect("counters").steered;
    let inside = scene.start("server-app", &format!("call {SERVER}:{PORT} 10"));
    assert_eq!(inside.line(), format!("done 10 {SERVER}:{PORT}"));
    assert_eq!(redirection.counters().expect("counters").steered, before);
}

#[test]
fn a_sidecar_that_is_gone_is_not_bypassed() {
    let scene = Scene::new();
    let sidecars = scene.sidecars();
    let redirection = scene.redirect(&sidecars, false, Limits::default());
    let crate::scene::Sidecars { app, outbound, inbound } = sidecars;
    drop(inbound);
    let call = scene.start("outside", &format!("call {SERVER}:{PORT} 10"));
    assert_eq!(call.line(), "failed ConnectionRefused");
    assert_eq!(redirection.counters().expect("counters").orphaned, 1);
    drop((app, outbound));
}

#[test]
fn a_full_table_refuses_and_evicts_nothing() {
    const ROOM: u32 = 4;
    let scene = Scene::new();
    let sidecars = scene.sidecars();
    let redirection = scene.redirect(&sidecars, false, Limits { connections: ROOM });
    // One that waits in its queue, and nobody accepts; the others stay under way.
    let crate::scene::Sidecars { app, outbound, inbound } = sidecars;
    drop(outbound);
    let queue = scene.start("client-proxy", &format!("backlog {}:{OUTBOUND}", Ipv4Addr::LOCALHOST));
    assert_eq!(queue.line(), "backlog listens");
    let callers = scene.start("client-app", &format!("attempt {SERVICE}:80 10"));
    let mut said: Vec<String> = Vec::new();
    while said.last().is_none_or(|it| it != "attempted") {
        said.push(callers.line());
    }
    let refused = said.iter().filter(|it| it.contains("ConnectionRefused")).count();
    let begun = said.iter().filter(|it| it.contains("InProgress") || *it == "connected").count();
    // The one in the queue arrived and left its row.
    assert_eq!((begun, refused), (ROOM as usize + 1, 10 - ROOM as usize - 1), "{said:?}");
    assert_eq!(redirection.counters().expect("counters").refused, refused as u64);
    drop((callers, queue));
    // Rows went with their sockets: there is room again.
    let outbound = scene.start("client-proxy", &format!("relay 127.0.0.1:{OUTBOUND} {SERVER}:{PORT}"));
    assert_eq!(outbound.line(), "relay listens");
    for _ in 0..2 * ROOM {
        let call = scene.start("client-app", &format!("call {SERVICE}:80 10"));
        assert_eq!(call.line(), format!("done 10 {SERVICE}:80"));
        assert_eq!(outbound.line(), format!("origin {SERVICE}:80"));
    }
    drop((app, inbound));
}
