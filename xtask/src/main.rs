//! `cargo xtask`: what one does with this repository. Every step is idempotent and quick when there is nothing to do.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod dist;
mod failures;
mod fuzz;
mod kernel61;
mod live_programs;
mod mutants;
mod other_layout;
mod reachable;
mod setup;
mod shell;
mod test;

use std::process::Command;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo      installs what is missing, builds, starts the example mesh and shows what to look at; Ctrl-C stops it
  demo --once   the same, but ends by itself once everything was shown
  test      installs what is missing and runs every tier of tests
  setup     only installs what is missing (Debian; needs root)
  other-layout   builds a `wabe` with another layout of tables, for tests of upgrades, and prints its path
  chaos [SECONDS [SEED]]   everything goes wrong under load, for ten minutes by default
  dist      builds `wabe` as it is to be shipped, by a profile of the proxy under traffic, and prints where it is
  bench [MEASURE...] [--rounds N] [--quick] [--out FILE.json]
            measures the mesh, so built; docs/performance.md has the measures
  mutants [PACKAGE]   changes the decisions one by one, and looks whether a test notices
  fuzz [TARGET] [--executions N]   hands inputs that nobody thought of to manifests, dns, events, client-hello, websocket,
            http1-request and http1-response, for some minutes
  fuzz TARGET --input FILE         the same with one input, which failed before
  kernel61 [PROGRAM [STEP,...]]   loads every eBPF program and runs live tests on Debian's 6.1 kernel in a virtual machine;
            with a test program: only that one, with what is otherwise left out as well, for an hour if need be
  lab61 [SCENARIO...] [--repeat N] [--out DIR]   the lab's kube-proxy arms, IPVS among them, on that kernel in that machine;
            results are marked as emulated";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["setup"] => setup::run(),
        ["demo"] => demo::run(demo::Ending::OnInterrupt),
        ["demo", "--once"] => demo::run(demo::Ending::ByItself),
        ["test"] => test::run(),
        ["other-layout"] => other_layout::build().map(|path| println!("{}", path.display())),
        ["chaos", rest @ ..] => chaos(rest),
        ["dist"] => {
            setup::run()?;
            dist::build().map(|folder| println!("{}", folder.join("wabe").display()))
        }
        ["bench", words @ ..] => bench::run(words),
        ["fuzz", words @ ..] => fuzz::run(words),
        ["kernel61", words @ ..] => kernel61::run(&kernel61::Selection::of(words)?),
        ["lab61", words @ ..] => kernel61::lab::run(&kernel61::lab::Wish::of(words)?),
        ["mutants", words @ ..] => mutants::run(words),
        _ => bail!("{USAGE}"),
    }
}

/// The live test of that name, for longer.
fn chaos(arguments: &[&str]) -> Result<()> {
    let number = |place: usize, default: u64| arguments.get(place).map_or(Ok(default), |it| it.parse());
    let (seconds, seed) = (number(0, 600)?, number(1, 1)?);
    shell::run("cargo build --quiet --workspace")?;
    shell::execute(
        Command::new("cargo")
            .args(["test", "--quiet", "--package", "wabe-tests", "--test", "chaos", "--", "--show-output"])
            .env("WABE_CHAOS_SECONDS", seconds.to_string())
            .env("WABE_TEST_SEED", seed.to_string()),
    )
}
