//! Running programs.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs it to its end and returns what it printed.
///
/// # Errors
/// It can't be started, or fails; with what it wrote to stderr.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    // What it says is shown to people.
    command.env("RUST_BACKTRACE", "0");
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} could not be run"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `ip` with words.
pub(crate) fn ip(line: &str) -> Result<String> {
    run(Command::new("ip").args(line.split_whitespace()))
}
