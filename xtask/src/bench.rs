//! The benchmark: builds `wabe` and `wabe-bench` as they are to be shipped, then measures.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{
    setup,
    shell::{self, execute, output, root},
};

/// `iptables-legacy-restore`, for the bridge as nodes have it, `ip`, and `bpftool`, which tells the maps' memory.
const TOOLS: [(&str, &str); 3] = [
    ("/usr/sbin/iptables-legacy-restore", "iptables"),
    ("/usr/bin/ip", "iproute2"),
    ("/usr/sbin/bpftool", "bpftool"),
];

/// As it is to be shipped; where figures mean nothing, as it is built in half the time.
const PROFILES: [&str; 2] = ["dist", "release"];

/// Builds, and passes the words on: `wabe-bench` knows them.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    setup::run()?;
    setup::packages(&TOOLS)?;
    let profile = PROFILES[usize::from(words.contains(&"--quick"))];
    shell::run(&format!("cargo build --profile {profile} --quiet --package wabe --package wabe-bench"))?;
    let metadata = output("cargo", &["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata.context("cargo metadata does not run")?)?;
    let target = metadata["target_directory"].as_str().map_or_else(|| root().join("target"), Into::into);
    let programs = target.join(profile);
    execute(Command::new(programs.join("wabe-bench")).arg("--wabe").arg(programs.join("wabe")).args(words))
}
