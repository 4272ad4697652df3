//! The other programs that take part: where they are, which they are, and how to get one that is missing.
//!
//! All but Envoy come from the distribution. Envoy the lab gets by itself: see [`envoy()`].

use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::results;

mod digest;
mod envoy;
pub mod nginx;
mod version;

pub use digest::sha256;
pub use envoy::{ENVOY_SHA256, ENVOY_VERSION, envoy, envoy_is_there};

/// Administrators' programs are not always on the path of the user who became root.
const ALSO: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What the lab knows: name, the word that asks for its version, and the command that gets it.
const KNOWN: [(&str, &str, &str); 12] = [
    ("envoy", "--version", envoy::REMEDY),
    ("nginx", "-v", "apt-get install -y nginx-light"),
    ("wrk", "-v", "apt-get install -y wrk"),
    ("h2load", "--version", "apt-get install -y nghttp2-client"),
    ("perf", "--version", "apt-get install -y linux-perf"),
    ("iptables-legacy", "-V", "apt-get install -y iptables"),
    ("iptables-nft", "-V", "apt-get install -y iptables"),
    ("nft", "-v", "apt-get install -y nftables"),
    ("ipvsadm", "--version", "apt-get install -y ipvsadm"),
    ("ipset", "--version", "apt-get install -y ipset"),
    ("ip", "-V", "apt-get install -y iproute2"),
    ("taskset", "-V", "apt-get install -y util-linux"),
];

/// A program that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// `iptables-legacy`.
    pub name: &'static str,
    /// Its file.
    pub path: PathBuf,
    /// `1.8.9`; empty if it does not tell.
    pub version: String,
    /// Of its file, hexadecimal.
    pub sha256: String,
}

/// A program that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `wrk`.
    pub name: String,
    /// The command that gets it.
    pub remedy: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is missing; get it by: {}", self.name, self.remedy)
    }
}

impl std::error::Error for Missing {}

impl From<&Tool> for results::Tool {
    fn from(tool: &Tool) -> Self {
        Self { name: tool.name.to_owned(), version: tool.version.clone(), sha256: Some(tool.sha256.clone()) }
    }
}

/// Every program that [`find`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().map(|(name, _, _)| name)
}

/// Looks for a program on the path. For Envoy see [`envoy()`], which also gets it.
///
/// # Errors
/// It is not there, can't be run or read, or the lab knows no program of this name.
pub fn find(name: &str) -> Result<Tool, Missing> {
    let path = env::var_os("PATH").unwrap_or_default();
    let also = ALSO.map(PathBuf::from);
    find_in(name, env::split_paths(&path).chain(also))
}

fn find_in(name: &str, folders: impl Iterator<Item = PathBuf>) -> Result<Tool, Missing> {
    let known = KNOWN.into_iter().find(|(known, _, _)| *known == name);
    let Some((name, ask, remedy)) = known else {
        return Err(Missing { name: name.to_owned(), remedy: "the lab knows no such program" });
    };
    let mut files = folders.map(|folder| folder.join(name));
    files.find_map(|file| look_at(name, ask, &file).ok()).ok_or(Missing { name: name.to_owned(), remedy })
}

/// A program's version and checksum.
///
/// # Errors
/// It can't be read or run.
fn look_at(name: &'static str, ask: &str, path: &Path) -> Result<Tool> {
    let sha256 = sha256(path)?;
    // Some tell it on stderr, and wrk fails after telling it.
    let output = Command::new(path).arg(ask).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} could not be run", path.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let version = version::parse(&String::from_utf8_lossy(&text)).unwrap_or_default().to_owned();
    Ok(Tool { name, path: path.to_owned(), version, sha256 })
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// It can't be started, or fails; with what it wrote to stderr.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = || command_line(command);
    let name = name();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} could not be run"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name} ended with {}: {}", output.status, stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn command_line(command: &Command) -> String {
    let words: Vec<OsString> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(Into::into).collect();
    words.join(" ".as_ref()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_the_command_that_gets_it() {
        for (name, message) in [
            ("wrk", "wrk is missing; get it by: apt-get install -y wrk"),
            ("h2load", "h2load is missing; get it by: apt-get install -y nghttp2-client"),
            ("perf", "perf is missing; get it by: apt-get install -y linux-perf"),
            ("nft", "nft is missing; get it by: apt-get install -y nftables"),
        ] {
            let nowhere = [PathBuf::from("/nonexistent")];
            assert_eq!(find_in(name, nowhere.into_iter()).expect_err("nowhere").to_string(), message);
        }
    }

    #[test]
    fn a_program_that_the_lab_does_not_know_is_not_looked_for() {
        assert_eq!(find("sh").expect_err("unknown").remedy, "the lab knows no such program");
    }

    #[test]
    fn a_program_that_fails_is_told_with_its_words() {
        let error = run(Command::new("sh").args(["-c", "echo no luck >&2; exit 3"])).expect_err("it fails");
        let error = error.to_string();
        assert!(error.contains("no luck") && error.contains("exit status: 3"), "{error}");
    }
}
