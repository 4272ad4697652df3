//! A mesh that runs for the length of a test.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::{Finished, Machine, Running, machine::program};

/// A mesh on a [`Machine`] of its own, stopped when dropped.
#[derive(Debug)]
pub struct TestMesh {
    // Before the folder: the mesh stops first.
    machine: Machine,
    folder: TempDir,
}

impl TestMesh {
    /// `wabe up` with these manifests (YAML documents; `$TESTBOX` in them becomes the path of `wabe-testbox`).
    ///
    /// # Panics
    /// If it fails or takes longer than [`crate::PATIENCE`].
    #[track_caller]
    pub fn up(manifests: &str) -> Self {
        Self::up_on(Machine::new(), manifests)
    }

    /// The same on this machine.
    ///
    /// # Panics
    /// If it fails or takes longer than [`crate::PATIENCE`].
    #[track_caller]
    pub fn up_on(machine: Machine, manifests: &str) -> Self {
        let (mesh, finished) = Self::try_up_on(machine, manifests);
        let _ = finished.success();
        mesh
    }

    /// The same, whether `wabe up` succeeds or not.
    #[track_caller]
    pub fn try_up_on(machine: Machine, manifests: &str) -> (Self, Finished) {
        let folder = tempfile::Builder::new().prefix("wabe-test-").tempdir().expect("a temporary folder");
        open_to_all(&folder);
        let mesh = Self { machine, folder };
        let path = mesh.write("mesh.yaml", manifests);
        let finished = mesh.wabe(&["up", "-f", &path]);
        (mesh, finished)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.machine.name()
    }

    /// The machine it runs on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// `wabe --name NAME args...` to its end.
    #[track_caller]
    pub fn wabe(&self, args: &[&str]) -> Finished {
        self.machine.wabe(args)
    }

    /// `wabe args... -o json`, which must succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        self.wabe(&[args, &["-o", "json"]].concat()).success().json()
    }

    /// `wabe exec WORKLOAD -- command...` to its end.
    #[track_caller]
    pub fn exec(&self, workload: &str, command: &[&str]) -> Finished {
        self.wabe(&[&["exec", workload, "--"], command].concat())
    }

    /// `wabe exec WORKLOAD -- wabe-testbox args...` to its end.
    #[track_caller]
    pub fn testbox(&self, workload: &str, args: &[&str]) -> Finished {
        let testbox = testbox();
        self.exec(workload, &[&[testbox.to_str().expect("a path in UTF-8")], args].concat())
    }

    /// `wabe exec WORKLOAD -- command...`, not waiting for its end.
    #[track_caller]
    pub fn start_exec(&self, workload: &str, command: &[&str]) -> Running {
        self.machine.start_wabe(&[&["exec", workload, "--"], command].concat())
    }

    /// `wabe exec WORKLOAD -- wabe-testbox args...`, not waiting for its end.
    #[track_caller]
    pub fn start_testbox(&self, workload: &str, args: &[&str]) -> Running {
        let testbox = testbox();
        self.start_exec(workload, &[&[testbox.to_str().expect("a path in UTF-8")], args].concat())
    }

    /// `wabe apply` with these manifests, whether it succeeds or not.
    #[track_caller]
    pub fn apply(&self, manifests: &str) -> Finished {
        let path = self.write(&fresh("apply"), manifests);
        self.wabe(&["apply", "-f", &path])
    }

    /// `wabe delete` with these manifests, whether it succeeds or not.
    #[track_caller]
    pub fn delete(&self, manifests: &str) -> Finished {
        let path = self.write(&fresh("delete"), manifests);
        self.wabe(&["delete", "-f", &path])
    }

    /// `wabe down`, which must succeed and leave nothing.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn down(self) {
        let _ = self.wabe(&["down"]).success();
        let left = self.machine.leftovers();
        assert!(left.is_empty(), "`wabe down` left behind: {left:#?}");
    }

    /// The path of a file with these manifests in the mesh's folder, which goes with the mesh.
    pub fn file(&self, file: &str, manifests: &str) -> String {
        self.write(file, manifests)
    }

    /// Stops it where it can't be dropped; what is wrong then, in words.
    pub(crate) fn stop(&self) -> Result<(), String> {
        let stopped = self.machine.tear_down();
        self.machine.release_name();
        fs::remove_dir_all(self.folder.path()).ok();
        stopped
    }

    fn write(&self, file: &str, manifests: &str) -> String {
        let path = self.folder.path().join(file);
        let mut text = manifests.to_owned();
        if text.contains("$TESTBOX") {
            text = text.replace("$TESTBOX", testbox().to_str().expect("a path in UTF-8"));
        }
        // Whole or not at all: a workload may be reading what another test wrote there.
        let unready = self.folder.path().join(fresh(file));
        fs::write(&unready, text).expect("a temporary folder can be written to");
        fs::rename(unready, &path).expect("our own file");
        path.to_str().expect("a path in UTF-8").to_owned()
    }
}

/// The program `wabe-testbox`: the one that `WABE_TESTBOX` names, else the one built beside this test.
///
/// # Panics
/// If it was not built.
#[track_caller]
pub fn testbox() -> PathBuf {
    program("WABE_TESTBOX", "wabe-testbox")
}

/// A name that no other test on a shared mesh uses.
fn fresh(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}.yaml", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Workloads run as `nobody`, and may have the folder as their working directory.
fn open_to_all(folder: &TempDir) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
}
