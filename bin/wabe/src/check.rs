//! `wabe check`: validates manifests and changes nothing.

use std::process::ExitCode;

use serde::Serialize;
use wabe_model::{Diagnostic, Diagnostics, Objects};

use crate::{
    cli::{Files, Output},
    failure::Failure,
    manifests,
    screen::{json, line},
};

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    objects: usize,
    diagnostics: &'a [Diagnostic],
}

pub(crate) fn run(arguments: &Files) -> Result<ExitCode, Failure> {
    let (objects, diagnostics, ok) = match manifests::read_and_check(&arguments.files, &Objects::default()) {
        Ok((parsed, _, warnings)) => (parsed.objects.len(), warnings, true),
        Err(Diagnostics(found)) => (0, found, false),
    };
    match arguments.plain.output {
        Output::Json => json(&Report { ok, objects, diagnostics: &diagnostics })?,
        Output::Text | Output::Yaml => {
            diagnostics.iter().for_each(|it| eprintln!("{it}"));
            if ok {
                line(&format!("{objects} objects, no errors"))?;
            }
        }
    }
    Ok(ExitCode::from(u8::from(!ok)))
}
