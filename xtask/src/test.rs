//! Every tier of tests, in the order of what they cost. A tier that can't run fails.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail};

use crate::{
    other_layout,
    reachable::Testbox,
    setup,
    shell::{self, Beside, execute, output},
};

/// Names the workloads' program to tests.
const TESTBOX: &str = "WABE_TESTBOX";

/// Sets up, then runs all tiers; the first that fails ends it, but of the last two, which run side by side.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    if output("id", &["-u"]).as_deref().map(str::trim) != Some("0") {
        bail!("the tests load eBPF programs and make network namespaces: run them as root");
    }
    tier("format", || {
        shell::run("cargo fmt --all --check")?;
        shell::run("cargo fmt --manifest-path ebpf/Cargo.toml --check")?;
        shell::run("cargo fmt --manifest-path lab/ebpf/Cargo.toml --check")
    })?;
    tier("lints", || shell::run("cargo clippy --quiet --workspace --all-targets -- -D warnings"))?;
    tier("build", || shell::run("cargo build --quiet --workspace"))?;
    let testbox = Testbox::put()?;
    tier("unit, table and property tests; programs and namespaces of single crates", || {
        let arguments = ["test", "--quiet", "--workspace", "--exclude", "wabe-tests"];
        execute(Command::new("cargo").args(arguments).env(TESTBOX, testbox.program()))
    })?;
    let mut other_layout = None;
    tier("build with another layout of tables, for upgrades", || {
        other_layout = Some(other_layout::build()?);
        Ok(())
    })?;
    // Most of the time live tests wait for something.
    let kernel61 = Beside::begin("kernel61")?;
    let live = tier(
        "live: a whole mesh, real cgroups, real connections; Debian's 6.1 kernel begins beside it",
        || {
            // One test at a time: several count what is on the machine, and two cores are few.
            let arguments = ["test", "--package", "wabe-tests", "--", "--test-threads=1", "--show-output"];
            let mut command = Command::new("cargo");
            command.args(arguments).env(TESTBOX, testbox.program());
            execute(command.envs(other_layout.iter().map(|path| ("WABE_OTHER_LAYOUT", path))))
        },
    );
    let kernel61 = tier("Debian's 6.1 kernel: its verifier, and live tests", || kernel61.end());
    match (live, kernel61) {
        (Err(live), Err(kernel61)) => bail!("{live:#}\n{kernel61:#}"),
        (live, kernel61) => live.and(kernel61),
    }
}

fn tier(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    println!("== {name}");
    work()?;
    println!("== {name}: passed in {} s", start.elapsed().as_secs());
    Ok(())
}
