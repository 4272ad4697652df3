//! Manifests: from text to objects.

mod destination_rule;
mod document;
mod field;
mod grpc_route;
mod guard;
mod http_route;
mod mesh_config;
mod metadata;
mod names;
mod policy;
mod probe;
mod reference_grant;
mod route;
pub(crate) mod scalar;
mod service;
mod stream_route;
mod tree;
mod workload;

pub(crate) use metadata::{BALANCE, BALANCES, DRY_RUN, LAYER7, MESH_CONFIG_NAME, SUCCESS_RATE};

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Diagnostic, Diagnostics, Object, Position, Severity,
    files::{MAX_FILE_BYTES, too_large},
    manifest::{
        field::Report,
        tree::{Node, Value},
    },
};

/// Text that somebody wrote, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// How diagnostics call it.
    pub path: PathBuf,
    /// What relative programs and working directories are relative to; absolute.
    pub folder: PathBuf,
    /// UTF-8 YAML, if all is well.
    pub text: Vec<u8>,
}

/// What manifests say.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// In the order in which they were written; no two have one key.
    pub objects: Vec<Located>,
    /// What is hardly meant so.
    pub warnings: Vec<Diagnostic>,
}

/// An object and where it was written.
#[derive(Clone, Debug)]
pub struct Located {
    /// The object.
    pub object: Object,
    /// Its file, as the user named it.
    pub path: PathBuf,
    /// Where its document begins.
    pub position: Position,
    tree: Arc<Node>,
}

/// Reads all manifests.
///
/// # Errors
/// Everything that is wrong with any of them, and the warnings besides.
pub fn parse(manifests: &[Manifest]) -> Result<Parsed, Diagnostics> {
    let mut objects = Vec::new();
    let mut diagnostics = Vec::new();
    for manifest in manifests {
        let (read, found) = parse_one(manifest);
        objects.extend(read);
        diagnostics.extend(found);
    }
    diagnostics.extend(duplicates(&objects));
    let diagnostics = Diagnostics(diagnostics);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Ok(Parsed { objects, warnings: diagnostics.0 })
}

/// Objects that are written twice: the later one is told where the first is.
pub(crate) fn duplicates(objects: &[Located]) -> Vec<Diagnostic> {
    let mut first = BTreeMap::new();
    let mut found = Vec::new();
    for located in objects {
        match first.entry(located.object.key()) {
            Entry::Vacant(place) => {
                place.insert(located);
            }
            Entry::Occupied(earlier) => {
                let Position { line, column } = earlier.get().position;
                let place = format!("{}:{line}:{column}", earlier.get().path.display());
                found.push(located.error(
                    "metadata.name",
                    format!("{} is written twice; first in {place}", earlier.key()),
                    "keep one of them, or give one another name",
                ));
            }
        }
    }
    found
}

impl Manifest {
    /// Text that is already here. `folder` is what relative programs in it are relative to; absolute.
    pub fn new(path: impl Into<PathBuf>, folder: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), folder: folder.into(), text: text.into() }
    }
}

impl Located {
    /// Where a field such as `spec.ports[0].port` was written; of what encloses it if it was not.
    pub fn position_of(&self, field: &str) -> Position {
        self.node(field).0.at
    }

    /// The text of a field, if it is text.
    pub(crate) fn text_of(&self, field: &str) -> Option<&str> {
        match self.node(field) {
            (Node { value: Value::Text(text), .. }, true) => Some(text),
            _ => None,
        }
    }

    /// The innermost node on the way to a field that was written, and whether it is the field itself.
    fn node(&self, field: &str) -> (&Node, bool) {
        let mut node = &self.tree;
        for step in field.split(['.', '[']) {
            let index = step.strip_suffix(']').and_then(|it| it.parse::<usize>().ok());
            let next = match (&node.value, index) {
                (Value::List(items), Some(index)) => items.get(index),
                (Value::Map(entries), None) => entries.iter().find(|it| it.key == step).map(|it| &it.value),
                (Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Number(_) | Value::Text(_), _)
                | (Value::List(_), None)
                | (Value::Map(_), Some(_)) => None,
            };
            let Some(next) = next else { return (node, false) };
            node = next;
        }
        (node, true)
    }

    /// An error about one of its fields.
    pub fn error(&self, field: &str, message: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
        Diagnostic {
            position: Some(self.position_of(field)),
            field: Some(field.to_owned()),
            ..Diagnostic::of_file(&self.path, message, remedy)
        }
    }

    /// A warning about one of its fields.
    pub fn warning(&self, field: &str, message: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..self.error(field, message, remedy) }
    }
}

fn parse_one(manifest: &Manifest) -> (Vec<Located>, Vec<Diagnostic>) {
    let text = match text_of(manifest) {
        Ok(text) => text,
        Err(problems) => return (Vec::new(), problems.0),
    };
    let report = Report::new(&manifest.path);
    let (documents, problems) = tree::documents(text);
    if documents.is_empty() && problems.is_empty() {
        return (Vec::new(), vec![empty(&manifest.path)]);
    }
    for problem in problems {
        report.add(Severity::Error, problem.at, "", problem.message, problem.remedy.into());
    }
    let mut objects = Vec::new();
    for tree in documents {
        if let Some(object) = document::object(&tree, &report, &manifest.folder) {
            objects.push(Located { object, path: manifest.path.clone(), position: tree.at, tree });
        } else if !report.has_errors() {
            // A reader that gives up without a word must not make a document vanish.
            let message = "this document was not understood".to_owned();
            report.add(Severity::Error, tree.at, "", message, "compare it with an example".into());
        }
    }
    let mut diagnostics = report.into_diagnostics();
    diagnostics.sort_by_key(|it| (it.position.is_none(), it.position));
    (objects, diagnostics)
}

fn text_of(manifest: &Manifest) -> Result<&str, Diagnostics> {
    if manifest.text.len() > MAX_FILE_BYTES {
        return Err(too_large(&manifest.path).into());
    }
    let text = std::str::from_utf8(&manifest.text).map_err(|error| {
        let line = manifest.text[..error.valid_up_to()].iter().filter(|it| **it == b'\n').count() + 1;
        Diagnostic::of_file(
            &manifest.path,
            format!("not UTF-8 text (line {line})"),
            "check that it is a YAML file, and save it as UTF-8",
        )
    })?;
    // Editors on Windows write a byte order mark.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn empty(path: &Path) -> Diagnostic {
    Diagnostic::of_file(
        path,
        "no manifest in it",
        "write at least one document with apiVersion, kind and metadata",
    )
}
