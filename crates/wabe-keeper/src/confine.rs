//! How a process gets into its workload: by running this program once more, as `wabe confine`, which confines itself
//! and then executes the command.
//!
//! The keeper sends a [`Launch`] over a socket that is the new process's stdin, and learns over it what went wrong;
//! the socket closes unheard when the command is executed. Doing this in a program of its own, rather than between
//! `fork` and `exec`, needs no unsafe code and may allocate.

use std::{
    convert::Infallible,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::Command,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::fcntl_dupfd_cloexec,
    process::{chdir, setsid, umask},
    thread::{LinkNameSpaceType, move_into_link_name_space, set_no_new_privs},
};

use crate::{cgroup::Cgroup, wire};

mod capabilities;
mod isolate;
mod launch;
mod mounts;
mod user;

pub(crate) use launch::{Given, Launch, Launcher, Mounts, Shim};

use capabilities::Capabilities;
use user::User;

pub(crate) use user::{is_reserved, of_role};

/// Where programs are looked for if the environment doesn't say.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `wabe confine` does: becomes the process that the keeper describes over stdin. Returns only if it can't.
///
/// To be called by a process that has one thread: users and capabilities are a thread's.
///
/// # Errors
/// A message for people; the keeper was told it too.
pub fn run() -> Result<Infallible, String> {
    let stdin = std::io::stdin();
    let report = fcntl_dupfd_cloexec(&stdin, 3).map_err(|error| format!("stdin is not open: {error}"))?;
    let received = wire::receive::<Launch>(&report).map_err(|error| {
        format!("stdin is not the keeper: {error}; `wabe confine` is for the keeper's own use")
    })?;
    let (launch, descriptors) = received.ok_or("the keeper has gone")?;
    let Err(message) = become_workload(&launch, descriptors);
    // If the keeper has gone nobody is left to hear it.
    let _ = wire::send(&report, &message, &[]);
    Err(message)
}

fn become_workload(launch: &Launch, descriptors: Vec<OwnedFd>) -> Result<Infallible, String> {
    let (program, arguments) = launch.command.split_first().ok_or("the command is empty: name a program")?;
    let mut descriptors = descriptors.into_iter();
    let network = launch.has_network.then(|| descriptors.next()).flatten();
    let main = launch.has_mounts.then(|| descriptors.next()).flatten();
    let stdin = match launch.has_stdin.then(|| descriptors.next()).flatten() {
        Some(stdin) => stdin,
        None => {
            std::fs::File::open("/dev/null").map_err(|error| format!("can't open /dev/null: {error}"))?.into()
        }
    };
    let given = launch.has_program.then(|| descriptors.next()).flatten();

    // While still root in the host's namespaces: what needs the host's files.
    let user = launch.user.as_deref().map(user::resolve).transpose()?;
    let capabilities = Capabilities::parse(&launch.capabilities)?;
    let cgroup = Cgroup::create(&launch.cgroup).map_err(|error| format!("can't open its cgroup: {error}"))?;
    cgroup.join().map_err(|error| format!("can't enter cgroup {}: {error}", launch.cgroup.display()))?;
    setsid().map_err(|error| format!("can't begin a session: {error}"))?;
    if launch.owns_output {
        own_output(user)?;
    }

    // The network first: a fresh sysfs shows the interfaces of the namespace that its mounter is in.
    if let Some(network) = network {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("can't enter the network namespace: {error}"))?;
    }
    if let Mounts::Own { hide, expose, .. } = &launch.mounts {
        mounts::confine(hide, expose)?;
    }

    // As root: what users keep below a folder of their own (a checkout in /root, say) may still be run. The program's
    // own permissions count.
    chdir(&launch.working_directory).map_err(|error| {
        format!("can't enter its working directory {}: {error}", launch.working_directory.display())
    })?;
    let opened = program
        .contains('/')
        .then(|| open(program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok())
        .flatten();

    if let Mounts::Own { private_tmp, .. } = launch.mounts {
        // Now that program and working directory were found, which may be below the host's.
        if private_tmp {
            mounts::private_tmp(main).map_err(|error| format!("can't make a /tmp of its own: {error}"))?;
        }
        // The last to change: mounts can't be changed from within.
        isolate::isolate(launch.keeps_signals_in)?;
    }

    capabilities.limit()?;
    if let Some(user) = user {
        user.become_it()?;
    }
    capabilities.keep_only(user.is_some_and(|user| !user.is_root()))?;
    set_no_new_privs(true).map_err(|error| format!("can't give up new privileges: {error}"))?;
    umask(Mode::from_raw_mode(0o022));
    rustix::stdio::dup2_stdin(&stdin).map_err(|error| format!("can't set stdin: {error}"))?;

    // The keeper opens none that a program inherits, but whoever started the keeper may have.
    close_fds::set_fds_cloexec(3, &[]);

    let execute = |path: &str| {
        let mut command = Command::new(path);
        command.args(arguments).env_clear().envs(&launch.environment);
        if !launch.environment.contains_key("PATH") {
            command.env("PATH", DEFAULT_PATH);
        }
        command.arg0(launch.name.as_ref().unwrap_or(program)).exec()
    };
    let of_descriptor = |it: &OwnedFd| execute(&format!("/proc/self/fd/{}", it.as_raw_fd()));
    let mut error = given.as_ref().map_or_else(|| execute(program), of_descriptor);
    // Behind a folder that only root enters, or below the host's /tmp.
    if let (io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound, Some(opened)) = (error.kind(), opened)
    {
        error = of_descriptor(&opened);
    }
    let whom = launch.user.as_deref().unwrap_or("root");
    Err(format!("can't execute {program}: {error}; check that it exists and that {whom} may run it"))
}

/// Lets the user open `/dev/stdout` and `/dev/stderr`, which programs (nginx, say) do to write their log.
fn own_output(user: Option<User>) -> Result<(), String> {
    let Some(user) = user else { return Ok(()) };
    user.own(rustix::stdio::stdout())?;
    user.own(rustix::stdio::stderr())
}
