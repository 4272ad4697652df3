//! What rules refer to.

use wabe_model::{HttpFilter, ObjectName, Objects};
use wabe_policy::http::{HttpTable, InvalidBackend, Reason, conditions};

use crate::{http_routes, objects, route, table};

const FAR: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: other}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n";

fn grant(kind: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: other}}\n\
         spec: {{from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: shop}}], to: [{{group: '', kind: Service}}]}}\n"
    )
}

#[test]
fn backends_that_are_none_are_told_apart() {
    let rules = "[{backendRefs: [{name: web, port: 80}, {name: web, port: 81}, {name: gone, port: 80}, \
                 {name: a, kind: Bucket}, {name: far, namespace: other, port: 80}]}]";
    let table = table(&http_routes(&[("shop", rules)]));
    let invalid: Vec<_> = table.producer[0].rule.backends.iter().map(|it| it.invalid).collect();
    let want = [
        None,
        Some(InvalidBackend::NoSuchPort),
        Some(InvalidBackend::NoSuchService),
        Some(InvalidBackend::OtherKind),
        Some(InvalidBackend::NotGranted),
    ];
    assert_eq!(invalid, want);
    let kept: HttpTable =
        serde_json::from_str(&serde_json::to_string(&table).expect("text")).expect("a table");
    assert_eq!(kept, table);
}

#[test]
fn a_port_that_speaks_no_http_is_no_backend_of_requests() {
    let rules = "[{backendRefs: [{name: spoken, port: 1}, {name: spoken, port: 2}, {name: spoken, port: 3}, {name: spoken, port: 4}]}]";
    let spoken = "---\napiVersion: v1\nkind: Service\nmetadata: {name: spoken, namespace: shop}\nspec: {selector: {a: b}, \
        ports: [{name: x, port: 1}, {name: grpc, port: 2}, {name: https, port: 3}, {name: bytes, appProtocol: tcp, port: 4}]}\n";
    let none = Some(InvalidBackend::UnsupportedProtocol);
    for kind in ["HTTPRoute", "GRPCRoute"] {
        let objects = objects(&(route(kind, "shop", "r", rules) + spoken));
        let table = table(&objects);
        let invalid: Vec<_> = table.producer[0].rule.backends.iter().map(|it| it.invalid).collect();
        assert_eq!(invalid, [None, None, none, none], "{kind}");
        let route = objects.routes().next().expect("the route");
        let [_, resolved, _] = &conditions(&objects, route)[0];
        assert_eq!(resolved.reason, Reason::UnsupportedProtocol);
        assert!(
            resolved.message.contains("port 3 of service shop/spoken speaks no HTTP"),
            "{}",
            resolved.message
        );
    }
}

#[test]
fn a_grant_is_for_one_kind_of_routes() {
    let rules = "[{backendRefs: [{name: far, namespace: other, port: 80}]}]";
    for (kind, granted, valid) in [
        ("HTTPRoute", "HTTPRoute", true),
        ("HTTPRoute", "GRPCRoute", false),
        ("GRPCRoute", "GRPCRoute", true),
        ("GRPCRoute", "HTTPRoute", false),
    ] {
        let table = table(&objects(&(route(kind, "shop", "r", rules) + FAR + &grant(granted))));
        assert_eq!(table.producer[0].rule.backends[0].invalid.is_none(), valid, "{kind} {granted}");
    }
}

#[test]
fn a_consumers_route_may_lead_to_what_its_callers_dialled() {
    let rules = "[{backendRefs: [{name: web, namespace: shop, port: 80}]}]";
    let table = table(&http_routes(&[("away", rules)]));
    assert_eq!(table.consumers["away"][0].rule.backends[0].invalid, None);
}

/// A route of `shop` that is attached to `shop/web` and names `other/far` as one more parent.
fn attached_twice(kind: &str, far: &str, rules: &str) -> Objects {
    let route = route(kind, "shop", "r", rules).replace(
        "parentRefs: [",
        &format!("parentRefs: [{{group: '', kind: Service, name: far, namespace: other{far}}}, "),
    );
    objects(&(route + FAR))
}

#[test]
fn a_parent_more_is_no_grant_for_callers_of_another() {
    let to = "{name: far, namespace: other, port: 80}";
    let mirror = format!("{{type: RequestMirror, requestMirror: {{backendRef: {to}}}}}");
    let rules = format!(
        "[{{filters: [{mirror}], backendRefs: [{{name: far, namespace: other, port: 80, filters: [{mirror}]}}]}}]"
    );
    for kind in ["HTTPRoute", "GRPCRoute"] {
        for (far, accepted) in [(", port: 4711", false), (", port: 80", true), ("", true)] {
            let objects = attached_twice(kind, far, &rules);
            let web = table(&objects).producer.remove(0).rule;
            assert_eq!(web.backends[0].invalid, Some(InvalidBackend::NotGranted), "{kind}{far}");
            assert_eq!(web.destinations().count(), 0, "{kind}{far}: nor a copy");
            let service = objects.service(&ObjectName::new("other", "far")).expect("the service");
            let own = HttpTable::compile(&objects, service, &service.ports[0]);
            let own = own.map(|it| it.consumers["shop"][0].rule.destinations().count());
            assert_eq!(own, accepted.then_some(3), "{kind}{far}: whoever dialled it would have come there");
            let of = conditions(&objects, objects.routes().next().expect("the route"));
            let reasons = of.iter().map(|it| it[1].reason);
            let of_far = if accepted { Reason::ResolvedRefs } else { Reason::RefNotPermitted };
            assert_eq!(reasons.collect::<Vec<_>>(), [of_far, Reason::RefNotPermitted], "{kind}{far}");
        }
    }
}

#[test]
fn mirrors_that_lead_nowhere_are_left_out_and_all_destinations_are_known() {
    let mirror = |name: &str| {
        format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: {name}, port: 80}}}}}}")
    };
    let (here, gone) = (mirror("web"), mirror("gone"));
    let change = "{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [a]}}";
    let rules = format!(
        "[{{filters: [{gone}, {change}, {here}], backendRefs: [{{name: gone, port: 80, filters: [{here}, {gone}]}}]}}]"
    );
    let table = table(&http_routes(&[("shop", &rules)]));
    let rule = table.rules().next().expect("a rule");
    assert!(matches!(rule.filters.as_slice(), [HttpFilter::ResponseHeaders(_), HttpFilter::Mirror(_)]));
    assert_eq!(rule.backends[0].filters.len(), 1);
    let web = ObjectName::new("shop", "web");
    assert_eq!(rule.destinations().collect::<Vec<_>>(), [(&web, 80), (&web, 80)]);
}
