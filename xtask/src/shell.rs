//! Running programs.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// Runs a command line of plain words in the repository's root, showing it first.
pub(crate) fn run(line: &str) -> Result<()> {
    println!("+ {line}");
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    execute(Command::new(program).args(words))
}

/// Runs a command in the repository's root; fails if it does.
pub(crate) fn execute(command: &mut Command) -> Result<()> {
    let status =
        command.current_dir(root()).status().with_context(|| format!("{command:?} could not be run"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// What a command prints, if it succeeds.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(root()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
