//! Builds eBPF objects from source, so that no binary is checked in and `cargo build` is all it takes.
//!
//! For build scripts, and for tests that ask what built an object. It speaks to cargo by what it prints, and ends the
//! build script if there is nothing to embed.

mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

pub use toolchain::Toolchain;

/// What the eBPF target lacks by default: BTF for maps, and line information for the verifier's log.
const FLAGS: [&str; 3] = ["--cfg=bpf_target_arch=\"x86_64\"", "-Cdebuginfo=2", "-Clink-arg=--btf"];

/// Programs that become one object.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    /// The folder of their package, from the root of the repository.
    pub folder: &'a str,
    /// The name of its binary. The object is `OUT_DIR/<binary>.o`.
    pub binary: &'a str,
    /// Crates of this repository that they use, from its root.
    pub uses: &'a [&'a str],
}

impl Programs<'_> {
    /// Builds the object. If that fails, says why as cargo wants to hear it, and ends the build script.
    pub fn build(&self) {
        if let Err(message) = self.try_build() {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            exit(1);
        }
    }

    fn try_build(&self) -> Result<(), String> {
        let root = workspace_root();
        let folder = root.join(self.folder);
        let own = ["src", "Cargo.toml", "Cargo.lock"].map(|name| folder.join(name));
        for watched in own.into_iter().chain(self.uses.iter().map(|name| root.join(name))) {
            println!("cargo::rerun-if-changed={}", watched.display());
        }
        println!("cargo::rerun-if-env-changed=WABE_EBPF_RUSTC");
        let toolchain = Toolchain::find(&root)?;
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?);
        let target = shared(&out);
        let status = compiler(&toolchain)
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", &target)
            .args([
                "build",
                "--release",
                "--locked",
                "-Z",
                "build-std=core",
                "--target",
                "bpfel-unknown-none",
            ])
            .status()
            .map_err(|error| format!("{} could not be run: {error}", toolchain.cargo.display()))?;
        if !status.success() {
            return Err("the eBPF programs did not build; the compiler's messages are above".into());
        }
        let object = target.join("bpfel-unknown-none/release").join(self.binary);
        fs::copy(&object, out.join(format!("{}.o", self.binary)))
            .map_err(|error| format!("{}: {error}", object.display()))?;
        Ok(())
    }
}

/// Where the other compiler's cargo puts what it builds: one folder for all build scripts of a profile, so that `core` and the crates
/// that the programs use are built once, and not for each package and each set of its features. Nobody builds other sources
/// there meanwhile: cargo, which runs these scripts, has the profile's folder for itself.
fn shared(out: &Path) -> PathBuf {
    // Of `debug/build/wabe-datapath-0123/out`.
    let mut folders = out.ancestors().skip(2);
    match (folders.next(), folders.next()) {
        (Some(build), Some(profile)) if build.ends_with("build") => profile.join("ebpf"),
        _ => out.join("ebpf"),
    }
}

/// The other compiler's cargo, without what this one's has set for build scripts.
fn compiler(toolchain: &Toolchain) -> Command {
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
    cargo
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo
}

/// Two folders above the package whose build script this is.
fn workspace_root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").map_or_else(PathBuf::new, PathBuf::from);
    here.ancestors().nth(2).map_or_else(|| here.clone(), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_scripts_of_a_profile_share_a_folder() {
        let of = |out: &str| shared(Path::new(out));
        assert_eq!(of("/t/debug/build/wabe-datapath-01/out"), Path::new("/t/debug/ebpf"));
        assert_eq!(
            of("/t/x86_64-unknown-linux-gnu/dist/build/a-02/out"),
            Path::new("/t/x86_64-unknown-linux-gnu/dist/ebpf")
        );
        // As cargo may have it some day.
        assert_eq!(of("/t/elsewhere/out"), Path::new("/t/elsewhere/out/ebpf"));
    }
}
