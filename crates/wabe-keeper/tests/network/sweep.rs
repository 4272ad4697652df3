//! Removing what a mesh left, in every state that it can have left it in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use wabe_keeper::{
    cgroup::Cgroup,
    layout::{Mesh, MeshFile, bpffs_at, find_cgroup2, mount_bpffs},
    net::NodeNetwork,
    sweep::{Leftover, inventory, sweep},
};

use super::world::{file, ip, ip_says, mesh, on_a_host};

/// A mesh that is gone when the test is, however it ends. The thread must be on the test's own host.
struct Swept(Mesh);

impl Swept {
    fn new() -> Self {
        Self(mesh())
    }

    fn cgroup(&self) -> PathBuf {
        self.0.cgroup(&find_cgroup2().unwrap())
    }
}

impl Drop for Swept {
    fn drop(&mut self) {
        if let Err(error) = sweep(&self.0) {
            eprintln!("{error}");
        }
    }
}

/// A process that never ends by itself and does not mind SIGTERM, in this cgroup.
fn stubborn(cgroup: &Path) -> Child {
    Cgroup::create(cgroup).unwrap();
    // One process from the beginning: a child born before the move would stay outside, and outlive the test.
    let script = "trap '' TERM; exec sleep 1000";
    let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
    if let Err(error) = fs::write(cgroup.join("cgroup.procs"), child.id().to_string()) {
        child.kill().unwrap();
        panic!("{error}");
    }
    child
}

fn interface_without_a_mesh(mesh: &Mesh) -> String {
    let name = mesh.host_interface();
    ip(&format!("link add {name} type veth peer name other"));
    name
}

#[test]
fn of_a_mesh_that_never_was_nothing_is_found() {
    on_a_host(|| {
        let mesh = Swept::new();
        assert_eq!(inventory(&mesh.0).unwrap(), []);
        assert_eq!(sweep(&mesh.0).unwrap(), []);
    });
}

#[test]
fn all_there_is_of_a_mesh_goes_and_nothing_of_another() {
    on_a_host(|| {
        let (mesh, other) = (Swept::new(), Swept::new());
        let make = |mesh: &Swept| -> [Child; 2] {
            file(&mesh.0).store().unwrap();
            assert_eq!(MeshFile::load(&mesh.0).unwrap(), Some(file(&mesh.0)));
            mount_bpffs(&mesh.0).unwrap();
            mount_bpffs(&mesh.0).unwrap();
            assert!(bpffs_at(&mesh.0.bpf_dir()));
            fs::create_dir(mesh.0.logs_dir()).unwrap();
            let cgroup = mesh.cgroup();
            [stubborn(&cgroup.join("keeper")), stubborn(&cgroup.join("w/7/its own/below"))]
        };
        let nft = |script: String| {
            assert!(Command::new("nft").arg(script).status().unwrap().success());
        };
        let children = make(&mesh);
        let others = make(&other);
        let interface = interface_without_a_mesh(&mesh.0);
        let kept = other.0.host_interface();
        ip(&format!("link add {kept} type veth peer name more"));
        for mesh in [&mesh, &other] {
            let (table, interface) = (mesh.0.nft_table(), mesh.0.host_interface());
            nft(format!(
                "table inet {table} {{ chain out {{ type nat hook postrouting priority 100; \
                 oifname != \"{interface}\" masquerade; }}; }}"
            ));
        }
        // Only called so.
        let stranger = Swept::new();
        nft(format!("add table inet {}", stranger.0.nft_table()));
        assert_eq!(inventory(&stranger.0).unwrap(), []);
        let before = inventory(&other.0).unwrap();

        let found = sweep(&mesh.0).unwrap();
        for mut child in children {
            let killed = |it: &&Leftover| matches!(it, Leftover::Process { pid, .. } if *pid == child.id());
            assert_eq!(found.iter().filter(killed).count(), 1, "{found:?}");
            assert!(!child.wait().unwrap().success());
        }
        let cgroups = found.iter().filter(|it| matches!(it, Leftover::Cgroup(_))).count();
        assert_eq!(cgroups, 6, "{found:?}");
        assert!(found.contains(&Leftover::Mount(mesh.0.bpf_dir())), "{found:?}");
        assert!(found.contains(&Leftover::Interface(interface.clone())), "{found:?}");
        assert!(found.contains(&Leftover::Table(mesh.0.nft_table())), "{found:?}");
        assert!(found.contains(&Leftover::Folder(mesh.0.run_dir())), "{found:?}");
        assert_eq!(inventory(&mesh.0).unwrap(), []);
        assert_eq!(sweep(&mesh.0).unwrap(), []);
        assert!(!ip_says("-o link").contains(&interface));
        assert!(!mesh.0.run_dir().exists() && !mesh.cgroup().exists());

        assert_eq!(inventory(&other.0).unwrap(), before);
        assert!(before.len() >= 10, "{before:?}");
        sweep(&other.0).unwrap();
        for mut child in others {
            child.wait().unwrap();
        }
    });
}

#[test]
fn half_made_meshes_go() {
    on_a_host(|| {
        let half_made: [fn(&Swept); 6] = [
            |mesh| fs::create_dir_all(mesh.0.run_dir()).unwrap(),
            |mesh| {
                fs::create_dir_all(mesh.0.run_dir()).unwrap();
                fs::write(mesh.0.mesh_file(), "{\"name\":").unwrap();
                assert!(MeshFile::load(&mesh.0).unwrap_err().to_string().contains("wabe down --name"));
            },
            |mesh| mount_bpffs(&mesh.0).unwrap(),
            |mesh| {
                mount_bpffs(&mesh.0).unwrap();
                // Twice on one folder, as no mesh does it.
                rustix::mount::mount(
                    "bpf",
                    mesh.0.bpf_dir(),
                    "bpf",
                    rustix::mount::MountFlags::empty(),
                    None,
                )
                .unwrap();
                fs::create_dir(mesh.0.bpf_dir().join("folder")).unwrap();
            },
            |mesh| drop(Cgroup::create(mesh.cgroup()).unwrap()),
            |mesh| drop(interface_without_a_mesh(&mesh.0)),
        ];
        for (n, make) in half_made.into_iter().enumerate() {
            let mesh = Swept::new();
            make(&mesh);
            assert_ne!(sweep(&mesh.0).unwrap(), [], "{n}");
            assert_eq!(inventory(&mesh.0).unwrap(), [], "{n}");
        }
    });
}

#[test]
fn a_network_whose_owner_was_killed_is_taken_off_the_host() {
    on_a_host(|| {
        let mesh = Swept::new();
        let links = ip_says("-o link");
        let network = NodeNetwork::create(&file(&mesh.0)).unwrap();
        // Whoever made it never gets to tidy up.
        std::mem::forget(network);
        assert_eq!(sweep(&mesh.0).unwrap(), [Leftover::Interface(mesh.0.host_interface())]);
        assert_eq!(ip_says("-o link"), links);
    });
}

#[test]
fn an_interface_of_the_same_name_that_says_whose_it_is_stays() {
    on_a_host(|| {
        let mesh = Swept::new();
        let name = interface_without_a_mesh(&mesh.0);
        ip(&format!("link set {name} alias somebody"));
        assert_eq!(sweep(&mesh.0).unwrap(), []);
        assert!(ip_says("-o link").contains(&name));
        let bridge = Swept::new();
        ip(&format!("link add {} type bridge", bridge.0.host_interface()));
        assert_eq!(sweep(&bridge.0).unwrap(), []);
        assert!(ip_says("-o link").contains(&bridge.0.host_interface()));
    });
}
