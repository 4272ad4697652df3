//! Finds a compiler that has the sources of `core`, and `bpf-linker`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// What the message says when something is missing.
const REMEDY: &str = "install it with `cargo xtask setup` (Debian: packages rustc-web, cargo-web, rust-web-src and \
     the matching llvm-N-dev, then bpf-linker 0.13 from crates.io), or with rustup: a nightly tool chain with the \
     component rust-src, and `cargo install bpf-linker`";

/// Where the pieces are.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler's own cargo, or failing that, this one's.
    pub cargo: PathBuf,
    /// A compiler with the sources of `core`.
    pub rustc: PathBuf,
    /// `bpf-linker`.
    pub linker: PathBuf,
}

impl Toolchain {
    /// Takes `WABE_EBPF_RUSTC` if set, then Debian's compiler, then any of rustup's tool chains; the first that has
    /// `core`'s sources. `root` is the repository's.
    ///
    /// # Errors
    /// If something is missing; says how to get it.
    pub fn find(root: &Path) -> Result<Self, String> {
        let linker = linker(root).ok_or_else(|| format!("bpf-linker is missing: {REMEDY}"))?;
        let rustc = compilers()
            .into_iter()
            .find(|rustc| has_core_sources(rustc))
            .ok_or_else(|| format!("no Rust compiler with the sources of `core` was found: {REMEDY}"))?;
        let beside = rustc.with_file_name("cargo");
        let cargo = if beside.exists() {
            beside
        } else {
            PathBuf::from(env::var_os("CARGO").unwrap_or("cargo".into()))
        };
        Ok(Self { cargo, rustc, linker })
    }
}

fn compilers() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = env::var_os("WABE_EBPF_RUSTC").map(PathBuf::from).into_iter().collect();
    found.push("/usr/bin/rustc".into());
    let rustup = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")));
    if let Some(toolchains) = rustup.and_then(|home| home.join("toolchains").read_dir().ok()) {
        found.extend(toolchains.flatten().map(|entry| entry.path().join("bin/rustc")));
    }
    found
}

fn has_core_sources(rustc: &Path) -> bool {
    let Ok(output) = Command::new(rustc).env_remove("RUSTUP_TOOLCHAIN").args(["--print", "sysroot"]).output()
    else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success()
        && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

fn linker(root: &Path) -> Option<PathBuf> {
    let mut folders = vec![root.join(".tools/bin")];
    folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    folders.extend(env::var_os("CARGO_HOME").map(|home| Path::new(&home).join("bin")));
    folders.extend(env::var_os("HOME").map(|home| Path::new(&home).join(".cargo/bin")));
    folders.into_iter().map(|folder| folder.join("bpf-linker")).find(|path| path.exists())
}
