//! What the kinds of routes have in common.

mod cors;
pub(super) mod filter;

use std::collections::BTreeSet;

use crate::{
    Expression, HttpBackend, HttpFilter, ObjectName, OtherKind, ParentRef, ValueMatch, ValuePattern,
    manifest::{
        field::{Field, Fields, Shape},
        names::{is_dns_label, is_dns_subdomain, port},
        route::filter::{Place, filters},
        scalar::shown,
    },
};

pub(super) const NOT_YET: &str = "is not supported yet, and not ignored";
pub(super) const SPEC: Shape = Shape {
    known: &["parentRefs", "hostnames", "rules"],
    ignored: &[],
    refused: &[("useDefaultGateways", "is about Gateways, which are not supported", "leave it out")],
};
const PARENT: Shape = Shape {
    known: &["group", "kind", "name", "namespace", "port", "sectionName"],
    ignored: &[],
    refused: &[],
};
const BACKEND: Shape = Shape {
    known: &["group", "kind", "name", "namespace", "port", "weight", "filters"],
    ignored: &[],
    refused: &[],
};
const VALUE_MATCH: Shape = Shape { known: &["type", "name", "value"], ignored: &[], refused: &[] };
/// The standard's own limits.
const MOST: usize = 16;
const MOST_PARENTS: usize = 32;
const MOST_MATCHES: usize = 64;
const MOST_MATCHES_OF_ALL: usize = 128;

/// `parentRefs`.
pub(super) fn parents(fields: &Fields<'_>, namespace: &str) -> Option<Vec<ParentRef>> {
    let field = fields.require("parentRefs", "name the Service whose requests the route is about")?;
    let parents = list(&field, "parents", MOST_PARENTS, |it| parent(it, namespace))?;
    let overlap = |one: &ParentRef, other: &ParentRef| {
        one.service == other.service
            && (one.port.is_none() || other.port.is_none() || one.port == other.port)
            && (one.section.is_none() || other.section.is_none() || one.section == other.section)
    };
    let twice =
        (1..parents.len()).find(|place| parents[..*place].iter().any(|it| overlap(it, &parents[*place])));
    if let Some(place) = twice {
        let message = format!("Service {} is named twice", parents[place].service);
        return field.error(message, "name it once, or each time with another `port` or `sectionName`");
    }
    Some(parents)
}

/// `hostnames` of a route of requests or calls: a mesh is to make nothing of it (GEP-1294), but who wrote it may think that it does.
pub(super) fn hostnames(fields: &Fields<'_>) -> Option<()> {
    let Some(field) = fields.find("hostnames") else { return Some(()) };
    let names = field.all(|it| it.text().map(str::to_owned))?;
    if !names.is_empty() {
        field.warn(
            "says nothing on a route that is attached to a Service: requests for every host fall under its rules",
            "leave it out, or match the header `host`",
        );
    }
    Some(())
}

/// `rules`, with names that are unique, and not too many matches in all.
pub(super) fn rules<T>(
    fields: &Fields<'_>,
    read: impl Fn(&Field<'_>) -> Option<T>,
    name: impl Fn(&T) -> Option<&String>,
    matches: impl Fn(&T) -> usize,
) -> Option<Vec<T>> {
    let field = fields.require("rules", "write at least one rule")?;
    let rules = list(&field, "rules", MOST, read)?;
    let mut names = BTreeSet::new();
    if let Some(twice) = rules.iter().filter_map(name).find(|it| !names.insert(*it)) {
        return field.error(format!("two rules are called {}", shown(twice)), "give one another name");
    }
    let all: usize = rules.iter().map(matches).sum();
    if all > MOST_MATCHES_OF_ALL {
        let message = format!("{all} matches in all rules are too many");
        return field.error(message, format!("write at most {MOST_MATCHES_OF_ALL}; split the route"));
    }
    Some(rules)
}

/// `name` of a rule.
pub(super) fn rule_name(fields: &Fields<'_>) -> Option<Option<String>> {
    fields.or("name", None, |it| {
        let text = it.text()?;
        if is_dns_subdomain(text) {
            return Some(Some(text.to_owned()));
        }
        it.error(format!("{} can't be a rule's name", shown(text)), "use at most 253 of a-z, 0-9, - and .")
    })
}

/// `matches` of a rule; none is written as often as it is not.
pub(super) fn matches<T>(
    fields: &Fields<'_>,
    every: T,
    read: impl Fn(&Field<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let matches = fields.or("matches", Vec::new(), |it| {
        if it.items()?.len() > MOST_MATCHES {
            return it.error(format!("more than {MOST_MATCHES} matches"), "write another rule");
        }
        it.all(read)
    })?;
    Some(if matches.is_empty() { vec![every] } else { matches })
}

/// A list with at least one entry, and not too many.
pub(super) fn list<'a, T>(
    field: &Field<'a>,
    what: &str,
    most: usize,
    read: impl Fn(&Field<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let items = field.all(read)?;
    match items.len() {
        0 => field.error(format!("{what} are missing"), "write at least one"),
        count if count > most => field
            .error(format!("{count} {what} are too many"), format!("write at most {most}; split the object")),
        _ => Some(items),
    }
}

fn parent(field: &Field<'_>, namespace: &str) -> Option<ParentRef> {
    let fields = field.fields(&PARENT)?;
    let remedy = "write `kind: Service` and `group: \"\"`; Gateways are not supported yet";
    let group = fields.find("group").map(|it| it.text().map(str::to_owned));
    let kind = fields.find("kind").map(|it| it.text().map(str::to_owned));
    // Left out, both mean a Gateway.
    let is_service = matches!(&group, Some(Some(it)) if it.is_empty() || it == "core")
        && matches!(&kind, Some(Some(it)) if it == "Service");
    let service = service(&fields, namespace);
    let number = fields.or("port", None, |it| port(it).map(Some));
    let section = fields.or("sectionName", None, |it| it.text().map(|it| Some(it.to_owned())));
    if !is_service {
        return field.error("a route is attached to a Service only", remedy);
    }
    Some(ParentRef { service: service?, port: number?, section: section? })
}

/// `name` and `namespace`.
fn service(fields: &Fields<'_>, namespace: &str) -> Option<ObjectName> {
    let label = |field: &Field<'_>| {
        let text = field.text()?;
        if is_dns_label(text) {
            return Some(text.to_owned());
        }
        field.error(format!("{} is no Service's name", shown(text)), "write a name of a-z, 0-9 and -")
    };
    let name = fields.require("name", "write the Service's name").and_then(|it| label(&it));
    let namespace = fields.or("namespace", namespace.to_owned(), |it| label(it));
    Some(ObjectName::new(&namespace?, &name?))
}

/// `backendRefs` of a rule.
pub(super) fn backends(fields: &Fields<'_>, namespace: &str, place: Place) -> Option<Vec<HttpBackend>> {
    fields.or("backendRefs", Vec::new(), |it| {
        if it.items()?.len() > MOST {
            return it.error(format!("more than {MOST} backends"), "write another rule");
        }
        it.all(|it| backend(it, namespace, place))
    })
}

fn backend(field: &Field<'_>, namespace: &str, place: Place) -> Option<HttpBackend> {
    let fields = field.fields(&BACKEND)?;
    let reference = reference(&fields, namespace);
    let weight = fields.or("weight", 1, |it| it.integer("a weight", 0..=1_000_000));
    let filters = fields.or("filters", Vec::new(), |it| filters(it, namespace, place));
    let (filters, Reference { service, port, other_kind }) = (filters?, reference?);
    Some(HttpBackend { service, port, other_kind, weight: u32::try_from(weight?).ok()?, filters })
}

/// What a backend or a mirror refers to.
pub(super) struct Reference {
    pub(super) service: ObjectName,
    pub(super) port: u16,
    pub(super) other_kind: Option<OtherKind>,
}

/// `group`, `kind`, `name`, `namespace`, `port`. Other kinds than services are no error: the standard has a condition for them.
pub(super) fn reference(fields: &Fields<'_>, namespace: &str) -> Option<Reference> {
    let word = |key, default: &str| {
        fields.or(key, default.to_owned(), |it| {
            let text = it.text()?;
            if text.len() <= 253 && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-.".contains(&it)) {
                return Some(text.to_owned());
            }
            it.error(format!("{} can't be a {key}", shown(text)), "leave it out for a Service")
        })
    };
    let (group, kind) = (word("group", ""), word("kind", "Service"));
    let service = service(fields, namespace);
    let is_service = matches!(group.as_deref(), Some("" | "core")) && kind.as_deref() == Some("Service");
    let number = if is_service {
        fields.require("port", "write a port of the Service").and_then(|it| port(&it))
    } else {
        fields.or("port", 0, port)
    };
    let (group, kind) = (group?, kind?);
    let other_kind = (!is_service).then_some(OtherKind { group, kind });
    Some(Reference { service: service?, port: number?, other_kind })
}

/// `headers` or `queryParams`. The standard: of equal names only the first counts.
pub(super) fn value_matches(fields: &Fields<'_>, key: &str) -> Option<Vec<ValueMatch>> {
    let header = key == "headers";
    let mut values = fields.or(key, Vec::new(), |it| it.all(|it| value_match(it, header)))?;
    let mut seen = BTreeSet::new();
    values.retain(|it| seen.insert(it.name.clone()));
    Some(values)
}

fn value_match(field: &Field<'_>, header: bool) -> Option<ValueMatch> {
    let fields = field.fields(&VALUE_MATCH)?;
    let described =
        fields.or("type", false, |it| it.choice(&[("Exact", false), ("RegularExpression", true)]));
    let name = fields.require("name", "write its name").and_then(|it| token(&it));
    let value = fields.require("value", "write its value");
    let (described, name, value) = (described?, name?, value?);
    let value = if described {
        ValuePattern::Expression(expression(&value)?)
    } else {
        ValuePattern::Exact(value.text()?.to_owned())
    };
    Some(ValueMatch { name: if header { name.to_ascii_lowercase() } else { name }, value })
}

pub(super) fn expression(field: &Field<'_>) -> Option<Expression> {
    let text = field.text()?;
    match Expression::new(text) {
        Ok(expression) => Some(expression),
        Err(error) => field.error(
            format!("{} is no regular expression: {error}", shown(text)),
            "write it as RE2 has it; it has to describe the whole value",
        ),
    }
}

/// A header's or a parameter's name.
pub(super) fn token(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let good = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    if text.is_empty() || text.len() > 256 || !text.bytes().all(good) {
        return field.error(format!("{} can't be a name", shown(text)), "use letters, digits and -");
    }
    Some(text.to_owned())
}

/// A path, or what takes the place of one.
pub(super) fn absolute(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let bad = ["//", "/./", "/../", "%2f", "%2F", "#"].into_iter().any(|it| text.contains(it))
        || text.ends_with("/..")
        || text.ends_with("/.")
        || text.len() > 1024
        || !is_written_as_requests_have_it(text.as_bytes());
    if !text.starts_with('/') || bad {
        let remedy = "write it as requests have it, beginning with `/`, without `//`, `/./`, `/../`, `?` and `#`, what is no letter or digit percent-encoded";
        return field.error(format!("{} can't be a path", shown(text)), remedy);
    }
    Some(text.to_owned())
}

/// The standard's pattern: characters that stand for themselves in paths, and percent-encoded ones (RFC 3986, section 3.3).
fn is_written_as_requests_have_it(path: &[u8]) -> bool {
    match path {
        [] => true,
        [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            is_written_as_requests_have_it(rest)
        }
        [first, rest @ ..] => {
            (first.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(first))
                && is_written_as_requests_have_it(rest)
        }
    }
}

/// A rule's filters: of each type one, but for mirrors.
pub(super) fn one_of_each(field: &Field<'_>, filters: &[HttpFilter]) -> Option<()> {
    let single: Vec<_> = filters
        .iter()
        .filter(|it| !matches!(it, HttpFilter::Mirror(_)))
        .map(std::mem::discriminant)
        .collect();
    if (1..single.len()).any(|index| single[..index].contains(&single[index])) {
        return field.error("a filter of one type is written twice", "write one of each type");
    }
    Some(())
}
