//! Istio's documented meaning of what policies say of requests, and what must not get round it.

use std::net::IpAddr;

use wabe_abi::Action;
use wabe_model::{AuthorizationPolicy, Manifest, Object, parse};
use wabe_policy::requests::{Caller, CallerIdentity, Content, Headers, Judgement, Request, RequestPolicy};

use Action::{Allow, Deny, NoMatch, Stranger};

const FRONT: &str = "spiffe://cluster.local/ns/shop/sa/front";
const BATCH: &str = "spiffe://cluster.local/ns/bank/sa/batch";

fn policies(text: &str) -> Vec<AuthorizationPolicy> {
    let one = |(number, spec): (usize, &str)| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{number}, namespace: shop}}\nspec: {spec}\n"
        )
    };
    let text: String = text.trim().lines().map(str::trim).enumerate().map(one).collect();
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}"));
    let policy = |object| {
        let Object::AuthorizationPolicy(policy) = object else { panic!("{object:?}") };
        policy
    };
    parsed.objects.into_iter().map(|it| policy(it.object)).collect()
}

fn compiled(text: &str) -> RequestPolicy {
    let policies = policies(text);
    RequestPolicy::of(&policies.iter().collect::<Vec<_>>()).expect("one that looks at requests")
}

struct Lines<'a>(&'a [(&'a str, &'a str)]);

impl Headers for Lines<'_> {
    fn lines(&self, name: &str, see: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|it| it.0 == name).for_each(|it| see(it.1.as_bytes()));
    }
}

fn caller(uri: &str) -> Caller<'_> {
    Caller { identity: CallerIdentity::of(uri), address: IpAddr::from([10, 1, 2, 3]) }
}

#[derive(Clone, Copy)]
struct Ask<'a> {
    from: &'a str,
    port: u16,
    method: &'a str,
    path: &'a str,
    host: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

const ASK: Ask<'_> = Ask { from: FRONT, port: 80, method: "GET", path: "/", host: "web", headers: &[] };

fn judge<'a>(policy: &'a RequestPolicy, ask: &Ask<'_>) -> Judgement<'a> {
    let headers = Lines(ask.headers);
    let request =
        Request { method: ask.method, path: ask.path, host: ask.host.as_bytes(), headers: &headers };
    policy.judge(&caller(ask.from), ask.port, Content::Request(&request))
}

#[track_caller]
fn check(policies: &str, rows: &[(Ask<'_>, Action, Option<&str>)]) {
    let policy = compiled(policies);
    for (ask, action, rule) in rows {
        let said = judge(&policy, ask);
        let asked = format!("{} {} {} {:?} by {}", ask.method, ask.host, ask.path, ask.headers, ask.from);
        assert_eq!((said.action, said.rule), (*action, *rule), "{asked}");
    }
}

fn path(path: &str) -> Ask<'_> {
    Ask { path, ..ASK }
}

fn method(method: &str) -> Ask<'_> {
    Ask { method, ..ASK }
}

fn host(host: &str) -> Ask<'_> {
    Ask { host, ..ASK }
}

fn headers<'a>(headers: &'a [(&'a str, &'a str)]) -> Ask<'a> {
    Ask { headers, ..ASK }
}

#[test]
fn who_may_read_may_not_write() {
    let rule = Some("shop/p0 rule 1");
    check(
        "{rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [GET, HEAD]}}]}]}",
        &[
            (method("GET"), Allow, rule),
            (method("HEAD"), Allow, rule),
            (method("POST"), NoMatch, None),
            (method("get"), NoMatch, None),
            (Ask { from: BATCH, ..ASK }, NoMatch, None),
            (Ask { from: "", ..ASK }, Stranger, None),
        ],
    );
}

#[test]
fn a_deny_rule_goes_before_an_allow_rule_and_a_marking_one_decides_nothing() {
    check(
        "{action: AUDIT, rules: [{to: [{operation: {paths: [/a]}}]}]}
         {rules: [{}]}
         {action: DENY, rules: [{to: [{operation: {ports: ['81']}}]}, {to: [{operation: {paths: ['/admin*']}}]}]}",
        &[
            (path("/a"), Allow, Some("shop/p1 rule 1")),
            (path("/admin"), Deny, Some("shop/p2 rule 2")),
            (path("/administrator"), Deny, Some("shop/p2 rule 2")),
            (Ask { port: 81, ..ASK }, Deny, Some("shop/p2 rule 1")),
        ],
    );
}

#[test]
fn without_an_allow_policy_what_is_not_denied_is_allowed_but_to_strangers() {
    check(
        "{action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]}",
        &[
            (method("GET"), Allow, None),
            (method("DELETE"), Deny, Some("shop/p0 rule 1")),
            (Ask { from: "", ..ASK }, Stranger, None),
        ],
    );
}

#[test]
fn strings_match_whole_at_their_start_at_their_end_or_at_all() {
    let rule = Some("shop/p0 rule 1");
    check(
        "{rules: [{to: [{operation: {paths: [/exact, '/start/*', '*.html']}}]}]}",
        &[
            (path("/exact"), Allow, rule),
            (path("/exact/"), NoMatch, None),
            (path("/start/"), Allow, rule),
            (path("/start/a/b"), Allow, rule),
            (path("/start"), NoMatch, None),
            (path("/a/b.html"), Allow, rule),
            (path("/a/b.html/c"), NoMatch, None),
        ],
    );
    check(
        "{rules: [{to: [{operation: {paths: ['*'], notPaths: ['/no*'], methods: ['*'], notMethods: [TRACE, '*ST']}}]}]}",
        &[
            (path("/a"), Allow, rule),
            (path("*"), Allow, rule),
            (path("/no"), NoMatch, None),
            (method("POST"), NoMatch, None),
            (method("TRACE"), NoMatch, None),
            (method("DELETE"), Allow, rule),
        ],
    );
}

#[test]
fn hosts_are_compared_whole_whatever_their_case() {
    let rule = Some("shop/p0 rule 1");
    check(
        "{rules: [{to: [{operation: {hosts: [Example.com, 'example.com:*', '*.shop', '*.shop:80'], notHosts: ['NO.shop']}}]}]}",
        &[
            (host("example.COM"), Allow, rule),
            (host("example.com:80"), Allow, rule),
            (host("an.example.com"), NoMatch, None),
            (host("A.SHOP"), Allow, rule),
            (host("a.shop:80"), Allow, rule),
            (host("a.shop:81"), NoMatch, None),
            (host("no.shop"), NoMatch, None),
            (host(""), NoMatch, None),
        ],
    );
}

#[test]
fn a_dot_at_the_end_of_a_host_makes_no_other_of_it() {
    let rule = Some("shop/p0 rule 1");
    check(
        "{action: DENY, rules: [{to: [{operation: {hosts: [admin.example.com, 'admin.example.com:*', '*.bank.', '*.bank.:81', 'c.d.:*', 'e.f.*', '[::1]']}}]}]}",
        &[
            (host("admin.example.com"), Deny, rule),
            (host("Admin.Example.Com."), Deny, rule),
            (host("admin.example.com:80"), Deny, rule),
            (host("admin.example.com.:80"), Deny, rule),
            (host("admin.example.com.:"), Deny, rule),
            (host("a.bank"), Deny, rule),
            (host("a.bank."), Deny, rule),
            (host("a.bank:81"), Deny, rule),
            (host("a.bank.:81"), Deny, rule),
            (host("a.bank:82"), Allow, None),
            (host("c.d:80"), Deny, rule),
            (host("c.d.:80"), Deny, rule),
            (host("e.f.g"), Deny, rule),
            (host("e.f."), Deny, rule),
            (host("e.fg"), Allow, None),
            (host("[::1]"), Deny, rule),
            (host("admin.example.co"), Allow, None),
            (host("example.com."), Allow, None),
            (host("."), Allow, None),
        ],
    );
    check(
        "{rules: [{to: [{operation: {hosts: ['*'], notHosts: [admin, '*.in', '*:90']}}]}]}",
        &[
            (host("web."), Allow, rule),
            (host("admin."), NoMatch, None),
            (host("a.in."), NoMatch, None),
            (host("web.:90"), NoMatch, None),
            (host(""), NoMatch, None),
        ],
    );
    check(
        "{rules: [{to: [{operation: {hosts: [web.shop, '*.', '*.com']}}]}]}",
        &[
            (host("web.shop.."), Allow, rule),
            (host("web.shop.:80"), NoMatch, None),
            (host("a"), NoMatch, None),
            (host("a.com."), Allow, rule),
            (host("a.com.:80"), NoMatch, None),
        ],
    );
}

#[test]
fn calls_of_grpc_are_posts_to_their_method() {
    let rule = Some("shop/p0 rule 1");
    let call = |path| Ask { path, method: "POST", ..ASK };
    check(
        "{rules: [{to: [{operation: {methods: [POST], paths: [/pkg.Greeter/SayHello, '/pkg.Health/*']}}]}]}",
        &[
            (call("/pkg.Greeter/SayHello"), Allow, rule),
            (call("/pkg.Greeter/SayGoodbye"), NoMatch, None),
            (call("/pkg.Health/Watch"), Allow, rule),
        ],
    );
}

#[test]
fn headers_are_conditions() {
    let rule = Some("shop/p0 rule 1");
    check(
        "{rules: [{when: [{key: 'request.headers[X-A]', values: [one, 'two*']}, {key: 'request.headers[x-b]', notValues: ['*']}]}]}",
        &[
            (headers(&[("x-a", "one")]), Allow, rule),
            (headers(&[("x-a", "twofold")]), Allow, rule),
            (headers(&[("x-a", "One")]), NoMatch, None),
            (headers(&[]), NoMatch, None),
            (headers(&[("x-a", "one"), ("x-b", "")]), NoMatch, None),
        ],
    );
    check(
        "{rules: [{when: [{key: 'request.headers[x-a]', values: ['*']}]}]}",
        &[(headers(&[("x-a", "")]), Allow, rule), (headers(&[]), NoMatch, None)],
    );
}

#[test]
fn of_a_header_of_several_lines_the_reading_counts_that_lets_less_through() {
    let denied = Some("shop/p0 rule 1");
    check(
        "{action: DENY, rules: [{when: [{key: 'request.headers[x-role]', values: [guest]}]}]}",
        &[
            (headers(&[("x-role", "guest")]), Deny, denied),
            (headers(&[("x-role", "guest"), ("x-role", "admin")]), Deny, denied),
            (headers(&[("x-role", "admin"), ("x-role", "guest")]), Deny, denied),
            (headers(&[("x-role", "admin")]), Allow, None),
        ],
    );
    check(
        "{action: DENY, rules: [{when: [{key: 'request.headers[x-role]', notValues: [admin]}]}]}",
        &[
            (headers(&[("x-role", "admin")]), Allow, None),
            (headers(&[("x-role", "admin"), ("x-role", "guest")]), Deny, denied),
            (headers(&[]), Deny, denied),
        ],
    );
    check(
        "{rules: [{when: [{key: 'request.headers[x-role]', values: [admin, 'a,b']}]}]}",
        &[
            (headers(&[("x-role", "admin")]), Allow, denied),
            (headers(&[("x-role", "admin"), ("x-role", "guest")]), NoMatch, None),
            (headers(&[("x-role", "a"), ("x-role", "b")]), Allow, denied),
        ],
    );
    check(
        "{rules: [{when: [{key: 'request.headers[x-role]', notValues: [guest]}]}]}",
        &[(headers(&[("x-role", "admin"), ("x-role", "guest")]), NoMatch, None)],
    );
    check(
        "{rules: [{when: [{key: 'request.headers[cookie]', values: ['a=1; b=2']}]}]}",
        &[(headers(&[("cookie", "a=1"), ("cookie", "b=2")]), Allow, denied)],
    );
}

#[test]
fn a_path_that_may_mean_another_is_refused_where_rules_look_at_paths() {
    let policy = compiled("{action: DENY, rules: [{to: [{operation: {paths: [/admin, '/admin/*']}}]}]}");
    assert_eq!(judge(&policy, &path("/admin/x")).action, Deny);
    assert!(judge(&policy, &path("/a%20b/c;d=1")).is_allowed());
    for tricky in [
        "//admin",
        "/admin//x",
        "/./admin",
        "/a/../admin",
        "/%2e%2e/admin",
        "/a/%2E%2e/admin",
        "/a%2Fadmin",
        "/%61dmin",
        "/a\\admin",
        "/a%5cadmin",
        "/..;/admin",
        "/%00",
        "",
        "admin",
        "/adm\u{ef}n",
    ] {
        let said = judge(&policy, &path(tricky));
        assert_eq!((said.action, said.rule, said.ambiguous), (Deny, None, true), "{tricky}");
    }
    // Where none does, whatever the endpoint makes of it is its own affair.
    let methods = compiled("{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}");
    assert!(judge(&methods, &path("/a//b")).is_allowed());
    let marks = compiled(
        "{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}
         {action: AUDIT, rules: [{to: [{operation: {paths: [/a]}}]}]}",
    );
    assert!(judge(&marks, &path("/a//b")).is_allowed(), "a marking rule refuses nothing");
}

#[test]
fn escapes_are_compared_whatever_their_case() {
    let policy = compiled("{action: DENY, rules: [{to: [{operation: {paths: ['/caf%c3%a9']}}]}]}");
    for same in ["/caf%C3%A9", "/caf%c3%a9", "/caf%C3%a9"] {
        assert_eq!(judge(&policy, &path(same)).rule, Some("shop/p0 rule 1"), "{same}");
    }
    assert!(judge(&policy, &path("/CAF%C3%A9")).is_allowed());
}

#[test]
fn characters_that_may_be_escaped_or_not_are_read_both_ways() {
    let rule = Some("shop/p0 rule 1");
    check(
        "{action: DENY, rules: [{to: [{operation: {paths: ['/v1/users:delete', '/a%40b', '/p:*', '*%2Ax']}}]}]}",
        &[
            (path("/v1/users:delete"), Deny, rule),
            (path("/v1/users%3Adelete"), Deny, rule),
            (path("/v1/users%3adelete"), Deny, rule),
            (path("/v1/users%253Adelete"), Allow, None),
            (path("/v1/users%3Alist"), Allow, None),
            (path("/a@b"), Deny, rule),
            (path("/a%40b"), Deny, rule),
            (path("/p%3Aq"), Deny, rule),
            (path("/x*x"), Deny, rule),
            (path("/x%2Ax"), Deny, rule),
        ],
    );
    for character in "!\"$&'()+,;=>@[^`|".chars() {
        let quoted = if character == '\'' { "''".to_owned() } else { character.to_string() };
        let deny = format!("{{action: DENY, rules: [{{to: [{{operation: {{paths: ['/x{quoted}y']}}}}]}}]}}");
        let asked = format!("/x%{:02X}y", u32::from(character));
        assert!(!judge(&compiled(&deny), &path(&asked)).is_allowed(), "{asked}");
    }
    check(
        "{rules: [{to: [{operation: {paths: ['/v1/users:list', '/a%40b', '/u/*'], notPaths: ['/u/me:*']}}]}]}",
        &[
            (path("/v1/users:list"), Allow, rule),
            (path("/v1/users%3Alist"), NoMatch, None),
            (path("/a%40b"), Allow, rule),
            (path("/a@b"), NoMatch, None),
            (path("/u/a%40b.example"), Allow, rule),
            (path("/u/me:password"), NoMatch, None),
            (path("/u/me%3Apassword"), NoMatch, None),
        ],
    );
    check(
        "{action: DENY, rules: [{to: [{operation: {paths: ['*'], notPaths: ['/open:*']}}]}]}",
        &[(path("/open:a"), Allow, None), (path("/open%3Aa"), Deny, rule)],
    );
}

#[test]
fn marking_and_trying_rules_read_escapes_as_others_do() {
    let deny = "{action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]}";
    let audit = "{action: AUDIT, rules: [{to: [{operation: {paths: ['/a:b']}}]}]}";
    let escaped = Request { method: "GET", path: "/a%3ab", host: b"", headers: &Lines(&[]) };
    let content = Content::Request(&escaped);
    let policy = compiled(&format!("{deny}\n{audit}"));
    assert_eq!(policy.audit(&caller(FRONT), 80, content), Some("shop/p1 rule 1"));
    let mut with_dry_run = policies(&format!("{deny}\n{}", audit.replace("AUDIT", "DENY")));
    with_dry_run[1].dry_run = true;
    let policy = RequestPolicy::of(&with_dry_run.iter().collect::<Vec<_>>()).expect("one in force");
    assert!(policy.judge(&caller(FRONT), 80, content).is_allowed());
    let tried = policy.dry_run(&caller(FRONT), 80, content).expect("there is one");
    assert_eq!((tried.action, tried.rule), (Deny, Some("shop/p1 rule 1")));
}

#[test]
fn bytes_that_are_no_requests_are_never_allowed_for_what_requests_say() {
    let opaque = |policies: &str, from, port| {
        let policy = compiled(policies);
        let judged = policy.judge(&caller(from), port, Content::Opaque);
        (judged.action, judged.rule.map(str::to_owned))
    };
    let rule = |text: &str| Some(text.to_owned());
    let allow = "{rules: [{to: [{operation: {methods: [GET]}}]}, {to: [{operation: {ports: ['9000']}}]}]}";
    assert_eq!(opaque(allow, FRONT, 80), (NoMatch, None));
    assert_eq!(opaque(allow, FRONT, 9000), (Allow, rule("shop/p0 rule 2")));
    // The whole rule is lost, as in Istio, though one of its alternatives asks for a port only.
    let both = "{rules: [{to: [{operation: {methods: [GET]}}, {operation: {ports: ['9000']}}]}]}";
    assert_eq!(opaque(both, FRONT, 9000), (NoMatch, None));
    let header = "{rules: [{when: [{key: 'request.headers[a]', notValues: [b]}]}]}";
    assert_eq!(opaque(header, FRONT, 80), (NoMatch, None));
    let deny = "{action: DENY, rules: [{from: [{source: {namespaces: [bank]}}], to: [{operation: {ports: ['80'], paths: [/admin]}}]}]}";
    assert_eq!(
        opaque(deny, BATCH, 80),
        (Deny, rule("shop/p0 rule 1")),
        "what is said of paths is left aside"
    );
    assert_eq!(opaque(deny, BATCH, 81), (Allow, None));
    assert_eq!(opaque(deny, FRONT, 80), (Allow, None));
}

#[test]
fn only_policies_in_force_make_a_workload_one_whose_requests_are_judged() {
    let text = "{rules: [{to: [{operation: {methods: [GET]}}]}]}";
    let of = |policies: &[AuthorizationPolicy]| RequestPolicy::of(&policies.iter().collect::<Vec<_>>());
    let in_force = policies(text);
    assert!(of(&in_force).is_some());
    let dry_run: Vec<_> =
        in_force.iter().cloned().map(|it| AuthorizationPolicy { dry_run: true, ..it }).collect();
    assert!(of(&dry_run).is_none());
    assert!(of(&policies("{rules: [{to: [{operation: {ports: ['80']}}]}]}")).is_none());
    assert!(of(&policies("{action: AUDIT, rules: [{to: [{operation: {methods: [GET]}}]}]}")).is_none());
    // With another that is, they are told too.
    let all: Vec<_> = policies("{action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]}")
        .into_iter()
        .chain(dry_run)
        .collect();
    let policy = of(&all).expect("one in force");
    let request = Request { method: "POST", path: "/", host: b"", headers: &Lines(&[]) };
    let content = Content::Request(&request);
    assert!(policy.judge(&caller(FRONT), 80, content).is_allowed());
    assert_eq!(policy.dry_run(&caller(FRONT), 80, content).map(|it| it.action), Some(NoMatch));
}

#[test]
fn identities_are_read_from_their_uri_and_anything_else_is_a_stranger() {
    let read = CallerIdentity::of(FRONT).expect("an identity");
    assert_eq!(
        (read.principal, read.namespace, read.account),
        ("cluster.local/ns/shop/sa/front", "shop", "front")
    );
    for none in ["", "cluster.local/ns/shop/sa/front", "spiffe://a", "spiffe://a/ns/b"] {
        assert_eq!(CallerIdentity::of(none), None, "{none}");
    }
}

#[test]
fn it_is_read_as_it_was_written() {
    let policy = compiled(
        "{rules: [{to: [{operation: {methods: [GET], paths: ['/a*']}}], when: [{key: 'request.headers[a]', values: [b]}]}]}",
    );
    let text = serde_json::to_string(&policy).expect("text");
    assert_eq!(serde_json::from_str::<RequestPolicy>(&text).expect("a policy"), policy);
}
