//! The keeper's side: starting the shim, telling it what to become, and hearing whether it did.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::wire;

/// What a process is to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// What it calls itself, if not by its program.
    pub(crate) name: Option<String>,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// All variables; `PATH` is added if missing.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_directory: PathBuf,
    /// The cgroup's folder.
    pub(crate) cgroup: PathBuf,
    /// Stays root if not given.
    pub(crate) user: Option<String>,
    /// The only ones that it has.
    pub(crate) capabilities: Vec<String>,
    pub(crate) mounts: Mounts,
    /// Its stdout and stderr are pipes made for it, and become the user's.
    pub(crate) owns_output: bool,
    /// It and its children signal only each other.
    pub(crate) keeps_signals_in: bool,
    /// The first descriptor is the network namespace to enter.
    pub(crate) has_network: bool,
    /// The next descriptor is the mount namespace of the workload's process, whose `/tmp` it shares.
    #[serde(default)]
    pub(crate) has_mounts: bool,
    /// The next descriptor is its stdin; /dev/null if not.
    pub(crate) has_stdin: bool,
    /// The last one is the program to execute, instead of the command's first word.
    #[serde(default)]
    pub(crate) has_program: bool,
}

/// What a process is given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given<'a> {
    /// The network namespace to enter.
    pub(crate) network: Option<BorrowedFd<'a>>,
    /// The mount namespace to share a `/tmp` with.
    pub(crate) mounts: Option<BorrowedFd<'a>>,
    /// /dev/null if not.
    pub(crate) stdin: Option<BorrowedFd<'a>>,
    /// What the command's first word names, if not.
    pub(crate) program: Option<BorrowedFd<'a>>,
}

/// What it sees of the file system, and of other processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mounts {
    /// Everything; for the mesh's own.
    Host,
    /// Not what steers kernel and mesh, and into no process but those it starts.
    Own {
        /// The folder with the meshes' state.
        hide: PathBuf,
        /// Folders below it to show in spite of that, read-only.
        expose: Vec<PathBuf>,
        /// Whether `/tmp` is empty and its own.
        #[serde(default)]
        private_tmp: bool,
    },
}

/// How to start the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launcher {
    /// Program and arguments that lead to [`super::run`].
    pub(crate) shim: Vec<OsString>,
}

/// A shim that was started.
#[derive(Debug)]
pub(crate) struct Shim {
    /// Its process, and later the command's.
    pub(crate) pid: u32,
    report: UnixStream,
}

impl Launcher {
    /// Starts a process that will become this. The caller waits for it by its process id.
    pub(crate) fn start(
        &self,
        launch: &Launch,
        given: Given<'_>,
        stdout: Stdio,
        stderr: Stdio,
    ) -> io::Result<Shim> {
        let (report, theirs) = UnixStream::pair()?;
        let (program, arguments) = self.shim.split_first().expect("invariant: the shim has a program");
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(OwnedFd::from(theirs)).stdout(stdout).stderr(stderr);
        let pid = spawn(command)?;
        let Given { network, mounts, stdin, program } = given;
        let all = [network, mounts, stdin, program];
        let descriptors: Vec<_> = all.iter().flatten().map(AsFd::as_fd).collect();
        let launch = Launch {
            has_network: network.is_some(),
            has_mounts: mounts.is_some(),
            has_stdin: stdin.is_some(),
            has_program: program.is_some(),
            ..launch.clone()
        };
        // If it fails the shim is gone or going, which is noticed as its end.
        let _ = wire::send(&report, &launch, &descriptors);
        Ok(Shim { pid, report })
    }
}

/// Its end is heard of where the keeper waits for all of its children, by number.
fn spawn(mut command: Command) -> io::Result<u32> {
    Ok(command.spawn()?.id())
}

impl Shim {
    /// Waits until the command was executed.
    ///
    /// # Errors
    /// A message for people: it was not, and the process is about to exit.
    pub(crate) fn executed(&self) -> Result<(), String> {
        match wire::receive::<String>(&self.report) {
            Ok(None) => Ok(()),
            Ok(Some((message, _))) => Err(message),
            Err(error) => Err(format!("it can't be confined: {error}; see its log")),
        }
    }
}
