//! Reading the manifests that `-f` names: everything that is wrong with all of them, at once.

use std::path::PathBuf;

use wabe_model::{Diagnostic, Diagnostics, Objects, Parsed, Severity, check, parse, read_path};

/// Reads all files; errors of all of them together.
pub(crate) fn read(files: &[PathBuf]) -> Result<Parsed, Diagnostics> {
    let (mut manifests, mut found) = (Vec::new(), Vec::new());
    for file in files {
        match read_path(file) {
            Ok(read) => manifests.extend(read),
            Err(Diagnostics(more)) => found.extend(more),
        }
    }
    match parse(&manifests) {
        Ok(parsed) if found.is_empty() => Ok(parsed),
        Ok(_) => Err(Diagnostics(found)),
        Err(Diagnostics(more)) => {
            found.extend(more);
            Err(Diagnostics(found))
        }
    }
}

/// Reads all files and looks at what comes out of them together with what is there already. Returns the merged objects
/// and the warnings.
pub(crate) fn read_and_check(
    files: &[PathBuf],
    existing: &Objects,
) -> Result<(Parsed, Objects, Vec<Diagnostic>), Diagnostics> {
    let parsed = read(files)?;
    let (merged, warnings) = check(&parsed, existing)?;
    wabe_agent::preview(&merged).map_err(|message| Diagnostics(vec![of_all(files, message)]))?;
    Ok((parsed, merged, warnings))
}

/// Something about all files together.
fn of_all(files: &[PathBuf], message: String) -> Diagnostic {
    let path = files.first().cloned().unwrap_or_default();
    Diagnostic {
        severity: Severity::Error,
        path,
        position: None,
        field: None,
        message,
        remedy: "it is about all manifests together".into(),
    }
}
