//! Routes: which rule a request falls under, what rules refer to, and what is said about it. Tables after the Gateway API's
//! conformance tests and documentation.

mod conditions;
mod cors;
mod grpc;
mod matching;
mod references;

use wabe_model::{Manifest, ObjectName, Objects, check, parse};
use wabe_policy::http::{HttpRequest, HttpRouter, HttpTable, Routed, joined};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {selector: {app: web}, ports: [{name: http, port: 80}]}\n";

/// The service `shop/web`, and what is written besides.
fn objects(more: &str) -> Objects {
    let parsed = parse(&[Manifest::new("x.yaml", "/", format!("{SERVICE}{more}"))])
        .unwrap_or_else(|error| panic!("{error}"));
    check(&parsed, &Objects::default()).unwrap_or_else(|error| panic!("{error}")).0
}

/// A route's document: it is attached to `shop/web`.
fn route(kind: &str, namespace: &str, name: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: web, namespace: shop}}], rules: {rules}}}\n"
    )
}

/// `HTTPRoute`s `r0`, `r1` ... of these namespaces.
fn http_routes(routes: &[(&str, &str)]) -> Objects {
    let routes = routes.iter().enumerate();
    let text: String = routes
        .map(|(index, (namespace, rules))| route("HTTPRoute", namespace, &format!("r{index}"), rules))
        .collect();
    objects(&text)
}

fn table(objects: &Objects) -> HttpTable {
    let service = objects.service(&ObjectName::new("shop", "web")).expect("the service");
    HttpTable::compile(objects, service, &service.ports[0]).expect("routes")
}

/// The rule's name or number; `404` or `itself` if there is none.
fn found(
    router: &HttpRouter,
    namespace: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let header = |name: &str| {
        joined(headers.iter().filter(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.as_bytes()))
    };
    match router.find(namespace, &HttpRequest { method, path, query, header: &header }) {
        Routed::Rule(rule, _) => rule.name.clone().unwrap_or_else(|| rule.rule.to_string()),
        Routed::NotFound => "404".into(),
        Routed::Unrouted => "itself".into(),
    }
}
