//! Manifests that people have, and what they mean.
#![expect(clippy::unwrap_used, reason = "in tests")]

use std::{path::Path, time::Duration};

use wabe_model::{
    AuthorizationPolicy, Balance, ClusterIps, Egress, HeaderCondition, Manifest, Object, ObjectName,
    Operation, Parsed, PolicyAction, Probe, ProbeAction, Rule, Service, Source, StringMatch, TargetPort,
    Transport, Workload, parse,
};

fn read(text: &str) -> Parsed {
    match parse(&[Manifest::new("shop.yaml", "/srv/shop", text)]) {
        Ok(parsed) => parsed,
        Err(problems) => panic!("{problems}"),
    }
}

fn only(text: &str) -> Object {
    let mut parsed = read(text);
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    assert_eq!(parsed.objects.len(), 1);
    parsed.objects.remove(0).object
}

fn service(text: &str) -> Service {
    let Object::Service(it) = only(text) else { panic!("no service") };
    it
}

fn workload(spec: &str) -> Workload {
    let head = "apiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\nmetadata: {name: front}\nspec:\n";
    let Object::Workload(it) = only(&format!("{head}{spec}")) else { panic!("no workload") };
    it
}

#[test]
fn a_service_as_kubectl_prints_it_is_read() {
    let service = service(
        r#"
apiVersion: v1
kind: Service
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"v1"}
    mesh.wabe.dev/balance: round-robin
  creationTimestamp: "2026-01-01T00:00:00Z"
  labels: {app: catalog}
  name: catalog
  namespace: shop
  resourceVersion: "4711"
  uid: 1b2c
spec:
  clusterIP: 10.96.4.2
  clusterIPs:
  - 10.96.4.2
  internalTrafficPolicy: Cluster
  ipFamilies:
  - IPv4
  ipFamilyPolicy: SingleStack
  ports:
  - name: http-with-a-long-name
    port: 80
    protocol: TCP
    targetPort: http
  - name: dns
    port: 53
    protocol: UDP
  selector: {app: catalog}
  sessionAffinity: None
  type: ClusterIP
status:
  loadBalancer: {}
"#,
    );
    assert_eq!(service.name, ObjectName::new("shop", "catalog"));
    assert_eq!(
        service.cluster_ips,
        ClusterIps::Virtual { v4: Some(Some("10.96.4.2".parse().unwrap())), v6: None }
    );
    assert_eq!(service.balance, Balance::RoundRobin);
    assert_eq!(service.ports[0].target, TargetPort::Name("http".into()));
    assert_eq!(service.ports[1].target, TargetPort::Number(53));
    assert_eq!(service.ports[1].transport, Transport::Udp);
}

#[test]
fn families_of_a_service() {
    let v4 = Some("10.96.0.9".parse().unwrap());
    let v6 = Some("fd00::9".parse().unwrap());
    let virtual_ips = |v4, v6| ClusterIps::Virtual { v4, v6 };
    for (lines, expected) in [
        ("", virtual_ips(Some(None), Some(None))),
        ("ipFamilies: [IPv6]", virtual_ips(None, Some(None))),
        ("ipFamilyPolicy: SingleStack", virtual_ips(Some(None), None)),
        ("ipFamilyPolicy: RequireDualStack\n  ipFamilies: [IPv6]", virtual_ips(Some(None), Some(None))),
        ("clusterIP: 10.96.0.9", virtual_ips(Some(v4), Some(None))),
        ("clusterIP: ''", virtual_ips(Some(None), Some(None))),
        ("clusterIP: fd00::9\n  ipFamilyPolicy: SingleStack", virtual_ips(None, Some(v6))),
        ("clusterIPs: ['fd00::9', 10.96.0.9]", virtual_ips(Some(v4), Some(v6))),
        ("clusterIP: None", ClusterIps::Headless),
        ("clusterIP: None\n  clusterIPs: [None]", ClusterIps::Headless),
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec:\n  selector: {{a: b}}\n  ports: [{{port: 1}}]\n  {lines}\n"
        );
        assert_eq!(service(&text).cluster_ips, expected, "{lines}");
    }
}

#[test]
fn a_workload_has_defaults() {
    let workload = workload("  command: [nginx, -c, ./a]\n");
    assert_eq!(
        workload,
        Workload {
            name: ObjectName::new("default", "front"),
            labels: Default::default(),
            service_account: "default".into(),
            command: vec!["nginx".into(), "-c".into(), "./a".into()],
            environment: Default::default(),
            working_directory: "/".into(),
            private_tmp: false,
            user: "nobody".into(),
            capabilities: vec![],
            restart: Default::default(),
            readiness: None,
            replicas: 1,
            ports: vec![],
            weight: 100,
            locality: Default::default(),
            egress: Egress::None,
            grace: Duration::from_secs(10),
            limits: Default::default(),
            layer7: Default::default(),
        }
    );
}

#[test]
fn a_workload_says_everything() {
    let workload = workload(
        "  command: [./bin/front, ./argument]
  env:
  - name: PORT
    value: \"80\"
  - name: EMPTY
  workingDir: data
  privateTmp: true
  user: 1000
  serviceAccount: front
  capabilities: [NET_RAW, CAP_CHOWN]
  restartPolicy: OnFailure
  readiness: {http: {port: web, path: /ready?x=1}, period: 250ms, initialDelay: 1m30s, timeout: 2s, failureThreshold: 5}
  replicas: 0
  ports: [{name: web, port: 80}, {name: dns, port: 53, protocol: UDP}]
  weight: 1
  locality: {region: eu, zone: eu-1}
  egress: masquerade
  grace: 0s
",
    );
    assert_eq!(workload.command, ["/srv/shop/bin/front", "./argument"]);
    assert_eq!(workload.working_directory, Path::new("/srv/shop/data"));
    assert!(workload.private_tmp);
    assert_eq!(workload.environment["PORT"], "80");
    assert_eq!(workload.environment["EMPTY"], "");
    assert_eq!(workload.user, "1000");
    assert_eq!(workload.capabilities, ["NET_RAW", "CHOWN"]);
    assert_eq!(
        workload.readiness,
        Some(Probe {
            action: ProbeAction::Http { port: 80, path: "/ready?x=1".into() },
            initial_delay: Duration::from_secs(90),
            period: Duration::from_millis(250),
            timeout: Duration::from_secs(2),
            failure_threshold: 5,
        })
    );
    assert_eq!((workload.replicas, workload.weight, workload.grace), (0, 1, Duration::ZERO));
    assert_eq!(workload.egress, Egress::Masquerade);
}

#[test]
fn a_policy_keeps_from_to_and_when_apart() {
    let text = r#"
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata:
  name: pay
  namespace: shop
  annotations: {istio.io/dry-run: "true"}
spec:
  selector: {matchLabels: {app: payment}}
  action: DENY
  rules:
  - {}
  - from:
    - source:
        principals: ["cluster.local/ns/shop/sa/front", "cluster.local/*", "*/sa/x", "*"]
        notIpBlocks: [10.0.0.1, "::ffff:10.1.0.0/112", fd00::/8]
    - source: {serviceAccounts: [front, other/back]}
    to:
    - operation: {ports: ["80"], notPorts: ["81"]}
    when:
    - {key: source.namespace, values: [shop], notValues: [shop-*]}
    - {key: source.ip, values: [10.0.0.0/8]}
    - {key: destination.port, notValues: ["22"]}
"#;
    let Object::AuthorizationPolicy(policy) = only(text) else { panic!("no policy") };
    assert_eq!((policy.action, policy.dry_run), (PolicyAction::Deny, true));
    assert_eq!(policy.rules[0], Default::default());
    let rule = &policy.rules[1];
    assert_eq!(
        rule.from[0].principals,
        [
            StringMatch::Exact("cluster.local/ns/shop/sa/front".into()),
            StringMatch::Prefix("cluster.local/".into()),
            StringMatch::Suffix("/sa/x".into()),
            StringMatch::Present,
        ]
    );
    let blocks: Vec<_> = rule.from[0].not_ip_blocks.iter().map(ToString::to_string).collect();
    assert_eq!(blocks, ["10.0.0.1/32", "10.1.0.0/16", "fd00::/8"]);
    assert_eq!(
        rule.from[1].service_accounts,
        [ObjectName::new("shop", "front"), ObjectName::new("other", "back")]
    );
    assert_eq!(rule.to, [Operation { ports: vec![80], not_ports: vec![81], ..Operation::default() }]);
    assert_eq!(
        rule.when_sources,
        [
            Source {
                namespaces: vec![StringMatch::Exact("shop".into())],
                not_namespaces: vec![StringMatch::Prefix("shop-".into())],
                ..Source::default()
            },
            Source { ip_blocks: vec!["10.0.0.0/8".parse().unwrap()], ..Source::default() },
        ]
    );
    assert_eq!(rule.when_operations, [Operation { not_ports: vec![22], ..Operation::default() }]);
}

#[test]
fn policies_say_what_they_want_of_requests() {
    let text = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to:
    - operation:
        methods: [GET, "H*"]
        notMethods: ["*"]
        paths: [/a, "/b%c3%a9/*", "*.html", "*"]
        notPaths: [/pkg.Service/Method]
        hosts: [Example.com, "example.com:*"]
        notHosts: ["*.internal"]
    when:
    - {key: "request.headers[X-Tenant]", values: [a, "b*"], notValues: ["*"]}
  - to: [{operation: {ports: ["80"]}}]
"#;
    let Object::AuthorizationPolicy(policy) = only(text) else { panic!("no policy") };
    let exact = |text: &str| StringMatch::Exact(text.into());
    let (prefix, suffix) =
        (|text: &str| StringMatch::Prefix(text.into()), |text: &str| StringMatch::Suffix(text.into()));
    let operation = &policy.rules[0].to[0];
    assert_eq!(operation.methods, [exact("GET"), prefix("H")]);
    assert_eq!(operation.not_methods, [StringMatch::Present]);
    let paths = [exact("/a"), prefix("/b%C3%A9/"), suffix(".html"), StringMatch::Present];
    assert_eq!(operation.paths, paths, "escapes are in capitals");
    assert_eq!(operation.not_paths, [exact("/pkg.Service/Method")]);
    assert_eq!(operation.hosts, [exact("Example.com"), prefix("example.com:")]);
    assert_eq!(operation.not_hosts, [suffix(".internal")]);
    let header = HeaderCondition {
        name: "x-tenant".into(),
        values: vec![exact("a"), prefix("b")],
        not_values: vec![StringMatch::Present],
    };
    assert_eq!(policy.rules[0].when_headers, [header]);
    assert_eq!(policy.rules.iter().map(Rule::looks_at_requests).collect::<Vec<_>>(), [true, false]);
    assert!(policy.decides_by_requests());
    let audit = AuthorizationPolicy { action: PolicyAction::Audit, ..policy.clone() };
    assert!(!audit.decides_by_requests());
    assert!(!AuthorizationPolicy { dry_run: true, ..policy }.decides_by_requests());
}

#[test]
fn an_empty_policy_has_no_rules_and_allows() {
    let text =
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: none}\nspec: {}\n";
    let Object::AuthorizationPolicy(policy) = only(text) else { panic!("no policy") };
    assert_eq!((policy.action, policy.rules.len()), (PolicyAction::Allow, 0));
}

#[test]
fn many_documents_make_many_objects_in_order() {
    let parsed = read(
        "# shop\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\nspec: {finalizers: [kubernetes]}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: front, namespace: shop}\n---\n\
         apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: mesh}\n\
         spec: {trustDomain: example.com, addressRanges: {workloads: [10.9.0.0/16, 'fd09::/64'], services: [10.8.0.0/16]}}\n",
    );
    let keys: Vec<_> = parsed.objects.iter().map(|it| it.object.key().to_string()).collect();
    assert_eq!(keys, ["Namespace shop", "ServiceAccount shop/front", "MeshConfig mesh"]);
    let Object::MeshConfig(config) = &parsed.objects[2].object else { panic!("no config") };
    assert_eq!(config.service_range_v4, Some("10.8.0.0/16".parse().unwrap()));
    assert_eq!(config.workload_range_v6, Some("fd09::/64".parse().unwrap()));
    assert_eq!(config.service_range_v6, None);
}

#[test]
fn anchors_may_be_used_and_a_byte_order_mark_is_skipped() {
    let text = "\u{feff}apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: &l {app: x}}\nspec: {selector: *l, ports: [{port: 80}]}\n";
    assert_eq!(service(text).selector["app"], "x");
}

#[test]
fn lines_may_end_as_on_windows() {
    let text = include_str!("good.yaml");
    let objects = |text: &str| read(text).objects.into_iter().map(|it| it.object).collect::<Vec<_>>();
    assert_eq!(objects(&text.replace('\n', "\r\n")), objects(text));
}
