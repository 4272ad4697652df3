//! Every tier of tests, in the order of what they cost. A tier that can't run fails.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail};

use crate::{
    kernel61, setup,
    shell::{self, execute, output},
};

/// Sets up, then runs all tiers; the first that fails ends it.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    if output("id", &["-u"]).as_deref().map(str::trim) != Some("0") {
        bail!("the tests load eBPF programs and make network namespaces: run them as root");
    }
    tier("format", || shell::run("cargo fmt --all --check"))?;
    tier("lints", || shell::run("cargo clippy --quiet --workspace --all-targets -- -D warnings"))?;
    tier("build", || shell::run("cargo build --quiet --workspace"))?;
    tier("unit, table and property tests; programs and namespaces of single crates", || {
        shell::run("cargo test --quiet --workspace --exclude wabe-tests")
    })?;
    tier("live: a whole mesh, real cgroups, real connections", || {
        // One test at a time: several count what is on the machine, and two cores are few.
        execute(Command::new("cargo").args([
            "test",
            "--package",
            "wabe-tests",
            "--",
            "--test-threads=1",
            "--show-output",
        ]))
    })?;
    tier("Debian's 6.1 kernel: its verifier, and live tests", kernel61::run)
}

fn tier(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    println!("== {name}");
    work()?;
    println!("== {name}: passed in {} s", start.elapsed().as_secs());
    Ok(())
}
