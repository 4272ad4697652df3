//! Sockets joined to each other.

use wabe_lab_datapath::{Limits, SocketToSocket};

use crate::scene::{PORT, SERVER, SERVICE, Scene, attached, nothing_attached};

const MANY: u64 = 100 << 20;

#[test]
fn plain_workloads_exchange_100_mb_by_messages() {
    let scene = Scene::new();
    let app = scene.start("server-app", &format!("echo {PORT}"));
    assert_eq!(app.line(), "echo listens");
    let joined = SocketToSocket::attach(&scene.cgroup, Limits::default()).expect("attached");
    let call = scene.start("client-app", &format!("call {SERVER}:{PORT} {MANY}"));
    assert_eq!(call.line(), format!("done {MANY} {SERVER}:{PORT}"));
    let counters = joined.counters().expect("counters");
    assert!(counters.moved > 100 && counters.refused == 0, "{counters:?}");
    drop((joined, call, app));
    assert!(nothing_attached(), "{:?}", attached());
}

#[test]
fn sidecars_exchange_100_mb_by_messages() {
    let scene = Scene::new();
    let sidecars = scene.sidecars();
    let redirection = scene.redirect(&sidecars, true, Limits::default());
    let call = scene.start("client-app", &format!("call {SERVICE}:80 {MANY}"));
    assert_eq!(call.line(), format!("done {MANY} {SERVICE}:80"));
    assert_eq!(sidecars.outbound.line(), format!("origin {SERVICE}:80"));
    assert_eq!(sidecars.inbound.line(), format!("origin {SERVER}:{PORT}"));
    let counters = redirection.counters().expect("counters");
    assert!(counters.moved > 100 && counters.refused == 0, "{counters:?}");
    for relay in [&sidecars.outbound, &sidecars.inbound] {
        assert!(relay.peak_memory() < 64 << 10, "{} kB", relay.peak_memory());
    }
    drop((redirection, call, sidecars));
    assert!(nothing_attached(), "{:?}", attached());
}

#[test]
fn connections_beyond_the_table_go_by_tcp() {
    let scene = Scene::new();
    let app = scene.start("server-app", &format!("echo {PORT}"));
    assert_eq!(app.line(), "echo listens");
    // Room for six ends; two of them are each call's.
    let joined = SocketToSocket::attach(&scene.cgroup, Limits { connections: 1 }).expect("attached");
    let held = scene.start("client-app", &format!("attempt {SERVER}:{PORT} 5"));
    while held.line() != "attempted" {}
    let call = scene.start("client-app", &format!("call {SERVER}:{PORT} 100000"));
    assert_eq!(call.line(), format!("done 100000 {SERVER}:{PORT}"));
    let counters = joined.counters().expect("counters");
    assert!(counters.moved == 0 && counters.refused > 0, "{counters:?}");
    // With those closed there is room again.
    drop(held);
    let call = scene.start("client-app", &format!("call {SERVER}:{PORT} 100000"));
    assert_eq!(call.line(), format!("done 100000 {SERVER}:{PORT}"));
    assert!(joined.counters().expect("counters").moved > 0);
}
