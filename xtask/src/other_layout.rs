//! A build of `wabe` whose tables have another layout, for the tests of upgrades: this tree's sources with the revision of
//! the tables raised.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::shell::{execute, output, root};

/// Where the revision is written.
const MAPS: &str = "crates/wabe-abi/src/maps.rs";
const REVISION: &str = "pub const REVISION: u32 = 1;";
const OTHER: &str = "pub const REVISION: u32 = 4_000_000_000;";

/// Builds it, and returns its path. Quick if nothing changed.
pub(crate) fn build() -> Result<PathBuf> {
    let folder = root().join("target/other-layout");
    let source = folder.join("source");
    let listed = output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .context("git lists the sources, and is missing")?;
    for name in listed.lines().filter(|name| root().join(name).is_file()) {
        let mut bytes = fs::read(root().join(name)).with_context(|| name.to_owned())?;
        if name == MAPS {
            let text = String::from_utf8(bytes)?;
            ensure!(text.contains(REVISION), "{MAPS} has no `{REVISION}`");
            bytes = text.replace(REVISION, OTHER).into_bytes();
        }
        write_if_other(&source.join(name), &bytes).with_context(|| name.to_owned())?;
    }
    let target = folder.join("target");
    // The copy has no tools of its own.
    let tools = root().join(".tools/bin");
    let path =
        env::join_paths([tools].into_iter().chain(env::var_os("PATH").iter().flat_map(env::split_paths)))?;
    execute(
        Command::new("cargo")
            .args(["build", "--quiet", "--package", "wabe", "--bin", "wabe"])
            .current_dir(&source)
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", &target),
    )?;
    Ok(target.join("debug/wabe"))
}

/// Leaves a file alone that says so already: cargo looks at its time.
fn write_if_other(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|it| it == bytes) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().expect("invariant: a file is in a folder"))?;
    fs::write(path, bytes)
}
