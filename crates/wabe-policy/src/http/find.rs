//! Which rule a request falls under.

use std::collections::{BTreeMap, HashMap};

use wabe_model::{HttpMatch, PathMatch, ValueMatch};

use super::table::{HttpTable, TableRow, TableRule};

/// What is asked for.
pub struct HttpRequest<'a> {
    /// As sent: methods are told apart by case.
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// Without the question mark.
    pub query: Option<&'a str>,
    /// All values of the header of this name, in lower case, joined by commas if there are several.
    pub header: &'a dyn Fn(&str) -> Option<String>,
}

/// What becomes of a request.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Routed<'a> {
    /// This rule holds; the path of the match is what `ReplacePrefixMatch` replaces.
    Rule(&'a TableRule, &'a PathMatch),
    /// Routes hold for this caller, and none of their rules matches: 404.
    NotFound,
    /// No route holds for this caller: the request goes to the service itself.
    Unrouted,
}

/// A table made ready for look-ups: exact paths are found at once, prefixes by the path's own elements, so that a thousand rows
/// cost hardly more than ten.
#[derive(Debug)]
pub struct HttpRouter {
    producer: Rows,
    consumers: BTreeMap<String, Rows>,
}

/// Rows by their path, each list in the order of precedence.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<TableRow>,
    exact: HashMap<String, Vec<usize>>,
    /// By the prefix without slashes at its end.
    prefixes: HashMap<String, Vec<usize>>,
}

impl HttpRouter {
    /// From a table.
    pub fn new(table: &HttpTable) -> Self {
        let consumers = table.consumers.iter().map(|(namespace, rows)| (namespace.clone(), Rows::of(rows)));
        Self { producer: Rows::of(&table.producer), consumers: consumers.collect() }
    }

    /// The rule for a request of a caller in this namespace.
    pub fn find<'a>(&'a self, namespace: &str, request: &HttpRequest<'_>) -> Routed<'a> {
        let rows = self.consumers.get(namespace).unwrap_or(&self.producer);
        if rows.rows.is_empty() {
            return Routed::Unrouted;
        }
        match rows.find(request) {
            Some(row) => Routed::Rule(&row.rule, &row.condition.path),
            None => Routed::NotFound,
        }
    }
}

impl Rows {
    fn of(rows: &[TableRow]) -> Self {
        let mut made = Self { rows: rows.to_vec(), ..Self::default() };
        for (index, row) in rows.iter().enumerate() {
            match &row.condition.path {
                PathMatch::Exact(path) => made.exact.entry(path.clone()).or_default().push(index),
                PathMatch::Prefix(path) => {
                    made.prefixes.entry(path.trim_end_matches('/').to_owned()).or_default().push(index);
                }
            }
        }
        made
    }

    fn find(&self, request: &HttpRequest<'_>) -> Option<&TableRow> {
        let among = |places: Option<&Vec<usize>>| {
            let mut rows = places.into_iter().flatten().map(|place| &self.rows[*place]);
            rows.find(|row| holds(&row.condition, request))
        };
        among(self.exact.get(request.path))
            .or_else(|| prefixes(request.path).find_map(|it| among(self.prefixes.get(it))))
    }
}

/// The prefixes of a path by elements, the longest first: of `/a/b`, these are `/a/b`, `/a` and the empty one. (`*`, which
/// OPTIONS may ask, has no element.)
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let whole = path.trim_end_matches('/');
    let shorter = |path: &&str| (!path.is_empty()).then(|| &whole[..path.rfind('/').unwrap_or(0)]);
    std::iter::successors(Some(whole), shorter)
}

/// Whether a request is as a match demands, its path left out.
fn holds(condition: &HttpMatch, request: &HttpRequest<'_>) -> bool {
    condition.method.as_ref().is_none_or(|method| method == request.method)
        && condition
            .headers
            .iter()
            .all(|wanted| (request.header)(&wanted.name).is_some_and(|value| value == wanted.value))
        && condition.query.iter().all(|wanted| parameter(request.query, wanted))
}

/// Of a parameter that is given several times the first counts.
fn parameter(query: Option<&str>, wanted: &ValueMatch) -> bool {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut named = pairs.filter(|(name, _)| decoded(name) == wanted.name.as_bytes());
    named.next().is_some_and(|(_, value)| decoded(value) == wanted.value.as_bytes())
}

/// Of `application/x-www-form-urlencoded`; what is no escape stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = bytes.get(index + 1..index + 3).and_then(|it| std::str::from_utf8(it).ok());
        let value = escape.and_then(|it| u8::from_str_radix(it, 16).ok());
        match (bytes[index], value) {
            (b'%', Some(value)) => {
                out.push(value);
                index += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                index += 1;
            }
            (other, _) => {
                out.push(other);
                index += 1;
            }
        }
    }
    out
}
