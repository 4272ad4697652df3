//! Builds an eBPF object from source, so that no binary is checked in and `cargo build` is all it takes.
//!
//! For build scripts only: of `wabe-datapath`, and of the lab's own programs.
#![forbid(unsafe_code)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

pub mod toolchain;

use toolchain::Toolchain;

/// What the eBPF target lacks by default: BTF for maps, and line information for the verifier's log.
const FLAGS: [&str; 3] = ["--cfg=bpf_target_arch=\"x86_64\"", "-Cdebuginfo=2", "-Clink-arg=--btf"];

/// Builds the crate in `folder` of the repository and puts its program `name` into the build script's folder as `NAME.o`.
/// Whatever it is built from besides its `src` and manifest is in `watched`, so that cargo knows when to build again.
///
/// # Errors
/// What is missing, with the command that gets it; or that it does not build.
pub fn build(folder: &str, name: &str, watched: &[&str]) -> Result<(), String> {
    let root = workspace_root();
    let own = ["src", "Cargo.toml", "Cargo.lock"].map(|it| format!("{folder}/{it}"));
    for path in
        own.iter().map(String::as_str).chain(watched.iter().copied()).chain(["crates/wabe-ebpf-build"])
    {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-env-changed=WABE_EBPF_RUSTC");
    let toolchain = Toolchain::find(&root)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?);
    let target = out.join("ebpf");
    let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
    flags.push(format!("-Clinker={}", toolchain.linker.display()));
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO") || name.starts_with("RUST") || name.starts_with("CLIPPY") {
            cargo.env_remove(&name);
        }
    }
    for (name, value) in env::vars_os().filter(|(name, _)| name == "CARGO_HOME" || name == "RUSTUP_HOME") {
        cargo.env(name, value);
    }
    let status = cargo
        .current_dir(root.join(folder))
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_TARGET_DIR", &target)
        .args(["build", "--release", "--locked", "-Z", "build-std=core", "--target", "bpfel-unknown-none"])
        .status()
        .map_err(|error| format!("{} could not be run: {error}", toolchain.cargo.display()))?;
    if !status.success() {
        return Err("the eBPF programs did not build; the compiler's messages are above".into());
    }
    let object = target.join("bpfel-unknown-none/release").join(name);
    fs::copy(&object, out.join(format!("{name}.o")))
        .map_err(|error| format!("{}: {error}", object.display()))?;
    Ok(())
}

/// The repository's root: the nearest folder above the crate that holds `ebpf`.
fn workspace_root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from);
    let root =
        here.ancestors().skip(1).find(|it| it.join("ebpf/Cargo.toml").exists() && it.join("crates").exists());
    root.map_or_else(|| here.clone(), Path::to_path_buf)
}
