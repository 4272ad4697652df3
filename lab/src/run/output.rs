//! The folder of a run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::results::Results;

/// What the results' file is called.
pub const RESULTS: &str = "results.json";

/// Makes the folder, before anything is measured.
///
/// # Errors
/// It can't take results, or has some.
pub fn prepare(out: &Path) -> Result<()> {
    if out.join(RESULTS).exists() {
        bail!("{} has results already: choose another folder by --out, or remove them", out.display());
    }
    fs::create_dir_all(out)
        .with_context(|| format!("{} can't be made: choose another folder by --out", out.display()))?;
    let probe = temporary(out);
    fs::write(&probe, b"")
        .with_context(|| format!("{} can't be written: choose another folder by --out", out.display()))?;
    fs::remove_file(&probe).with_context(|| probe.display().to_string())
}

/// Writes the results: whole or not at all.
pub(super) fn write(out: &Path, results: &Results) -> Result<()> {
    let path = temporary(out);
    let text = serde_json::to_string(results)? + "\n";
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    fs::rename(&path, out.join(RESULTS)).with_context(|| format!("writing {}", out.join(RESULTS).display()))
}

/// Removes results that hold nothing, and the folder if it is empty then.
pub(super) fn forget(out: &Path) {
    let _ = fs::remove_file(out.join(RESULTS));
    let _ = fs::remove_dir(out);
}

fn temporary(out: &Path) -> PathBuf {
    out.join(format!(".{RESULTS}.new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path()).expect("an empty folder");
        fs::write(folder.path().join(RESULTS), "{}").expect("a file");
        let error = prepare(folder.path()).expect_err("results are there");
        assert!(error.to_string().contains("--out"), "{error}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_with_the_remedy() {
        let error = prepare(Path::new("/proc/nothing/here")).expect_err("no folder in /proc");
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
