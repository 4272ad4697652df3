//! The benchmark: builds `wabe` and `wabe-bench` as they are to be shipped, then measures.

use std::process::Command;

use anyhow::Result;

use crate::{
    dist, setup,
    shell::{self, execute},
};

/// `iptables-legacy-restore`, for the bridge as nodes have it, `ip`, and `bpftool`, which tells the maps' memory.
const TOOLS: [(&str, &str); 3] = [
    ("/usr/sbin/iptables-legacy-restore", "iptables"),
    ("/usr/bin/ip", "iproute2"),
    ("/usr/sbin/bpftool", "bpftool"),
];

/// Builds, and passes the words on: `wabe-bench` knows them.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    setup::run()?;
    setup::packages(&TOOLS)?;
    // Where figures mean nothing, as it is built in a quarter of the time.
    let programs = if words.contains(&"--quick") {
        shell::run("cargo build --release --quiet --package wabe --package wabe-bench")?;
        dist::target()?.join("release")
    } else {
        dist::build()?
    };
    execute(Command::new(programs.join("wabe-bench")).arg("--wabe").arg(programs.join("wabe")).args(words))
}
