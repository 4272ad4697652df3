//! Policies of endpoints that look at requests.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wabe_model::{AuthorizationPolicy, Manifest, Object, parse};
use wabe_policy::requests::RequestPolicy;

use crate::{
    http1::{OK, answering},
    retries::add_rule,
    scene::{Heard, PATIENCE, SERVERS, Scene, server},
};

/// Of one policy with this `spec`, in force since a generation, for the first server's workload.
pub fn guard(snapshot: &mut Value, spec: &str, generation: u64) {
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: shop}}\nspec: {spec}\n"
    );
    let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).unwrap_or_else(|error| panic!("{error}"));
    let policies: Vec<AuthorizationPolicy> = parsed
        .objects
        .into_iter()
        .map(|it| {
            let Object::AuthorizationPolicy(policy) = it.object else { panic!("{:?}", it.object) };
            policy
        })
        .collect();
    let policy = RequestPolicy::of(&policies.iter().collect::<Vec<_>>()).expect("it looks at requests");
    snapshot["generation"] = generation.into();
    snapshot["policies"] = json!([serde_json::to_value(policy).expect("JSON")]);
    snapshot["judged"][SERVERS.to_string()] = json!({ "policy": 0, "generation": generation });
}

/// Before a server with such a policy, on a port that speaks HTTP.
fn guarded(servers: &[SocketAddr], spec: &str) -> Scene {
    Scene::with(servers, |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        guard(snapshot, spec, 1);
    })
}

const READERS: &str =
    "{rules: [{from: [{source: {serviceAccounts: [caller]}}], to: [{operation: {methods: [GET]}}]}]}";

fn ask(scene: &Scene, method: &str, path: &str, more: &str) -> String {
    let text = format!("{method} {path} HTTP/1.1\r\nhost: web\r\n{more}connection: close\r\n\r\n");
    scene.say(text.as_bytes())
}

#[track_caller]
fn assert_refused(answer: &str, reason: &str) {
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    for line in [format!("x-wabe-reason: {reason}"), "x-wabe-blame: caller".into()] {
        assert!(answer.contains(&format!("{line}\r\n")), "{line} in {answer}");
    }
}

#[test]
fn a_tunnel_is_judged_by_whom_it_is_asked_for() {
    let heard = Heard::default();
    let spec = "{action: DENY, rules: [{to: [{operation: {hosts: ['secret.example:443']}}]}]}";
    let scene = guarded(&[answering(&heard, OK)], spec);
    let named = "host: secret.example:443\r\n";
    // HTTP/1.0 need not have a host.
    for (version, host) in [("1.0", ""), ("1.0", named), ("1.1", named)] {
        let said = format!("CONNECT secret.example:443 HTTP/{version}\r\n{host}\r\n");
        assert_refused(&scene.say(said.as_bytes()), "policy");
    }
    assert_eq!(heard.all(), [""; 0]);
}

#[test]
fn what_a_policy_refuses_is_answered_403_and_never_sent() {
    let heard = Heard::default();
    let scene = guarded(&[answering(&heard, OK)], READERS);
    let mut caller = scene.connect();
    let delete = "DELETE /x HTTP/1.1\r\nhost: web\r\n\r\n";
    let get = "GET /y HTTP/1.1\r\nhost: web\r\n\r\n";
    caller.write_all(format!("{get}{delete}{get}").as_bytes()).expect("written");
    caller.write_all(b"GET /z HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").expect("written");
    let mut answers = String::new();
    caller.read_to_string(&mut answers).expect("an end");
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 403 Forbidden\r\n").count(), 1, "{answers}");
    assert_eq!(answers.matches("x-wabe-reason: policy\r\n").count(), 1, "{answers}");
    let asked: Vec<String> =
        heard.all().iter().map(|it| it.lines().next().unwrap_or_default().to_owned()).collect();
    assert_eq!(asked, ["GET /y HTTP/1.1", "GET /y HTTP/1.1", "GET /z HTTP/1.1"]);
    let allowed = ask(
        &guarded(
            &[answering(&heard, OK)],
            "{action: DENY, rules: [{from: [{source: {namespaces: [bank]}}], to: [{operation: {methods: [GET]}}]}]}",
        ),
        "GET",
        "/",
        "",
    );
    assert!(allowed.starts_with("HTTP/1.1 200 OK\r\n"), "{allowed}");
}

#[test]
fn callers_of_grpc_are_told_that_they_lack_permission() {
    let heard = Heard::default();
    let spec = "{rules: [{to: [{operation: {methods: [POST], paths: [/pkg.Greeter/SayHello]}}]}]}";
    let scene = guarded(&[answering(&heard, OK)], spec);
    let grpc = "content-type: application/grpc\r\ncontent-length: 0\r\n";
    let answer = ask(&scene, "POST", "/pkg.Greeter/SayGoodbye", grpc);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("grpc-status: 7\r\n"), "{answer}");
    assert!(answer.contains("x-wabe-reason: policy\r\n"), "{answer}");
    assert!(heard.all().is_empty());
}

#[test]
fn headers_hosts_and_ports_count() {
    let heard = Heard::default();
    let server = answering(&heard, OK);
    let spec = format!(
        "{{rules: [{{to: [{{operation: {{hosts: [web], ports: ['{}']}}}}], when: [{{key: 'request.headers[x-role]', values: [admin]}}]}}]}}",
        server.port()
    );
    let scene = guarded(&[server], &spec);
    assert!(ask(&scene, "GET", "/", "x-role: admin\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    for more in ["", "x-role: guest\r\n", "x-role: admin\r\nx-role: guest\r\n"] {
        assert_refused(&ask(&scene, "GET", "/", more), "policy");
    }
    let other = b"GET / HTTP/1.1\r\nhost: other\r\nx-role: admin\r\nconnection: close\r\n\r\n";
    assert_refused(&scene.say(other), "policy");
    assert_eq!(heard.all().len(), 1);
}

#[test]
fn no_spelling_of_a_path_gets_round_a_rule() {
    let heard = Heard::default();
    let scene = guarded(
        &[answering(&heard, OK)],
        "{action: DENY, rules: [{to: [{operation: {paths: [/admin, '/admin/*']}}]}]}",
    );
    assert_refused(&ask(&scene, "GET", "/admin/x?y=z", ""), "policy");
    assert_refused(&ask(&scene, "GET", "http://web/admin", ""), "policy");
    for path in [
        "//admin",
        "/a/../admin",
        "/./admin",
        "/%61dmin",
        "/%2e%2e/admin",
        "/a%2Fadmin",
        "/..;/admin",
        "/a/..",
        "http://web//admin",
    ] {
        assert_refused(&ask(&scene, "GET", path, ""), "ambiguous-path");
    }
    assert!(heard.all().is_empty(), "{:?}", heard.all());
    assert!(ask(&scene, "GET", "/other", "").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_request_is_judged_as_it_is_sent() {
    let heard = Heard::default();
    let spec = "{action: DENY, rules: [{to: [{operation: {paths: ['/private*']}}]}, {when: [{key: 'request.headers[x-role]', values: [guest]}]}]}";
    let with = |prefix: &str, filter: Value| {
        Scene::with(&[answering(&heard, OK)], |snapshot| {
            add_rule(snapshot, |rule| rule["filters"] = json!([filter]));
            snapshot["ports"][0]["table"]["producer"][0]["condition"]["path"] = json!({ "prefix": prefix });
            guard(snapshot, spec, 1);
        })
    };
    let rewrite = |to: &str| json!({ "rewrite": { "path": { "prefix": to } } });
    let rewritten = with("/public", rewrite("/private"));
    assert_refused(&ask(&rewritten, "GET", "/public/a", ""), "policy");
    let away = with("/private", rewrite("/open"));
    assert!(ask(&away, "GET", "/private/a", "").starts_with("HTTP/1.1 200 OK\r\n"));
    let marked = with("/", json!({ "requestHeaders": { "set": [["x-role", "guest"]] } }));
    assert_refused(&ask(&marked, "GET", "/", ""), "policy");
    assert_eq!(heard.all().len(), 1);
}

/// Connections say by which snapshot their requests are judged, and workers share what they connect with.
#[test]
fn what_one_worker_goes_by_all_go_by() {
    let scene = Scene::with(&[answering(&Heard::default(), OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["workers"] = 2.into();
    });
    let status = |caller: &mut TcpStream| {
        caller.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
        let mut answer = vec![0; 4096];
        let length = caller.read(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..length]).split(' ').nth(1).map(str::to_owned)
    };
    for generation in 2..12 {
        // The first is one worker's, the second the other's.
        let mut callers = [scene.connect(), scene.connect()];
        callers.iter_mut().for_each(|it| assert_eq!(status(it).as_deref(), Some("200")));
        scene.change(|it| guard(it, "{rules: [{to: [{operation: {methods: [PUT]}}]}]}", 2 * generation));
        let began = Instant::now();
        let [first, second] = &mut callers;
        while status(first).as_deref() == Some("200") {
            assert!(began.elapsed() < PATIENCE, "the policy is never gone by");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(status(second).as_deref(), Some("403"));
        scene.change(|it| guard(it, "{rules: [{to: [{operation: {methods: [GET]}}]}]}", 2 * generation + 1));
        while status(first).as_deref() == Some("403") {
            assert!(began.elapsed() < PATIENCE, "the policy is never gone by");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(status(second).as_deref(), Some("200"));
    }
}

#[test]
fn a_stricter_policy_holds_for_callers_that_are_connected() {
    let heard = Heard::default();
    let scene = Scene::with(&[answering(&heard, OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
    });
    let mut caller = scene.connect();
    let mut ask = |path: &str| {
        write!(caller, "GET {path} HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
        let mut answer = vec![0; 4096];
        let length = caller.read(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(ask("/").starts_with("HTTP/1.1 200 OK\r\n"));
    scene.change(|snapshot| guard(snapshot, "{rules: [{to: [{operation: {methods: [PUT]}}]}]}", 2));
    let began = Instant::now();
    while ask("/").starts_with("HTTP/1.1 200 OK\r\n") {
        assert!(began.elapsed() < PATIENCE, "the policy is never gone by");
        thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..5 {
        assert_refused(&ask("/refused"), "policy");
    }
    assert!(heard.all().iter().all(|it| it.starts_with("GET / ")), "{:?}", heard.all());
    scene.change(|snapshot| guard(snapshot, "{rules: [{to: [{operation: {methods: [GET]}}]}]}", 3));
    let began = Instant::now();
    while !ask("/").starts_with("HTTP/1.1 200 OK\r\n") {
        assert!(began.elapsed() < PATIENCE, "the policy is never gone by");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(scene.asked_for().last(), Some(&3), "older sockets and connections are of no use");
}

#[test]
fn bytes_that_are_no_requests_are_not_let_through_for_what_requests_say() {
    let heard = Heard::default();
    let greeting = {
        let heard = heard.clone();
        move || {
            let heard = heard.clone();
            server(move |mut stream| {
                let _ = stream.write_all(b"220 welcome\r\n");
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                if !bytes.is_empty() {
                    heard.add(String::from_utf8_lossy(&bytes));
                }
            })
        }
    };
    for protocol in ["tcp", "tls", "detect"] {
        let scene = Scene::with(&[greeting()], |snapshot| {
            snapshot["ports"][0]["protocol"] = protocol.into();
            guard(snapshot, READERS, 1);
        });
        let mut caller = scene.connect();
        let mut said = Vec::new();
        // Who writes may hear of it first.
        let written = caller.write_all(b"\x00not HTTP\r\n");
        let heard_of = written.and_then(|()| caller.read_to_end(&mut said).map(drop));
        let error = heard_of.expect_err("a reset");
        assert_eq!((error.kind(), said.as_slice()), (ErrorKind::ConnectionReset, &b""[..]), "{protocol}");
    }
    assert!(heard.all().is_empty(), "{:?}", heard.all());
    // Requests on a port of which nobody said what it speaks are judged as such.
    let scene = Scene::with(&[answering(&heard, OK)], |snapshot| guard(snapshot, READERS, 1));
    assert!(ask(&scene, "GET", "/", "").starts_with("HTTP/1.1 200 OK\r\n"));
    assert_refused(&ask(&scene, "POST", "/", "content-length: 0\r\n"), "policy");
}

#[test]
fn bytes_that_a_new_policy_does_not_let_through_are_not_carried_on() {
    let echo = server(|mut stream| {
        let mut bytes = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut bytes) {
            let _ = stream.write_all(&bytes[..length]);
        }
    });
    let scene = Scene::with(&[echo], |snapshot| snapshot["ports"][0]["protocol"] = "tcp".into());
    let mut caller = scene.connect();
    let mut bytes = [0; 64];
    caller.write_all(b"still").expect("written");
    assert_eq!(caller.read(&mut bytes).expect("an echo"), 5);
    scene.change(|snapshot| guard(snapshot, "{action: DENY, rules: [{from: [{source: {namespaces: [bank]}}], to: [{operation: {methods: [GET]}}]}]}", 2));
    thread::sleep(Duration::from_millis(300));
    caller.write_all(b"still").expect("written");
    assert_eq!(caller.read(&mut bytes).expect("an echo"), 5, "of others");
    scene.change(|snapshot| guard(snapshot, READERS, 3));
    let error = caller.read(&mut bytes).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_policy_that_is_said_to_be_there_and_is_not_lets_nobody_through() {
    let heard = Heard::default();
    let scene = Scene::with(&[answering(&heard, OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["judged"][SERVERS.to_string()] = json!({ "policy": 3, "generation": 1 });
    });
    assert_refused(&ask(&scene, "GET", "/", ""), "policy");
    assert!(heard.all().is_empty());
}
