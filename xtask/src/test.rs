//! Every tier of tests, in the order of what they cost. A tier that can't run fails.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail, ensure};

use crate::{
    failures, live_programs, other_layout,
    reachable::Testbox,
    setup,
    shell::{self, Beside, output},
};

/// Names the workloads' program to tests.
const TESTBOX: &str = "WABE_TESTBOX";

/// Sets up, then runs all tiers; the first that fails ends it, but of two that run side by side.
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
    let building = Beside::begin("other-layout")?;
    let unit = tier(
        "unit, table and property tests; programs and namespaces of single crates; a build for upgrades begins beside them",
        || {
            let arguments = ["test", "--quiet", "--workspace", "--exclude", "wabe-tests"];
            failures::execute(Command::new("cargo").args(arguments).env(TESTBOX, testbox.program()))
        },
    );
    let mut other_layout = None;
    let built = tier("build with another layout of tables, for upgrades", || {
        building.end()?;
        other_layout = Some(other_layout::build()?);
        Ok(())
    });
    both(unit, built)?;
    let live = |programs: &[String]| {
        let mut command = Command::new("cargo");
        command.args(["test", "--no-fail-fast", "--package", "wabe-tests"]).args(programs);
        // One test at a time: several count what is on the machine, and two cores are few.
        command.args(["--", "--test-threads=1", "--show-output"]).env(TESTBOX, testbox.program());
        failures::execute(command.envs(other_layout.iter().map(|path| ("WABE_OTHER_LAYOUT", path))))
    };
    let (lab, others) = lab_and_others()?;
    // Most of the time live tests wait for something.
    let kernel61 = Beside::begin("kernel61")?;
    let others = tier(
        "live: a whole mesh, real cgroups, real connections; Debian's 6.1 kernel begins beside it",
        || live(&others),
    );
    let kernel61 = tier("Debian's 6.1 kernel: its verifier, and live tests", || kernel61.end());
    both(others, kernel61)?;
    // It measures, so it has the machine for itself.
    tier("live: the lab", || live(&lab))
}

/// What is wrong with either, or both.
fn both(one: Result<()>, other: Result<()>) -> Result<()> {
    match (one, other) {
        (Err(one), Err(other)) => bail!("{one:#}\n{other:#}"),
        (one, other) => one.and(other),
    }
}

/// How cargo is told to run the lab's program of live tests, and all others.
fn lab_and_others() -> Result<(Vec<String>, Vec<String>)> {
    const LAB: &str = "lab";
    let mut names = live_programs::all()?;
    ensure!(names.remove(LAB), "no program of live tests is called `{LAB}`");
    let others = names.iter().map(|name| format!("--test={name}")).chain(["--lib".to_owned()]);
    Ok((vec![format!("--test={LAB}")], others.collect()))
}

fn tier(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    println!("== {name}");
    work()?;
    println!("== {name}: passed in {} s", start.elapsed().as_secs());
    Ok(())
}
