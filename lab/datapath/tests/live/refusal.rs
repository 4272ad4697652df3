//! What the lab must not touch, and must not leave.

use std::{fs::File, os::fd::AsFd as _, path::Path};

use wabe_lab_datapath::{Error, Limits, Pods, Redirection, SocketToSocket, listener_of, probe};

use crate::scene::{INBOUND, PORT, SERVER, Scene, attached, cgroup2, nothing_attached};

#[test]
fn this_machine_can_run_them() {
    let _scene = Scene::new();
    assert_eq!(probe(), Ok(()));
}

#[test]
fn the_root_of_the_cgroups_is_refused_by_whatever_path() {
    let _scene = Scene::new();
    let root = cgroup2();
    let around = root.join("wabe-lab-test-arm/..");
    for path in [root.as_path(), &around, Path::new("/tmp")] {
        let refused = SocketToSocket::attach(path, Limits::default());
        assert!(matches!(refused, Err(Error::Foreign { .. })), "{}: {refused:?}", path.display());
    }
    assert!(attached().is_empty());
}

#[test]
fn the_hosts_network_namespace_is_refused() {
    let scene = Scene::new();
    let sidecars = scene.sidecars();
    for path in
        ["/proc/1/ns/net", "/proc/self/ns/net", "/proc/thread-self/ns/net", "/proc/self/ns/uts", "/dev/null"]
    {
        // Where process 1 is hidden, nobody can hold its namespace.
        let Ok(netns) = File::open(path) else { continue };
        let group = scene.group("client-app");
        let pods = Pods {
            client_app: &group,
            client_proxy: &group,
            server_app: &group,
            server_proxy: &group,
            server_netns: netns.as_fd(),
            server_address: SERVER,
            server_port: PORT,
            inbound_listener: listener_of(sidecars.inbound.pid(), INBOUND).expect("listener"),
            sockmap: false,
            limits: Limits::default(),
        };
        let refused = Redirection::attach(&pods);
        // A namespace of another kind is left to the kernel.
        let by_kernel = path.ends_with("uts") && matches!(refused, Err(Error::Program { .. }));
        assert!(by_kernel || matches!(refused, Err(Error::Foreign { .. })), "{path}: {refused:?}");
    }
    assert!(attached().is_empty());
    assert!(matches!(listener_of(sidecars.inbound.pid(), 1), Err(Error::NoListener { .. })));
}

#[test]
fn who_is_killed_leaves_nothing_attached() {
    let scene = Scene::new();
    let holder = scene.start("outside", &format!("hold {}", scene.cgroup.display()));
    assert_eq!(holder.line(), "holds");
    assert!(!attached().is_empty());
    // Dropping it kills it.
    drop(holder);
    assert!(nothing_attached(), "{:?}", attached());
}
