//! What routes and DestinationRules say of the proxy's traffic, from the manifest to what servers see of it.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use wabe_testkit::{Finished, TestMesh};
use wabe_tests::{
    eventually, eventually_within,
    manifest::{Document, Route, Rule, Service, Workload, all},
    steps,
};

const CALLER: &str = "shop/caller";
/// May have one connection to other workloads, the proxy's on its behalf included.
const LIMITED: &str = "shop/limited";
/// Longer than this test waits for anything.
const GRACE: Duration = Duration::from_secs(600);
const CONFIG: &str = "---\napiVersion: mesh.wabe.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec: {accessLog: all}\n";
const STREAM_ROUTES: &str = "gateway.networking.k8s.io/v1alpha2";

/// A TLS server of its own name, with a certificate made for this run. `$0` is the name.
const TLS: &str = "cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \
    -keyout key -out certificate -subj /CN=$0 2>/dev/null && \
    exec openssl s_server -accept 8443 -key key -cert certificate -www -quiet";
/// What a server of Python's does that is out of order.
const BROKEN: &str = "
    def do_GET(self):
        self.send_response(503)
        self.send_header('content-length', '0')
        self.end_headers()
";
/// One that answers well, but not soon.
const SLOW: &str = "
    def do_GET(self):
        time.sleep(0.5)
        text = b'{\"workload\": \"slow\"}'
        self.send_response(200)
        self.send_header('content-length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
";
/// A proxy that leads wherever it is asked to, which is itself.
const TUNNEL: &str = "
    def do_CONNECT(self):
        self.wfile.write(b'HTTP/1.1 200 OK\\r\\n\\r\\n')
        while self.rfile.readline().strip():
            pass
        text = b'to ' + self.path.encode()
        self.wfile.write(b'HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n' % len(text) + text)
        self.close_connection = True
";

fn tls(name: &str) -> Workload {
    Workload::new(name, &["sh", "-c", TLS, name.rsplit('/').next().expect("a name")])
        .with("privateTmp", json!(true))
        .with("ports", json!([{ "name": "main", "port": 8443 }]))
        .with("readiness", json!({ "tcp": { "port": 8443 } }))
}

/// A server of Python's that does this.
fn python(name: &str, does: &str) -> Workload {
    let program = format!(
        "
import http.server, socket, time
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
{does}
Server(('::', 8080), Handler).serve_forever()
"
    );
    Workload::new(name, &["python3", "-c", &program])
        .with("ports", json!([{ "name": "main", "port": 8080 }]))
        .with("readiness", json!({ "tcp": { "port": 8080 } }))
}

/// A route of connections that leads from one service of `shop` to another.
fn stream(kind: &'static str, name: &str, from: &str, to: &str, more: &Value) -> Document {
    let parent = json!([{ "group": "", "kind": "Service", "name": from }]);
    let mut spec =
        json!({ "parentRefs": parent, "rules": [{ "backendRefs": [{ "name": to, "port": 80 }] }] });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    Document::new(STREAM_ROUTES, kind, name, spec)
}

fn tls_port(name: &str) -> Service {
    Service::new(name).with("ports", json!([{ "port": 80, "targetPort": "main", "appProtocol": "tls" }]))
}

#[test]
fn resilience() {
    let zone = |zone: &str| json!({ "region": "r", "zone": zone });
    let retry = json!({ "codes": [503], "attempts": 2, "backoff": "1ms" });
    let mesh = TestMesh::up(&all(&[
        &format_args!("{CONFIG}"),
        &Workload::idle(CALLER).with("locality", zone("a")),
        &Workload::web("shop/one"),
        &Workload::web("shop/two"),
        &Workload::web("far/there"),
        &Service::new("shop/one"),
        &Service::new("shop/two"),
        &Service::new("far/there"),
        &Service::new("shop/web").with("selector", json!({ "app": "one" })),
        &Route::new(
            "shop/web",
            json!([
                { "matches": [{ "path": { "type": "RegularExpression", "value": "/item/[0-9]+" } }],
                  "backendRefs": [Route::backend("two", 1)] },
                { "matches": [{ "path": { "value": "/far" } }],
                  "backendRefs": [{ "name": "there", "namespace": "far", "port": 80 }] },
                { "matches": [{ "path": { "value": "/delay" } }], "timeouts": { "request": "2s" },
                  "backendRefs": [Route::backend("one", 1)] },
                { "matches": [{ "path": { "value": "/status" } }], "retry": retry,
                  "backendRefs": [Route::backend("one", 1)] },
                { "matches": [{ "path": { "value": "/copied" } }],
                  "filters": [{ "type": "RequestMirror", "requestMirror": { "backendRef": { "name": "two", "port": 80 } } }],
                  "backendRefs": [Route::backend("one", 1)] },
            ]),
        ),
        &tls("shop/red"),
        &tls("shop/blue"),
        &tls_port("shop/red"),
        &tls_port("shop/blue"),
        &tls_port("shop/secure").with("selector", json!({ "app": "red" })),
        &stream("TLSRoute", "shop/red", "secure", "red", &json!({ "hostnames": ["red.test"] })),
        &stream("TLSRoute", "shop/blue", "secure", "blue", &json!({ "hostnames": ["*.blue.test"] })),
        &Service::new("shop/bytes")
            .with("selector", json!({ "app": "one" }))
            .with("ports", json!([{ "port": 80, "targetPort": "main", "appProtocol": "tcp" }])),
        &stream("TCPRoute", "shop/bytes", "bytes", "two", &json!({})),
        &Workload::web("shop/many").with("replicas", json!(3)),
        &led("shop/many"),
        &Rule::new(
            "shop/many",
            json!({ "loadBalancer": { "consistentHash": { "httpHeaderName": "x-user" } } }),
        ),
        &Workload::web("shop/narrow"),
        &led("shop/narrow"),
        &Rule::new("shop/narrow", json!({ "connectionPool": { "http": { "http2MaxRequests": 1 } } })),
        &Workload::web("shop/sound").label("tier", "mixed"),
        &python("shop/broken", BROKEN).label("tier", "mixed"),
        &led("shop/mixed").with("selector", json!({ "tier": "mixed" })),
        &Rule::new(
            "shop/mixed",
            json!({ "outlierDetection": { "consecutive5xxErrors": 2, "baseEjectionTime": "300s", "maxEjectionPercent": 50 } }),
        ),
        &Workload::idle(LIMITED).with("limits", json!({ "outbound": { "connections": 1 } })),
        &led("shop/ejecting")
            .with("selector", json!({ "app": "one" }))
            .with("ports", json!([{ "name": "http", "port": 80, "targetPort": "main" }])),
        &Rule::new(
            "shop/ejecting",
            json!({ "outlierDetection": { "consecutive5xxErrors": 1, "baseEjectionTime": "300s", "maxEjectionPercent": 100 } }),
        ),
        &Workload::web("shop/near").label("tier", "zones").with("locality", zone("a")),
        &Workload::web("shop/distant").label("tier", "zones").with("locality", zone("b")),
        &Workload::web("shop/abroad").label("tier", "zones").with("locality", json!({ "region": "s" })),
        &Workload::web("shop/elsewhere").label("tier", "zones").with("locality", json!({ "region": "q" })),
        &led("shop/zones").with("selector", json!({ "tier": "zones" })),
        &Rule::new("shop/zones", failover()),
        // The kernel balances it.
        &Service::new("shop/levels").with("selector", json!({ "tier": "zones" })),
        &Rule::new("shop/levels", failover()),
        &Workload::web("shop/fast").label("tier", "paced"),
        &python("shop/slow", SLOW).label("tier", "paced"),
        &led("shop/paced")
            .with("selector", json!({ "tier": "paced" }))
            .annotation("mesh.wabe.dev/balance", "peak-ewma"),
        &Workload::web("shop/warming"),
        &led("shop/warming"),
        &Rule::new("shop/warming", json!({ "loadBalancer": { "warmup": { "duration": "10s" } } })),
        // Speaks first.
        &Workload::server("shop/greeting"),
        &Service::new("shop/greeting"),
        &python("shop/tunnel", TUNNEL),
        &led("shop/tunnel"),
        &Workload::web("shop/leaving").with("grace", json!(format!("{}s", GRACE.as_secs()))),
        &led("shop/leaving"),
        &version("v1"),
        &version("v2"),
        &Service::new("shop/catalogue")
            .with("ports", json!([{ "name": "http", "port": 80, "targetPort": "http" }])),
        &Workload::web("shop/asking"),
        &Service::new("shop/asking"),
    ]));
    steps::run(
        &mesh,
        &wabe_tests::steps![
            an_expression_chooses_by_path,
            a_service_of_another_namespace_gets_requests_once_it_allows_them,
            who_takes_too_long_is_given_up,
            what_fails_is_asked_for_again,
            a_copy_goes_to_another_service,
            tls_goes_by_the_name_that_it_asks_for_to_servers_that_end_it,
            connections_go_where_a_route_leads_them,
            a_route_of_another_namespace_is_nobody_elses_business,
            requests_of_one_user_go_to_one_replica,
            what_is_more_than_a_service_takes_is_refused_at_once,
            a_replica_that_fails_gets_no_more,
            a_limit_of_the_caller_is_held_against_no_replica,
            near_replicas_serve_as_long_as_there_are_some,
            the_faster_replica_gets_nearly_all,
            a_new_replica_gets_little_at_first_and_half_at_last,
            whoever_asks_for_a_tunnel_gets_one,
            a_workload_asks_for_the_proxy,
            the_example_of_a_canary_does_what_it_says,
            a_replica_that_leaves_does_not_wait_for_connections_that_nobody_uses,
        ],
    );
    mesh.down();
}

/// Near endpoints first, those of region `s` after those of `r`.
fn failover() -> Value {
    json!({ "loadBalancer": { "localityLbSetting": { "failover": [{ "from": "r", "to": "s" }] } } })
}

/// A service that the proxy is before, though it has no route.
fn led(name: &str) -> Service {
    Service::new(name).annotation("mesh.wabe.dev/l7", "always")
}

fn an_expression_chooses_by_path(mesh: &TestMesh) {
    assert_eq!(told(mesh, &["http://web.shop/item/42"])["workload"], "two");
    assert_eq!(status(mesh, &["http://web.shop/item/42a"]), "404 no-route");
}

fn a_service_of_another_namespace_gets_requests_once_it_allows_them(mesh: &TestMesh) {
    assert_eq!(status(mesh, &["http://web.shop/far"]), "500 invalid-backend");
    let spec = json!({
        "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop" }],
        "to": [{ "group": "", "kind": "Service" }],
    });
    let grant =
        Document::new("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "far/shop", spec).to_string();
    let _ = mesh.apply(&grant).success();
    eventually("the proxy goes by it", || (status(mesh, &["http://web.shop/far"]) == "200").then_some(()));
    assert_eq!(told(mesh, &["http://web.shop/far"])["workload"], "there");
    let _ = mesh.delete(&grant).success();
    eventually("the proxy goes by it", || {
        (status(mesh, &["http://web.shop/far"]) == "500 invalid-backend").then_some(())
    });
}

fn who_takes_too_long_is_given_up(mesh: &TestMesh) {
    assert_eq!(status(mesh, &["http://web.shop/delay/8000"]), "504 request-timeout");
    assert_eq!(status(mesh, &["http://web.shop/delay/1"]), "200");
}

fn what_fails_is_asked_for_again(mesh: &TestMesh) {
    for (path, tries) in [("/status/503", json!(3)), ("/status/500", Value::Null)] {
        let id = format!("tries-of-{}", &path[8..]);
        let _ = status(mesh, &["-H", &format!("x-request-id: {id}"), &format!("http://web.shop{path}")]);
        assert_eq!(logged(mesh, |it| it["request_id"] == id.as_str())["tries"], tries, "{path}");
    }
}

fn a_copy_goes_to_another_service(mesh: &TestMesh) {
    assert_eq!(told(mesh, &["-H", "x-request-id: copied", "http://web.shop/copied"])["workload"], "one");
    let copy = logged(mesh, |it| it["request_id"] == "copied" && it["mirror"].is_string());
    assert_eq!((&copy["mirror"], &copy["endpoint"]), (&json!("shop/two:80"), &json!("shop/two")), "{copy}");
}

fn tls_goes_by_the_name_that_it_asks_for_to_servers_that_end_it(mesh: &TestMesh) {
    let server = |name: &str| {
        let (url, lead) = (format!("https://{name}/"), format!("{name}:443:secure.shop:80"));
        curl(mesh, &["-k", "-o", "/dev/null", "-w", "%{certs}", "--connect-to", &lead, &url])
    };
    for (name, subject) in [("red.test", "red"), ("a.b.blue.test", "blue")] {
        let certificate = server(name).success().stdout;
        assert!(certificate.contains(&format!("Subject:CN = {subject}\n")), "{name}: {certificate}");
    }
    // Reset: curl's CURLE_SSL_CONNECT_ERROR or CURLE_RECV_ERROR.
    let refused = server("green.test");
    assert!(matches!(refused.code(), Some(35 | 56)), "{refused}");
}

fn connections_go_where_a_route_leads_them(mesh: &TestMesh) {
    let seen = told(mesh, &["http://bytes.shop/"]);
    assert_eq!(seen["workload"], "two", "{seen}");
    assert!(seen["headers"].get("x-request-id").is_none(), "nothing of it was read: {seen}");
}

fn a_route_of_another_namespace_is_nobody_elses_business(mesh: &TestMesh) {
    let greeted = || mesh.testbox(CALLER, &["connect", "greeting.shop:80"]).success().json()["first"].clone();
    let spec = json!({
        "parentRefs": [{ "group": "", "kind": "Service", "name": "greeting", "namespace": "shop" }],
        "rules": [{ "backendRefs": [{ "name": "there", "port": 80 }] }],
    });
    let route = Document::new("gateway.networking.k8s.io/v1", "HTTPRoute", "far/greeting", spec).to_string();
    assert_eq!(greeted(), "greeting/0");
    let _ = mesh.apply(&route).success();
    let asked = || mesh.exec("far/there", &["curl", "-sS", "--max-time", "10", "http://greeting.shop/"]);
    eventually("it holds for its own namespace", || {
        let asked = asked();
        (asked.code() == Some(0) && asked.json()["workload"] == "there").then_some(())
    });
    assert_eq!(greeted(), "greeting/0", "who speaks first is heard, by callers of no route");
    let _ = mesh.delete(&route).success();
}

fn requests_of_one_user_go_to_one_replica(mesh: &TestMesh) {
    let mut replicas = BTreeSet::new();
    for user in 0..12 {
        let header = format!("x-user: {user}");
        let ask = || told(mesh, &["-H", &header, "http://many.shop/"])["replica"].to_string();
        let replica = ask();
        assert!((0..3).all(|_| ask() == replica), "user {user} goes to {replica} and elsewhere");
        replicas.insert(replica);
    }
    assert!(replicas.len() > 1, "{replicas:?}");
}

fn what_is_more_than_a_service_takes_is_refused_at_once(mesh: &TestMesh) {
    let urls = ["http://narrow.shop/delay/4000", "http://narrow.shop/delay/4000"];
    let write = ["-o", "/dev/null", "-w", "%{http_code}\n", "--parallel", "--parallel-immediate"];
    let said =
        curl(mesh, &[&write[..], &urls[..1], &["-o", "/dev/null"], &urls[1..]].concat()).success().stdout;
    let codes: BTreeSet<&str> = said.lines().collect();
    assert_eq!(codes, BTreeSet::from(["200", "503"]));
}

fn a_replica_that_fails_gets_no_more(mesh: &TestMesh) {
    let codes = || {
        let urls = "http://mixed.shop/?[1-20]";
        curl(mesh, &["-o", "/dev/null", "-w", "%{http_code}\n", urls]).success().stdout
    };
    // The two in a row come early; then all is well.
    eventually("it is ejected", || codes().lines().all(|it| it == "200").then_some(()));
    // The proxy tells it a moment later.
    let ejected = eventually("it is told", || {
        let explained = mesh.json(&["explain", CALLER, "mixed.shop:80", "--http", "GET /"]);
        let endpoints = explained["backends"][0]["endpoints"].as_array().cloned().expect("a list");
        let ejected = endpoints.into_iter().filter(|it| it["live"]["ejectedFor"].is_number());
        let ejected: Vec<_> = ejected.map(|it| it["workload"].clone()).collect();
        (!ejected.is_empty()).then_some(ejected)
    });
    assert_eq!(ejected, ["shop/broken"]);
}

fn a_limit_of_the_caller_is_held_against_no_replica(mesh: &TestMesh) {
    let mut held = mesh.start_testbox(LIMITED, &["hold", "greeting.shop:80", "--count", "1"]);
    assert_eq!(held.next_json()["open"], 1);
    for _ in 0..3 {
        let answered =
            mesh.exec(LIMITED, &["curl", "-sSi", "--max-time", "10", "http://ejecting.shop/"]).success();
        assert!(answered.stdout.contains("x-wabe-reason: connection-limit\r\n"), "{answered}");
    }
    assert_eq!(status(mesh, &["http://ejecting.shop/"]), "200");
    let score = eventually("the proxy tells of it", || {
        let explained = mesh.json(&["explain", CALLER, "ejecting.shop:80", "--http", "GET /"]);
        let live = explained["backends"][0]["endpoints"][0]["live"].clone();
        live["latency"].is_number().then_some(live)
    });
    assert_eq!(score["ejectedFor"], Value::Null, "{score}");
    held.send("quit");
    let _ = held.finish();
}

fn near_replicas_serve_as_long_as_there_are_some(mesh: &TestMesh) {
    let serve = |wanted: &str| {
        let asked = ["http://zones.shop/", "http://levels.shop/"].repeat(4);
        asked.iter().all(|url| told(mesh, &[*url])["workload"] == wanted)
    };
    let scale = |name: &str, replicas: &str| {
        let _ = mesh.wabe(&["scale", name, replicas]).success();
    };
    assert!(serve("near"));
    scale("shop/near", "0");
    eventually("the other zone serves", || serve("distant").then_some(()));
    scale("shop/distant", "0");
    eventually("the region that is named serves", || serve("abroad").then_some(()));
    scale("shop/near", "1");
    eventually("the own zone serves again", || serve("near").then_some(()));
}

fn the_faster_replica_gets_nearly_all(mesh: &TestMesh) {
    // One after the other: whoever counted requests under way would see no difference. Whoever stands still for a moment is slow, too.
    eventually("the slow one gets less than 5 of 40", || {
        let said = curl(mesh, &["http://paced.shop/?[1-40]"]).success().stdout;
        let slow = said.matches(r#""workload": "slow""#).count();
        (slow < 5).then_some(())
    });
}

fn a_new_replica_gets_little_at_first_and_half_at_last(mesh: &TestMesh) {
    let warmth = || {
        let explained = mesh.json(&["explain", CALLER, "warming.shop:80", "--http", "GET /"]);
        let endpoints = explained["backends"][0]["endpoints"].as_array().cloned().expect("a list");
        endpoints.iter().filter_map(|it| it["live"]["warmth"].as_u64()).collect::<Vec<_>>()
    };
    let new = || {
        let said = curl(mesh, &["http://warming.shop/?[1-200]"]).success().stdout;
        said.matches(r#""replica":"1""#).count()
    };
    assert_eq!(new(), 0);
    eventually("the old one is warm", || (warmth() == [100]).then_some(()));
    let _ = mesh.wabe(&["scale", "shop/warming", "2"]).success();
    eventually("it is ready", || (new() > 0).then_some(()));
    // A tenth of the old one's at the beginning, a third of all when half of its time is over.
    let (first, warmth_then) = (new(), warmth());
    assert!(first < 75 && warmth_then.iter().any(|it| *it < 100), "{first} of 200 at first, {warmth_then:?}");
    eventually("it has its share", || (85..=115).contains(&new()).then_some(()));
    eventually("it is warm, too", || (warmth() == [100, 100]).then_some(()));
}

fn whoever_asks_for_a_tunnel_gets_one(mesh: &TestMesh) {
    let words = ["--proxytunnel", "--proxy", "http://tunnel.shop:80", "http://far.test/"];
    assert_eq!(curl(mesh, &words).success().stdout, "to far.test:80");
    let connect = logged(mesh, |it| it["method"] == "CONNECT");
    assert_eq!((&connect["status"], &connect["endpoint"]), (&json!(200), &json!("shop/tunnel")), "{connect}");
}

fn a_workload_asks_for_the_proxy(mesh: &TestMesh) {
    let is_led = || told(mesh, &["http://asking.shop/"])["headers"].get("x-request-id").is_some();
    assert!(!is_led());
    let annotated = |value: &str| {
        format!(
            "---\napiVersion: mesh.wabe.dev/v1alpha1\nkind: Workload\nmetadata: {{name: asking, namespace: shop, \
             labels: {{app: asking}}, annotations: {{mesh.wabe.dev/l7: {value}}}}}\nspec: {}\n",
            json!({
                "command": ["$TESTBOX", "web", "--listen", "[::]:8080"], "grace": "1s",
                "ports": [{ "name": "main", "port": 8080 }], "readiness": { "tcp": { "port": 8080 } },
            })
        )
    };
    let _ = mesh.apply(&annotated("always")).success();
    eventually("its callers are led to the proxy", || is_led().then_some(()));
    let _ = mesh.apply(&annotated("auto")).success();
    eventually("they are not any more", || (!is_led()).then_some(()));
}

/// A version of the catalogue, as `examples/shop` has it.
fn version(version: &str) -> Workload {
    Workload::web(&format!("shop/catalogue-{version}"))
        .label("app", "catalogue")
        .label("version", version)
        .with("ports", json!([{ "name": "http", "port": 8080 }]))
}

fn the_example_of_a_canary_does_what_it_says(mesh: &TestMesh) {
    let example = include_str!("../../examples/shop-canary/catalogue.yaml");
    let versions = |words: &[&str]| {
        let asked =
            curl(mesh, &[words, &["http://catalogue.shop/catalogue?[1-200]"]].concat()).success().stdout;
        let of = |version: &str| asked.matches(&format!("\"workload\":\"catalogue-{version}\"")).count();
        (of("v1"), of("v2"))
    };
    let _ = mesh.apply(example).success();
    for header in ["x-canary: yes", "cookie: group=b", "cookie: a=1; group=b; c=2"] {
        assert_eq!(versions(&["-H", header]), (0, 200), "{header}");
    }
    for header in ["x-canary: no", "cookie: group=beta"] {
        // A twentieth of 200 is 10; 40 of them come less often than once in a billion times.
        let (one, two) = versions(&["-H", header]);
        assert!(one + two == 200 && two < 40, "{header}: {one} and {two}");
    }
    let all = example.replace("weight: 95", "weight: 0").replace("weight: 5}", "weight: 100}");
    assert_ne!(all, example);
    let _ = mesh.apply(&all).success();
    eventually("all go to version 2", || (versions(&[]) == (0, 200)).then_some(()));
}

/// The proxy keeps one to it after an answer, as it does for a minute.
fn a_replica_that_leaves_does_not_wait_for_connections_that_nobody_uses(mesh: &TestMesh) {
    assert_eq!(told(mesh, &["http://leaving.shop/"])["workload"], "leaving");
    let load = || instances(mesh)[0]["live"].clone();
    eventually("a connection is kept", || (load() == json!(1)).then_some(()));
    let _ = mesh.wabe(&["scale", "shop/leaving", "0"]).success();
    eventually_within(GRACE / 20, "it has ended", || instances(mesh).is_empty().then_some(()));
}

fn instances(mesh: &TestMesh) -> Vec<Value> {
    let status = mesh.json(&["status"]);
    let workloads = status["workloads"].as_array().expect("a list");
    let leaving = workloads.iter().find(|it| it["name"] == "shop/leaving").expect("it is declared");
    leaving["instances"].as_array().cloned().unwrap_or_default()
}

/// The newest line of the access log that is asked for.
fn logged(mesh: &TestMesh, is_wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("it is logged", || {
        let log = mesh.wabe(&["logs", "proxy"]).success().stdout;
        log.lines().rev().filter_map(|it| serde_json::from_str(it).ok()).find(&is_wanted)
    })
}

/// What the server was asked, as it tells.
#[track_caller]
fn told(mesh: &TestMesh, words: &[&str]) -> Value {
    curl(mesh, words).success().json()
}

/// The status, and the proxy's reason if it gives one.
#[track_caller]
fn status(mesh: &TestMesh, words: &[&str]) -> String {
    let write = ["-o", "/dev/null", "-w", "%{http_code} %header{x-wabe-reason}"];
    curl(mesh, &[&write[..], words].concat()).success().stdout.trim().to_owned()
}

fn curl(mesh: &TestMesh, words: &[&str]) -> Finished {
    mesh.exec(CALLER, &[&["curl", "-sS", "--max-time", "10"], words].concat())
}
