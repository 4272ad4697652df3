//! The filter `CORS`: the cases of the Gateway API's conformance test `HTTPRouteCORS`, with its routes attached to a Service, and
//! what it leaves open.

use std::collections::BTreeMap;

use serde_json::Value;
use wabe_model::{Manifest, ObjectName, Objects, check, parse};
use wabe_policy::http::HttpTable;

use crate::{
    http1::answering,
    scene::{Heard, Scene},
};

/// A backend that says something of it too, which is not for it to say.
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-own: 1\r\naccess-control-allow-origin: https://evil.org\r\n\
                  access-control-max-age: 9\r\n\r\nok";

/// As in `httproute-cors.yaml`, one rule for each of its routes' rules.
const RULES: &str = "
  - matches: [{path: {value: /cors-1}}]
    filters:
    - type: CORS
      cors:
        allowOrigins: ['https://www.foo.com', 'https://*.bar.com']
        allowMethods: [GET, OPTIONS]
        allowHeaders: [x-header-1, x-header-2]
        exposeHeaders: [x-header-3, x-header-4]
        allowCredentials: true
        maxAge: 3600
    backendRefs: [{name: web, port: PORT}]
  - matches: [{path: {value: /cors-2}}]
    filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.com'], allowMethods: ['*']}}]
    backendRefs: [{name: web, port: PORT}]
  - matches: [{path: {value: /cors-wildcard-origin}}]
    filters: [{type: CORS, cors: {allowOrigins: ['*'], allowMethods: [PUT], allowCredentials: false}}]
    backendRefs: [{name: web, port: PORT}]
  - matches: [{path: {value: /cors-wildcard-methods-headers}}]
    filters: [{type: CORS, cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*'], allowCredentials: true}}]
    backendRefs: [{name: web, port: PORT}]
  - matches: [{path: {value: /cors-wildcard-methods-headers-unauth}}]
    filters: [{type: CORS, cors: {allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*'], allowCredentials: false}}]
    backendRefs: [{name: web, port: PORT}]
  - matches: [{path: {value: /moved}}]
    filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.com']}}, {type: RequestRedirect, requestRedirect: {hostname: b.c}}]
  - matches: [{path: {value: /of-backend}}]
    backendRefs:
    - name: web
      port: PORT
      filters: [{type: CORS, cors: {allowOrigins: ['https://www.foo.com'], allowMethods: [PUT]}}]
    - {name: web, port: PORT, weight: 0}
  - matches: [{path: {value: /of-nobody}}]
    backendRefs: [{name: gone, port: 80, filters: [{type: CORS, cors: {allowOrigins: ['*']}}]}]
  - matches: [{path: {value: /plain}}]
    backendRefs: [{name: web, port: PORT}]
";

/// The table that an `HTTPRoute` with these rules becomes.
fn put_table(snapshot: &mut Value) {
    let number = snapshot["ports"][0]["port"].to_string();
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{selector: {{a: b}}, ports: [{{port: {number}}}]}}\n\
         ---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: shop}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, name: web}}]\n  rules:{}",
        RULES.replace("PORT", &number)
    );
    let parsed = parse(&[Manifest::new("r.yaml", "/", text)]).unwrap_or_else(|it| panic!("{it}"));
    let (objects, _) = check(&parsed, &Objects::default()).unwrap_or_else(|it| panic!("{it}"));
    let service = objects.service(&ObjectName::new("shop", "web")).expect("the service");
    let table = HttpTable::compile(&objects, service, &service.ports[0]).expect("a route");
    snapshot["ports"][0]["protocol"] = "http".into();
    snapshot["ports"][0]["table"] = serde_json::to_value(table).expect("a table");
}

/// Status, headers, and how many requests the backend got.
struct Told {
    status: u16,
    headers: BTreeMap<String, String>,
    asked: usize,
}

impl Told {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Told {
    let heard = Heard::default();
    let scene = Scene::with(&[answering(&heard, OK)], put_table);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: web\r\n{headers}connection: close\r\n\r\n");
    let answer = scene.say(request.as_bytes());
    let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|it| it.split(' ').nth(1)?.parse().ok()).expect("a status");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_owned(), value.to_owned())
    };
    Told { status, headers: lines.map(pair).collect(), asked: heard.all().len() }
}

const NONE: Option<&str> = None;
const METHOD: &str = "access-control-request-method";
const HEADERS: &str = "access-control-request-headers";

/// A preflight, and what it is told: origin, methods, headers.
#[track_caller]
fn preflight(
    path: &str,
    origin: &str,
    method: &str,
    headers: Option<&str>,
    wanted: [Option<&str>; 3],
) -> Told {
    let mut asked = vec![("Origin", origin), (METHOD, method)];
    asked.extend(headers.map(|it| (HEADERS, it)));
    let told = ask("OPTIONS", path, &asked);
    assert_eq!((told.status, told.asked), (204, 0), "the backend is not asked");
    let names =
        ["access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers"];
    assert_eq!(names.map(|it| told.header(it)), wanted, "{:?}", told.headers);
    told
}

#[test]
fn preflights_from_origins_that_match_are_told_all() {
    // An exact origin, a wildcard, and one with any number of periods to its left.
    for origin in ["https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"] {
        let wanted = [Some(origin), Some("GET, OPTIONS"), Some("x-header-1, x-header-2")];
        let told = preflight("/cors-1", origin, "GET", Some("x-header-1, x-header-2"), wanted);
        for (name, value) in [
            ("access-control-expose-headers", "x-header-3, x-header-4"),
            ("access-control-max-age", "3600"),
            ("access-control-allow-credentials", "true"),
            ("vary", "origin"),
        ] {
            assert_eq!(told.header(name), Some(value), "{name}");
        }
    }
}

#[test]
fn a_preflight_from_another_origin_is_told_nothing() {
    let told = preflight("/cors-1", "https://foobar.com", "GET", None, [NONE; 3]);
    assert!(!told.headers.keys().any(|it| it.starts_with("access-control-")), "{:?}", told.headers);
    assert_eq!(told.header("vary"), Some("origin"), "caches do not show it to others");
}

#[test]
fn every_method_is_allowed_by_a_wildcard_and_credentials_only_if_it_says_so() {
    let wanted = [Some("https://www.foo.com"), Some("POST"), NONE];
    let told = preflight("/cors-2", "https://www.foo.com", "POST", None, wanted);
    assert_eq!(told.header("access-control-allow-credentials"), None);
    assert_eq!(told.header("access-control-max-age"), Some("5"), "unless written");
}

#[test]
fn a_wildcard_origin_is_every_origin() {
    for origin in ["https://foobar.com", "https://foobar.com:12345"] {
        let told = preflight("/cors-wildcard-origin", origin, "PUT", None, [Some("*"), Some("PUT"), NONE]);
        assert_eq!(told.header("access-control-allow-credentials"), None);
        let told = ask("PUT", "/cors-wildcard-origin", &[("Origin", origin)]);
        assert_eq!((told.status, told.header("access-control-allow-origin")), (200, Some("*")));
        assert_eq!(told.header("access-control-allow-credentials"), None);
    }
}

#[test]
fn with_credentials_a_wildcard_is_what_was_asked_for() {
    let origin = "https://other.foo.com";
    let asked = Some("x-header-1, x-header-2");
    let path = "/cors-wildcard-methods-headers";
    let told = preflight(path, origin, "PUT", asked, [Some(origin), Some("PUT"), asked]);
    assert_eq!(told.header("access-control-allow-credentials"), Some("true"));
    let _ = preflight(path, origin, "PUT", None, [Some(origin), Some("PUT"), NONE]);
    let told = ask("GET", path, &[("Origin", origin)]);
    assert_eq!(told.header("access-control-allow-origin"), Some(origin));
    assert_eq!(told.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(told.header("access-control-expose-headers"), Some("content-length, x-own, vary"));
    let path = "/cors-wildcard-methods-headers-unauth";
    let told = preflight(path, origin, "PUT", asked, [Some("*"), Some("PUT"), asked]);
    assert_eq!(told.header("access-control-allow-credentials"), None);
    let told = ask("GET", path, &[("Origin", origin)]);
    assert_eq!(told.header("access-control-allow-origin"), Some("*"));
    assert_eq!(told.header("access-control-allow-credentials"), None);
    assert_eq!(told.header("access-control-expose-headers"), Some("*"));
}

#[test]
fn simple_requests_go_to_the_backend_and_only_answers_for_allowed_origins_say_so() {
    let asking = [(METHOD, "GET"), (HEADERS, "x-header-1, x-header-2")];
    for (origin, allowed) in
        [("https://www.foo.com", true), ("https://www.bar.com", true), ("https://foobar.com", false)]
    {
        let told = ask("GET", "/cors-1", &[&[("Origin", origin)], &asking[..]].concat());
        assert_eq!((told.status, told.asked), (200, 1));
        assert_eq!(told.header("access-control-allow-origin"), allowed.then_some(origin));
        assert_eq!(told.header("access-control-max-age"), None, "neither the backend's");
        assert_eq!((told.header("x-own"), told.header("vary")), (Some("1"), Some("origin")));
    }
    let told = ask("GET", "/cors-1", &[]);
    assert_eq!((told.status, told.header("access-control-allow-origin")), (200, None));
}

#[test]
fn what_is_no_preflight_goes_to_the_backend() {
    let origin = ("Origin", "https://www.foo.com");
    for headers in [&[][..], &[origin], &[(METHOD, "GET")]] {
        let told = ask("OPTIONS", "/cors-1", headers);
        assert_eq!((told.status, told.asked), (200, 1), "{headers:?}");
    }
    let told = ask("OPTIONS", "/plain", &[origin, (METHOD, "GET")]);
    assert_eq!((told.status, told.asked), (200, 1), "the route says nothing of it");
    assert_eq!(told.header("access-control-allow-origin"), Some("https://evil.org"));
}

#[test]
fn a_backend_that_says_so_is_who_is_asked() {
    let origin = "https://www.foo.com";
    let _ = preflight("/of-backend", origin, "PUT", None, [Some(origin), Some("PUT"), NONE]);
    let _ = preflight("/of-backend", "https://foobar.com", "PUT", None, [NONE; 3]);
    let told = ask("PUT", "/of-backend", &[("Origin", origin)]);
    assert_eq!((told.status, told.asked), (200, 1));
    assert_eq!(told.header("access-control-allow-origin"), Some(origin), "not what the backend itself says");
    let told = ask("OPTIONS", "/of-nobody", &[("Origin", origin), (METHOD, "PUT")]);
    assert_eq!((told.status, told.header("access-control-allow-origin")), (500, None), "there is no backend");
}

#[test]
fn a_redirect_bears_it_too_and_a_preflight_is_answered_before_it() {
    let origin = "https://www.foo.com";
    let told = ask("GET", "/moved", &[("Origin", origin)]);
    assert_eq!((told.status, told.header("access-control-allow-origin")), (302, Some(origin)));
    let _ = preflight("/moved", origin, "GET", None, [Some(origin), NONE, NONE]);
}
