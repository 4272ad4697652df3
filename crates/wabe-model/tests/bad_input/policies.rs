//! Policies that can't be, and those that would not mean what they look like.

use super::{POLICY, table};

#[test]
fn policies() {
    table(
        POLICY,
        &[(
            "  action: CUSTOM\n  provider: {name: x}\n  targetRefs: []\n  selector: {matchExpressions: []}",
            &[
                "5:11: spec.action: the action CUSTOM is not supported yet, and not ignored (the nearest is ALLOW or DENY)",
                "6:3: spec.provider: is not supported yet, and not ignored (the nearest is the action ALLOW or DENY)",
                "7:3: spec.targetRefs: is not supported yet, and not ignored (the nearest is `selector.matchLabels`)",
                "8:13: warning: spec.selector: an empty selector selects every workload (leave it out if that is meant)",
                "8:14: spec.selector.matchExpressions: is not supported yet, and not ignored (the nearest is `matchLabels`)",
            ],
        )],
    );
    let layer_7 = |line: &str, field: &str, nearest: &str| {
        format!(
            "{line}: spec.rules[0].{field}: is a layer-7 field, which is not supported yet, and not ignored ({nearest})"
        )
    };
    for (name, nearest) in [
        ("requestPrincipals", "the nearest is `principals`"),
        ("notRequestPrincipals", "the nearest is `notPrincipals`"),
        ("remoteIpBlocks", "the nearest is `ipBlocks`, the address that packets come from"),
        ("notRemoteIpBlocks", "the nearest is `notIpBlocks`, the address that packets come from"),
    ] {
        let spec = format!("  rules: [{{from: [{{source: {{{name}: [x]}}}}]}}]");
        let expected = layer_7("5:29", &format!("from[0].source.{name}"), nearest);
        table(POLICY, &[(&spec, &[&expected])]);
    }
}

#[test]
fn rules_that_would_match_more_than_is_written() {
    const EMPTY: &str = "an empty list matches nothing or everything, depending on who reads it (leave it out, or write what shall match)";
    let empty = |place: &str| format!("{place}: {EMPTY}");
    table(
        POLICY,
        &[
            ("  rules: [{from: []}]", &[&empty("5:18: spec.rules[0].from")]),
            ("  rules: [{to: []}]", &[&empty("5:16: spec.rules[0].to")]),
            ("  rules: [{when: []}]", &[&empty("5:18: spec.rules[0].when")]),
            (
                "  rules: [{from: [{source: {principals: []}}]}]",
                &[&empty("5:41: spec.rules[0].from[0].source.principals")],
            ),
            (
                "  rules: [{from: [{source: {}}, {}]}]",
                &[
                    "5:28: spec.rules[0].from[0].source: an empty source would match every caller (leave `from` out if that is meant)",
                    "5:33: spec.rules[0].from[1]: `source` is missing (write `source:` and who may be the caller)",
                ],
            ),
            (
                "  rules: [{to: [{operation: {}}]}]",
                &[
                    "5:29: spec.rules[0].to[0].operation: an empty operation would match every port (leave `to` out if that is meant)",
                ],
            ),
            (
                "  rules:\n  -\n  - from:",
                &[
                    "6:4: spec.rules[0]: a mapping is wanted, nothing is written here (write its fields below, further to the right)",
                    "7:9: spec.rules[1].from: a list is wanted, nothing is written here (write the entries below, each after `- `, or between [ and ])",
                ],
            ),
            (
                "  rules: [{from: [{source: {namespaces: [a, '']}}]}]",
                &[
                    "5:45: spec.rules[0].from[0].source.namespaces[1]: `` can't be matched (write abc, abc*, *abc, or * for anything; one * at one end)",
                ],
            ),
        ],
    );
}

#[test]
fn values_in_rules() {
    const KEYS: &str = "supported: source.ip, source.namespace, source.principal, source.serviceAccount, destination.port, request.headers[NAME]";
    let unknown = format!("7:12: spec.rules[0].when[0].key: unknown key `source.ips` ({KEYS})");
    let request = format!(
        "8:12: spec.rules[0].when[1].key: the layer-7 key `request.auth.claims[x]` is not supported yet, and not ignored ({KEYS})"
    );
    table(
        POLICY,
        &[
            (
                "  rules:\n  - from: [{source: {principals: ['spiffe://a/ns/b/sa/c', 'a*b'], ipBlocks: [10.0.0.0/33], serviceAccounts: ['*']}}]",
                &[
                    "6:35: spec.rules[0].from[0].source.principals[0]: a principal is written without `spiffe://` (write `a/ns/b/sa/c`)",
                    "6:59: spec.rules[0].from[0].source.principals[1]: `a*b` can't be matched (write abc, abc*, *abc, or * for anything; one * at one end)",
                    "6:78: spec.rules[0].from[0].source.ipBlocks[0]: `10.0.0.0/33` is neither an address nor a block (write 10.0.0.0/8, fd00::/64, or a single address)",
                    "6:110: spec.rules[0].from[0].source.serviceAccounts[0]: `*` is no service account (write name or namespace/name; there are no wildcards here, use `principals` or `namespaces` for them)",
                ],
            ),
            (
                "  rules:\n  - to: [{operation: {ports: [80, '0', '080', '65536', http]}}]",
                &[
                    "6:31: spec.rules[0].to[0].operation.ports[0]: the port 80 is a number, but Istio has text here (write \"80\")",
                    "6:35: spec.rules[0].to[0].operation.ports[1]: `0` is not a port (write a number from 1 to 65535, in quotes)",
                    "6:40: spec.rules[0].to[0].operation.ports[2]: `080` is not a port (write a number from 1 to 65535, in quotes)",
                    "6:47: spec.rules[0].to[0].operation.ports[3]: `65536` is not a port (write a number from 1 to 65535, in quotes)",
                    "6:56: spec.rules[0].to[0].operation.ports[4]: `http` is not a port (write a number from 1 to 65535, in quotes)",
                ],
            ),
            ("  rules:\n  - when:\n    - key: source.ips\n      values: [x]", &[&unknown]),
            (
                "  rules:\n  - when:\n    - {key: destination.port, values: ['80']}\n    - key: request.auth.claims[x]\n      values: [x]\n    - key: remote.ip\n      values: [x]\n    - key: source.ip",
                &[
                    &request,
                    "10:12: spec.rules[0].when[2].key: the layer-7 key `remote.ip` is not supported yet, and not ignored (the nearest is source.ip)",
                    "12:7: spec.rules[0].when[3]: `values` is missing (write `values` or `notValues`)",
                ],
            ),
            (
                "  action: ALOW\n  rules:\n  - form: []",
                &[
                    "5:11: spec.action: `ALOW` is not supported here (did you mean `ALLOW`? supported: ALLOW, DENY, AUDIT)",
                    "7:5: spec.rules[0].form: unknown field (did you mean `from`? supported: from, to, when)",
                ],
            ),
        ],
    );
    table(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, annotations: {istio.io/dry-run: true}}",
        &[(
            "  {}",
            &[
                "3:53: metadata.annotations[\"istio.io/dry-run\"]: text is wanted, found a boolean (put it in quotes; without them YAML doesn't read it as text)",
            ],
        )],
    );
}

#[test]
fn what_requests_could_never_be_like() {
    const PATH: &str = "write it as requests have it, beginning with `/` or `*`, without `//`, `/./`, `/../`, `\\`, `?`, spaces, and escapes of what needs none";
    const HOST: &str = "write what requests say in `host`, as example.com and example.com:*";
    let entry = |at: &str, field: &str, message: &str, remedy: &str| {
        format!("{at}: spec.rules[0].to[0].operation.{field}: {message} ({remedy})")
    };
    let no_path = |at: &str, text: &str| {
        entry(at, "paths[0]", &format!("no request that is let through has the path `{text}`"), PATH)
    };
    for text in
        ["admin", "/a//b", "/a/../b", "/%61", "/a%2Fb*", "*/../a", "/a?b=1", "/a b", "/a\\b", "/..;/*"]
    {
        let shown = text.replace("\\\\", "\\");
        let spec = format!("  rules:\n  - to: [{{operation: {{paths: ['{text}']}}}}]");
        table(POLICY, &[(&spec, &[&no_path("6:31", &shown)])]);
    }
    for text in ["/a/{*}/b", "/a/{**}"] {
        let spec = format!("  rules:\n  - to: [{{operation: {{notPaths: ['{text}']}}}}]");
        let expected = entry(
            "6:34",
            "notPaths[0]",
            &format!("`{text}` has a path template, which is not supported yet, and not ignored"),
            "the nearest is /a/*, which matches every path that begins so",
        );
        table(POLICY, &[(&spec, &[&expected])]);
    }
    let method = entry("6:33", "methods[0]", "`GET /` is no method", "write it as requests have it, as GET");
    let small = entry(
        "6:42",
        "methods[1]",
        "methods are told apart by case, and `post` is not in capitals",
        "write it as requests have it, as GET",
    )
    .replace(": spec", ": warning: spec");
    table(POLICY, &[("  rules:\n  - to: [{operation: {methods: ['GET /', post]}}]", &[&method, &small])]);
    let host = entry("6:31", "hosts[0]", "`http://a.b` is no host", HOST);
    table(POLICY, &[("  rules:\n  - to: [{operation: {hosts: ['http://a.b']}}]", &[&host])]);
    for key in ["request.headers", "request.headers[]", "request.headers[:path]", "request.headers[a b]"] {
        let spec = format!("  rules:\n  - when: [{{key: '{key}', values: [x]}}]");
        let expected =
            format!("6:18: spec.rules[0].when[0].key: `{key}` names no header (write request.headers[NAME])");
        table(POLICY, &[(&spec, &[&expected])]);
    }
}
