//! The tools that built the object.

use std::{path::Path, process::Command};

use wabe_ebpf_build::Toolchain;

/// Compiler and linker, found as the build script finds them.
pub(crate) fn tools() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace's root");
    let found = Toolchain::find(root).expect("the tools that built the object");
    let mut lines = version(&found.rustc, "-vV");
    lines.extend(version(&found.linker, "--version"));
    lines
}

fn version(tool: &Path, option: &str) -> Vec<String> {
    let output =
        Command::new(tool).env_remove("RUSTUP_TOOLCHAIN").arg(option).output().expect("the tool runs");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(String::from)
        .collect()
}
