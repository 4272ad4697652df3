//! Reading fields of a document, with every complaint at its place.
//!
//! Each reader reports what is wrong and returns `None`; callers read all fields before they give up, so that one run
//! tells everything.

use std::{cell::RefCell, ops::RangeInclusive, path::Path, sync::Arc};

use crate::{
    Diagnostic, Position, Severity,
    manifest::{
        scalar::{clipped, nearest, shown},
        tree::{Entry, Node, Value},
    },
};

/// Most errors of one file, and most warnings; nobody reads more.
const MOST: usize = 100;

/// Collects the diagnostics of one file.
pub(crate) struct Report<'a> {
    path: &'a Path,
    found: RefCell<Vec<Diagnostic>>,
}

/// What may stand in a mapping.
pub(crate) struct Shape {
    /// What Wabe reads.
    pub(crate) known: &'static [&'static str],
    /// What is written by servers and says nothing to Wabe.
    pub(crate) ignored: &'static [&'static str],
    /// What Kubernetes or Istio know and Wabe doesn't: name, why, remedy.
    pub(crate) refused: &'static [(&'static str, &'static str, &'static str)],
}

/// A value with its path.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    node: &'a Arc<Node>,
    name: String,
    report: &'a Report<'a>,
}

/// A mapping whose keys were checked.
pub(crate) struct Fields<'a> {
    field: Field<'a>,
    entries: &'a [Entry],
}

impl<'a> Report<'a> {
    pub(crate) fn new(path: &'a Path) -> Self {
        Self { path, found: RefCell::default() }
    }

    pub(crate) fn add(
        &self,
        severity: Severity,
        position: Position,
        field: &str,
        message: String,
        remedy: String,
    ) {
        let mut found = self.found.borrow_mut();
        let before = found.iter().filter(|it| it.severity == severity).count();
        let field = (!field.is_empty()).then(|| field.to_owned());
        let told = Diagnostic { severity, field, ..Diagnostic::of_file(self.path, message, remedy) };
        if before < MOST {
            found.push(Diagnostic { position: Some(position), ..told });
        } else if before == MOST {
            let more = Diagnostic::of_file(self.path, "more is wrong than is shown", "mend these first");
            found.push(Diagnostic { severity, ..more });
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|it| it.severity == Severity::Error)
    }

    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

impl<'a> Field<'a> {
    pub(crate) fn root(node: &'a Arc<Node>, report: &'a Report<'a>) -> Self {
        Self { node, name: String::new(), report }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.node.value == Value::Null
    }

    /// Reports an error here. Always `None`, so that readers can end with it.
    pub(crate) fn error<T>(&self, message: impl Into<String>, remedy: impl Into<String>) -> Option<T> {
        self.report.add(Severity::Error, self.node.at, &self.name, message.into(), remedy.into());
        None
    }

    pub(crate) fn warn(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.report.add(Severity::Warning, self.node.at, &self.name, message.into(), remedy.into());
    }

    fn wrong_type<T>(&self, wanted: &str, remedy: impl Into<String>) -> Option<T> {
        let found = match &self.node.value {
            Value::Null => "nothing is written here".into(),
            Value::Bool(_) => "found a boolean".into(),
            Value::Integer(it) => format!("found the number {it}"),
            Value::Number(it) => format!("found the number {}", clipped(it)),
            Value::Text(it) => format!("found the text {}", shown(it)),
            Value::List(_) => "found a list".into(),
            Value::Map(_) => "found a mapping".into(),
        };
        self.error(format!("{wanted} is wanted, {found}"), remedy)
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Bool(_) | Value::Integer(_) | Value::Number(_) => {
                self.wrong_type("text", "put it in quotes; without them YAML doesn't read it as text")
            }
            Value::Null => self.wrong_type("text", "write it, or leave the field out"),
            Value::List(_) | Value::Map(_) => self.wrong_type("text", "write one word or a quoted text"),
        }
    }

    /// The text, if it is text; no complaint if not.
    pub(crate) fn peek_text(&self) -> Option<&'a str> {
        if let Value::Text(text) = &self.node.value { Some(text) } else { None }
    }

    /// Text that can be handed to a program: no NUL.
    pub(crate) fn argument(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.contains('\0') {
            return self.error("a NUL character can't be handed to a program", "leave it out");
        }
        Some(text)
    }

    pub(crate) fn integer(&self, what: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let (low, high) = (range.start(), range.end());
        match &self.node.value {
            Value::Integer(number) if range.contains(number) => Some(*number),
            Value::Integer(number) => self.error(
                format!("{number} is out of range for {what}"),
                format!("{low} to {high} can be used"),
            ),
            Value::Text(text) if text.parse::<i64>().is_ok() => {
                self.wrong_type("a number", format!("write {text} without quotes"))
            }
            Value::Number(_) => self
                .wrong_type(what, format!("write a decimal number without zeros before it, {low} to {high}")),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(what, format!("write a number, {low} to {high}"))
            }
        }
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(it) => Some(*it),
            Value::Text(text) if text == "true" || text == "false" => {
                self.wrong_type("true or false", format!("write {text} without quotes"))
            }
            Value::Null
            | Value::Text(_)
            | Value::Integer(_)
            | Value::Number(_)
            | Value::List(_)
            | Value::Map(_) => self.wrong_type("true or false", "write true or false, without quotes"),
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let chosen = choices.iter().find(|(word, _)| *word == text);
        if chosen.is_none() {
            let hint = nearest(text, words.iter().copied()).map(|it| format!("did you mean `{it}`? "));
            return self.error(
                format!("{} is not supported here", shown(text)),
                format!("{}supported: {}", hint.unwrap_or_default(), words.join(", ")),
            );
        }
        chosen.map(|(_, value)| *value)
    }

    pub(crate) fn number(&self) -> Option<i64> {
        if let Value::Integer(number) = self.node.value { Some(number) } else { None }
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    pub(crate) fn items(&self) -> Option<Vec<Field<'a>>> {
        let Value::List(items) = &self.node.value else {
            return self.wrong_type("a list", "write the entries below, each after `- `, or between [ and ]");
        };
        let name = |index| format!("{}[{index}]", self.name);
        let items = items.iter().enumerate();
        Some(items.map(|(index, node)| Field { node, name: name(index), report: self.report }).collect())
    }

    /// All items of a list read by `read`; `None` if one of them is wrong, after all of them were read.
    pub(crate) fn all<T>(&self, read: impl Fn(&Field<'a>) -> Option<T>) -> Option<Vec<T>> {
        let read: Vec<_> = self.items()?.iter().map(read).collect();
        read.into_iter().collect()
    }

    /// A mapping with free keys.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a str, Field<'a>)>> {
        let entries = self.map()?;
        Some(entries.iter().map(|entry| (entry.key.as_str(), self.child(entry))).collect())
    }

    /// The complaint is about the key and not about its value.
    pub(crate) fn key_error(&self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let entry = self.map().and_then(|it| it.iter().find(|entry| entry.key == key));
        if let Some(entry) = entry {
            let name = self.child(entry).name;
            self.report.add(Severity::Error, entry.at, &name, message.into(), remedy.into());
        }
    }

    /// A mapping with known keys. Unknown ones are reported.
    pub(crate) fn fields(&self, shape: &Shape) -> Option<Fields<'a>> {
        let entries = self.map()?;
        for entry in entries {
            let key = entry.key.as_str();
            if shape.known.contains(&key) || shape.ignored.contains(&key) {
                continue;
            }
            let (message, remedy) = match shape.refused.iter().find(|(name, ..)| *name == key) {
                Some((_, why, remedy)) => ((*why).to_owned(), (*remedy).to_owned()),
                None => {
                    let hint =
                        nearest(key, shape.known.iter().copied()).map(|it| format!("did you mean `{it}`? "));
                    let supported = shape.known.join(", ");
                    ("unknown field".into(), format!("{}supported: {supported}", hint.unwrap_or_default()))
                }
            };
            self.report.add(Severity::Error, entry.at, &self.child(entry).name, message, remedy);
        }
        Some(Fields { field: self.clone(), entries })
    }

    /// A field without any check of the others.
    pub(crate) fn peek(&self, key: &str) -> Option<Field<'a>> {
        let Value::Map(entries) = &self.node.value else { return None };
        entries.iter().find(|it| it.key == key).map(|it| self.child(it))
    }

    fn map(&self) -> Option<&'a [Entry]> {
        match &self.node.value {
            Value::Map(entries) => Some(entries),
            Value::Null => self.wrong_type("a mapping", "write its fields below, further to the right"),
            Value::Bool(_) | Value::Integer(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                self.wrong_type("a mapping", "write `field: value` lines")
            }
        }
    }

    fn child(&self, entry: &'a Entry) -> Field<'a> {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = if entry.key.is_empty() || !entry.key.chars().all(word) {
            format!("{}[\"{}\"]", self.name, clipped(&entry.key))
        } else if self.name.is_empty() {
            clipped(&entry.key)
        } else {
            format!("{}.{}", self.name, clipped(&entry.key))
        };
        Field { node: &entry.value, name, report: self.report }
    }
}

impl<'a> Fields<'a> {
    /// The mapping itself, for complaints about it as a whole.
    pub(crate) fn whole(&self) -> &Field<'a> {
        &self.field
    }

    pub(crate) fn find(&self, key: &str) -> Option<Field<'a>> {
        self.entries.iter().find(|it| it.key == key).map(|it| self.field.child(it))
    }

    /// A field that must be there.
    pub(crate) fn require(&self, key: &str, remedy: &str) -> Option<Field<'a>> {
        let found = self.find(key);
        if found.is_none() {
            self.field.error::<()>(format!("`{key}` is missing"), remedy);
        }
        found
    }

    /// An optional field: `Some(default)` if it is not there, `None` if it is wrong.
    pub(crate) fn or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Field<'a>) -> Option<T>,
    ) -> Option<T> {
        self.find(key).map_or(Some(default), |field| read(&field))
    }
}
