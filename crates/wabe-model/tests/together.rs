//! Objects that are good one by one and wrong together.
#![expect(clippy::unwrap_used, reason = "in tests")]

use wabe_model::{Diagnostics, Manifest, Object, Objects, Parsed, check, parse};

fn read(path: &str, text: &str) -> Parsed {
    parse(&[Manifest::new(path, "/", text)]).unwrap_or_else(|it| panic!("{it}"))
}

fn existing(text: &str) -> Objects {
    let parsed = read("old.yaml", text);
    check(&parsed, &Objects::default()).unwrap_or_else(|it| panic!("{it}")).0
}

fn refused(text: &str, existing: &Objects) -> Vec<String> {
    check(&read("new.yaml", text), existing)
        .expect_err("it is wrong")
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn warned(text: &str) -> Vec<String> {
    let (_, warnings) =
        check(&read("new.yaml", text), &Objects::default()).unwrap_or_else(|it| panic!("{it}"));
    warnings.iter().map(ToString::to_string).collect()
}

fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: web}}\n  {spec}\n---\n"
    )
}

fn workload(ports: &str) -> String {
    format!(
        "apiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\nmetadata: {{name: web, labels: {{app: web}}}}\n\
         spec:\n  command: [web]\n  ports: {ports}\n---\n"
    )
}

fn policy(namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: {namespace}}}\nspec: {spec}\n---\n"
    )
}

fn config(services: &str) -> String {
    format!(
        "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {{name: mesh}}\n\
         spec: {{addressRanges: {{services: [{services}], workloads: [10.200.0.0/16]}}}}\n---\n"
    )
}

#[test]
fn a_policy_about_requests_wants_a_service_that_leads_to_its_workloads() {
    let methods = "{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {methods: [GET]}}]}]}";
    let all = |services: &str| workload("[]") + services + &policy("default", methods);
    let told = warned(&all(""));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains(
            "spec.rules: looks at requests, so nobody can connect to workload default/web but by a service, and none with an address selects it (add a Service for it)"
        ),
        "{told:?}"
    );
    assert_eq!(warned(&all(&service("a", "clusterIP: None\n  ports: [{port: 80}]"))).len(), 1);
    assert_eq!(warned(&all(&service("a", "ports: [{port: 80}]"))), Vec::<String>::new());
}

#[test]
fn one_name_twice_names_both_places_also_across_files() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    let problems: Diagnostics = parse(&[
        Manifest::new("a.yaml", "/", namespace),
        Manifest::new("b.yaml", "/", format!("# b\n{namespace}")),
    ])
    .unwrap_err();
    assert_eq!(
        problems.to_string(),
        "b.yaml:4:18: metadata.name: Namespace shop is written twice; first in a.yaml:1:1 (keep one of them, or give \
         one another name)"
    );
}

#[test]
fn two_services_can_not_share_an_address() {
    let ports = "ports: [{port: 80}]";
    let two = [
        service("a", &format!("clusterIP: 10.96.0.1\n  {ports}")),
        service("b", &format!("clusterIPs: ['fd00::1', 10.96.0.1]\n  {ports}")),
        workload("[]"),
    ];
    assert_eq!(
        refused(&two.concat(), &Objects::default()),
        ["new.yaml:14:27: spec.clusterIPs[1]: 10.96.0.1 is also the address of service default/a in \
             new.yaml:6:14 (give one of them another address, or leave it out to have one chosen)"]
    );
    let running = existing(&two[0]);
    let told = refused(&two[1], &running);
    assert!(told[0].contains("service default/a in the running mesh"), "{told:?}");
    // Applied again, it is the same service.
    assert!(check(&read("new.yaml", &two[0]), &running).is_ok());
    // Moved to another address together with the new owner.
    let moved = [service("b", &format!("clusterIP: 10.96.0.1\n  {ports}")), service("a", ports)].concat();
    assert!(check(&read("new.yaml", &moved), &running).is_ok());
}

#[test]
fn fixed_addresses_must_be_in_the_configured_range() {
    let outside = service("a", "clusterIP: 10.97.0.1\n  ports: [{port: 80}]");
    let running = existing(&outside);
    assert_eq!(
        refused(&format!("{}{outside}", config("10.96.0.0/16")), &Objects::default())[0],
        "new.yaml:11:14: spec.clusterIP: 10.97.0.1 is outside of the range of services, 10.96.0.0/16 (leave it out to \
         have one chosen, or change spec.addressRanges of the MeshConfig)"
    );
    assert_eq!(
        refused(&config("10.96.0.0/16"), &running)[0],
        "new.yaml:4:23: spec.addressRanges: of service default/a, 10.97.0.1 is outside of the range of services, \
         10.96.0.0/16 (change the range, or the service first)"
    );
    let among_workloads = service("a", "clusterIP: 10.200.0.1\n  ports: [{port: 80}]");
    let told = refused(&format!("{}{among_workloads}", config("fd00::/64")), &Objects::default());
    assert!(told[0].contains("10.200.0.1 is in the range of workloads"), "{told:?}");
    assert!(check(&read("new.yaml", &format!("{}{outside}", config("10.97.0.0/16"))), &running).is_ok());
}

#[test]
fn selectors_that_select_nothing_are_warned_about() {
    assert_eq!(
        warned(&service("a", "ports: [{port: 80}]")),
        [
            "new.yaml:5:13: warning: spec.selector: no workload in namespace default has these labels (compare it with \
             the labels and the namespaces of the Workloads)"
        ]
    );
    let selector = "{selector: {matchLabels: {app: web}}}";
    let with = |policy: String| format!("{policy}{}", workload("[]"));
    assert!(warned(&with(policy("default", selector))).is_empty());
    assert!(warned(&with(policy("istio-system", selector))).is_empty());
    assert!(warned(&policy("istio-system", "{}")).is_empty());
    assert!(
        warned(&with(policy("shop", selector)))[0].contains("no workload in namespace shop has these labels")
    );
    assert!(
        warned(&policy("istio-system", selector))[0].contains("spec.selector: no workload has these labels")
    );
    assert!(
        warned(&with(policy("shpo", "{}")))[0]
            .contains("new.yaml:3:32: warning: metadata.namespace: no workload")
    );
}

#[test]
fn a_named_target_port_must_exist_on_a_selected_workload() {
    let named = service("a", "ports: [{port: 80, targetPort: web}]");
    let wrong = workload("[{name: wob, port: 80}, {name: web, port: 80, protocol: UDP}]");
    assert_eq!(
        refused(&format!("{named}{wrong}"), &Objects::default()),
        [
            "new.yaml:6:34: spec.ports[0].targetPort: none of the selected workloads (default/web) has a TCP port `web` \
             (name it in the Workload's spec.ports, or write a number)"
        ]
    );
    let right = workload("[{name: web, port: 80}]");
    assert!(warned(&format!("{named}{right}")).is_empty());
    // Without workloads it is only a warning.
    assert_eq!(warned(&named).len(), 1);
    // A workload that drops the port later is told.
    let running = existing(&format!("{named}{right}"));
    let told = refused(&wrong, &running);
    assert!(
        told[0].starts_with("new.yaml:6:10: spec.ports: service default/a leads to the TCP port `web`"),
        "{told:?}"
    );
}

#[test]
fn new_objects_replace_existing_ones_and_the_rest_stays() {
    let running = existing(&format!("{}{}", service("a", "ports: [{port: 80}]"), workload("[]")));
    let parsed = read("new.yaml", &service("a", "ports: [{port: 81}]"));
    let (merged, warnings) = check(&parsed, &running).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(merged.len(), 2);
    assert_eq!(merged.services().next().unwrap().ports[0].port, 81);
    assert!(matches!(merged.iter().nth(1), Some(Object::Workload(_))));
    assert_eq!(running.services().next().unwrap().ports[0].port, 80);
}
