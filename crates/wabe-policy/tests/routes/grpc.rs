//! `GRPCRoute`: after `grpcroute-exact-method-matching`, `grpcroute-header-matching` and the standard's words on precedence.

use wabe_model::Kind;
use wabe_policy::http::{HttpRouter, HttpTable};

use crate::{found, objects, route, table};

fn calls(rules: &str) -> HttpTable {
    table(&objects(&route("GRPCRoute", "shop", "calls", rules)))
}

#[test]
fn calls_are_limited_and_made_to_fail_as_requests_are() {
    let extension = |kind: &str, name: &str| {
        format!("{{type: ExtensionRef, extensionRef: {{group: mesh.wabe.dev, kind: {kind}, name: {name}}}}}")
    };
    let [few, broken, gone] =
        [("RequestLimit", "few"), ("FaultInjection", "broken"), ("RequestLimit", "gone")]
            .map(|it| extension(it.0, it.1));
    let rules =
        format!("[{{name: guarded, filters: [{few}, {broken}]}}, {{name: wrong, filters: [{gone}]}}]");
    let kinds = "---\napiVersion: mesh.wabe.dev/v1alpha1\nkind: RequestLimit\nmetadata: {name: few, namespace: shop}\nspec: {requests: 3}\n\
                 ---\napiVersion: mesh.wabe.dev/v1alpha1\nkind: FaultInjection\nmetadata: {name: broken, namespace: shop}\nspec: {abort: {status: 503}}\n";
    let table = table(&objects(&(route("GRPCRoute", "shop", "calls", &rules) + kinds)));
    let [guarded, wrong] = [0, 1].map(|it| &table.producer[it].rule.guards);
    assert_eq!(guarded.limit.as_ref().map(|it| it.requests), Some(3));
    assert!(guarded.fault.as_ref().is_some_and(|it| it.abort.is_some()) && !guarded.missing);
    assert!(wrong.missing);
}

#[test]
fn calls_are_found_by_service_method_and_headers() {
    let rules = "[
        {name: any, matches: [{headers: [{name: version, value: any}]}]},
        {name: service, matches: [{method: {service: shop.Catalogue}}]},
        {name: method, matches: [{method: {method: List}}]},
        {name: both, matches: [{method: {service: shop.Catalogue, method: List}}]},
        {name: headers, matches: [{method: {service: shop.Catalogue, method: List}, headers: [{name: Version, value: two}]}]},
        {name: described, matches: [{method: {type: RegularExpression, service: 'shop[.].*', method: 'Get|Put'}}]}
    ]";
    let router = HttpRouter::new(&calls(rules));
    for (method, path, headers, want) in [
        ("POST", "/shop.Catalogue/List", &[][..], "both"),
        ("POST", "/shop.Catalogue/List", &[("version", "two")], "headers"),
        ("POST", "/shop.Catalogue/List", &[("version", "any")], "both"),
        ("POST", "/shop.Catalogue/Get", &[], "service"),
        ("POST", "/shop.Cart/List", &[], "method"),
        ("POST", "/shop.Cart/Get", &[], "described"),
        ("POST", "/shop.Cart/GetAll", &[], "404"),
        ("POST", "/shop.Cart/GetAll", &[("version", "any")], "any"),
        ("POST", "/shop/Get", &[], "404"),
        ("POST", "/shop.CatalogueX/Get", &[], "described"),
        ("POST", "/shop.Catalogue/list", &[], "service"),
        ("GET", "/shop.Catalogue/List", &[], "404"),
    ] {
        assert_eq!(found(&router, "shop", method, path, headers), want, "{method} {path} {headers:?}");
    }
}

#[test]
fn the_longer_service_goes_before_the_longer_method_and_that_before_headers() {
    let header = "headers: [{name: a, value: b}]";
    for (better, worse) in [
        ("method: {service: a.Long}".to_owned(), "method: {method: VeryLongIndeed}".to_owned()),
        ("method: {service: a.Long, method: M}".into(), format!("method: {{service: a.Long}}, {header}")),
        (format!("method: {{service: a.Long}}, {header}"), "method: {service: a.Long}".into()),
        (
            "method: {method: M}".into(),
            format!("method: {{type: RegularExpression, service: 'a.*'}}, {header}"),
        ),
        ("method: {type: RegularExpression, service: 'a.*'}".into(), header.into()),
        // Of equal ones the first.
        ("method: {service: a.Long}".into(), "method: {service: a.Long}".into()),
    ] {
        let rules =
            format!("[{{name: better, matches: [{{{better}}}]}}, {{name: worse, matches: [{{{worse}}}]}}]");
        let turned =
            format!("[{{name: worse, matches: [{{{worse}}}]}}, {{name: better, matches: [{{{better}}}]}}]");
        let names = |rules: &str| -> Vec<String> {
            calls(rules).rules().map(|rule| rule.name.clone().expect("named")).collect()
        };
        assert_eq!(names(&rules), ["better", "worse"], "{better} {worse}");
        if better != worse {
            assert_eq!(names(&turned), ["better", "worse"], "{better} {worse}");
        }
    }
}

#[test]
fn a_rule_without_matches_holds_for_every_call() {
    let table = calls("[{name: all}]");
    assert!(table.rules().all(|rule| rule.kind == Kind::GrpcRoute));
    let router = HttpRouter::new(&table);
    assert_eq!(found(&router, "shop", "POST", "/a.B/C", &[]), "all");
    assert_eq!(found(&router, "shop", "GET", "/", &[]), "404");
    let kept: HttpTable =
        serde_json::from_str(&serde_json::to_string(&table).expect("text")).expect("a table");
    assert_eq!(kept, table);
}

#[test]
fn kinds_are_not_mixed() {
    let web = |namespace: &str, name: &str| route("HTTPRoute", namespace, name, "[{name: web}]");
    let calls = |namespace: &str| route("GRPCRoute", namespace, "calls", "[{name: calls}]");
    for (routes, namespace, want) in [
        (web("shop", "a") + &calls("shop"), "shop", "calls"),
        (web("shop", "a") + &calls("away"), "shop", "web"),
        (web("shop", "a") + &calls("away"), "away", "calls"),
        (web("away", "a") + &calls("away") + &web("shop", "a"), "away", "calls"),
        (web("away", "a") + &calls("shop"), "away", "web"),
    ] {
        let router = HttpRouter::new(&table(&objects(&routes)));
        assert_eq!(found(&router, namespace, "POST", "/a/b", &[]), want, "{routes}");
    }
}
