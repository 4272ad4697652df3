//! What the proxy counts reaches the keeper's file: every request once, by what became of it.

use std::io::Write as _;

use serde_json::json;
use wabe_proxy::figures::{Answers, Figures};

use crate::{
    http1::{OK, answering, read_request},
    http2::{caller, grpc_echo, post, run},
    retries::{UNAVAILABLE, add_rule, ruled},
    scene::{Heard, Scene, nobody, server},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n";

/// What it told when it ended.
fn told(scene: &mut Scene) -> Figures {
    scene.end();
    scene.figures().expect("it tells")
}

fn answers(code: u16, reason: Option<&str>, count: u64) -> Answers {
    Answers { code, grpc: None, reason: reason.map(str::to_owned), count }
}

#[test]
fn requests_are_counted_by_caller_service_and_answer() {
    let mut scene = Scene::with(&[answering(&Heard::default(), OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
    });
    for _ in 0..7 {
        assert!(scene.say(GET).starts_with("HTTP/1.1 200"));
    }
    assert!(scene.say(b"GET / HTTP/1.1\nhost: web\r\n\r\n").starts_with("HTTP/1.1 400"));
    let figures = told(&mut scene);
    let named = |it: &Option<wabe_model::ObjectName>| it.as_ref().map(ToString::to_string);
    let found = figures.requests.iter().find(|it| it.0.destination.is_some());
    let (subject, requests) = found.unwrap_or_else(|| panic!("none was answered: {figures:?}"));
    assert_eq!(named(&subject.service).as_deref(), Some("shop/web"));
    assert_eq!(named(&subject.source).as_deref(), Some("shop/caller"));
    assert_eq!(subject.rule, None);
    assert_eq!(named(&subject.destination).as_deref(), Some("shop/server-0"));
    assert!(!subject.grpc);
    let counted: u64 = requests.answers.iter().map(|it| it.count).sum();
    assert_eq!(requests.durations.iter().sum::<u64>(), counted);
    assert!(requests.answers.contains(&answers(200, None, 7)), "{figures:?}");
    assert!(requests.microseconds > 0);
    let all: Vec<_> = figures.requests.iter().flat_map(|it| &it.1.answers).collect();
    assert!(all.contains(&&answers(400, Some("malformed"), 1)), "{figures:?}");
    let backend = &figures.backends[0];
    assert_eq!((backend.service.to_string().as_str(), backend.requests, backend.pending), ("shop/web", 0, 0));
    let endpoint = &backend.endpoints[0];
    assert!(endpoint.latency.is_some() && endpoint.under_way == 0, "{endpoint:?}");
}

/// Who leaves is not waited for, whatever its request waits for: or else the drain would end it, and be the reason.
#[test]
fn who_left_is_told_as_such_whatever_was_waited_for() {
    let long = json!({ "secs": 600, "nanos": 0 });
    let repetition = json!({ "codes": [503], "attempts": 1, "backoff": long });
    let delay = json!({ "limit": null, "missing": false, "fault": {
        "name": { "namespace": "shop", "name": "slow" },
        "delay": { "time": long, "share": { "numerator": 1, "denominator": 1 } },
    } });
    for (what, value, asked) in [("retry", repetition, 1), ("guards", delay, 0)] {
        let heard = Heard::default();
        let mut scene = Scene::with(&[answering(&heard, UNAVAILABLE)], |snapshot| {
            add_rule(snapshot, |rule| rule[what] = value);
            snapshot["ports"][0]["table"]["producer"][0]["condition"] =
                json!({ "path": { "prefix": "/slow" } });
        });
        let mut leaving = scene.connect();
        leaving.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
        assert!(read_request(&mut leaving).is_some_and(|it| it.starts_with("HTTP/1.1 404 ")));
        leaving.write_all(b"GET /slow HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
        heard.wait(asked);
        drop(leaving);
        let figures = told(&mut scene);
        let answered: Vec<_> = figures.requests.iter().flat_map(|it| &it.1.answers).collect();
        assert!(answered.contains(&&answers(0, Some("no-answer"), 1)), "{what}: {answered:?}");
    }
}

#[test]
fn a_rule_has_its_name_and_its_retries() {
    // Connections end before there is an answer.
    let mut scene = ruled(&[server(drop)], |rule| {
        rule["name"] = "first".into();
        rule["retry"] = json!({ "codes": [], "attempts": 2, "backoff": { "secs": 0, "nanos": 1_000_000 } });
    });
    assert!(scene.say(GET).starts_with("HTTP/1.1 5"));
    let figures = told(&mut scene);
    let (subject, requests) = &figures.requests[0];
    let rule = subject.rule.as_ref().expect("a rule");
    assert_eq!((rule.kind.as_str(), rule.rule.as_str()), ("HTTPRoute", "first"));
    assert_eq!(rule.route.to_string(), "shop/web");
    assert_eq!(requests.answers.len(), 1, "{figures:?}");
    assert!(requests.answers[0].code >= 500 && requests.answers[0].reason.is_some(), "{figures:?}");
    assert!(requests.retries > 0, "{figures:?}");
}

#[test]
fn calls_of_grpc_are_counted_by_what_their_servers_say_of_them() {
    for (server, path, grpc, reason) in [
        (grpc_echo(), "/fine", 0, None),
        (grpc_echo(), "/failing", 13, None),
        (grpc_echo(), "/failing/at-once", 5, None),
        (nobody(), "/fine", 14, Some("connect-failed")),
    ] {
        let mut scene = Scene::new(&[server]);
        run(async {
            let mut caller = caller(&scene).await;
            let (answer, _) = caller.send_request(post(path, "application/grpc"), true).expect("sent");
            let mut body = answer.await.expect("an answer").into_body();
            while let Some(data) = body.data().await {
                data.expect("data");
            }
            body.trailers().await.expect("the end");
        });
        let figures = told(&mut scene);
        assert_eq!(figures.requests.len(), 1, "{figures:?}");
        let (subject, requests) = &figures.requests[0];
        assert!(subject.grpc, "{figures:?}");
        assert_eq!(requests.answers, [Answers { grpc: Some(grpc), ..answers(200, reason, 1) }], "{path}");
    }
}

#[test]
fn an_answer_to_a_call_of_grpc_that_says_nothing_of_it_is_what_its_caller_takes_it_for() {
    let mut scene = Scene::with(&[answering(&Heard::default(), OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
    });
    let call = b"POST / HTTP/1.1\r\nhost: web\r\ncontent-type: application/grpc\r\nconnection: close\r\n\r\n";
    assert!(scene.say(call).starts_with("HTTP/1.1 200"));
    let figures = told(&mut scene);
    assert_eq!(figures.requests[0].1.answers, [Answers { grpc: Some(2), ..answers(200, None, 1) }]);
}
