//! Running programs.

use std::{
    io,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

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

/// Runs a command, in the repository's root unless it names a folder; fails if it does.
pub(crate) fn execute(command: &mut Command) -> Result<()> {
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    let status = command.status().with_context(|| format!("{command:?} could not be run"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// One of `cargo xtask`'s commands that runs while something else does, in the time that leaves.
#[must_use]
pub(crate) struct Beside {
    command: String,
    child: Child,
    said: NamedTempFile,
}

impl Beside {
    pub(crate) fn begin(command: &str) -> Result<Self> {
        let said = NamedTempFile::new()?;
        let (output, errors) = (said.as_file().try_clone()?, said.as_file().try_clone()?);
        // It goes down with this process. Whose program may have been built anew meanwhile, so its name is no way to it.
        let mut child = Command::new("setpriv");
        child.args(["--pdeathsig", "KILL", "nice", "-n", "19"]);
        child.arg(format!("/proc/{}/exe", std::process::id())).arg(command);
        child.current_dir(root()).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = child.spawn().with_context(|| format!("{child:?} could not be run"))?;
        Ok(Self { command: command.to_owned(), child, said })
    }

    /// Waits for it, and shows what it said.
    pub(crate) fn end(mut self) -> Result<()> {
        let status = self.child.wait()?;
        io::copy(&mut self.said.reopen()?, &mut io::stdout())?;
        if !status.success() {
            bail!("{} ended with {status}", self.command);
        }
        Ok(())
    }
}

/// What a command prints, if it succeeds.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(root()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
