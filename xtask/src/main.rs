//! `cargo xtask`: what one does with this repository. Every step is idempotent and quick when there is nothing to do.
#![forbid(unsafe_code)]

mod demo;
mod kernel61;
mod setup;
mod shell;
mod test;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo      installs what is missing, builds, starts the example mesh and shows what to look at; Ctrl-C stops it
  demo --once   the same, but ends by itself once everything was shown
  test      installs what is missing and runs every tier of tests
  setup     only installs what is missing (Debian; needs root)
  kernel61  loads every eBPF program and runs live tests on Debian's 6.1 kernel in a virtual machine";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["setup"] => setup::run(),
        ["demo"] => demo::run(demo::Ending::OnInterrupt),
        ["demo", "--once"] => demo::run(demo::Ending::ByItself),
        ["test"] => test::run(),
        ["kernel61"] => kernel61::run(),
        _ => bail!("{USAGE}"),
    }
}
