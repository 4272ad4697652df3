//! The workloads' program where workloads can run it: they are `nobody`, who may not enter a checkout below `/root`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result};

use crate::shell::root;

/// Not `/tmp`: workloads have one of their own.
const FOLDER: &str = "/var/lib";
const PREFIX: &str = "wabe-test-";

/// A copy of `wabe-testbox`; dropped, nothing is left.
pub(crate) struct Testbox {
    folder: PathBuf,
}

impl Testbox {
    /// Copies the one that was built. Removes what runs left that were killed.
    ///
    /// # Errors
    /// It was not built, or there is no room.
    pub(crate) fn put() -> Result<Self> {
        for entry in fs::read_dir(FOLDER)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(pid) = name.strip_prefix(PREFIX) else { continue };
            if !Path::new("/proc").join(pid).exists() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let put = Self { folder: Path::new(FOLDER).join(format!("{PREFIX}{}", process::id())) };
        fs::create_dir_all(&put.folder)?;
        fs::set_permissions(&put.folder, fs::Permissions::from_mode(0o755))?;
        fs::copy(root().join("target/debug/wabe-testbox"), put.program()).context("copying wabe-testbox")?;
        Ok(put)
    }

    /// Where it is.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.join("wabe-testbox")
    }
}

impl Drop for Testbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
