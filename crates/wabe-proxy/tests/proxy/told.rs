//! What is told of requests that went wrong: by whom, and which limit or time it was.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use serde_json::{Value, json};
use wabe_proxy::figures::{Answers, Figures};

use crate::{
    http1::{OK, answering, read_request},
    retries::{add_rule, assert_answer, get, milliseconds, ruled, send, silent},
    scene::{Heard, Scene, full, server},
};

/// Reason, gRPC's status and number of all that was counted.
fn answers(figures: &Figures) -> Vec<(u16, Option<&str>, u64)> {
    let all = figures.requests.iter().flat_map(|it| &it.1.answers);
    all.map(|Answers { code, reason, count, .. }| (*code, reason.as_deref(), *count)).collect()
}

/// What it told when it ended.
fn told(scene: &mut Scene) -> Figures {
    scene.end();
    scene.figures().expect("it tells")
}

#[test]
fn which_end_broke_off_is_told() {
    // More is announced than comes.
    let part = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let breaking = server(move |mut stream| {
        if read_request(&mut stream).is_some() {
            let _ = stream.write_all(part);
        }
    });
    let mut scene = Scene::with(&[breaking], |snapshot| snapshot["ports"][0]["protocol"] = "http".into());
    assert!(get(&scene).ends_with("abc"));
    let figures = told(&mut scene);
    assert_eq!(answers(&figures), [(200, Some("upstream-broke"), 1)]);
    let slow = server(move |mut stream| {
        if read_request(&mut stream).is_some() {
            let _ = stream.write_all(part);
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let mut scene = Scene::with(&[slow], |snapshot| snapshot["ports"][0]["protocol"] = "http".into());
    let mut caller = scene.connect();
    caller.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
    caller.read_exact(&mut [0; 40]).expect("it begins");
    drop(caller);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(answers(&told(&mut scene)), [(200, Some("caller-left"), 1)]);
}

#[test]
fn who_accepts_no_connections_is_told_from_who_does_not_in_time() {
    let (_held, _waiting, address) = full();
    let mut scene = Scene::with(&[address], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["traffic"] = json!({ "pool": { "connectTimeout": milliseconds(100) } });
    });
    let answer = get(&scene);
    assert_answer(&answer, 503, "connect-timeout");
    assert!(answer.contains("within 100ms"), "{answer}");
    let figures = told(&mut scene);
    let destination = figures.requests[0].0.destination.as_ref().map(ToString::to_string);
    assert_eq!(destination.as_deref(), Some("shop/server-0"), "whom it was tried with");
}

#[test]
fn a_connection_that_was_upgraded_is_a_request_as_long_as_it_lasts() {
    let server = server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            if request.contains("upgrade: echo\r\n") {
                let answer =
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
                stream.write_all(answer).expect("written");
                // Until the caller ends it.
                let _ = stream.read(&mut [0; 1]);
                return;
            }
            stream.write_all(OK.as_bytes()).expect("written");
        }
    });
    let scene = Scene::with(&[server], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["traffic"] = json!({ "pool": { "requests": 1 } });
    });
    let mut upgraded = scene.connect();
    upgraded
        .write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .expect("written");
    let mut status = [0; 12];
    upgraded.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 101");
    assert_answer(&get(&scene), 503, "overflow");
    drop(upgraded);
    // The proxy notices in its own time.
    let answer = loop {
        let answer = get(&scene);
        if !answer.starts_with("HTTP/1.1 503 ") {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_answer(&answer, 200, "");
}

#[test]
fn a_workload_without_a_free_port_has_no_endpoint_ejected() {
    let hour = json!({ "secs": 3600, "nanos": 0 });
    let outliers = json!({
        "failures": 1, "serverErrors": 1, "interval": hour, "baseEjection": hour,
        "maxPercent": 100, "minHealthPercent": 0,
    });
    let heard = Heard::default();
    let mut scene = Scene::with(&[answering(&heard, OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["traffic"] = json!({ "outliers": outliers });
    });
    scene.give_one_port();
    let mut kept = scene.connect();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
    assert!(read_request(&mut kept).is_some_and(|it| it.starts_with("HTTP/1.1 200 ")));
    kept.write_all(b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\n\r\na").expect("written");
    let is_under_way = || scene.figures().is_some_and(|it| it.backends[0].requests == 1);
    while !is_under_way() {
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..2 {
        let answer = get(&scene);
        assert_answer(&answer, 503, "connection-limit");
        assert!(answer.contains("x-wabe-blame: mesh\r\n"), "{answer}");
    }
    kept.write_all(b"a").expect("written");
    assert!(read_request(&mut kept).is_some_and(|it| it.starts_with("HTTP/1.1 200 ")));
    assert_eq!(told(&mut scene).backends[0].ejections, 0);
}

#[test]
fn a_request_that_waits_for_a_connection_until_its_time_is_up_is_one_too_many() {
    let heard = Heard::default();
    let scene = Scene::with(&[silent(&heard)], |snapshot| {
        add_rule(snapshot, |rule| rule["timeouts"]["request"] = milliseconds(400));
        let rows = snapshot["ports"][0]["table"]["producer"].as_array_mut().expect("a list");
        let mut patient = rows[0].clone();
        patient["condition"]["path"]["prefix"] = "/patient".into();
        patient["rule"]["timeouts"] = json!({});
        rows.insert(0, patient);
        snapshot["backends"][0]["traffic"] = json!({ "pool": { "connections": 1 } });
    });
    let mut first = scene.connect();
    first.write_all(b"GET /patient HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
    heard.wait(1);
    assert_answer(&get(&scene), 503, "overflow");
    drop(first);
    // Who has the connection is out of time by itself.
    assert_answer(&get(&scene), 504, "request-timeout");
}

#[test]
fn what_breaks_the_rules_of_http2_is_counted_as_what_breaks_those_of_http1_is() {
    let mut scene = Scene::with(&[answering(&Heard::default(), OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
    });
    // A frame of DATA for a stream that there is none of, behind preface and settings.
    let frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\x07a";
    scene.say(frames);
    assert_eq!(answers(&told(&mut scene)), [(0, Some("bad-http2"), 1)]);
}

#[test]
fn bodies_are_counted_by_their_size() {
    let mut scene = ruled(&[answering(&Heard::default(), OK)], |_| {});
    assert_answer(&send(&scene, "POST", &"a".repeat(300)), 200, "");
    assert_answer(&get(&scene), 200, "");
    let figures = told(&mut scene);
    let requests = &figures.requests[0].1;
    assert_eq!((requests.received.bytes, requests.sent.bytes), (300, 4));
    // 0 and 300 octets; 2 and 2.
    assert_eq!(requests.received.counts[..4], [1, 0, 1, 0]);
    assert_eq!(requests.sent.counts[..4], [2, 0, 0, 0]);
    assert_eq!((figures.generation, figures.lost_lines), (1, 0));
}

#[test]
fn a_caller_whom_policies_refuse_uses_up_nobodys_limit() {
    let limit = json!({
        "name": { "namespace": "shop", "name": "few" },
        "requests": 1, "per": { "secs": 3600, "nanos": 0 }, "burst": 1, "each": "Route",
    });
    let change =
        |rule: &mut Value| rule["guards"] = json!({ "limit": limit, "fault": null, "missing": false });
    let scene = Scene::with(&[answering(&Heard::default(), OK)], |snapshot| {
        add_rule(snapshot, change);
        crate::policies::guard(snapshot, "{rules: [{to: [{operation: {methods: [GET]}}]}]}", 1);
    });
    for _ in 0..3 {
        assert_answer(&send(&scene, "POST", "abc"), 403, "policy");
    }
    assert_answer(&get(&scene), 200, "");
    assert_answer(&get(&scene), 429, "request-limit");
}
