//! Runs a command to its end, with a limit to patience.

use std::{
    fmt,
    fs::File,
    io::{Read as _, Seek as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::system::check;

/// How long a command may take unless a test says otherwise; where `WABE_TEST_SLOWNESS` is set, that many times as
/// long, like every other wait.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A time that is meant for a common machine, on this one: `WABE_TEST_SLOWNESS` says how many times slower it is (a
/// whole number; 1 if unset).
///
/// # Panics
/// If it is set to something else.
pub fn scaled(patience: Duration) -> Duration {
    let factor = std::env::var("WABE_TEST_SLOWNESS").map_or(1, |text| {
        text.parse().unwrap_or_else(|_| panic!("WABE_TEST_SLOWNESS={text} is no whole number"))
    });
    patience * factor
}

/// A command that has ended.
#[derive(Clone, Debug)]
#[must_use]
pub struct Finished {
    /// The line to run it again by hand.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: String,
    /// What it wrote.
    pub stderr: String,
    /// How long it took. For the screen; not to be asserted.
    pub took: Duration,
}

impl Finished {
    /// Itself if the exit status is 0.
    ///
    /// # Panics
    /// If it is not, with everything one needs to see why.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "failed: {self}");
        self
    }

    /// Its exit status; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it wrote to stdout, as JSON.
    ///
    /// # Panics
    /// If that is no JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// What it wrote to stdout, as one JSON value a line.
    ///
    /// # Panics
    /// If a line is no JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line);
        self.stdout
            .lines()
            .map(|line| parse(line).unwrap_or_else(|error| panic!("no JSON ({error}): {self}")))
            .collect()
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, status, stdout, stderr, took } = self;
        write!(f, "{status} after {took:.1?}\nby hand: {line}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}

/// Runs `command` to its end; `patience` is [`scaled`]. Its output goes through files, not pipes: a daemon that it leaves behind with them open
/// must not keep a test waiting.
///
/// # Panics
/// If it can't be started, or takes longer than `patience`; then it and its process group are killed first.
#[track_caller]
pub(crate) fn run(command: Command, line: String, patience: Duration) -> Finished {
    run_with(command, line, patience, Stdio::null())
}

/// The same with something to read.
#[track_caller]
pub(crate) fn run_with(mut command: Command, line: String, patience: Duration, stdin: Stdio) -> Finished {
    let mut stdout = tempfile::tempfile().expect("a temporary file");
    let mut stderr = tempfile::tempfile().expect("a temporary file");
    command.stdin(stdin).stdout(clone(&stdout)).stderr(clone(&stderr)).process_group(0);
    let start = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("can't start ({error}): {line}"));
    let in_time = wait(&child, scaled(patience));
    if !in_time {
        kill_group(&child);
    }
    let status = child.wait().expect("invariant: a child of ours can be waited for");
    let finished =
        Finished { line, status, stdout: all(&mut stdout), stderr: all(&mut stderr), took: start.elapsed() };
    assert!(in_time, "killed, as it took longer than {patience:?}: {finished}");
    finished
}

/// Waits for the end of a child without reaping it; false if `patience` ended first.
pub(crate) fn wait(child: &Child, patience: Duration) -> bool {
    let pid = libc::pid_t::try_from(child.id()).expect("invariant: the kernel's process ids are ints");
    // SAFETY: no memory is passed.
    let descriptor =
        check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).expect("a child has a pidfd");
    let descriptor = i32::try_from(descriptor).expect("invariant: descriptors are ints");
    // SAFETY: the descriptor was just made and nobody else has it.
    let owned = unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(descriptor) };
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut poll = libc::pollfd { fd: owned.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which lives until the call returns.
        let ready = unsafe { libc::poll(&raw mut poll, 1, i32::try_from(left).unwrap_or(i32::MAX)) };
        if ready > 0 {
            return true;
        }
        if ready == 0 && left == 0 {
            return false;
        }
        // Else a signal interrupted the wait, or it ended within the last millisecond.
    }
}

/// Kills a child and what it started, unless that left its process group. The child must not have been reaped yet.
pub(crate) fn kill_group(child: &Child) {
    let pid = libc::pid_t::try_from(child.id()).expect("invariant: the kernel's process ids are ints");
    // SAFETY: no memory is passed. The id can't belong to others: the child, whose group it is, was not reaped.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
}

fn clone(file: &File) -> Stdio {
    file.try_clone().expect("a descriptor to spare").into()
}

fn all(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Finished {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, format!("sh -c '{script}'"), patience)
    }

    #[test]
    fn tells_output_and_exit_status() {
        let finished = shell("echo '{\"a\":1}'; echo no >&2; exit 3", PATIENCE);
        assert_eq!((finished.code(), finished.stderr.as_str()), (Some(3), "no\n"));
        assert_eq!(finished.json_lines()[0]["a"], 1);
    }

    #[test]
    fn does_not_wait_for_a_daemon_that_keeps_the_output_open() {
        let finished = shell("sleep 600 & echo $!", PATIENCE).success();
        let daemon: libc::pid_t = finished.stdout.trim().parse().expect("a process id");
        // SAFETY: no memory is passed; the process was started by the line above.
        assert_eq!(unsafe { libc::kill(daemon, libc::SIGKILL) }, 0, "the daemon still ran");
    }

    #[test]
    #[should_panic(expected = "by hand: sh -c 'echo begun; sleep 600'")]
    fn kills_what_takes_too_long_and_says_how_to_run_it_again() {
        drop(shell("echo begun; sleep 600", Duration::from_millis(50)));
    }

    #[test]
    #[should_panic(expected = "--- stderr\nbroken\n---")]
    fn a_failure_shows_what_the_command_wrote() {
        drop(shell("echo broken >&2; false", PATIENCE).success());
    }
}
