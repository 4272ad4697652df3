//! `filters` of rules and backends.

use crate::{
    HeaderChange, HttpFilter, Mirror, ObjectName, PathChange, Redirect, Rewrite,
    manifest::{
        field::{Field, Fields, Shape},
        names::{is_dns_subdomain, port, subdomain_name},
        route::{NOT_YET, Reference, absolute, cors::cors, one_of_each, reference, token},
        scalar::shown,
    },
};

const FILTER: Shape = Shape {
    known: &[
        "type",
        "requestHeaderModifier",
        "responseHeaderModifier",
        "requestMirror",
        "requestRedirect",
        "urlRewrite",
        "cors",
        "extensionRef",
    ],
    ignored: &[],
    refused: &[("externalAuth", NOT_YET, "leave the filter out")],
};
const EXTENSION: Shape = Shape { known: &["group", "kind", "name"], ignored: &[], refused: &[] };
const HEADERS: Shape = Shape { known: &["set", "add", "remove"], ignored: &[], refused: &[] };
const HEADER: Shape = Shape { known: &["name", "value"], ignored: &[], refused: &[] };
const REDIRECT: Shape =
    Shape { known: &["scheme", "hostname", "path", "port", "statusCode"], ignored: &[], refused: &[] };
const REWRITE: Shape = Shape { known: &["hostname", "path"], ignored: &[], refused: &[] };
const PATH_CHANGE: Shape =
    Shape { known: &["type", "replaceFullPath", "replacePrefixMatch"], ignored: &[], refused: &[] };
const MIRROR: Shape = Shape { known: &["backendRef", "percent", "fraction"], ignored: &[], refused: &[] };
const MIRROR_BACKEND: Shape =
    Shape { known: &["group", "kind", "name", "namespace", "port"], ignored: &[], refused: &[] };
const FRACTION: Shape = Shape { known: &["numerator", "denominator"], ignored: &[], refused: &[] };

/// Whose filters they are, which decides what they can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    HttpRule,
    HttpBackend,
    GrpcRule,
    GrpcBackend,
}

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Request,
    Response,
    Mirror,
    Redirect,
    Rewrite,
    Cors,
    Extension,
}

const TYPES: [(&str, Type, &str); 7] = [
    ("RequestHeaderModifier", Type::Request, "requestHeaderModifier"),
    ("ResponseHeaderModifier", Type::Response, "responseHeaderModifier"),
    ("RequestMirror", Type::Mirror, "requestMirror"),
    ("RequestRedirect", Type::Redirect, "requestRedirect"),
    ("URLRewrite", Type::Rewrite, "urlRewrite"),
    ("CORS", Type::Cors, "cors"),
    ("ExtensionRef", Type::Extension, "extensionRef"),
];

pub(crate) fn filters(field: &Field<'_>, namespace: &str, place: Place) -> Option<Vec<HttpFilter>> {
    if field.items()?.len() > 16 {
        return field.error("more than 16 filters", "write another rule");
    }
    let filters = field.all(|it| filter(it, namespace, place))?;
    one_of_each(field, &filters)?;
    Some(filters)
}

fn filter(field: &Field<'_>, namespace: &str, place: Place) -> Option<HttpFilter> {
    let fields = field.fields(&FILTER)?;
    let allowed: &[Type] = match place {
        Place::HttpRule => &[
            Type::Request,
            Type::Response,
            Type::Mirror,
            Type::Redirect,
            Type::Rewrite,
            Type::Cors,
            Type::Extension,
        ],
        // Who is sent elsewhere needs no backend.
        Place::HttpBackend => &[Type::Request, Type::Response, Type::Mirror, Type::Rewrite, Type::Cors],
        Place::GrpcRule => &[Type::Request, Type::Response, Type::Mirror, Type::Extension],
        Place::GrpcBackend => &[Type::Request, Type::Response, Type::Mirror],
    };
    let choices: Vec<_> =
        TYPES.iter().filter(|it| allowed.contains(&it.1)).map(|(word, kind, _)| (*word, *kind)).collect();
    let kind =
        fields.require("type", "write the filter's type").and_then(|it| it.choice(choices.as_slice()))?;
    for (word, other, key) in TYPES {
        if other != kind
            && let Some(field) = fields.find(key)
        {
            return field.error(format!("belongs to a filter of type {word}"), "leave it out");
        }
    }
    let key = TYPES.iter().find(|it| it.1 == kind).map_or("", |it| it.2);
    let own = fields.require(key, "write what it does")?;
    Some(match kind {
        Type::Request => HttpFilter::RequestHeaders(header_change(&own)?),
        Type::Response => HttpFilter::ResponseHeaders(header_change(&own)?),
        Type::Mirror => HttpFilter::Mirror(mirror(&own, namespace)?),
        Type::Redirect => HttpFilter::Redirect(redirect(&own)?),
        Type::Rewrite => HttpFilter::Rewrite(rewrite(&own)?),
        Type::Cors => HttpFilter::Cors(cors(&own)?),
        Type::Extension => extension(&own, namespace)?,
    })
}

/// Makes a filter of an object's name.
type Named = fn(ObjectName) -> HttpFilter;

/// One of Wabe's own kinds.
fn extension(field: &Field<'_>, namespace: &str) -> Option<HttpFilter> {
    let fields = field.fields(&EXTENSION)?;
    let group = fields.require("group", "write `group: mesh.wabe.dev`");
    let group = group.and_then(|it| it.choice(&[("mesh.wabe.dev", ())]));
    let kind = fields.require("kind", "write RequestLimit or FaultInjection");
    let kind = kind.and_then(|it| {
        it.choice(&[("RequestLimit", HttpFilter::Limit as Named), ("FaultInjection", HttpFilter::Fault)])
    });
    let name = fields.require("name", "write its name").and_then(|it| subdomain_name(&it));
    group?;
    Some(kind?(ObjectName::new(namespace, &name?)))
}

fn header_change(field: &Field<'_>) -> Option<HeaderChange> {
    let fields = field.fields(&HEADERS)?;
    let pair = |it: &Field<'_>| {
        let fields = it.fields(&HEADER)?;
        let name = fields.require("name", "write the header's name").and_then(|it| header_name(&it));
        let value = fields.require("value", "write the header's value").and_then(|it| header_value(&it));
        Some((name?, value?))
    };
    let set = fields.or("set", Vec::new(), |it| it.all(pair));
    let add = fields.or("add", Vec::new(), |it| it.all(pair));
    let remove = fields.or("remove", Vec::new(), |it| it.all(header_name));
    let (set, add, remove) = (set?, add?, remove?);
    let mut names: Vec<&String> = set.iter().chain(&add).map(|it| &it.0).chain(&remove).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|it| it[0] == it[1]) {
        let remedy =
            "write one action for a header; to set or add several values, write them with commas in one";
        return field.error(format!("more than one action is for the header {}", twice[0]), remedy);
    }
    Some(HeaderChange { set, add, remove })
}

/// Those that frame a message or hold for one connection are the proxy's own business.
fn header_name(field: &Field<'_>) -> Option<String> {
    const OWN: [&str; 8] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = token(field)?.to_ascii_lowercase();
    if OWN.contains(&name.as_str()) {
        return field.error(format!("the header {name} can't be changed"), "for the host, use URLRewrite");
    }
    Some(name)
}

fn header_value(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.len() > 4096 || text.bytes().any(|it| it.is_ascii_control() && it != b'\t') || text.trim() != text
    {
        let remedy = "use at most 4096 characters, without line breaks and without spaces around";
        return field.error(format!("{} can't be a header's value", shown(text)), remedy);
    }
    Some(text.to_owned())
}

fn mirror(field: &Field<'_>, namespace: &str) -> Option<Mirror> {
    let fields = field.fields(&MIRROR)?;
    let backend = fields
        .require("backendRef", "write the Service that gets the copies")
        .and_then(|it| reference(&it.fields(&MIRROR_BACKEND)?, namespace));
    let percent = fields.or("percent", None, |it| it.integer("a percentage", 0..=100).map(Some));
    let fraction = fields.or("fraction", None, |it| fraction(it).map(Some));
    let (numerator, denominator) = match (percent?, fraction?) {
        (Some(_), Some(_)) => return field.error("has a percentage and a fraction", "leave one of them out"),
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) => fraction,
        (None, None) => (100, 100),
    };
    let Reference { service, port, other_kind } = backend?;
    let (numerator, denominator) = (u32::try_from(numerator).ok()?, u32::try_from(denominator).ok()?);
    Some(Mirror { service, port, other_kind, numerator, denominator })
}

fn fraction(field: &Field<'_>) -> Option<(i64, i64)> {
    let most = i64::from(i32::MAX);
    let fields = field.fields(&FRACTION)?;
    let numerator = fields
        .require("numerator", "write how many requests are copied")
        .and_then(|it| it.integer("a numerator", 0..=most));
    let denominator = fields.or("denominator", 100, |it| it.integer("a denominator", 1..=most));
    let (numerator, denominator) = (numerator?, denominator?);
    if numerator > denominator {
        return field.error(format!("{numerator} of {denominator} is more than all"), "write at most all");
    }
    Some((numerator, denominator))
}

fn redirect(field: &Field<'_>) -> Option<Redirect> {
    let fields = field.fields(&REDIRECT)?;
    let scheme = fields.or("scheme", None, |it| {
        it.choice(&[("http", "http"), ("https", "https")]).map(|it| Some(it.to_owned()))
    });
    let (hostname, path) = host_and_path(&fields);
    let number = fields.or("port", None, |it| port(it).map(Some));
    let status = fields.or("statusCode", 302, |it| {
        let status = it.integer("a status", 301..=308)?;
        if ![301, 302, 303, 307, 308].contains(&status) {
            return it.error(format!("{status} is no redirect"), "write 301, 302, 303, 307 or 308");
        }
        Some(status)
    });
    let status = u16::try_from(status?).ok()?;
    Some(Redirect { scheme: scheme?, hostname: hostname?, path: path?, port: number?, status })
}

fn rewrite(field: &Field<'_>) -> Option<Rewrite> {
    let fields = field.fields(&REWRITE)?;
    let (hostname, path) = host_and_path(&fields);
    Some(Rewrite { hostname: hostname?, path: path? })
}

/// Each `None` if it is wrong.
fn host_and_path(fields: &Fields<'_>) -> (Option<Option<String>>, Option<Option<PathChange>>) {
    let hostname = fields.or("hostname", None, |it| hostname(it).map(Some));
    (hostname, fields.or("path", None, |it| path_change(it).map(Some)))
}

fn hostname(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if is_dns_subdomain(text) {
        return Some(text.to_owned());
    }
    field.error(format!("{} can't be a host's name", shown(text)), "write it without port and wildcard")
}

fn path_change(field: &Field<'_>) -> Option<PathChange> {
    let fields = field.fields(&PATH_CHANGE)?;
    let full = fields
        .require("type", "write ReplaceFullPath or ReplacePrefixMatch")
        .and_then(|it| it.choice(&[("ReplaceFullPath", true), ("ReplacePrefixMatch", false)]))?;
    let (own, other) = if full {
        ("replaceFullPath", "replacePrefixMatch")
    } else {
        ("replacePrefixMatch", "replaceFullPath")
    };
    if let Some(field) = fields.find(other) {
        return field.error("belongs to the other type", "leave it out");
    }
    let value = fields.require(own, "write the new path")?;
    if full {
        return absolute(&value).map(PathChange::Full);
    }
    // Nothing in a prefix's place is as good as a slash: the standard's table has both.
    let text = value.text()?;
    if text.is_empty() {
        Some(PathChange::Prefix("/".into()))
    } else {
        absolute(&value).map(PathChange::Prefix)
    }
}
