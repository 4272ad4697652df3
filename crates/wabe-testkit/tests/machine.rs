//! The pretend machine, with scripts in the place of `wabe`: does it see and remove what a mesh leaves behind?

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use wabe_testkit::{Inventory, Machine, NetworkNamespace, TestMesh};

/// `up` makes a cgroup, a mount and a process; `down` does what the test says.
struct FakeWabe {
    folder: tempfile::TempDir,
}

impl FakeWabe {
    fn new(down: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!(
            r#"#!/bin/sh
[ "$1" = --name ] || exit 9
name=$2; state=/run/wabe/$2; cgroup={root}/wabe-$2
case $3 in
up)
    mkdir -p $state/bpf $cgroup/workload || exit 1
    mount -t tmpfs none $state/bpf || exit 1
    sleep 600 & echo $! > $cgroup/workload/cgroup.procs ;;
down)
    {down} ;;
clean)
    echo 1 > $cgroup/cgroup.kill
    while ! grep -q 'populated 0' $cgroup/cgroup.events; do :; done
    rmdir $cgroup/workload $cgroup && umount $state/bpf && rm -r $state; rmdir /run/wabe 2>/dev/null || : ;;
esac
"#,
            root = cgroup_root().display()
        );
        let path = folder.path().join("wabe");
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("wabe")
    }
}

fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let line =
        mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("cgroup v2 is mounted");
    line.split(' ').nth(1).expect("a mount has a place").into()
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

fn is_clean(name: &str) -> bool {
    !cgroup_root().join(format!("wabe-{name}")).exists() && !Path::new("/run/wabe").join(name).exists()
}

#[test]
fn a_machine_has_nothing_but_a_loopback_that_works() {
    let wabe = FakeWabe::new("true");
    let machine = Machine::with_wabe(&wabe.path());
    let host = NetworkNamespace::current().expect("a namespace").number();
    assert_ne!(machine.namespace().number(), host);
    let names = Inventory::take_in(machine.namespace());
    let interfaces: Vec<_> = names.of_kind("interface").map(|it| it.what.as_str()).collect();
    assert!(interfaces.contains(&"lo") && !interfaces.contains(&"eth0"), "{interfaces:?}");
    machine.namespace().run(|| {
        let listener = std::net::TcpListener::bind("[::1]:0").expect("lo is up");
        std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("lo works");
    });
}

#[test]
fn commands_run_on_the_machine() {
    let wabe = FakeWabe::new("true");
    let machine = Machine::with_wabe(&wabe.path());
    let mut command = Command::new("readlink");
    command.arg("/proc/self/ns/net");
    let seen = machine.run(command).success().stdout;
    assert_eq!(seen.trim(), format!("net:[{}]", machine.namespace().number()));
}

#[test]
fn is_content_with_a_down_that_leaves_nothing() {
    let wabe = FakeWabe::new("exec $0 --name $name clean");
    let mesh = TestMesh::up_on(Machine::with_wabe(&wabe.path()), "");
    let name = mesh.name().to_owned();
    assert!(!is_clean(&name), "the fake made something");
    drop(mesh);
    assert!(is_clean(&name));
}

#[test]
fn complains_of_a_down_that_leaves_things_and_removes_them() {
    let wabe = FakeWabe::new("true");
    let mesh = TestMesh::up_on(Machine::with_wabe(&wabe.path()), "");
    let name = mesh.name().to_owned();
    let panic = catch_unwind(AssertUnwindSafe(|| drop(mesh))).expect_err("things were left");
    let text = message(&*panic);
    assert!(text.contains("left behind") && text.contains(&format!("mount /run/wabe/{name}/bpf")), "{text}");
    assert!(is_clean(&name));
}

#[test]
fn complains_of_a_down_that_fails_with_the_line_to_run_it_again() {
    let wabe = FakeWabe::new("echo sorry >&2; exit 4");
    let mesh = TestMesh::up_on(Machine::with_wabe(&wabe.path()), "");
    let name = mesh.name().to_owned();
    let panic = catch_unwind(AssertUnwindSafe(|| drop(mesh))).expect_err("down failed");
    let text = message(&*panic);
    assert!(text.contains("sorry") && text.contains(&format!("--name {name} down")), "{text}");
    assert!(text.contains("nsenter --net=/proc/"), "{text}");
    assert!(is_clean(&name));
}

#[test]
fn a_sweep_removes_what_a_dead_test_left_and_spares_what_lives() {
    // Nobody holds this name's lock: no process has this id (the kernel's highest is 4194304).
    let dead = "t-4194999-0";
    let wabe = FakeWabe::new("exec $0 --name $name clean");
    let living = TestMesh::up_on(Machine::with_wabe(&wabe.path()), "");
    let up = Command::new(wabe.path()).args(["--name", dead, "up"]).status().expect("starts");
    assert!(up.success());
    Machine::sweep_leftovers();
    assert!(is_clean(dead));
    assert!(!is_clean(living.name()));
}

#[test]
fn an_inventory_tells_what_came_and_what_is_left_over() {
    let wabe = FakeWabe::new("exec $0 --name $name clean");
    let machine = Machine::with_wabe(&wabe.path());
    let before = Inventory::take_in(machine.namespace());
    let ip = |args: &[&str]| {
        let mut command = Command::new("ip");
        command.args(args);
        let _ = machine.run(command).success();
    };
    ip(&["link", "add", "leak0", "type", "veth", "peer", "name", "leak1"]);
    ip(&["rule", "add", "fwmark", "7", "lookup", "77"]);
    ip(&["route", "add", "192.0.2.0/24", "dev", "lo", "table", "77"]);
    let came = Inventory::diff(&before, &Inventory::take_in(machine.namespace()));
    let mut of_network: Vec<_> = came
        .iter()
        .filter(|it| ["+ int", "+ rou", "+ rul"].iter().any(|kind| it.starts_with(kind)))
        .collect();
    of_network.sort();
    let rules = before.of_kind("rule").filter(|it| it.what.starts_with("IPv4")).count();
    let routes = before.of_kind("route").filter(|it| it.what.starts_with("IPv4")).count();
    let expected = [
        "+ interface leak0".to_owned(),
        "+ interface leak1".to_owned(),
        format!("+ route IPv4 {}", routes + 1),
        format!("+ rule IPv4 {}", rules + 1),
    ];
    assert_eq!(of_network, expected.iter().collect::<Vec<_>>());
    let left = before.left_over(machine.namespace(), Duration::ZERO);
    assert!(left.contains(&"+ interface leak0".to_owned()), "{left:?}");
}
