//! What is said about routes.

use wabe_model::{Objects, Route};
use wabe_policy::http::{Condition, Reason, Status, conditions};

use crate::{objects, route};

const MORE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: two, namespace: shop}\n\
     spec: {selector: {a: b}, ports: [{name: one, port: 80}, {name: other, port: 81}, {name: udp, port: 82, protocol: UDP}, {name: sql, port: 84, appProtocol: tcp}]}\n---\n\
     apiVersion: v1\nkind: Service\nmetadata: {name: headless, namespace: shop}\nspec: {clusterIP: None, selector: {a: b}, ports: [{port: 80}]}\n";

fn attached(parents: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: shop}}\n\
         spec: {{parentRefs: [{parents}], rules: {rules}}}\n"
    )
}

fn of(objects: &Objects) -> Vec<[Condition; 3]> {
    let found = objects.http_routes().find(|it| it.name.name == "r").expect("the route");
    conditions(objects, Route::Http(found))
}

#[test]
fn a_route_is_accepted_where_there_is_something_to_attach_it_to() {
    for (parent, reason, said) in [
        ("name: two", Reason::Accepted, ""),
        ("name: two, port: 81", Reason::Accepted, ""),
        ("name: two, sectionName: other", Reason::Accepted, ""),
        ("name: gone", Reason::NoMatchingParent, "there is no service shop/gone"),
        ("name: two, port: 83", Reason::NoMatchingParent, "has no such port for TCP; it has 80, 81, 84"),
        ("name: two, port: 84", Reason::UnsupportedValue, "port 84 speaks tcp, as the Service says"),
        ("name: two, port: 82", Reason::NoMatchingParent, "has no such port for TCP"),
        ("name: two, port: 80, sectionName: other", Reason::NoMatchingParent, "has no such port"),
        ("name: headless", Reason::NoMatchingParent, "has no address of its own"),
    ] {
        let objects = objects(&format!(
            "{MORE}{}",
            attached(&format!("{{group: '', kind: Service, {parent}}}"), "[{}]")
        ));
        let all = of(&objects);
        let [accepted, _, programmed] = &all[0];
        assert_eq!(accepted.reason, reason, "{parent}");
        assert!(accepted.message.contains(said), "{parent}: {}", accepted.message);
        assert_eq!(accepted.status == Status::True, reason == Reason::Accepted, "{parent}");
        assert_eq!(programmed.status, accepted.status, "{parent}");
    }
}

#[test]
fn each_parent_has_conditions_of_its_own() {
    let parents = "{group: '', kind: Service, name: gone}, {group: '', kind: Service, name: two}";
    let reasons: Vec<Reason> =
        of(&objects(&format!("{MORE}{}", attached(parents, "[{}]")))).iter().map(|it| it[0].reason).collect();
    assert_eq!(reasons, [Reason::NoMatchingParent, Reason::Accepted]);
}

#[test]
fn references_that_do_not_resolve_are_told_with_the_first_ones_reason() {
    let mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}";
    for (rule, reason, said) in [
        ("{backendRefs: [{name: web, port: 80}]}".to_owned(), Reason::ResolvedRefs, ""),
        ("{backendRefs: [{name: web, port: 81}]}".into(), Reason::BackendNotFound, "has no port 81 for TCP"),
        ("{backendRefs: [{name: gone, port: 81}]}".into(), Reason::BackendNotFound, "no service shop/gone"),
        ("{backendRefs: [{name: b, kind: Bucket}]}".into(), Reason::InvalidKind, "the Bucket shop/b"),
        (
            "{backendRefs: [{name: web, namespace: far, port: 80}]}".into(),
            Reason::RefNotPermitted,
            "of another namespace, which does not allow it",
        ),
        (
            "{backendRefs: [{name: b, kind: Bucket}, {name: gone, port: 1}]}".into(),
            Reason::InvalidKind,
            "; there is no service shop/gone",
        ),
        (format!("{{filters: [{mirror}]}}"), Reason::BackendNotFound, "no service shop/gone"),
        (
            "{filters: [{type: ExtensionRef, extensionRef: {group: mesh.wabe.dev, kind: RequestLimit, name: gone}}]}".into(),
            Reason::FilterNotFound,
            "no RequestLimit shop/gone",
        ),
        (
            format!("{{backendRefs: [{{name: web, port: 80, filters: [{mirror}]}}]}}"),
            Reason::BackendNotFound,
            "no service shop/gone",
        ),
    ] {
        let parent = "{group: '', kind: Service, name: web}";
        let all = of(&objects(&attached(parent, &format!("[{rule}]"))));
        let [accepted, resolved, programmed] = &all[0];
        assert_eq!(
            (resolved.reason, resolved.message.contains(said)),
            (reason, true),
            "{rule} {}",
            resolved.message
        );
        assert_eq!(
            (accepted.status, programmed.status),
            (Status::True, Status::True),
            "the rest of it holds"
        );
    }
}

#[test]
fn of_two_kinds_one_is_told_that_the_other_holds() {
    let calls = route("GRPCRoute", "shop", "calls", "[{}]");
    let web = of(&objects(&(route("HTTPRoute", "shop", "r", "[{}]") + &calls)));
    assert_eq!((web[0][0].reason, web[0][2].reason), (Reason::Conflicted, Reason::Invalid));
    assert!(
        web[0][0].message.contains("at port 80 a GRPCRoute of namespace shop holds"),
        "{}",
        web[0][0].message
    );
    let consumer = of(&objects(&(route("HTTPRoute", "away", "r", "[{}]") + &calls)));
    assert_eq!(consumer[0][0].reason, Reason::Accepted);
}

#[test]
fn conditions_are_written_as_the_standard_writes_them() {
    let objects = objects(&route("HTTPRoute", "shop", "r", "[{backendRefs: [{name: gone, port: 80}]}]"));
    let text = serde_json::to_value(&of(&objects)[0]).expect("text");
    let want = serde_json::json!([
        { "type": "Accepted", "status": "True", "reason": "Accepted", "message": "" },
        { "type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": "there is no service shop/gone" },
        { "type": "Programmed", "status": "True", "reason": "Programmed", "message": "" },
    ]);
    assert_eq!(text, want);
}
