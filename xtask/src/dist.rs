//! Builds the programs as they are to be shipped: optimised in one piece, by a profile of what the proxy does under typical traffic.
//!
//! The compiler builds them twice: first so that they count what they execute, then by these counts. In between the proxy works for
//! some seconds on loopback (`wabe-bench train`). Quick if nothing changed.

use std::{
    fs,
    hash::{DefaultHasher, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    setup,
    shell::{execute, output, root},
};

/// Seconds of each kind of traffic; tens of thousands of requests of those that are counted.
const LENGTH: &str = "3";

/// The folder of the programs.
pub(crate) fn build() -> Result<PathBuf> {
    let about = output("rustc", &["-vV"]).context("rustc does not run")?;
    let told = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let host = told("host: ").context("rustc does not tell its host")?;
    let llvm = told("LLVM version: ").context("rustc does not tell its version of LLVM")?;
    let llvm = llvm.split('.').next().unwrap_or_default();
    let profdata = format!("/usr/lib/llvm-{llvm}/bin/llvm-profdata");
    setup::packages(&[(&profdata, &format!("llvm-{llvm}"))])?;
    let folder = target()?.join("dist-profile");
    let counts = folder.join("counts");
    let counting = cargo(&host, &folder, &format!("-Cprofile-generate={}", counts.display()))?;
    let profile = trained(&folder, &counts, &counting.join("wabe-bench"), &profdata)?;
    cargo(&host, &target()?, &format!("-Cprofile-use={}", profile.display()))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = output("cargo", &["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata.context("cargo metadata does not run")?)?;
    Ok(metadata["target_directory"].as_str().map_or_else(|| root().join("target"), Into::into))
}

fn cargo(host: &str, target: &Path, flags: &str) -> Result<PathBuf> {
    // With a target named, flags are not for programs that run while others are built.
    let words = ["build", "--quiet", "--profile", "dist", "--target", host, "--package", "wabe", "--package"];
    println!("+ RUSTFLAGS={flags} cargo {} wabe-bench", words.join(" "));
    let mut command = Command::new("cargo");
    execute(command.args(words).args(["wabe-bench", "--target-dir"]).arg(target).env("RUSTFLAGS", flags))?;
    Ok(target.join(host).join("dist"))
}

/// The profile of this program, which has a name of its own: cargo looks at the flags, not into files that they name.
fn trained(folder: &Path, counts: &Path, program: &Path, profdata: &str) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(program).with_context(|| program.display().to_string())?);
    let profile = folder.join(format!("{:016x}.profdata", hasher.finish()));
    if profile.exists() {
        return Ok(profile);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "profdata") {
            fs::remove_file(path)?;
        }
    }
    if counts.exists() {
        fs::remove_dir_all(counts)?;
    }
    let scratch = folder.join("scratch");
    fs::create_dir_all(&scratch)?;
    println!("+ {} train {} {LENGTH}", program.display(), scratch.display());
    execute(Command::new(program).arg("train").arg(&scratch).arg(LENGTH))?;
    let files = fs::read_dir(counts).context("nothing was counted")?;
    let files = files.map(|it| it.map(|it| it.path())).collect::<Result<Vec<_>, _>>()?;
    if files.is_empty() {
        bail!("nothing was counted");
    }
    let merged = profile.with_extension("part");
    execute(Command::new(profdata).args(["merge", "-o"]).arg(&merged).args(files))?;
    fs::rename(merged, &profile)?;
    Ok(profile)
}
