//! Policies that look at requests, before a real nginx: the proxy judges each, and nobody gets round it.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, thread, time::Duration};

use serde_json::{Value, json};
use wabe_testkit::{Finished, TestMesh};
use wabe_tests::{
    Applied, eventually,
    facts::{Facts, call_from_host},
    manifest::{Policy, Service, Workload, all},
    steps,
};

const CALLER: &str = "shop/caller";
const SERVER: &str = "shop/nginx";
/// What nginx was asked, a line each.
const LOG: &str = "access.log";
const CONFIG: &str = "daemon off; error_log stderr; pid nginx.pid; events {} http { \
    log_format asked '$request_method $request_uri'; access_log access.log asked; \
    client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; \
    scgi_temp_path s; keepalive_requests 100000; server { listen 8080; listen [::]:8080; \
    location / { return 200 fine; } location = /download { root .; limit_rate 100k; } } }";
/// Of `/download`, which takes ten seconds.
const BYTES: usize = 1_000_000;

#[test]
fn authorize_http() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("our own folder");
    let start = "head -c 1000000 /dev/zero > download; echo \"$CONFIG\" > nginx.conf; exec /usr/sbin/nginx -e stderr -p . -c nginx.conf";
    let nginx = Workload::server(SERVER)
        .with("workingDir", folder.path().to_str().expect("UTF-8").into())
        .with("command", json!(["sh", "-c", start]))
        .with("env", json!({ "CONFIG": CONFIG }));
    let mesh = TestMesh::up(&all(&[
        &Workload::idle(CALLER),
        &Workload::idle("away/caller"),
        &Workload::web("shop/other"),
        &nginx,
        &Service::new(SERVER),
        &Service::new("shop/other"),
    ]));
    steps::run(
        &mesh,
        &wabe_tests::steps![
            who_may_read_may_not_write_and_what_is_refused_never_arrives,
            nobody_gets_round_the_proxy,
            explain_tells_the_rule,
            no_spelling_of_a_path_gets_round_a_rule,
            a_stricter_policy_holds_for_connections_that_are_open,
            policies_of_others_and_of_the_same_meaning_fail_no_request,
            what_is_under_way_ends_where_a_new_policy_refuses_it,
            a_policy_that_goes_leaves_the_service_direct,
        ],
    );
    mesh.down();
}

/// Callers of namespace `shop` may read.
fn readers() -> Policy {
    let rule = json!({
        "from": [{ "source": { "namespaces": ["shop"] } }],
        "to": [{ "operation": { "methods": ["GET"] } }],
    });
    of_nginx("readers", "ALLOW", &[rule])
}

fn of_nginx(name: &str, action: &str, rules: &[Value]) -> Policy {
    let selector = json!({ "matchLabels": { "app": "nginx" } });
    Policy::new(&format!("shop/{name}"), json!({ "selector": selector, "action": action, "rules": rules }))
}

fn who_may_read_may_not_write_and_what_is_refused_never_arrives(mesh: &TestMesh) {
    let _policy = Applied::new(mesh, readers());
    let before = log(mesh).len();
    assert_eq!(ask(mesh, CALLER, "GET", "/read"), (200, None));
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
        assert_eq!(ask(mesh, CALLER, method, "/write"), (403, Some("policy".into())), "{method}");
    }
    assert_eq!(ask(mesh, "away/caller", "GET", "/read"), (403, Some("policy".into())));
    assert_eq!(log(mesh)[before..], ["GET /read"]);
}

fn nobody_gets_round_the_proxy(mesh: &TestMesh) {
    let own =
        |port: u16| Facts::of(mesh).addresses(SERVER).map(|it| SocketAddr::from((it, port)).to_string());
    let before = log(mesh).len();
    let policy = Applied::new(mesh, readers());
    for address in own(8080) {
        let tried = mesh.testbox(CALLER, &["connect", &address]).json();
        assert_eq!(tried["errno"], "EPERM", "{address}: {tried}");
        let explained = mesh.wabe(&["explain", CALLER, &address, "-o", "json"]).json();
        assert_eq!(
            (&explained["verdict"], &explained["reason"]),
            (&json!("refused"), &json!("not_by_proxy"))
        );
    }
    // The host is a stranger, and a rule that admits its address makes no proxy of it.
    let everywhere = json!({ "from": [{ "source": { "ipBlocks": ["0.0.0.0/0"] } }] });
    let host = Applied::new(mesh, of_nginx("host", "ALLOW", &[everywhere]));
    let [v4, _] = own(8080);
    let counted = Facts::of(mesh).refusals("not_by_proxy");
    let target: SocketAddr = v4.parse().expect("an address");
    assert_eq!(call_from_host(mesh, target), "ECONNREFUSED");
    assert!(Facts::of(mesh).refusals("not_by_proxy") > counted);
    drop(host);
    // Inside the workload nothing is judged, or it could not be probed.
    assert_eq!(mesh.exec(SERVER, &["curl", "-sS", "http://127.0.0.1:8080/own"]).success().stdout, "fine");
    eventually("it is in nginx' log", || (log(mesh).last()? == "GET /own").then_some(()));
    assert_eq!(log(mesh)[before..], ["GET /own"]);
    drop(policy);
    assert_eq!(mesh.testbox(CALLER, &["connect", &v4]).json()["ok"], true, "without it, as before");
}

fn explain_tells_the_rule(mesh: &TestMesh) {
    let _policy = Applied::new(mesh, readers());
    let explain =
        |request: &str| mesh.wabe(&["explain", CALLER, "nginx.shop:80", "--http", request, "-o", "json"]);
    let (get, post) = (explain("GET /a"), explain("POST /a"));
    let policy = |it: &Finished| it.json()["backends"][0]["endpoints"][0]["policy"].clone();
    assert!(get.status.success() && !post.status.success(), "{get} {post}");
    let [get, post] = [policy(&get), policy(&post)];
    assert_eq!((&get["allowed"], &get["rule"]), (&json!(true), &json!("shop/readers rule 1")));
    assert_eq!((&post["allowed"], &post["rule"]), (&json!(false), &json!(null)));
    assert_eq!(ask(mesh, CALLER, "POST", "/told").0, 403);
    assert_eq!(logged(mesh, "/told")["policy"], "no ALLOW rule matches");
    let connection = mesh.json(&["explain", CALLER, "nginx.shop:80"]);
    assert_eq!(
        (&connection["lane"], &connection["candidates"][0]["byRequest"]),
        (&json!("proxy"), &json!(true))
    );
    let text = mesh.wabe(&["explain", CALLER, "nginx.shop:80"]).success().stdout;
    assert!(text.contains("policies look at requests: the proxy judges each"), "{text}");
}

fn no_spelling_of_a_path_gets_round_a_rule(mesh: &TestMesh) {
    let admin = json!({ "to": [{ "operation": { "paths": ["/admin", "/admin/*"] } }] });
    let _policy = Applied::new(mesh, of_nginx("no-admin", "DENY", &[admin]));
    let before = log(mesh).len();
    assert_eq!(ask(mesh, CALLER, "GET", "/admin/x?a=b"), (403, Some("policy".into())));
    assert_eq!(logged(mesh, "/admin/x")["policy"], "shop/no-admin rule 1");
    // nginx takes each of these for /admin.
    for path in ["//admin", "/./admin", "/a/../admin", "/%61dmin", "/a%2f..%2fadmin", "/%2e/admin"] {
        assert_eq!(ask(mesh, CALLER, "GET", path), (403, Some("ambiguous-path".into())), "{path}");
    }
    assert_eq!(ask(mesh, CALLER, "GET", "/other"), (200, None));
    eventually("it is in nginx' log", || (log(mesh).last()? == "GET /other").then_some(()));
    assert_eq!(log(mesh)[before..], ["GET /other"]);
}

/// Asks 100 times in 5 s over one connection; the statuses, and what arrived.
fn asks_on_and_on(mesh: &TestMesh, meanwhile: impl FnOnce() + Send) -> (Vec<u16>, Vec<String>) {
    // The proxy looks at its snapshot ten times a second. Who asks before it knows that the service is led there is served by what
    // held before, and told to connect anew.
    eventually("a connection is kept", || {
        let words =
            ["curl", "-sS", "-o", "/dev/null", "-w", "%{num_connects}", "http://nginx.shop/kept?[1-2]"];
        (mesh.exec(CALLER, &words).success().stdout == "10").then_some(())
    });
    let before = log(mesh).len();
    let said = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let words =
                ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\\n", "--rate", "20/s"];
            mesh.exec(CALLER, &[&words[..], &["http://nginx.shop/on?[1-100]"]].concat())
        });
        eventually("it asks", || (log(mesh).len() >= before + 12).then_some(()));
        meanwhile();
        asking.join().expect("no panic").success().stdout
    });
    let lines: Vec<(u16, u32)> = said
        .lines()
        .map(|line| {
            let (status, connects) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            (status.parse().expect("a status"), connects.parse().expect("a number"))
        })
        .collect();
    assert_eq!(lines.len(), 100, "{said}");
    assert_eq!(lines.iter().map(|it| it.1).sum::<u32>(), 1, "one connection: {said}");
    (lines.into_iter().map(|it| it.0).collect(), log(mesh).split_off(before))
}

fn a_stricter_policy_holds_for_connections_that_are_open(mesh: &TestMesh) {
    let _policy = Applied::new(mesh, readers());
    let mut stricter = None;
    let (statuses, arrived) = asks_on_and_on(mesh, || {
        let get = json!({ "to": [{ "operation": { "methods": ["GET"] } }] });
        stricter = Some(Applied::new(mesh, of_nginx("nothing", "DENY", &[get])));
    });
    let allowed = statuses.iter().take_while(|it| **it == 200).count();
    assert!((10..90).contains(&allowed), "{statuses:?}");
    assert!(statuses[allowed..].iter().all(|it| *it == 403), "{statuses:?}");
    // The first that was refused may have been under way.
    let all: Vec<String> = (1..=allowed + 1).map(|it| format!("GET /on?{it}")).collect();
    assert!(arrived == all || arrived == all[..allowed], "what was refused never arrived: {arrived:?}");
    drop(stricter);
    eventually("they may read again", || (ask(mesh, CALLER, "GET", "/").0 == 200).then_some(()));
}

fn policies_of_others_and_of_the_same_meaning_fail_no_request(mesh: &TestMesh) {
    let _policy = Applied::new(mesh, readers());
    let (statuses, _) = asks_on_and_on(mesh, || {
        let put = json!({ "to": [{ "operation": { "methods": ["PUT"] } }] });
        let selector = json!({ "matchLabels": { "app": "other" } });
        let spec = json!({ "selector": selector, "action": "DENY", "rules": [put] });
        for _ in 0..3 {
            drop(Applied::new(mesh, Policy::new("shop/others", spec.clone())));
            // Another policy of the same workload, which allows the same and has the kernel refuse older connections.
            drop(Applied::new(mesh, of_nginx("more", "DENY", std::slice::from_ref(&put))));
            // New connections too.
            assert_eq!(ask(mesh, CALLER, "GET", "/new"), (200, None));
        }
    });
    assert!(statuses.iter().all(|it| *it == 200), "{statuses:?}");
}

fn what_is_under_way_ends_where_a_new_policy_refuses_it(mesh: &TestMesh) {
    let get = json!({ "to": [{ "operation": { "methods": ["GET"] } }] });
    let _policy = Applied::new(mesh, of_nginx("all", "ALLOW", &[get]));
    eventually("callers are led to the proxy", || {
        (ask(mesh, CALLER, "POST", "/").0 == 403 && ask(mesh, "away/caller", "POST", "/").0 == 403)
            .then_some(())
    });
    let download = |caller: &'static str| {
        let words =
            ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "--max-time", "30"];
        mesh.exec(caller, &[&words[..], &["http://nginx.shop/download"]].concat())
    };
    thread::scope(|scope| {
        let (stays, goes) = (scope.spawn(|| download(CALLER)), scope.spawn(|| download("away/caller")));
        thread::sleep(Duration::from_secs(2));
        let away = json!({
            "from": [{ "source": { "namespaces": ["away"] } }],
            "to": [{ "operation": { "paths": ["/download"] } }],
        });
        let _stricter = Applied::new(mesh, of_nginx("no-downloads", "DENY", &[away]));
        let goes = goes.join().expect("no panic");
        // "Transfer closed with outstanding read data remaining."
        assert_eq!(goes.status.code(), Some(18), "{goes}");
        let (status, bytes) = goes.stdout.split_once(' ').expect("two words");
        assert!(status == "200" && bytes.parse::<usize>().is_ok_and(|it| it < BYTES), "{goes}");
        let told = logged(mesh, "/download");
        assert_eq!((&told["caller"], &told["complete"]), (&json!("away/caller"), &json!(false)), "{told}");
        assert_eq!(
            (&told["reason"], &told["policy"]),
            (&json!("policy"), &json!("shop/no-downloads rule 1"))
        );
        let stays = stays.join().expect("no panic").success().stdout;
        assert_eq!(stays, format!("200 {BYTES}"));
    });
}

fn a_policy_that_goes_leaves_the_service_direct(mesh: &TestMesh) {
    let policy = Applied::new(mesh, readers());
    assert_eq!(ask(mesh, CALLER, "POST", "/").0, 403);
    drop(policy);
    eventually("they may write", || (ask(mesh, CALLER, "POST", "/").0 == 200).then_some(()));
    assert_eq!(mesh.json(&["explain", CALLER, "nginx.shop:80"])["lane"], "direct");
}

/// The status, and the proxy's own word for it.
#[track_caller]
fn ask(mesh: &TestMesh, from: &str, method: &str, path: &str) -> (u16, Option<String>) {
    let url = format!("http://nginx.shop{path}");
    let head = if method == "HEAD" { vec!["-I"] } else { vec!["-i", "-X", method] };
    let words = ["curl", "-sS", "-g", "--path-as-is", "--max-time", "10"];
    let text = mesh.exec(from, &[&words[..], &head, &[&url]].concat()).success().stdout;
    let status = text.split(' ').nth(1).and_then(|it| it.parse().ok());
    let reason = text.lines().find_map(|line| line.strip_prefix("x-wabe-reason: "));
    (status.unwrap_or_else(|| panic!("no status: {text}")), reason.map(|it| it.trim().to_owned()))
}

/// What the access log says of the last request for this path.
fn logged(mesh: &TestMesh, path: &str) -> Value {
    eventually("it is in the access log", || {
        let log = mesh.wabe(&["logs", "proxy"]).success().stdout;
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.rfind(|it| it["path"] == path)
    })
}

fn log(mesh: &TestMesh) -> Vec<String> {
    mesh.exec(SERVER, &["cat", LOG]).success().stdout.lines().map(str::to_owned).collect()
}
