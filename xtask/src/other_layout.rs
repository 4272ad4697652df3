//! A build of `wabe` whose tables have another layout, for the tests of upgrades: this tree's sources with the revision of
//! the tables raised.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::shell::{execute, output, root};

/// Where the revision is written.
const MAPS: &str = "crates/wabe-abi/src/maps.rs";
const REVISION: &str = "pub const REVISION: u32 = 1;";
const OTHER: &str = "pub const REVISION: u32 = 4_000_000_000;";

/// What compilers leave behind.
const DONE: [&str; 4] = ["rlib", "rmeta", "so", "d"];

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
    begin_with_what_is_built(&target)?;
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

/// Begins with a copy of what was built of other people's crates, and of eBPF: where the sources are makes no difference to the former,
/// and to the latter cargo sees it. Most of a build is that. Nothing depends on it.
fn begin_with_what_is_built(target: &Path) -> Result<()> {
    let built = root().join("target/debug");
    if target.exists() || !built.exists() {
        return Ok(());
    }
    // Whole, or not at all.
    let partial = target.with_extension("partial");
    let remove = || if partial.exists() { fs::remove_dir_all(&partial) } else { Ok(()) };
    remove()?;
    match copy_foreign(&built, &partial.join("debug")) {
        Ok(()) => Ok(fs::rename(&partial, target)?),
        Err(error) => {
            println!("it is built from nothing, as what is there could not be copied: {error:#}");
            Ok(remove()?)
        }
    }
}

fn copy_foreign(built: &Path, profile: &Path) -> Result<()> {
    let ours = our_crates()?;
    let is_foreign = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_prefix("lib").unwrap_or(&name);
        name.rsplit_once('-').is_some_and(|(name, _hash)| !ours.contains(&name.replace('-', "_")))
    };
    // Compilers that are at work beside have files of other kinds.
    let is_done = |path: &PathBuf| {
        path.is_dir() || path.extension().is_some_and(|it| DONE.iter().any(|done| it == *done))
    };
    // In this order, as more may be built meanwhile: cargo puts the fingerprint last.
    for part in [".fingerprint", "build", "deps"] {
        let to = profile.join(part);
        fs::create_dir_all(&to)?;
        let names = fs::read_dir(built.join(part))?.map(|it| it.map(|it| it.path()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        copy(names.into_iter().filter(|it| is_foreign(it) && is_done(it)), &to)?;
    }
    copy([built.join("ebpf")].into_iter().filter(|it| it.exists()), profile)
}

/// With their times, by which cargo goes.
fn copy(from: impl Iterator<Item = PathBuf>, to: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--target-directory"]).arg(to).args(from);
    if copy.get_args().len() == 3 { Ok(()) } else { execute(&mut copy) }
}

/// The names of what is built of this repository, as cargo writes them into those of files.
fn our_crates() -> Result<BTreeSet<String>> {
    let metadata = output("cargo", &["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata.context("cargo metadata does not run")?)?;
    let packages = metadata["packages"].as_array().context("cargo lists no packages")?;
    let named = |it: &Value| it["name"].as_str().map(|it| it.replace('-', "_"));
    let targets =
        |it: &Value| it["targets"].as_array().into_iter().flatten().filter_map(named).collect::<Vec<_>>();
    Ok(packages.iter().flat_map(|it| named(it).into_iter().chain(targets(it))).collect())
}

/// Leaves a file alone that says so already: cargo looks at its time.
fn write_if_other(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|it| it == bytes) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().expect("invariant: a file is in a folder"))?;
    fs::write(path, bytes)
}
