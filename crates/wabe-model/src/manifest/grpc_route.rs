//! `GRPCRoute`.

use crate::{
    Expression, GrpcMatch, GrpcMethod, GrpcRoute, GrpcRouteRule,
    manifest::{
        field::{Field, Shape},
        metadata::Metadata,
        route::{
            NOT_YET, SPEC, backends, expression,
            filter::{Place, filters},
            hostnames, matches, parents, rule_name, rules, value_matches,
        },
        scalar::shown,
    },
};

const RULE: Shape = Shape {
    known: &["name", "matches", "filters", "backendRefs"],
    ignored: &[],
    refused: &[
        ("sessionPersistence", NOT_YET, "leave it out; the nearest is `sessionAffinity` of a Service"),
        ("timeouts", "is a field of HTTPRoutes", "let callers set a deadline (`grpc-timeout`)"),
        ("retry", "is a field of HTTPRoutes", "let callers repeat: gRPC's clients know how (`retryPolicy`)"),
    ],
};
const MATCH: Shape = Shape { known: &["method", "headers"], ignored: &[], refused: &[] };
const METHOD: Shape = Shape { known: &["type", "service", "method"], ignored: &[], refused: &[] };

pub(crate) fn grpc_route(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<GrpcRoute> {
    let namespace = metadata.as_ref().map(|it| it.name.namespace.clone()).unwrap_or_default();
    let fields = spec.fields(&SPEC)?;
    let parents = parents(&fields, &namespace);
    let hostnames = hostnames(&fields);
    let rules = rules(
        &fields,
        |it| rule(it, &namespace),
        |rule: &GrpcRouteRule| rule.name.as_ref(),
        |rule| rule.matches.len(),
    );
    let rules = rules?;
    hostnames?;
    Some(GrpcRoute { name: metadata?.name, parents: parents?, rules })
}

fn rule(field: &Field<'_>, namespace: &str) -> Option<GrpcRouteRule> {
    let fields = field.fields(&RULE)?;
    let name = rule_name(&fields);
    let matches = matches(&fields, GrpcMatch::default(), matching);
    let filters = fields.or("filters", Vec::new(), |it| filters(it, namespace, Place::GrpcRule));
    let backends = backends(&fields, namespace, Place::GrpcBackend);
    Some(GrpcRouteRule { name: name?, matches: matches?, filters: filters?, backends: backends? })
}

fn matching(field: &Field<'_>) -> Option<GrpcMatch> {
    let fields = field.fields(&MATCH)?;
    let method = fields.or("method", None, |it| method(it).map(Some));
    let headers = value_matches(&fields, "headers");
    Some(GrpcMatch { method: method?, headers: headers? })
}

fn method(field: &Field<'_>) -> Option<GrpcMethod> {
    let fields = field.fields(&METHOD)?;
    let described =
        fields.or("type", false, |it| it.choice(&[("Exact", false), ("RegularExpression", true)]));
    // The standard: an empty text is the same as none.
    let written = |key| fields.find(key).filter(|it| it.peek_text() != Some(""));
    let (service, method) = (written("service"), written("method"));
    if service.is_none() && method.is_none() {
        let remedy = "write one of them, or leave `method` out to match every call";
        return field.error("neither service nor method is named", remedy);
    }
    if described? {
        let read = |it: Option<Field<'_>>| it.map_or(Some(None), |it| expression(&it).map(Some));
        let (service, method) = (read(service), read(method));
        let (service, method) = (service?, method?);
        if let Err(error) = Expression::path_of_call(service.as_ref(), method.as_ref()) {
            let message = format!("service and method make no expression of a path: {error}");
            return field.error(message, "name groups differently, and nest them less deep");
        }
        return Some(GrpcMethod::Expression { service, method });
    }
    let read = |it: Option<Field<'_>>, dots| it.map_or(Some(None), |it| word(&it, dots).map(Some));
    let (service, method) = (read(service, true), read(method, false));
    Some(GrpcMethod::Exact { service: service?, method: method? })
}

/// As protocol buffers have it: letters, digits and `_`; of a service, with dots after its package.
fn word(field: &Field<'_>, dots: bool) -> Option<String> {
    let text = field.text()?;
    let good = |it: u8| it.is_ascii_alphanumeric() || it == b'_' || (dots && it == b'.');
    if text.len() > 1024 || !text.bytes().all(good) {
        let remedy = "write a service as `package.Service` and a method as `Method`, each in its field";
        return field.error(format!("{} can't be called", shown(text)), remedy);
    }
    Some(text.to_owned())
}
