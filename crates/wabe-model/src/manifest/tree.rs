//! YAML to a tree of nodes that know where they stand.
//!
//! Stricter than YAML: no tags, no merge keys, no duplicate keys, keys are text; and bounded: nodes are counted as if
//! every alias were written out, so that a small file can't become a large tree.

use std::{collections::HashMap, sync::Arc};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use crate::{Position, manifest::scalar};

/// Nodes of one file, aliases written out.
const MAX_NODES: usize = 200_000;
/// Lists and mappings inside one another.
const MAX_DEPTH: usize = 64;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
    /// Nodes in it, itself included, aliases written out.
    size: usize,
    /// Levels in it, itself included.
    height: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// Any other number: fraction, exponent, octal, hexadecimal, too large.
    Number(String),
    Text(String),
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Arc<Node>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What is wrong with the YAML itself.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) at: Position,
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

/// The documents of a text that are not empty, and all that is wrong with it. After an error of grammar or of size the
/// rest of the text is not looked at.
pub(crate) fn documents(text: &str) -> (Vec<Arc<Node>>, Vec<Problem>) {
    let mut builder = Builder::default();
    if let Some(problem) = forbidden_character(text) {
        return (Vec::new(), vec![problem]);
    }
    // Where the last line does not end, the parser takes it to, and finds things on the line behind it.
    let end = end(text);
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let fed = match next {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => builder.feed(event, position(span.start).min(end)),
            Err(error) => Err(grammar(&error, position(*error.marker()).min(end))),
        };
        if let Err(problem) = fed {
            builder.problems.push(problem);
            break;
        }
    }
    (builder.documents, builder.problems)
}

/// YAML forbids them, and the parser takes NUL for the end: what follows would be ignored.
fn forbidden_character(text: &str) -> Option<Problem> {
    let forbidden = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    let (index, character) = text.char_indices().find(|(_, c)| forbidden(*c))?;
    Some(Problem {
        at: end(&text[..index]),
        message: format!("the character U+{:04X} can't be part of a manifest", u32::from(character)),
        remedy: "check that it is a text file; inside double quotes it can be written as an escape",
    })
}

/// Where the next character would be. Lines as the parser counts them: a carriage return alone ends one too.
fn end(text: &str) -> Position {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.rsplit(['\n', '\r']);
    let column = lines.next().map_or(0, |it| it.chars().count()) + 1;
    Position { line: lines.count() + 1, column }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

fn grammar(error: &ScanError, at: Position) -> Problem {
    if error.info().contains("recursion limit") {
        return too_deep(at);
    }
    let remedy = if error.info().contains("tab") {
        "indent with spaces; YAML doesn't allow tabs"
    } else {
        "check indentation, quotes and brackets here and on the lines before"
    };
    Problem { at, message: format!("not YAML: {}", error.info()), remedy }
}

#[derive(Default)]
struct Builder {
    documents: Vec<Arc<Node>>,
    problems: Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    nodes: usize,
}

/// A list or mapping that has not ended.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Arc<Node>>),
    /// With the line of each key.
    Map {
        entries: Vec<Entry>,
        lines: HashMap<String, usize>,
        key: Key,
    },
}

/// What the next node in a mapping is.
enum Key {
    /// A key.
    Awaited,
    /// The value of this key.
    Given(String, Position),
    /// The value of a key that was wrong.
    Wrong,
}

impl Builder {
    fn feed(&mut self, event: Event<'_>, at: Position) -> Result<(), Problem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, at)?;
                self.refuse_tag(tag.is_some(), at);
                let plain = style == ScalarStyle::Plain;
                let value = if plain { scalar::resolve(&text) } else { Value::Text(text.into_owned()) };
                self.place(Arc::new(Node { at, value, size: 1, height: 1 }), anchor, plain);
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), at);
                self.enter(Open { at, anchor, content: Content::List(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), at);
                self.enter(Open {
                    at,
                    anchor,
                    content: Content::Map { entries: Vec::new(), lines: HashMap::new(), key: Key::Awaited },
                })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.leave();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, at),
        }
    }

    fn enter(&mut self, open: Open) -> Result<(), Problem> {
        self.count(1, open.at)?;
        check_depth(self.open.len() + 1, open.at)?;
        self.open.push(open);
        Ok(())
    }

    fn leave(&mut self) {
        let Some(Open { at, anchor, content }) = self.open.pop() else { return };
        let (value, size, height) = match content {
            Content::List(items) => {
                let size = items.iter().map(|it| it.size).sum::<usize>() + 1;
                let height = items.iter().map(|it| it.height).max().unwrap_or(0) + 1;
                (Value::List(items), size, height)
            }
            Content::Map { entries, .. } => {
                let size = entries.iter().map(|it| it.value.size + 1).sum::<usize>() + 1;
                let height = entries.iter().map(|it| it.value.height).max().unwrap_or(0) + 1;
                (Value::Map(entries), size, height)
            }
        };
        self.place(Arc::new(Node { at, value, size, height }), anchor, false);
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(Problem {
                at,
                message: "this alias is inside of what it stands for".into(),
                remedy: "write the value out",
            });
        };
        self.count(node.size, at)?;
        check_depth(self.open.len() + node.height, at)?;
        self.place(node, 0, false);
        Ok(())
    }

    fn count(&mut self, more: usize, at: Position) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Problem {
            at,
            message: format!("more than {MAX_NODES} values in one file, aliases written out"),
            remedy: "split the file; take out aliases of aliases",
        })
    }

    fn refuse_tag(&mut self, tagged: bool, at: Position) {
        if tagged {
            self.problems.push(Problem {
                at,
                message: "YAML tags (`!...`) are not supported".into(),
                remedy: "leave the tag out; put text in quotes",
            });
        }
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Arc<Node>, anchor: usize, plain: bool) {
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        match self.open.last_mut().map(|it| &mut it.content) {
            None => {
                if node.value != Value::Null {
                    self.documents.push(node);
                }
            }
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, lines, key }) => match std::mem::replace(key, Key::Awaited) {
                Key::Awaited => match checked_key(&node, plain, lines) {
                    Ok(text) => {
                        lines.insert(text.clone(), node.at.line);
                        *key = Key::Given(text, node.at);
                    }
                    Err(problem) => {
                        self.problems.push(problem);
                        *key = Key::Wrong;
                    }
                },
                Key::Given(text, at) => entries.push(Entry { key: text, at, value: node }),
                Key::Wrong => {}
            },
        }
    }
}

fn check_depth(depth: usize, at: Position) -> Result<(), Problem> {
    if depth <= MAX_DEPTH { Ok(()) } else { Err(too_deep(at)) }
}

fn too_deep(at: Position) -> Problem {
    Problem {
        at,
        message: format!("nested more than {MAX_DEPTH} levels deep"),
        remedy: "no manifest needs that; check the brackets and the indentation",
    }
}

fn checked_key(node: &Node, plain: bool, lines: &HashMap<String, usize>) -> Result<String, Problem> {
    let problem = |message: String, remedy| Err(Problem { at: node.at, message, remedy });
    match &node.value {
        Value::Text(text) if plain && text == "<<" => {
            problem("merge keys (`<<`) are not supported".into(), "write the fields out")
        }
        Value::Text(text) => match lines.get(text) {
            Some(line) => problem(
                format!("{} is given twice; first on line {line}", scalar::shown(text)),
                "keep one of them",
            ),
            None => Ok(text.clone()),
        },
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Number(_) => {
            problem("YAML doesn't read this key as text".into(), "put it in quotes")
        }
        Value::List(_) | Value::Map(_) => {
            problem("a list or a mapping can't be a key".into(), "write text before the colon")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let (_, problems) = documents(text);
        let Problem { at, message, .. } = problems.first().expect("a problem");
        format!("{}:{}: {message}", at.line, at.column)
    }

    #[test]
    fn a_bomb_of_aliases_is_refused_where_it_gets_too_large() {
        let mut text = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let previous = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("b{level}: &a{level} [{}]\n", previous.trim_end_matches(", ")));
        }
        assert_eq!(problem(&text), "6:10: more than 200000 values in one file, aliases written out");
    }

    #[test]
    fn an_alias_counts_with_its_depth() {
        let deep = format!("a: &a {}{}\n", "[".repeat(40), "]".repeat(40));
        let (documents, problems) = documents(&deep);
        assert!(problems.is_empty() && documents.len() == 1);
        assert_eq!(
            problem(&format!("{deep}b: {}*a{}\n", "[".repeat(30), "]".repeat(30))),
            "2:34: nested more than 64 levels deep"
        );
        assert_eq!(problem(&"[".repeat(100)), "1:65: nested more than 64 levels deep");
        // Here the parser looks so far ahead that its own limit comes first.
        assert_eq!(problem(&"[".repeat(5000)), "1:256: nested more than 64 levels deep");
    }

    #[test]
    fn yaml_that_people_should_not_use_is_refused() {
        for (text, expected) in [
            ("a: &a [*a]", "1:8: this alias is inside of what it stands for"),
            ("a: 1\nb:\n  c: 1\n  c: 2\n", "4:3: `c` is given twice; first on line 3"),
            ("a: &a {x: y}\nb:\n  <<: *a\n", "3:3: merge keys (`<<`) are not supported"),
            ("a: !!str 1\n", "1:4: YAML tags (`!...`) are not supported"),
            ("a:\n  on: x\n", "2:3: YAML doesn't read this key as text"),
            ("? [a]\n: b\n", "1:3: a list or a mapping can't be a key"),
            ("a: b\0c: d\n", "1:5: the character U+0000 can't be part of a manifest"),
            ("ä: x\né: \u{1b}[31m\n", "2:4: the character U+001B can't be part of a manifest"),
        ] {
            assert_eq!(problem(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_a_place_that_exists() {
        // The end of a last line that does not end; lines that end like on Windows and on old Macs; a key that is not there.
        for (text, place) in [
            ("a: [", "1:5: "),
            ("a: b\r\nc: d\re: {", "3:5: "),
            ("a: b\r\nc: d\re: \0", "3:4: "),
            ("a: b\n?\n ", "3:2: "),
        ] {
            assert!(problem(text).starts_with(place), "{text:?}: {}", problem(text));
        }
    }

    #[test]
    fn empty_documents_are_left_out() {
        let (documents, problems) = documents("---\n# nothing\n---\na: b\n---\n");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(documents.len(), 1);
    }
}
