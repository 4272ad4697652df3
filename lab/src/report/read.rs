//! Reads `results.json`; whatever is wrong with it is one error that names the file and the remedy.

use std::{fs, io, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::results::{FORMAT, Results};

/// The name of the file in a run's directory.
pub(crate) const FILE: &str = "results.json";

/// The number alone: another format may look quite different.
#[derive(Deserialize)]
struct Numbered {
    format: u32,
}

/// Reads the results in a run's directory.
///
/// # Errors
/// If the file is missing, cut off, not JSON, of another format, or lacks what this format has.
pub(crate) fn results(dir: &Path) -> Result<Results> {
    let file = dir.join(FILE);
    let name = file.display();
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{name} does not exist: give the directory that `wabe lab run --out DIR` wrote")
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            bail!("{name} is not text, so not JSON: give the directory that `wabe lab run --out DIR` wrote")
        }
        Err(error) => return Err(error).with_context(|| format!("{name} can't be read")),
    };
    let numbered: Numbered = serde_json::from_str(&text).map_err(|error| refused(&file, &error))?;
    if numbered.format != FORMAT {
        let (found, remedy) =
            (numbered.format, "read it with the `wabe` that wrote it, or run the lab again");
        bail!("{name} has format {found}, and this `wabe` reads format {FORMAT}: {remedy}");
    }
    serde_json::from_str(&text).map_err(|error| refused(&file, &error))
}

fn refused(file: &Path, error: &serde_json::Error) -> anyhow::Error {
    let name = file.display();
    match error.classify() {
        serde_json::error::Category::Eof => {
            anyhow!("{name} ends too early ({error}): it was cut off; copy it again, or run the lab again")
        }
        serde_json::error::Category::Syntax => {
            anyhow!("{name} is not JSON ({error}): restore it from the run, or run the lab again")
        }
        serde_json::error::Category::Data => {
            anyhow!(
                "{name} is not a result of the lab ({error}): restore it from the run, or run the lab again"
            )
        }
        serde_json::error::Category::Io => anyhow!("{name} can't be read: {error}"),
    }
}
