//! What is wrong, where, and what to do about it: every row is a manifest and all that is said about it.
#![expect(clippy::unwrap_used, reason = "in tests")]

mod policies;
mod services;
mod workloads;

use wabe_model::{Diagnostics, Manifest, parse};

fn problems(text: &str) -> Diagnostics {
    parse(&[Manifest::new("x.yaml", "/srv", text)]).expect_err("it is wrong")
}

fn told(text: &str) -> Vec<String> {
    problems(text)
        .0
        .iter()
        .map(|it| it.to_string().strip_prefix("x.yaml:").expect("the file").to_owned())
        .collect()
}

/// Rows of a spec and what is said about it; the spec begins on line 5, column 3.
fn table(head: &str, rows: &[(&str, &[&str])]) {
    for (spec, expected) in rows {
        assert_eq!(told(&format!("{head}\nspec:\n{spec}\n")), *expected, "{spec}");
    }
}

const CONFIG: &str = "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: mesh}";
const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}";

#[test]
fn documents() {
    const KINDS: &str = "Namespace (v1), ServiceAccount (v1), Service (v1), Workload (mesh.wabe.dev/v1alpha1), MeshConfig \
                         (mesh.wabe.dev/v1alpha1), AuthorizationPolicy (security.istio.io/v1), DestinationRule (networking.istio.io/v1), \
                         HTTPRoute (gateway.networking.k8s.io/v1), GRPCRoute (gateway.networking.k8s.io/v1), TLSRoute (gateway.networking.k8s.io/v1), TCPRoute (gateway.networking.k8s.io/v1alpha2), ReferenceGrant \
                         (gateway.networking.k8s.io/v1), RequestLimit (mesh.wabe.dev/v1alpha1), FaultInjection (mesh.wabe.dev/v1alpha1)";
    let unknown =
        format!("2:7: kind: unknown kind `Servise` (did you mean `Service`? supported kinds: {KINDS})");
    let missing = format!("1:1: `kind` is missing (supported kinds: {KINDS})");
    let rows: &[(&str, &[&str])] = &[
        ("apiVersion: v1\nkind: Servise\n", &[&unknown]),
        ("apiVersion: v1\n", &[&missing]),
        (
            "just text\n",
            &["1:1: a mapping is wanted, found the text `just text` (write `field: value` lines)"],
        ),
        (
            "kind: Deployment\n",
            &[
                "1:7: kind: the kind `Deployment` is not supported (describe the program as a Workload (mesh.wabe.dev/v1alpha1))",
            ],
        ),
        (
            "apiVersion: v1\nkind: List\nitems: []\n",
            &[
                "2:7: kind: `List` is a list of objects, which is not supported (write each item as a document of its own, with a line `---` between them)",
            ],
        ),
        ("kind: Service\n", &["1:1: `apiVersion` is missing (write `apiVersion: v1`)"]),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Service\n",
            &["1:13: apiVersion: `networking.k8s.io/v1` has no Service (write `apiVersion: v1`)"],
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: Shop_1, namespace: x}\nsepc: {}\n",
            &[
                "3:18: metadata.name: `Shop_1` can't be a name (use at most 63 of a-z, 0-9 and -, with a letter or digit first and last (RFC 1123))",
                "3:26: metadata.namespace: objects of this kind are in no namespace (leave it out)",
                "4:1: sepc: unknown field (supported: apiVersion, kind, metadata)",
            ],
        ),
        (
            "apiVersion: v1\nkind: Namespace\n",
            &["1:1: `metadata` is missing (write `metadata:` with a `name`)"],
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  nam: x\n",
            &[
                "4:3: metadata.nam: unknown field (did you mean `name`? supported: name, labels, annotations)",
                "4:3: metadata: `name` is missing (give it a name)",
            ],
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: 12}\n",
            &[
                "3:18: metadata.name: text is wanted, found the number 12 (put it in quotes; without them YAML doesn't read it as text)",
            ],
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {a/b/c: x, d: yes, e: 'x y'}}\n",
            &[
                "3:30: metadata.labels[\"a/b/c\"]: `a/b/c` can't be the name of a label (use at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit first and last; `example.com/` may stand before it)",
                "3:43: metadata.labels.d: text is wanted, found a boolean (put it in quotes; without them YAML doesn't read it as text)",
                "3:51: metadata.labels.e: `x y` can't be the value of a label (use at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit first and last)",
            ],
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  annotations: {mesh.wabe.dev/balance: random, other.dev/x: z}\n",
            &[
                "5:17: metadata.annotations[\"mesh.wabe.dev/balance\"]: unknown annotation on a Namespace (a Namespace has none that begin with mesh.wabe.dev/; leave it out)",
            ],
        ),
        (
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nimagePullSecrets: []\n",
            &[
                "4:1: imagePullSecrets: is about Pods, which are not supported (leave it out; an identity needs only the account's name)",
            ],
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n",
            &["1:1: `spec` is missing (write what it shall be)"],
        ),
        (
            "apiVersion: v1\n  kind: Service\n",
            &[
                "2:7: not YAML: mapping values are not allowed in this context (check indentation, quotes and brackets here and on the lines before)",
            ],
        ),
        (
            "kind: Service\nspec:\n\tx: y\n",
            &[
                "3:2: not YAML: tabs disallowed within this context (block indentation) (indent with spaces; YAML doesn't allow tabs)",
            ],
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\na: [\n",
            &[
                "6:1: not YAML: while parsing a node, did not find expected node content (check indentation, quotes and brackets here and on the lines before)",
            ],
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(told(text), *expected, "{text}");
    }
}

#[test]
fn mesh_configs() {
    table(
        CONFIG,
        &[
            (
                "  trustDomain: Example.com\n  addressRanges: {services: [10.0.0.1/16], workloads: [10.0.0.0/7, 'fd00::/32', 'fd00::']}",
                &[
                    "5:16: spec.trustDomain: `Example.com` can't be a trust domain (use at most 255 of a-z, 0-9, ., - and _, as cluster.local)",
                    "6:30: spec.addressRanges.services[0]: 10.0.0.1/16 has bits behind its prefix (write 10.0.0.0/16)",
                    "6:56: spec.addressRanges.workloads[0]: /7 is out of range for a prefix (/8 to /24 can be used)",
                    "6:68: spec.addressRanges.workloads[1]: /32 is out of range for a prefix (/48 to /112 can be used)",
                    "6:81: spec.addressRanges.workloads[2]: `fd00::` is not a range of addresses (write 10.101.0.0/16 or fd00:65::/64)",
                ],
            ),
            (
                "  addressRanges: {services: [10.1.0.0/16, 10.2.0.0/16]}",
                &[
                    "5:43: spec.addressRanges.services[1]: a second range of this family (write one IPv4 and one IPv6 range at most)",
                ],
            ),
            (
                "  addressRanges: {services: [10.1.0.0/16], workloads: [10.0.0.0/8]}",
                &[
                    "5:18: spec.addressRanges: the ranges of workloads and of services overlap (make them apart)",
                ],
            ),
            (
                "  addressRanges: {services: [127.1.0.0/16]}",
                &[
                    "5:30: spec.addressRanges.services[0]: 127.1.0.0/16 is in 127.0.0.0/8, which hosts can't have addresses of (use private addresses, as 10.101.0.0/16 or fd00:65::/64)",
                ],
            ),
            (
                "  proxyWorkers: 65",
                &[
                    "5:17: spec.proxyWorkers: 65 is out of range for a number of workers (1 to 64 can be used)",
                ],
            ),
            (
                "  proxyBusyPollMicroseconds: 2000",
                &[
                    "5:30: spec.proxyBusyPollMicroseconds: 2000 is out of range for a number of microseconds (0 to 1000 can be used)",
                ],
            ),
        ],
    );
    table(
        "apiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}",
        &[(
            "  {}",
            &[
                "3:18: metadata.name: a MeshConfig can't be called `default`, since there is only one (write `name: mesh`)",
            ],
        )],
    );
}

#[test]
fn all_files_are_told_about_at_once() {
    let bad = "apiVersion: v1\nkind: Nmespace\n";
    let manifests = ["a.yaml", "b.yaml", "c.yaml"].map(|path| Manifest::new(path, "/", bad));
    let problems = parse(&manifests).unwrap_err().to_string();
    let places: Vec<_> = problems.lines().map(|line| &line[..11]).collect();
    assert_eq!(places, ["a.yaml:2:7:", "b.yaml:2:7:", "c.yaml:2:7:"]);
}

#[test]
fn warnings_are_kept_beside_good_objects() {
    let text = format!("{POLICY}\nspec: {{rules: [{{from: [{{source: {{ipBlocks: [10.1.2.3/8]}}}}]}}]}}\n");
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap();
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "x.yaml:4:45: warning: spec.rules[0].from[0].source.ipBlocks[0]: 10.1.2.3/8 has bits behind its prefix; it means \
          10.0.0.0/8 (write 10.0.0.0/8, or 10.1.2.3/32 for this address alone)"
        ]
    );
}

#[test]
fn json_has_a_stable_shape() {
    let problems = problems("apiVersion: v1\nkind: Namespace\nmetadata: {name: A}\n");
    assert_eq!(
        serde_json::to_value(&problems).unwrap(),
        serde_json::json!([{
            "severity": "error",
            "path": "x.yaml",
            "line": 3,
            "column": 18,
            "field": "metadata.name",
            "message": "`A` can't be a name",
            "remedy": "use at most 63 of a-z, 0-9 and -, with a letter or digit first and last (RFC 1123)",
        }])
    );
    let of_file = serde_json::to_value(parse(&[Manifest::new("y", "/", "")]).unwrap_err()).unwrap();
    assert_eq!(of_file[0].get("line"), None);
    assert_eq!(of_file[0]["path"], "y");
}
