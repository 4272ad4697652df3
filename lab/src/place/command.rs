//! Running programs.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Runs it to its end and returns what it printed.
///
/// # Errors
/// It can't be started, or fails; with what it wrote to stderr.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    feed(command, None)
}

/// The same with something to read.
pub(crate) fn feed(command: &mut Command, input: Option<&str>) -> Result<String> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} could not be run", command.get_program().display()))?;
    // Another thread, as a program may print before it has read everything.
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // One that ends early tells by its status.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        }
        child.wait_with_output()
    })?;
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        let said: String = said.trim().chars().take(2_000).collect();
        bail!("{command:?} ended with {}: {said}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `ip` with words.
pub(crate) fn ip(line: &str) -> Result<String> {
    run(Command::new("ip").args(line.split_whitespace()))
}
