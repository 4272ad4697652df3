//! Reading manifests from files and folders: the only I/O of this crate.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::{Diagnostic, Diagnostics, Manifest};

/// The largest manifest file that is read, in bytes: 4 MiB.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// Reads a file, or all `*.yaml` and `*.yml` files of a folder (not of folders below it), sorted by name.
///
/// # Errors
/// All that can't be read: missing, not readable, larger than [`MAX_FILE_BYTES`] (found out without reading more than
/// that), a folder without manifests.
pub fn read_path(path: &Path) -> Result<Vec<Manifest>, Diagnostics> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        return Ok(vec![read_file(path)?]);
    }
    let names = manifests_in(path).map_err(|error| unreadable(path, &error))?;
    if names.is_empty() {
        return Err(Diagnostic::of_file(
            path,
            "no manifest is in this folder",
            "it needs at least one file whose name ends in .yaml or .yml; folders below it are not searched",
        )
        .into());
    }
    let mut manifests = Vec::new();
    let mut problems = Vec::new();
    for name in &names {
        match read_file(name) {
            Ok(manifest) => manifests.push(manifest),
            Err(found) => problems.extend(found.0),
        }
    }
    if problems.is_empty() { Ok(manifests) } else { Err(Diagnostics(problems)) }
}

fn manifests_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // A FIFO would block until somebody writes. A link to nowhere is kept: reading it tells.
        let readable = path.metadata().map_or(true, |it| it.is_file());
        if readable && path.extension().is_some_and(|it| it == "yaml" || it == "yml") {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

fn read_file(path: &Path) -> Result<Manifest, Diagnostics> {
    let open = || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut text = Vec::new();
        if size <= MAX_FILE_BYTES as u64 {
            file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut text)?;
        }
        let folder = std::path::absolute(path)?.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        Ok((size, text, folder))
    };
    let (size, text, folder) = open().map_err(|error| unreadable(path, &error))?;
    if size > MAX_FILE_BYTES as u64 || text.len() > MAX_FILE_BYTES {
        return Err(too_large(path).into());
    }
    Ok(Manifest { path: path.to_owned(), folder, text })
}

/// Also for text that did not come from a file.
pub(crate) fn too_large(path: &Path) -> Diagnostic {
    Diagnostic::of_file(
        path,
        format!("larger than {} MiB, which no manifest is", MAX_FILE_BYTES >> 20),
        "check that it is the right file, or split it",
    )
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostics {
    let kind = error.kind();
    let (what, remedy) = if kind == io::ErrorKind::NotFound {
        ("no such file or folder".to_owned(), "check the path given with -f")
    } else if kind == io::ErrorKind::PermissionDenied {
        ("may not be read".to_owned(), "make it readable for this user")
    } else {
        (format!("can't be read: {error}"), "check the file")
    };
    Diagnostic::of_file(path, what, remedy).into()
}
