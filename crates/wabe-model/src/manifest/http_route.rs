//! `HTTPRoute`.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    HttpBackend, HttpFilter, HttpMatch, HttpRoute, HttpRouteRule, PathChange, PathMatch, Redirect, Retry,
    Rewrite, Timeouts,
    manifest::{
        field::{Field, Shape},
        metadata::Metadata,
        names::duration,
        route::{
            NOT_YET, SPEC, absolute, backends, expression,
            filter::{Place, filters},
            hostnames, matches, parents, rule_name, rules, value_matches,
        },
    },
};

const RULE: Shape = Shape {
    known: &["name", "matches", "filters", "backendRefs", "timeouts", "retry"],
    ignored: &[],
    refused: &[(
        "sessionPersistence",
        NOT_YET,
        "leave it out; the nearest is `sessionAffinity` of a Service",
    )],
};
const MATCH: Shape =
    Shape { known: &["path", "method", "headers", "queryParams"], ignored: &[], refused: &[] };
const PATH_MATCH: Shape = Shape { known: &["type", "value"], ignored: &[], refused: &[] };
const TIMEOUTS: Shape = Shape { known: &["request", "backendRequest"], ignored: &[], refused: &[] };
const RETRY: Shape = Shape { known: &["codes", "attempts", "backoff"], ignored: &[], refused: &[] };
const HOUR: Duration = Duration::from_secs(3600);
/// So often a request is sent again at most: more would only multiply what overloads a backend.
const MOST_ATTEMPTS: i64 = 10;

pub(crate) fn http_route(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<HttpRoute> {
    let namespace = metadata.as_ref().map(|it| it.name.namespace.clone()).unwrap_or_default();
    let fields = spec.fields(&SPEC)?;
    let parents = parents(&fields, &namespace);
    let hostnames = hostnames(&fields);
    let rules = rules(
        &fields,
        |it| rule(it, &namespace),
        |rule: &HttpRouteRule| rule.name.as_ref(),
        |rule| rule.matches.len(),
    );
    let rules = rules?;
    hostnames?;
    Some(HttpRoute { name: metadata?.name, parents: parents?, rules })
}

fn rule(field: &Field<'_>, namespace: &str) -> Option<HttpRouteRule> {
    let fields = field.fields(&RULE)?;
    let every = HttpMatch {
        path: PathMatch::Prefix("/".into()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
    };
    let name = rule_name(&fields);
    let matches = matches(&fields, every, matching);
    let filters = fields.or("filters", Vec::new(), |it| filters(it, namespace, Place::HttpRule));
    let backends = backends(&fields, namespace, Place::HttpBackend);
    let timeouts = fields.or("timeouts", Timeouts::default(), timeouts);
    let retry = fields.or("retry", None, |it| retry(it).map(Some));
    let (matches, filters, backends) = (matches?, filters?, backends?);
    check(field, &matches, &filters, &backends)?;
    Some(HttpRouteRule { name: name?, matches, filters, backends, timeouts: timeouts?, retry: retry? })
}

/// What only shows when all of a rule is seen.
fn check(
    field: &Field<'_>,
    matches: &[HttpMatch],
    filters: &[HttpFilter],
    backends: &[HttpBackend],
) -> Option<()> {
    let redirects = filters.iter().any(|it| matches!(it, HttpFilter::Redirect(_)));
    if redirects && !backends.is_empty() {
        return field.error("a rule that redirects has backends", "leave `backendRefs` out");
    }
    if redirects && filters.iter().any(|it| matches!(it, HttpFilter::Rewrite(_))) {
        return field.error("a rule redirects and rewrites", "leave one of the filters out");
    }
    let cors = |list: &[HttpFilter]| list.iter().any(|it| matches!(it, HttpFilter::Cors(_)));
    if cors(filters) && backends.iter().any(|it| cors(&it.filters)) {
        let remedy = "leave the rule's filter out, or those of its backends";
        return field.error("a rule and a backend of it both have a filter CORS", remedy);
    }
    let rewrites_path = |list: &[HttpFilter]| {
        list.iter().any(|it| matches!(it, HttpFilter::Rewrite(Rewrite { path: Some(_), .. })))
    };
    if rewrites_path(filters) && backends.iter().any(|it| rewrites_path(&it.filters)) {
        let remedy = "leave `path` out of the rule's filter, or of those of its backends";
        return field.error("a rule and a backend of it both rewrite the path", remedy);
    }
    let mut all = filters.iter().chain(backends.iter().flat_map(|it| &it.filters));
    let replaces_prefix = all.any(|it| match it {
        HttpFilter::Redirect(Redirect { path, .. }) | HttpFilter::Rewrite(Rewrite { path, .. }) => {
            matches!(path, Some(PathChange::Prefix(_)))
        }
        HttpFilter::RequestHeaders(_)
        | HttpFilter::ResponseHeaders(_)
        | HttpFilter::Mirror(_)
        | HttpFilter::Cors(_)
        | HttpFilter::Limit(_)
        | HttpFilter::Fault(_) => false,
    });
    if replaces_prefix && matches.iter().any(|it| !matches!(it.path, PathMatch::Prefix(_))) {
        let remedy = "match paths by PathPrefix, or write `ReplaceFullPath`";
        return field.error("ReplacePrefixMatch needs a prefix that matched", remedy);
    }
    Some(())
}

fn matching(field: &Field<'_>) -> Option<HttpMatch> {
    let fields = field.fields(&MATCH)?;
    let path = fields.or("path", PathMatch::Prefix("/".into()), path);
    let method = fields.or("method", None, |it| {
        let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        it.choice(&methods.map(|it| (it, it))).map(|it| Some(it.to_owned()))
    });
    let headers = value_matches(&fields, "headers");
    let query = value_matches(&fields, "queryParams");
    Some(HttpMatch { path: path?, method: method?, headers: headers?, query: query? })
}

fn path(field: &Field<'_>) -> Option<PathMatch> {
    #[derive(Clone, Copy)]
    enum Type {
        Exact,
        Prefix,
        Expression,
    }
    let fields = field.fields(&PATH_MATCH)?;
    let types =
        [("Exact", Type::Exact), ("PathPrefix", Type::Prefix), ("RegularExpression", Type::Expression)];
    let kind = fields.or("type", Type::Prefix, |it| it.choice(&types))?;
    let value = fields.find("value");
    let path = || value.as_ref().map_or_else(|| Some("/".to_owned()), absolute);
    match kind {
        Type::Exact => path().map(PathMatch::Exact),
        Type::Prefix => path().map(PathMatch::Prefix),
        Type::Expression => fields
            .require("value", "write the expression")
            .and_then(|it| expression(&it))
            .map(PathMatch::Expression),
    }
}

fn timeouts(field: &Field<'_>) -> Option<Timeouts> {
    let fields = field.fields(&TIMEOUTS)?;
    let time = |it: &Field<'_>| duration(it, Duration::ZERO, HOUR).map(|it| (!it.is_zero()).then_some(it));
    let request = fields.or("request", None, time);
    let backend_request = fields.or("backendRequest", None, time);
    let (request, backend_request) = (request?, backend_request?);
    if let (Some(whole), Some(part)) = (request, backend_request)
        && part > whole
    {
        return field.error("backendRequest is longer than request", "make it shorter, or leave it out");
    }
    Some(Timeouts { request, backend_request })
}

fn retry(field: &Field<'_>) -> Option<Retry> {
    let fields = field.fields(&RETRY)?;
    let code = |it: &Field<'_>| it.integer("a status", 400..=599).and_then(|it| u16::try_from(it).ok());
    let codes = fields.or("codes", Vec::new(), |it| it.all(code));
    let attempts = fields.or("attempts", 1, |it| it.integer("a number of attempts", 1..=MOST_ATTEMPTS));
    let backoff = fields.or("backoff", None, |it| duration(it, Duration::ZERO, HOUR).map(Some));
    let codes: BTreeSet<u16> = codes?.into_iter().collect();
    let attempts = u32::try_from(attempts?).ok()?;
    Some(Retry { codes: codes.into_iter().collect(), attempts, backoff: backoff? })
}
