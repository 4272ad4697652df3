//! Which rule a request falls under.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use rustc_hash::FxHashMap;
use wabe_model::{HttpMatch, PathMatch, ValueMatch, ValuePattern};

use super::table::{HttpTable, TableRow, TableRule};

/// What is asked for.
pub struct HttpRequest<'a> {
    /// As sent: methods are told apart by case.
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// Without the question mark.
    pub query: Option<&'a str>,
    /// All values of the header of this name, in lower case, joined by commas if there are several ([`joined`] does it);
    /// `None` if it has none.
    pub header: &'a dyn Fn(&str) -> Option<Cow<'a, [u8]>>,
}

/// What becomes of a request.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Routed<'a> {
    /// This rule holds; the path of the match is what `ReplacePrefixMatch` replaces.
    Rule(&'a Arc<TableRule>, &'a PathMatch),
    /// Routes hold for this caller, and none of their rules matches: 404.
    NotFound,
    /// No route holds for this caller: the request goes to the service itself.
    Unrouted,
}

/// A table made ready for look-ups: exact paths are found at once, prefixes by the path's own elements, so that a thousand rows
/// cost hardly more than ten. Expressions are walked through, one after the other.
#[derive(Debug)]
pub struct HttpRouter {
    producer: Rows,
    consumers: BTreeMap<String, Rows>,
    looks_at_fields: bool,
}

/// Rows by their path: places in `rows`, which is in the order of precedence, in ascending order.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<TableRow>,
    exact: FxHashMap<String, Vec<usize>>,
    expressions: Vec<usize>,
    /// By the prefix without slashes at its end.
    prefixes: FxHashMap<String, Vec<usize>>,
    /// Bytes of the longest of them.
    longest: usize,
}

/// The values of a header as one; borrowed unless there are several.
pub fn joined<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<Cow<'a, [u8]>> {
    let mut all = Cow::Borrowed(values.next()?);
    for value in values {
        let all = all.to_mut();
        all.extend_from_slice(b", ");
        all.extend_from_slice(value);
    }
    Some(all)
}

impl HttpRouter {
    /// From a table.
    pub fn new(table: &HttpTable) -> Self {
        let consumers = table.consumers.iter().map(|(namespace, rows)| (namespace.clone(), Rows::of(rows)));
        let mut rows = table.consumers.values().flatten().chain(&table.producer);
        Self {
            producer: Rows::of(&table.producer),
            consumers: consumers.collect(),
            looks_at_fields: rows.any(TableRow::looks_at_fields),
        }
    }

    /// Whether some rule looks at header fields of requests or changes them. If not, they need not be known to find a rule and to
    /// apply it.
    pub fn looks_at_fields(&self) -> bool {
        self.looks_at_fields
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
                PathMatch::Expression(_) => made.expressions.push(index),
                PathMatch::Prefix(path) => {
                    let prefix = path.trim_end_matches('/');
                    made.longest = made.longest.max(prefix.len());
                    made.prefixes.entry(prefix.to_owned()).or_default().push(index);
                }
            }
        }
        made
    }

    fn find(&self, request: &HttpRequest<'_>) -> Option<&TableRow> {
        let mut first = self.rows.len();
        // The first place that holds, if it comes before what was found.
        let mut look = |places: &[usize]| {
            let before = places.iter().copied().take_while(|place| *place < first);
            first = before.into_iter().find(|place| self.holds(*place, request)).unwrap_or(first);
        };
        let (exact, prefixed) = (self.exact.get(request.path), prefixes(request.path));
        exact.into_iter().for_each(|places| look(places));
        look(&self.expressions);
        prefixed.filter_map(|it| self.prefixed(it)).for_each(|places| look(places));
        self.rows.get(first)
    }

    /// Rows with this prefix. A path of thousands of elements must not be looked up thousands of times, in full length.
    fn prefixed(&self, prefix: &str) -> Option<&Vec<usize>> {
        if prefix.len() > self.longest { None } else { self.prefixes.get(prefix) }
    }

    /// Whether a request is as a row demands, whose exact path or prefix it has.
    fn holds(&self, place: usize, request: &HttpRequest<'_>) -> bool {
        let condition = &self.rows[place].condition;
        let path = match &condition.path {
            PathMatch::Exact(_) | PathMatch::Prefix(_) => true,
            PathMatch::Expression(path) => path.matches(request.path.as_bytes()),
        };
        path && rest_holds(condition, request)
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
fn rest_holds(condition: &HttpMatch, request: &HttpRequest<'_>) -> bool {
    condition.method.as_ref().is_none_or(|method| method == request.method)
        && condition
            .headers
            .iter()
            .all(|wanted| (request.header)(&wanted.name).is_some_and(|value| is_as(&wanted.value, &value)))
        && condition.query.iter().all(|wanted| parameter(request.query, wanted))
}

fn is_as(wanted: &ValuePattern, value: &[u8]) -> bool {
    match wanted {
        ValuePattern::Exact(text) => text.as_bytes() == value,
        ValuePattern::Expression(expression) => expression.matches(value),
    }
}

/// Of a parameter that is given several times the first counts.
fn parameter(query: Option<&str>, wanted: &ValueMatch) -> bool {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut named = pairs.filter(|(name, _)| *decoded(name) == *wanted.name.as_bytes());
    named.next().is_some_and(|(_, value)| is_as(&wanted.value, &decoded(value)))
}

/// Of `application/x-www-form-urlencoded`; what is no escape stays as it is.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|it| matches!(it, b'%' | b'+')) {
        return Cow::Borrowed(bytes);
    }
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
    Cow::Owned(out)
}
