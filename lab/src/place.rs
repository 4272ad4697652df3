//! Where a run keeps its things, and how they go again: also those of a run that was killed.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

pub(crate) mod cgroup;
pub(crate) mod command;

use cgroup::Cgroup;

/// A folder that workloads see too, and from which programs may be run.
const FOLDER: &str = "/var/lib/wabe-lab";
/// Other programs that the lab installed; they stay between runs.
const PEERS: &str = "/var/lib/wabe-lab-peers";
/// Held while a run lasts. Removing it would let a third run lock another file of that name, so it stays.
const LOCK: &str = "/run/wabe-lab.lock";
/// What the names of network namespaces begin with, and the name of the cgroup.
const PREFIX: &str = "wabe-lab";
/// What the names of meshes begin with.
const MESH: &str = "lab-";

/// This run's place; dropped, nothing is left but the lock file and the installed peers.
#[derive(Debug)]
pub(crate) struct Place {
    wabe: PathBuf,
    interrupted: Arc<AtomicBool>,
    _lock: File,
}

impl Place {
    /// Takes the place, removing what an earlier run left there. `wabe` is the program whose mesh is measured, and whose
    /// `lab load` makes the load.
    ///
    /// # Errors
    /// Not root, another run is under way, or something left can't be removed.
    pub(crate) fn take(wabe: &Path) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("the lab makes network namespaces and loads eBPF programs: run it as root");
        }
        let lock = File::create(LOCK).with_context(|| format!("creating {LOCK}"))?;
        if lock.try_lock().is_err() {
            bail!(
                "another lab is running ({LOCK} is locked): wait for its end, two at once would measure each other"
            );
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        let place = Self { wabe: wabe.to_path_buf(), interrupted, _lock: lock };
        place.sweep().context("removing what an earlier run of the lab left")?;
        fs::create_dir_all(FOLDER).with_context(|| format!("creating {FOLDER}"))?;
        fs::copy(wabe, place.program()).context("copying `wabe` to where workloads find it")?;
        fs::create_dir(place.scratch())
            .and_then(|()| fs::set_permissions(place.scratch(), Permissions::from_mode(0o1777)))
            .with_context(|| format!("making {}", place.scratch().display()))?;
        Ok(place)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(FOLDER)
    }

    /// Where workloads may write, which are nobody.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder().join("scratch")
    }

    /// Where peers are installed.
    pub(crate) fn peers() -> &'static Path {
        Path::new(PEERS)
    }

    /// `wabe`, where workloads find it.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder().join("wabe")
    }

    /// The program that is measured.
    pub(crate) fn wabe(&self) -> &Path {
        &self.wabe
    }

    /// The full name of a network namespace.
    pub(crate) fn namespace(name: &str) -> String {
        format!("{PREFIX}-{name}")
    }

    /// The full name of a mesh.
    pub(crate) fn mesh(name: &str) -> String {
        format!("{MESH}{name}")
    }

    /// A cgroup below the lab's own, made anew.
    pub(crate) fn cgroup(path: &str) -> Result<Cgroup> {
        Cgroup::make(&format!("{PREFIX}/{path}"))
    }

    /// Writes a file that every user may read, and tells its path.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.folder().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Set once Ctrl-C was pressed.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Fails once Ctrl-C was pressed.
    pub(crate) fn check(&self) -> Result<()> {
        if self.interrupted() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Waits until `ready` no longer fails; ends early on Ctrl-C.
    ///
    /// # Errors
    /// The last error of `ready` after `patience`.
    pub(crate) fn wait(&self, patience: Duration, mut ready: impl FnMut() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            self.check()?;
            match ready() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Removes processes, meshes, cgroups, namespaces and files of a run, whatever is there of them.
    fn sweep(&self) -> Result<()> {
        for name in names("/run/wabe", MESH) {
            command::run(Command::new(&self.wabe).args(["--name", &name, "down"]))?;
        }
        cgroup::remove(PREFIX)?;
        for name in names("/run/netns", &format!("{PREFIX}-")) {
            command::ip(&format!("netns delete {name}"))?;
        }
        match fs::remove_dir_all(FOLDER) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context(FOLDER),
            _ => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.sweep() {
            eprintln!("cleaning up: {error:#}; the next run tries again");
        }
    }
}

fn names(folder: &str, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .filter(|it| it.starts_with(prefix))
        .collect()
}
