//! Services with rules of layer 7: requests go through the node's proxy, which nobody has to trust.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wabe_testkit::{Finished, TestMesh, wabe};
use wabe_tests::{
    eventually,
    facts::Facts,
    manifest::{Document, Policy, Route, Rule, Service, Workload, all},
    steps,
};

const CALLER: &str = "shop/caller";
const OTHER: &str = "away/caller";

#[test]
fn layer7() {
    let mesh = TestMesh::up(&all(&[
        &Workload::idle(CALLER),
        &Workload::idle(OTHER),
        &Workload::web("shop/v1").label("tier", "web"),
        &Workload::web("shop/v2").label("tier", "web"),
        &Service::new("shop/web").with("selector", json!({ "tier": "web" })),
        &Service::new("shop/v1"),
        &Service::new("shop/v2"),
        &Workload::web("shop/calls")
            .with("command", json!(["$TESTBOX", "web", "--listen", "[::]:8080", "--grpc", "[::]:7070"])),
        &Service::new("shop/calls")
            .with("ports", json!([{ "port": 7070, "appProtocol": "kubernetes.io/h2c" }])),
        &canary(100, 0),
    ]));
    steps::run(
        &mesh,
        &wabe_tests::steps![
            a_request_is_routed_and_the_server_sees_who_calls,
            the_application_sees_what_it_dialled_in_both_families,
            rules_choose_by_header_and_path,
            what_no_rule_matches_is_not_found,
            a_service_without_rules_never_touches_the_proxy,
            what_the_caller_may_not_reach_the_proxy_may_not_either,
            weights_change_under_load_without_a_failed_request,
            routes_and_what_they_lead_to_change_under_load_without_a_failed_request,
            replicas_are_replaced_under_load_without_a_failed_request,
            no_endpoint_is_said_at_once,
            browsers_are_told_whose_pages_may_read_answers,
            calls_of_grpc_are_limited_and_fail_on_purpose,
            the_proxy_has_no_power,
            explain_and_flows_say_that_the_proxy_is_between,
            explain_shows_how_the_proxy_finds_endpoints,
            every_request_is_counted_once_whichever_proxy_served_it,
            a_killed_proxy_is_back_and_connections_wait,
            a_route_that_is_deleted_leaves_the_service_direct,
        ],
    );
    mesh.down();
}

/// Callers that ask for it get version 2, of the others so many.
fn canary(v1: u32, v2: u32) -> Route {
    Route::new(
        "shop/web",
        json!([
            { "matches": [{ "headers": [{ "name": "x-canary", "value": "yes" }] }], "backendRefs": [Route::backend("v2", 1)] },
            { "matches": [{ "path": { "value": "/old" } }],
              "filters": [{ "type": "RequestRedirect", "requestRedirect": { "path": { "type": "ReplacePrefixMatch", "replacePrefixMatch": "/new" }, "statusCode": 301 } }] },
            { "matches": [{ "path": { "value": "/all" } }, { "path": { "value": "/delay" } }, { "path": { "value": "/status" } }],
              "backendRefs": [Route::backend("v1", v1), Route::backend("v2", v2)] },
        ]),
    )
}

fn a_request_is_routed_and_the_server_sees_who_calls(mesh: &TestMesh) {
    let seen = told(mesh, CALLER, &["-4", "-d", "some words", "http://web.shop/all/of/it?a=1"]);
    assert_eq!((&seen["workload"], &seen["path"]), (&json!("v1"), &json!("/all/of/it?a=1")), "{seen}");
    assert_eq!((&seen["method"], &seen["body"]), (&json!("POST"), &json!("some words")), "{seen}");
    let [v4, _] = Facts::of(mesh).addresses(CALLER);
    assert_eq!(seen["peer"], json!(v4.to_string()), "the caller's own address: {seen}");
    let headers = &seen["headers"];
    assert_eq!(headers["host"], json!(["web.shop"]), "{seen}");
    assert_eq!(headers["x-forwarded-for"], json!([v4.to_string()]), "{seen}");
    let certificate = headers["x-forwarded-client-cert"][0].as_str().unwrap_or_default();
    assert!(certificate.contains("URI=spiffe://cluster.local/ns/shop/sa/default"), "{seen}");
    assert_eq!(headers["x-request-id"][0].as_str().map(str::len), Some(36), "{seen}");
    // Whoever says so himself is not believed.
    let forged =
        ["-H", "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/root/sa/root", "http://web.shop/all"];
    let seen = told(mesh, CALLER, &forged);
    assert_eq!(seen["headers"]["x-forwarded-client-cert"], json!([certificate]), "{seen}");
}

fn the_application_sees_what_it_dialled_in_both_families(mesh: &TestMesh) {
    for address in Facts::of(mesh).service("shop/web") {
        let url = format!("http://{}/all", SocketAddr::from((address, 80)));
        let asked =
            curl(mesh, CALLER, &["-o", "/dev/null", "-w", "%{remote_ip} %{http_code}", &url]).success();
        assert_eq!(asked.stdout, format!("{address} 200"));
        let peer: IpAddr =
            told(mesh, CALLER, &[&url])["peer"].as_str().expect("text").parse().expect("an address");
        assert!(Facts::of(mesh).addresses(CALLER).contains(&peer));
    }
}

fn rules_choose_by_header_and_path(mesh: &TestMesh) {
    assert_eq!(told(mesh, CALLER, &["-H", "X-Canary: yes", "http://web.shop/"])["workload"], "v2");
    assert_eq!(told(mesh, CALLER, &["http://web.shop/all"])["workload"], "v1");
    let moved = curl(mesh, CALLER, &["-i", "http://web.shop/old/page"]).success().stdout;
    assert!(moved.starts_with("HTTP/1.1 301 "), "{moved}");
    assert!(moved.to_lowercase().contains("location: http://web.shop/new/page\r\n"), "{moved}");
}

fn what_no_rule_matches_is_not_found(mesh: &TestMesh) {
    let answer = Answer::of(mesh, CALLER, &["http://web.shop/nothing"]);
    assert_eq!((answer.status, answer.reason()), (404, Some("no-route")), "{answer:?}");
}

fn a_service_without_rules_never_touches_the_proxy(mesh: &TestMesh) {
    let before = Facts::of(mesh).lane("proxy");
    assert_eq!(told(mesh, CALLER, &["http://v1.shop/"])["workload"], "v1");
    assert_eq!(Facts::of(mesh).lane("proxy"), before);
    let seen = told(mesh, CALLER, &["http://web.shop/all"]);
    assert_eq!(Facts::of(mesh).lane("proxy"), before + 1, "{seen}");
}

fn what_the_caller_may_not_reach_the_proxy_may_not_either(mesh: &TestMesh) {
    let only = json!([{ "from": [{ "source": { "namespaces": ["away"] } }] }]);
    let spec = json!({ "selector": { "matchLabels": { "app": "v2" } }, "action": "ALLOW", "rules": only });
    let policy = Policy::new("shop/v2-for-away", spec).to_string();
    let _ = mesh.apply(&policy).success();
    let canary = ["-H", "x-canary: yes", "http://web.shop/"];
    let refused = Answer::of(mesh, CALLER, &canary);
    assert_eq!((refused.status, refused.reason()), (403, Some("policy")), "{refused:?}");
    assert_eq!(told(mesh, OTHER, &canary)["workload"], "v2");
    assert_eq!(told(mesh, CALLER, &["http://web.shop/all"])["workload"], "v1");
    let _ = mesh.delete(&policy).success();
    assert_eq!(told(mesh, CALLER, &canary)["workload"], "v2");
}

fn weights_change_under_load_without_a_failed_request(mesh: &TestMesh) {
    nothing_fails_while(mesh, 6, || {
        for (v1, v2) in [(90, 10), (50, 50), (0, 100), (100, 0), (0, 100)] {
            thread::sleep(Duration::from_millis(700));
            let _ = mesh.apply(&canary(v1, v2).to_string()).success();
        }
        eventually("all go to version 2", || {
            (told(mesh, CALLER, &["http://web.shop/all"])["workload"] == "v2").then_some(())
        });
    });
    let _ = mesh.apply(&canary(100, 0).to_string()).success();
}

fn routes_and_what_they_lead_to_change_under_load_without_a_failed_request(mesh: &TestMesh) {
    let selecting = |app: &str| Service::new("shop/v1").with("selector", json!({ "app": app })).to_string();
    let header = json!([{ "name": "x-changed", "value": "yes" }]);
    let filter = json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": header } });
    let rule = json!({ "filters": [filter], "backendRefs": [Route::backend("v1", 1)] });
    let changed = Route::new("shop/web", json!([rule])).to_string();
    let unchanged = canary(100, 0).to_string();
    let pause = || thread::sleep(Duration::from_millis(500));
    nothing_fails_while(mesh, 8, || {
        for turn in 0..2 {
            pause();
            // What the route leads to is another workload, and the route has other rules.
            let _ = mesh.apply(&selecting("v2")).success();
            pause();
            let _ = mesh.apply(&changed).success();
            eventually("the changed rule holds", || {
                let asked = told(mesh, CALLER, &["http://web.shop/all"]);
                (asked["workload"] == "v2" && asked.to_string().contains("x-changed")).then_some(())
            });
            let _ = mesh.apply(&selecting("v1")).success();
            pause();
            // Callers go to the service itself, and back to the proxy.
            let _ = mesh.delete(&changed).success();
            pause();
            let _ = mesh.apply(&unchanged).success();
            println!("turn {turn} is over");
        }
    });
}

fn replicas_are_replaced_under_load_without_a_failed_request(mesh: &TestMesh) {
    // Each request needs a connection of its own, so none is to be had to who goes.
    let once = json!({ "connectionPool": { "http": { "maxRequestsPerConnection": 1 } } });
    let once = Rule::new("shop/v1", once).to_string();
    let _ = mesh.apply(&once).success();
    nothing_fails_while(mesh, 8, || {
        thread::sleep(Duration::from_millis(500));
        for words in [
            &["restart", "shop/v1"][..],
            &["scale", "shop/v1", "4"],
            &["restart", "shop/v1"],
            &["scale", "shop/v1", "1"],
            &["restart", "shop/v1"],
        ] {
            let _ = mesh.wabe(words).success();
        }
    });
    let _ = mesh.delete(&once).success();
}

/// Calls version 1 and 2 a thousand times a second for so long.
fn nothing_fails_while(mesh: &TestMesh, seconds: u32, work: impl FnOnce()) {
    let url = format!("http://{}/all", SocketAddr::from((Facts::of(mesh).service("shop/web")[0], 80)));
    let (program, duration) = (wabe(), format!("{seconds}s"));
    let program = program.to_str().expect("a path in UTF-8");
    let rate = ["--rate", "1000", "--duration", &duration, "--connections", "16", "-o", "json"];
    let load = [&[program, "lab", "load", &url][..], &rate].concat();
    let done = thread::scope(|scope| {
        let running = scope.spawn(|| mesh.exec(CALLER, &load));
        work();
        running.join().expect("no panic")
    });
    // It complains if what it sends is late, which a busy machine is to blame for.
    let said = done.json();
    assert_eq!(said["failed"], json!({}), "{done}");
    assert!(said["answered"] == 1_000 * seconds, "{done}");
}

fn no_endpoint_is_said_at_once(mesh: &TestMesh) {
    let _ = mesh.wabe(&["scale", "shop/v2", "0"]).success();
    let canary = ["-H", "x-canary: yes", "http://web.shop/"];
    let answer = eventually("version 2 is gone", || {
        let answer = Answer::of(mesh, CALLER, &canary);
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(answer.reason(), Some("no-healthy-endpoint"), "{answer:?}");
    let _ = mesh.wabe(&["scale", "shop/v2", "1"]).success();
    assert_eq!(Answer::of(mesh, CALLER, &canary).status, 200, "who is ready serves");
}

fn browsers_are_told_whose_pages_may_read_answers(mesh: &TestMesh) {
    let (friend, stranger) = ("origin: https://www.shop.example", "origin: https://shop.example.evil.org");
    let cors = json!({ "allowOrigins": ["https://*.shop.example"], "allowMethods": ["PUT"], "maxAge": 60 });
    let rule =
        json!({ "filters": [{ "type": "CORS", "cors": cors }], "backendRefs": [Route::backend("v2", 1)] });
    let route = Route::new("shop/v2", json!([rule])).to_string();
    let _ = mesh.apply(&route).success();
    let url = "http://v2.shop/all";
    let put = "access-control-request-method: PUT";
    let preflight = |origin| Answer::of(mesh, CALLER, &["-X", "OPTIONS", "-H", origin, "-H", put, url]);
    let told = |answer: &Answer, names: [&str; 3]| names.map(|it| answer.header(it).map(str::to_owned));
    let names = ["access-control-allow-origin", "access-control-allow-methods", "access-control-max-age"];
    let some = |it: &str| Some(it.to_owned());
    let asked = preflight(friend);
    let wanted = [some("https://www.shop.example"), some("PUT"), some("60")];
    assert_eq!((asked.status, told(&asked, names)), (204, wanted), "{asked:?}");
    let asked = preflight(stranger);
    assert_eq!((asked.status, told(&asked, names)), (204, [None, None, None]), "{asked:?}");
    for (origin, wanted) in [(friend, Some("https://www.shop.example")), (stranger, None)] {
        let answer = Answer::of(mesh, CALLER, &["-X", "PUT", "-H", origin, url]);
        assert!(answer.status == 200 && answer.text.contains(r#""workload":"v2""#), "{answer:?}");
        assert_eq!((answer.header(names[0]), answer.header("vary")), (wanted, Some("origin")), "{answer:?}");
    }
    let _ = mesh.delete(&route).success();
}

fn calls_of_grpc_are_limited_and_fail_on_purpose(mesh: &TestMesh) {
    const OWN: &str = "mesh.wabe.dev/v1alpha1";
    let rule = |header: &str, kind: &str| {
        let own = json!({ "group": "mesh.wabe.dev", "kind": kind, "name": header });
        json!({
            "matches": [{ "headers": [{ "name": header, "value": "yes" }] }],
            "filters": [{ "type": "ExtensionRef", "extensionRef": own }],
            "backendRefs": [{ "name": "calls", "port": 7070 }],
        })
    };
    let parent = json!([{ "group": "", "kind": "Service", "name": "calls" }]);
    let rules = json!([rule("few", "RequestLimit"), rule("broken", "FaultInjection")]);
    let manifests = all(&[
        &Document::new(OWN, "RequestLimit", "shop/few", json!({ "requests": 1, "per": "1h", "burst": 2 })),
        &Document::new(OWN, "FaultInjection", "shop/broken", json!({ "abort": { "status": 503 } })),
        &Document::new(
            "gateway.networking.k8s.io/v1",
            "GRPCRoute",
            "shop/calls",
            json!({ "parentRefs": parent, "rules": rules }),
        ),
    ]);
    let _ = mesh.apply(&manifests).success();
    let statuses = |header: &str| {
        let told = mesh.testbox(CALLER, &["grpc", "calls.shop:7070", "--count", "4", header]).success();
        told.json_lines()
            .iter()
            .map(|it| it["status"].as_str().unwrap_or("none").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses("few:yes"), ["0", "0", "8", "8"], "two, then RESOURCE_EXHAUSTED");
    assert_eq!(statuses("broken:yes"), ["14"; 4], "what 503 is: UNAVAILABLE");
    assert_eq!(statuses("few:no"), ["12"; 4], "no rule");
    let _ = mesh.delete(&manifests).success();
    assert_eq!(statuses("few:yes"), ["0"; 4], "nothing is left of them");
}

fn the_proxy_has_no_power(mesh: &TestMesh) {
    let pid = mesh.machine().role("proxy").expect("it runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = |name: &str| {
        status.lines().find_map(|it| it.strip_prefix(name)).unwrap_or("missing").trim().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(set), "0000000000000000", "{set} of {status}");
    }
    assert_eq!(line("NoNewPrivs:"), "1");
    assert!(!line("Uid:").split_whitespace().any(|it| it == "0"), "{status}");
    // A namespace in which nothing is: what it makes itself leads nowhere.
    let inside = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid.to_string(), "-n"]).args(words);
        mesh.machine().run(command).success().stdout
    };
    let links = inside(&["ip", "-o", "link"]);
    assert!(links.lines().count() == 1 && links.contains("state DOWN"), "{links}");
    assert_eq!(inside(&["ip", "route", "show", "table", "all"]), "");
}

fn explain_and_flows_say_that_the_proxy_is_between(mesh: &TestMesh) {
    let explained = mesh.json(&["explain", CALLER, "web.shop:80"]);
    assert_eq!(
        (&explained["lane"], &explained["verdict"]),
        (&json!("proxy"), &json!("allowed")),
        "{explained}"
    );
    let _ = told(mesh, CALLER, &["http://web.shop/all"]);
    let lines = eventually("both connections are told", || {
        let flows = mesh.wabe(&["flows", "-o", "json"]).success().json_lines();
        let of_caller =
            |lane: &str| flows.iter().any(|it| it["lane"] == lane && it["from"]["workload"] == CALLER);
        (of_caller("proxy") && of_caller("direct")).then_some(flows)
    });
    assert!(!lines.is_empty());
}

fn explain_shows_how_the_proxy_finds_endpoints(mesh: &TestMesh) {
    let _ = told(mesh, CALLER, &["http://web.shop/all"]);
    let explained = eventually("the proxy tells", || {
        let explained = mesh.json(&["explain", CALLER, "web.shop:80", "--http", "GET /all"]);
        let live = &explained["backends"][0]["endpoints"][0]["live"];
        // What it tells is of a moment ago.
        let rests = live["latency"].is_u64() && live["underWay"] == 0;
        rests.then_some(explained)
    });
    assert!(explained["figuresAge"].as_u64().is_some_and(|it| it < 4_000), "{explained}");
    let live = &explained["backends"][0]["endpoints"][0]["live"];
    assert_eq!((&live["warmth"], &live["ejectedFor"]), (&json!(100), &json!(null)));
    let text = mesh.wabe(&["explain", CALLER, "web.shop:80", "--http", "GET /all"]).success().stdout;
    assert!(text.contains("endpoints as the proxy found them"), "{text}");
}

fn every_request_is_counted_once_whichever_proxy_served_it(mesh: &TestMesh) {
    let counted = |more: &[&str]| {
        let scrape = mesh.wabe(&["metrics"]).success().stdout;
        let ours = |line: &&str| {
            let wanted = ["source_workload_namespace=\"away\"", "destination_service=\"shop/web\""];
            wanted.iter().chain(more).all(|it| line.contains(it))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|it| it.parse::<u64>().ok());
        scrape.lines().filter(ours).filter_map(value).sum::<u64>()
    };
    let good =
        ["istio_requests_total{", "route=\"shop/web\",rule=\"2\",response_code=\"200\",response_flags=\"-\""];
    let bad = ["istio_requests_total{", "rule=\"-\",response_code=\"404\",response_flags=\"no-route\""];
    let took = ["istio_request_duration_milliseconds_count{", "rule=\"2\""];
    let all = || (counted(&good), counted(&bad), counted(&took));
    let (before_good, before_bad, before_took) = all();
    let ask = |count: u32, path: &str| {
        let url = format!("http://web.shop{path}?[1-{count}]");
        let asked = mesh.exec(OTHER, &["curl", "-sS", "-o", "/dev/null", "--max-time", "60", &url]).success();
        drop(asked);
    };
    let expect = |good: u64, bad: u64| {
        let expected = (before_good + good, before_bad + bad, before_took + good);
        eventually("all are counted", || (all() == expected).then_some(()));
    };
    ask(1000, "/all");
    ask(10, "/nothing");
    expect(1000, 10);
    for upgrade in 1..=2 {
        let before = mesh.machine().role("proxy");
        let _ = mesh.wabe(&["upgrade", "proxy"]).success();
        eventually("another proxy", || (mesh.machine().role("proxy") != before).then_some(()));
        ask(100, "/all");
        expect(1000 + 100 * upgrade, 10);
    }
    // The agent knows nothing but what is in the files.
    let _ = mesh.machine().kill_role("agent");
    eventually("the agent answers", || mesh.wabe(&["metrics"]).status.success().then_some(()));
    expect(1200, 10);
    // All of it was told already.
    let killed = mesh.machine().kill_role("proxy");
    eventually("another proxy", || mesh.machine().role("proxy").filter(|it| *it != killed));
    ask(5, "/all");
    expect(1205, 10);
    assert_eq!(all(), (before_good + 1205, before_bad + 10, before_took + 1205), "and stays so");
}

fn a_killed_proxy_is_back_and_connections_wait(mesh: &TestMesh) {
    let killed = mesh.machine().kill_role("proxy");
    let began = Instant::now();
    assert_eq!(told(mesh, CALLER, &["http://web.shop/all"])["workload"], "v1");
    println!("answered {:.1?} after the proxy was killed", began.elapsed());
    eventually("another one runs", || mesh.machine().role("proxy").filter(|it| *it != killed));
}

fn a_route_that_is_deleted_leaves_the_service_direct(mesh: &TestMesh) {
    let _ = mesh.delete(&canary(100, 0).to_string()).success();
    let before = Facts::of(mesh).lane("proxy");
    assert_eq!(Answer::of(mesh, CALLER, &["http://web.shop/nothing"]).status, 200);
    assert_eq!(Facts::of(mesh).lane("proxy"), before);
    let _ = mesh.apply(&canary(100, 0).to_string()).success();
    assert_eq!(Answer::of(mesh, CALLER, &["http://web.shop/nothing"]).status, 404);
}

/// What the server was asked, as it tells.
#[track_caller]
fn told(mesh: &TestMesh, from: &str, words: &[&str]) -> Value {
    curl(mesh, from, words).success().json()
}

fn curl(mesh: &TestMesh, from: &str, words: &[&str]) -> Finished {
    mesh.exec(from, &[&["curl", "-sS", "-g", "--max-time", "10"], words].concat())
}

#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    #[track_caller]
    fn of(mesh: &TestMesh, from: &str, words: &[&str]) -> Self {
        let text = curl(mesh, from, &[&["-i"], words].concat()).success().stdout;
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok());
        Self { status: status.unwrap_or_else(|| panic!("no status: {text}")), text }
    }

    /// The proxy's own word for it.
    fn reason(&self) -> Option<&str> {
        self.header("x-wabe-reason")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}
