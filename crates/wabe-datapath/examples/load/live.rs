//! Runs the test programs that the image brings, one after the other, and meanwhile is what process 1 is for: the
//! parent of orphans.

use std::os::unix::process::ExitStatusExt as _;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, ExitStatus},
    time::Instant,
};

use rustix::process::{Pid, WaitOptions, wait};

use super::Outcome;

/// One test program a line: its name, variables as `NAME=value`, the command.
const TESTS: &str = "/tests/list";

/// Runs all, also after a failure; fails if one failed. Nothing to run is no failure: the host knows what it asked for.
pub(super) fn run() -> Outcome<()> {
    if !Path::new(TESTS).exists() {
        return Ok(());
    }
    // Any user may make files there, and workloads run as nobody.
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777))?;
    run_command(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let mut failed = Vec::new();
    for line in fs::read_to_string(TESTS)?.lines() {
        let mut words = line.split(' ').peekable();
        let name = words.next().unwrap_or_default();
        let mut variables = Vec::new();
        while let Some(variable) = words.next_if(|word| word.contains('=')) {
            variables.extend(variable.split_once('='));
        }
        let program = words.next().ok_or("a line without a command")?;
        let begun = Instant::now();
        let status = run_command(Command::new(program).args(words).envs(variables))?;
        let took = begun.elapsed().as_secs();
        if status.success() {
            println!("ok live {name} ({took} s)");
        } else {
            println!("failed live {name}: {status} ({took} s)");
            failed.push(name.to_owned());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("live tests failed: {}", failed.join(", ")).into()) }
}

/// Runs a command to its end, reaping every orphan that ends before.
fn run_command(command: &mut Command) -> Outcome<ExitStatus> {
    let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let child = Pid::from_raw(i32::try_from(child.id())?).ok_or("a child without an id")?;
    loop {
        if let Some((ended, status)) = wait(WaitOptions::empty())?
            && ended == child
        {
            return Ok(ExitStatus::from_raw(status.as_raw()));
        }
    }
}
