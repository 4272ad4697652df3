//! The report: from `results.json` to one HTML file that stands by itself, the figures in it as SVG files, the same as
//! Markdown, and the verdicts as JSON.
//!
//! Everything is computed from the results: whatever was not measured is not said. Words from the results are escaped
//! where they are written, never before.

mod digest;
mod document;
mod figures;
mod html;
mod markdown;
mod read;
mod scale;
mod sections;
mod style;
mod summary;
mod svg;
mod text;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::stats::Measure;
use digest::Digest;

pub(crate) use read::results as read;

/// Reads `dir`/results.json and writes beside it report.html, report.md, verdicts.json and figures/*.svg; figures of an
/// earlier report go. Returns what was written, report.html first.
///
/// # Errors
/// If results.json is missing, cut off, not JSON or of another format, if a histogram in it can't be decoded, or if `dir`
/// can't be written to; the error names the file.
pub fn write(dir: &Path) -> Result<Vec<PathBuf>> {
    let results = read::results(dir)?;
    let digest = Digest::new(&results).with_context(|| {
        let file = dir.join(read::FILE);
        format!("{} is damaged: restore it from the run, or run the lab again", file.display())
    })?;
    let mut blocks = sections::all(&digest);
    document::name_figures(&mut blocks, &mut BTreeSet::new());
    let verdicts =
        serde_json::to_string_pretty(&digest.comparisons).context("verdicts can't be written")? + "\n";
    let mut written = Vec::new();
    for (name, text) in [
        ("report.html", html::page(&sections::title(&results.environment), &blocks)),
        ("report.md", markdown::text(&blocks)),
        ("verdicts.json", verdicts),
    ] {
        written.push(save(dir.join(name), &text)?);
    }
    let folder = dir.join("figures");
    clear(&folder)?;
    for figure in document::figures(&blocks) {
        written.push(save(folder.join(format!("{}.svg", figure.id)), &figure.alone())?);
    }
    Ok(written)
}

/// A value of a measure with its unit, for a terminal.
pub(crate) fn shown(measure: Measure, value: f64) -> String {
    let (unit, factor) = text::unit_of(measure);
    unit.show(value * factor).replace('\u{a0}', " ")
}

/// Figures that are not in this report must not be taken for its.
fn clear(folder: &Path) -> Result<()> {
    let name = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("{name} can't be made"))?;
    for entry in fs::read_dir(folder).with_context(|| format!("{name} can't be read"))? {
        let path = entry.with_context(|| format!("{name} can't be read"))?.path();
        if path.extension().is_some_and(|it| it == "svg") {
            fs::remove_file(&path).with_context(|| format!("{} can't be removed", path.display()))?;
        }
    }
    Ok(())
}

fn save(path: PathBuf, text: &str) -> Result<PathBuf> {
    fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
    Ok(path)
}
