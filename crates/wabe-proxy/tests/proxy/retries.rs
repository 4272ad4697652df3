//! What a rule and a DestinationRule say of requests on their way: repetitions, times, limits, ejection, hashes, guards.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    http1::{OK, answering, read_request},
    http2::{caller, grpc_echo, grpc_echo_that_is_well, grpc_echo_that_tells, post, run},
    scene::{Heard, PATIENCE, Scene, full, nobody, server},
};

pub const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nnope";
pub const ERROR: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";

/// Before these servers, with one rule for all requests, which the test changes.
pub fn ruled(servers: &[SocketAddr], change: impl FnOnce(&mut Value)) -> Scene {
    Scene::with(servers, |snapshot| add_rule(snapshot, change))
}

pub fn add_rule(snapshot: &mut Value, change: impl FnOnce(&mut Value)) {
    let port = &mut snapshot["ports"][0];
    port["protocol"] = "http".into();
    let (service, number) = (port["service"].clone(), port["port"].clone());
    let mut rule = json!({
        "kind": "HTTPRoute",
        "route": { "namespace": "shop", "name": "web" },
        "rule": 0,
        "name": null,
        "filters": [],
        "backends": [{ "service": service, "port": number, "weight": 1, "invalid": null, "filters": [] }],
        "timeouts": {},
        "retry": null,
    });
    change(&mut rule);
    port["table"]["producer"] = json!([{ "condition": { "path": { "prefix": "/" } }, "rule": rule }]);
}

/// Before these servers, without a rule, but with this policy.
fn balanced(servers: &[SocketAddr], traffic: &Value) -> Scene {
    Scene::with(servers, |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["traffic"] = traffic.clone();
    })
}

pub fn retry(attempts: u32) -> Value {
    json!({ "codes": [503], "attempts": attempts, "backoff": milliseconds(1) })
}

pub fn milliseconds(count: u32) -> Value {
    json!({ "secs": 0, "nanos": count * 1_000_000 })
}

/// A server whose requests get these answers, one after the other on whatever connection, and the last one from then on. An empty
/// one closes the connection.
pub fn scripted(heard: &Heard, answers: &'static [&'static str]) -> SocketAddr {
    let (heard, turn) = (heard.clone(), AtomicUsize::new(0));
    server(move |mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        while let Some(request) = read_request(&mut stream) {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            heard.add(request);
            let answer = answers[turn.min(answers.len() - 1)];
            if answer.is_empty() || stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A server that reads a request and never answers; its connections end with the proxy's.
pub fn silent(heard: &Heard) -> SocketAddr {
    let heard = heard.clone();
    server(move |mut stream| {
        while let Some(request) = read_request(&mut stream) {
            heard.add(request);
        }
    })
}

/// Where nobody listens.
pub fn get(scene: &Scene) -> String {
    scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n")
}

pub fn send(scene: &Scene, method: &str, body: &str) -> String {
    let length = body.len();
    let head = format!(
        "{method} / HTTP/1.1\r\nhost: web\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    scene.say(head.as_bytes())
}

/// That the answer has this status, and if it is the proxy's own, that this is why; else "".
#[track_caller]
pub fn assert_answer(answer: &str, status: u16, reason: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}, not {answer}");
    let told = answer.lines().find_map(|line| line.strip_prefix("x-wabe-reason: ")).unwrap_or("");
    assert_eq!(told, reason, "{answer}");
}

#[test]
fn an_answer_that_the_rule_lists_is_asked_for_again() {
    let heard = Heard::default();
    let scene = ruled(&[scripted(&heard, &[UNAVAILABLE, OK])], |rule| rule["retry"] = retry(1));
    assert_answer(&get(&scene), 200, "");
    assert_eq!(heard.all().len(), 2);
}

#[test]
fn an_answer_that_the_rule_does_not_list_is_passed_on() {
    let heard = Heard::default();
    let scene = ruled(&[scripted(&heard, &[ERROR, OK])], |rule| rule["retry"] = retry(1));
    assert_answer(&get(&scene), 500, "");
    assert_eq!(heard.all().len(), 1);
}

#[test]
fn the_repetition_goes_to_another_endpoint() {
    let (bad, good) = (Heard::default(), Heard::default());
    let servers = [answering(&bad, UNAVAILABLE), answering(&good, OK)];
    let scene = ruled(&servers, |rule| rule["retry"] = retry(1));
    for turn in 1..=10 {
        assert_answer(&get(&scene), 200, "");
        assert_eq!(good.all().len(), turn);
    }
    assert!(bad.all().len() <= 10, "none is asked twice for one request");
}

#[test]
fn when_no_attempt_is_left_the_last_answer_is_the_callers() {
    let heard = Heard::default();
    let scene = ruled(&[answering(&heard, UNAVAILABLE)], |rule| rule["retry"] = retry(2));
    let answer = get(&scene);
    assert_answer(&answer, 503, "");
    assert!(answer.ends_with("\r\n\r\nnope"), "{answer}");
    assert_eq!(heard.all().len(), 3);
}

#[test]
fn a_post_that_an_endpoint_may_have_worked_on_is_not_repeated() {
    for (first, status, reason) in [(UNAVAILABLE, 503, ""), ("", 502, "bad-upstream-answer")] {
        let heard = Heard::default();
        let answers: &'static [&'static str] = if first.is_empty() { &["", OK] } else { &[UNAVAILABLE, OK] };
        let scene = ruled(&[scripted(&heard, answers)], |rule| rule["retry"] = retry(3));
        assert_answer(&send(&scene, "POST", "abc"), status, reason);
        assert_eq!(heard.all().len(), 1, "{status}");
    }
}

#[test]
fn a_get_is_repeated_when_the_endpoint_closes_instead_of_answering() {
    let heard = Heard::default();
    let scene = ruled(&[scripted(&heard, &["", OK])], |rule| rule["retry"] = retry(1));
    assert_answer(&get(&scene), 200, "");
    assert_eq!(heard.all().len(), 2);
}

#[test]
fn refused_connections_are_tried_again_if_the_rule_says_so_whatever_the_method() {
    for (attempts, status, reason) in [(10, 200, ""), (0, 503, "connect-failed")] {
        let heard = Heard::default();
        let address = nobody();
        // It comes back a moment later.
        let back = thread::spawn({
            let heard = heard.clone();
            move || {
                thread::sleep(Duration::from_millis(100));
                let listener = TcpListener::bind(address).expect("it is free");
                if attempts > 0 {
                    let (mut stream, _) = listener.accept().expect("a caller");
                    heard.add(read_request(&mut stream).expect("a request"));
                    stream.write_all(OK.as_bytes()).expect("written");
                }
            }
        });
        let scene = ruled(&[address], |rule| {
            rule["retry"] = json!({ "codes": [], "attempts": attempts, "backoff": milliseconds(50) });
        });
        assert_answer(&send(&scene, "POST", "abc"), status, reason);
        back.join().expect("no panic");
        assert_eq!(heard.all().len(), usize::from(attempts > 0));
    }
}

#[test]
fn a_refused_connection_goes_to_the_other_endpoint_whatever_the_method() {
    let heard = Heard::default();
    let scene = ruled(&[nobody(), answering(&heard, OK)], |_| {});
    for turn in 1..=10 {
        assert_answer(&send(&scene, "POST", "abc"), 200, "");
        assert_eq!(heard.all().len(), turn);
    }
    assert!(heard.all().iter().all(|it| it.ends_with("\r\n\r\nabc")), "{:?}", heard.all());
}

#[test]
fn a_kept_connection_that_its_endpoint_closed_is_nobodys_failure() {
    let (closed, told) = mpsc::channel();
    let (closed, heard) = (Mutex::new(closed), Heard::default());
    let server = server({
        let heard = heard.clone();
        move |mut stream| {
            heard.add(read_request(&mut stream).expect("a request"));
            stream.write_all(OK.as_bytes()).expect("written");
            drop(stream);
            closed.lock().expect("no panic").send(()).expect("the test waits");
        }
    });
    let scene = ruled(&[server], |_| {});
    for turn in 1..=5 {
        assert_answer(&send(&scene, "POST", "abc"), 200, "");
        assert_eq!(heard.all().len(), turn);
        told.recv_timeout(PATIENCE).expect("closed");
    }
}

/// Each connection answers once, and is closed so long after the second request has come.
fn answering_once(heard: &Heard, works: Duration) -> SocketAddr {
    let heard = heard.clone();
    server(move |mut stream| {
        heard.add(read_request(&mut stream).expect("a request"));
        stream.write_all(OK.as_bytes()).expect("written");
        heard.add(read_request(&mut stream).unwrap_or_default());
        thread::sleep(works);
    })
}

#[test]
fn a_kept_connection_that_ends_under_a_request_is_replaced_without_an_attempt() {
    let heard = Heard::default();
    let server = answering_once(&heard, Duration::ZERO);
    let scene = ruled(&[server], |_| {});
    assert_answer(&get(&scene), 200, "");
    assert_answer(&get(&scene), 200, "");
    assert_eq!(heard.wait(3).len(), 3);
}

#[test]
fn what_a_kept_connection_worked_on_is_not_asked_for_again() {
    let heard = Heard::default();
    let server = answering_once(&heard, Duration::from_secs(1));
    let scene = ruled(&[server], |_| {});
    assert_answer(&get(&scene), 200, "");
    assert_answer(&get(&scene), 502, "bad-upstream-answer");
    assert_eq!(heard.all().len(), 2);
}

#[test]
fn what_a_kept_connection_answers_is_an_answer_however_bad() {
    for answer in ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 200 OK", "no answer\r\n\r\n"] {
        let heard = Heard::default();
        // Each connection answers well once, and then like this.
        let server = server({
            let heard = heard.clone();
            move |mut stream| {
                for answer in [OK, answer] {
                    let Some(request) = read_request(&mut stream) else { return };
                    heard.add(request);
                    stream.write_all(answer.as_bytes()).expect("written");
                }
            }
        });
        let scene = ruled(&[server], |_| {});
        assert_answer(&get(&scene), 200, "");
        assert_answer(&get(&scene), 502, "bad-upstream-answer");
        assert_eq!(heard.all().len(), 2, "{answer} was asked for again");
    }
}

#[test]
fn a_kept_connection_that_closes_after_an_interim_answer_has_answered() {
    let heard = Heard::default();
    let server = server({
        let heard = heard.clone();
        move |mut stream| {
            for answer in [OK, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"] {
                let Some(request) = read_request(&mut stream) else { return };
                heard.add(request);
                stream.write_all(answer.as_bytes()).expect("written");
            }
        }
    });
    let scene = ruled(&[server], |_| {});
    assert_answer(&get(&scene), 200, "");
    let answer = get(&scene);
    assert!(answer.contains("HTTP/1.1 502 "), "{answer}");
    assert_eq!(heard.all().len(), 2);
}

#[test]
fn a_short_body_is_sent_again_and_a_long_one_is_not() {
    const KEPT: usize = 64 << 10;
    for (length, status, times) in [(KEPT, 200, 2), (KEPT + 1, 503, 1)] {
        let heard = Heard::default();
        let scene = ruled(&[scripted(&heard, &[UNAVAILABLE, OK])], |rule| rule["retry"] = retry(1));
        let body = "a".repeat(length);
        assert_answer(&send(&scene, "PUT", &body), status, "");
        let heard = heard.all();
        assert_eq!(heard.len(), times, "{length}");
        assert!(heard.iter().all(|it| it.ends_with(&format!("\r\n\r\n{body}"))), "{length}");
    }
}

#[test]
fn a_body_in_very_many_pieces_is_not_sent_again() {
    for (pieces, status, times) in [(500, 200, 2), (2000, 503, 1)] {
        let heard = Heard::default();
        let scene = ruled(&[scripted(&heard, &[UNAVAILABLE, OK])], |rule| rule["retry"] = retry(1));
        let head = "PUT / HTTP/1.1\r\nhost: web\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let request = format!("{head}{}0\r\n\r\n", "1\r\na\r\n".repeat(pieces));
        assert_answer(&scene.say(request.as_bytes()), status, "");
        assert_eq!(heard.all().len(), times, "{pieces}");
    }
}

#[test]
fn who_waits_too_long_is_told_which_time_was_up() {
    for (time, reason) in [("request", "request-timeout"), ("backendRequest", "backend-request-timeout")] {
        let heard = Heard::default();
        let scene = ruled(&[silent(&heard)], |rule| rule["timeouts"][time] = milliseconds(500));
        assert_answer(&get(&scene), 504, reason);
        assert_eq!(heard.wait(1).len(), 1, "{time}");
    }
}

#[test]
fn an_answer_that_does_not_come_to_its_end_in_time_breaks_off() {
    for time in ["request", "backendRequest"] {
        let heard = Heard::default();
        let server = server({
            let heard = heard.clone();
            move |mut stream| {
                while read_request(&mut stream).is_some() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").expect("written");
                }
                heard.add("left");
            }
        });
        let scene = ruled(&[server], |rule| rule["timeouts"][time] = milliseconds(900));
        let answer = get(&scene);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("abc"), "{answer}");
        assert_eq!(heard.wait(1), ["left"], "{time}");
    }
}

#[test]
fn no_more_repetitions_are_under_way_than_there_may_be() {
    for pool in [json!({ "retries": 1 }), json!({ "retryBudget": { "percent": 50, "least": 1 } })] {
        let heard = Heard::default();
        let turn = AtomicUsize::new(0);
        // The first request is refused, and its repetition never answered; the second is refused, too.
        let server = server({
            let heard = heard.clone();
            move |mut stream| {
                while let Some(request) = read_request(&mut stream) {
                    let turn = turn.fetch_add(1, Ordering::Relaxed);
                    heard.add(request);
                    if turn != 1 && stream.write_all(UNAVAILABLE.as_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
        let scene = Scene::with(&[server], |snapshot| {
            add_rule(snapshot, |rule| rule["retry"] = retry(3));
            snapshot["backends"][0]["traffic"] = json!({ "pool": pool });
        });
        let mut first = scene.connect();
        first.write_all(b"GET /first HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
        heard.wait(2);
        assert_answer(&get(&scene), 503, "");
        assert_eq!(heard.all().len(), 3, "it was not repeated: {pool}");
    }
}

#[test]
fn a_repetition_whose_answer_has_begun_leaves_room_for_another() {
    const BEGUN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let heard = Heard::default();
    // Each first try is refused; the repetitions' answers begin, and the first one's does not end.
    let server = scripted(&heard, &[UNAVAILABLE, BEGUN, UNAVAILABLE, OK]);
    let scene = Scene::with(&[server], |snapshot| {
        add_rule(snapshot, |rule| rule["retry"] = retry(1));
        snapshot["backends"][0]["traffic"] = json!({ "pool": { "retries": 1 } });
    });
    let mut first = scene.connect();
    first.write_all(b"GET /first HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
    first.read_exact(&mut [0; 17]).expect("it has begun");
    assert_answer(&get(&scene), 200, "");
    assert_eq!(heard.all().len(), 4);
}

#[test]
fn a_try_that_takes_too_long_is_followed_by_another() {
    let (slow, good) = (Heard::default(), Heard::default());
    let scene = ruled(&[silent(&slow), answering(&good, OK)], |rule| {
        rule["timeouts"]["backendRequest"] = milliseconds(500);
        rule["retry"] = retry(1);
    });
    for turn in 1..=4 {
        assert_answer(&get(&scene), 200, "");
        assert_eq!(good.all().len(), turn);
    }
}

#[test]
fn the_time_of_a_request_bounds_all_its_tries() {
    let heard = Heard::default();
    let scene = ruled(&[silent(&heard)], |rule| {
        rule["timeouts"] = json!({ "request": milliseconds(500), "backendRequest": milliseconds(20) });
        rule["retry"] = retry(1000);
    });
    assert_answer(&get(&scene), 504, "request-timeout");
    assert!(heard.all().len() > 1, "{:?}", heard.all());
}

#[test]
fn beyond_the_limit_of_connections_one_waits_and_the_next_is_refused() {
    let heard = Heard::default();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let server = server({
        let heard = heard.clone();
        move |mut stream| {
            while let Some(request) = read_request(&mut stream) {
                heard.add(request);
                gate.lock().expect("no panic").recv_timeout(PATIENCE).expect("released");
                stream.write_all(OK.as_bytes()).expect("written");
            }
        }
    });
    let pool = json!({ "connections": 1, "pending": 1, "connectTimeout": { "secs": 10, "nanos": 0 } });
    let scene = Arc::new(balanced(&[server], &json!({ "pool": pool })));
    let (answered, answers) = mpsc::channel();
    let ask = || {
        let (scene, answered) = (Arc::clone(&scene), answered.clone());
        thread::spawn(move || answered.send(get(&scene)).expect("the test waits"))
    };
    let next = || answers.recv_timeout(PATIENCE).expect("an answer");
    let first = ask();
    heard.wait(1);
    // Whichever of these comes later has no place left.
    let others = [ask(), ask()];
    assert_answer(&next(), 503, "overflow");
    assert_eq!(heard.all().len(), 1);
    release.send(()).expect("waited for");
    release.send(()).expect("waited for");
    assert_answer(&next(), 200, "");
    assert_answer(&next(), 200, "");
    assert_eq!(heard.all().len(), 2);
    [first].into_iter().chain(others).for_each(|it| it.join().expect("no panic"));
}

#[test]
fn a_connection_that_nobody_uses_makes_room_for_one_to_another_endpoint() {
    let (one, other) = (Heard::default(), Heard::default());
    let scene = balanced(
        &[answering(&one, OK), answering(&other, OK)],
        &json!({ "balance": "round-robin", "pool": { "connections": 1 } }),
    );
    for _ in 0..6 {
        assert_answer(&get(&scene), 200, "");
    }
    assert_eq!((one.all().len(), other.all().len()), (3, 3));
}

#[test]
fn a_connection_of_many_requests_makes_room_too_once_it_has_none() {
    let scene = Scene::with(&[grpc_echo(), grpc_echo()], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["speaks"] = "Http2".into();
        let pool = json!({ "connections": 1, "connectTimeout": { "secs": 10, "nanos": 0 } });
        snapshot["backends"][0]["traffic"] = json!({ "balance": "round-robin", "pool": pool });
    });
    for _ in 0..4 {
        assert_answer(&get(&scene), 200, "");
    }
    // A request is under way until its body has ended; the next one goes to the other endpoint.
    let mut first = scene.connect();
    let head = b"POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    first.write_all(head).expect("written");
    let mut status = [0; 12];
    first.read_exact(&mut status).expect("it is under way");
    assert_eq!(status, *b"HTTP/1.1 200");
    let mut second = scene.connect();
    second.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").expect("written");
    first.write_all(b"0\r\n\r\n").expect("written");
    let mut answer = String::new();
    second.read_to_string(&mut answer).expect("an answer");
    assert_answer(&answer, 200, "");
}

#[test]
fn an_endpoint_that_fails_in_a_row_gets_nothing_more() {
    let (bad, good) = (Heard::default(), Heard::default());
    let hour = json!({ "secs": 3600, "nanos": 0 });
    let outliers = json!({
        "failures": 5, "serverErrors": 2, "interval": hour, "baseEjection": hour,
        "maxPercent": 100, "minHealthPercent": 0,
    });
    let scene = balanced(&[answering(&bad, ERROR), answering(&good, OK)], &json!({ "outliers": outliers }));
    for _ in 0..200 {
        if bad.all().len() < 2 {
            get(&scene);
        }
    }
    assert_eq!(bad.all().len(), 2, "it had its turns");
    for _ in 0..20 {
        assert_answer(&get(&scene), 200, "");
    }
    assert_eq!(bad.all().len(), 2);
}

#[test]
fn a_caller_that_keeps_its_body_back_has_no_endpoint_ejected() {
    let (one, other) = (Heard::default(), Heard::default());
    let hour = json!({ "secs": 3600, "nanos": 0 });
    let outliers = json!({
        "failures": 1, "serverErrors": 1, "interval": hour, "baseEjection": hour,
        "maxPercent": 100, "minHealthPercent": 0,
    });
    // They answer once they have all of a request.
    let scene = Scene::with(&[answering(&one, OK), answering(&other, OK)], |snapshot| {
        add_rule(snapshot, |rule| rule["timeouts"]["request"] = milliseconds(500));
        snapshot["backends"][0]["traffic"] = json!({ "outliers": outliers });
    });
    for _ in 0..2 {
        let part = b"POST / HTTP/1.1\r\nhost: web\r\nconnection: close\r\ncontent-length: 9\r\n\r\nnot all";
        assert_answer(&scene.say(part), 408, "slow-body");
    }
    let got = |heard: &Heard| heard.all().iter().any(|it| !it.is_empty());
    let both = || got(&one) && got(&other);
    for _ in 0..200 {
        if !both() {
            assert_answer(&get(&scene), 200, "");
        }
    }
    assert!(both(), "both get requests still");
}

#[test]
fn an_endpoint_whose_calls_of_grpc_fail_in_a_row_gets_nothing_more() {
    for (path, want) in [("/failing", "13"), ("/breaking", "none")] {
        let (bad, good) = (Heard::default(), Heard::default());
        let hour = json!({ "secs": 3600, "nanos": 0 });
        let outliers = json!({
            "failures": 2, "serverErrors": 2, "interval": hour, "baseEjection": hour,
            "maxPercent": 100, "minHealthPercent": 0,
        });
        let servers = [grpc_echo_that_tells(&bad), grpc_echo_that_is_well(&good)];
        let scene = balanced(&servers, &json!({ "outliers": outliers }));
        run(async {
            let mut caller = caller(&scene).await;
            let mut call = async || {
                let (answer, _) = caller.send_request(post(path, "application/grpc"), true).expect("sent");
                // A reset may come with the head, or after it.
                let Ok(answer) = answer.await else { return "none".into() };
                let mut body = answer.into_body();
                if body.data().await.is_some() {
                    return "none".into();
                }
                let trailers = body.trailers().await.expect("trailers").expect("trailers");
                trailers["grpc-status"].to_str().expect("text").to_owned()
            };
            let mut failures = 0;
            for _ in 0..200 {
                let status = call().await;
                assert!(status == want || status == "0", "{path}: {status}");
                failures += usize::from(status == want);
            }
            assert_eq!((failures, bad.all().len()), (2, 2), "{path}: it had its turns, and no more");
        });
    }
}

/// Three servers that tell which one they are.
fn named() -> [SocketAddr; 3] {
    let heard = Heard::default();
    [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nc",
    ]
    .map(|answer| answering(&heard, answer))
}

/// Which of [`named`] answered, and the cookie that it was set.
fn asked_with(scene: &Scene, line: &str) -> (char, Option<String>) {
    let answer =
        scene.say(format!("GET / HTTP/1.1\r\nhost: web\r\n{line}connection: close\r\n\r\n").as_bytes());
    assert_answer(&answer, 200, "");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).map(str::to_owned);
    (answer.chars().last().expect("a body"), cookie)
}

#[test]
fn a_header_says_which_endpoint_it_is() {
    let scene = balanced(&named(), &json!({ "hash": { "header": "x-user" } }));
    let mut all = BTreeSet::new();
    for user in 0..20 {
        let line = format!("x-user: {user}\r\n");
        let first = asked_with(&scene, &line);
        assert_eq!(first.1, None);
        all.insert(first.0);
        for _ in 0..3 {
            assert_eq!(asked_with(&scene, &line), first, "{user}");
        }
    }
    assert!(all.len() > 1, "users are spread: {all:?}");
}

#[test]
fn a_cookie_that_is_set_leads_back_to_the_endpoint_that_it_came_from() {
    let cookie = json!({ "name": "cart", "path": "/", "lifetime": { "secs": 60, "nanos": 0 } });
    let scene = balanced(&named(), &json!({ "hash": { "cookie": cookie } }));
    let mut all = BTreeSet::new();
    for _ in 0..20 {
        let (first, cookie) = asked_with(&scene, "");
        let cookie = cookie.expect("who comes without it is given one");
        let (pair, terms) = cookie.split_once(';').expect("terms");
        assert_eq!(terms, " Max-Age=60; Path=/; HttpOnly");
        all.insert(first);
        for _ in 0..3 {
            assert_eq!(asked_with(&scene, &format!("cookie: other=1; {pair}\r\n")), (first, None), "{pair}");
        }
    }
    assert!(all.len() > 1, "callers are spread: {all:?}");
}

#[test]
fn a_request_limit_lets_its_burst_pass_and_refuses_the_rest() {
    let heard = Heard::default();
    let scene = ruled(&[answering(&heard, OK)], |rule| {
        let limit = json!({
            "name": { "namespace": "shop", "name": "few" },
            "requests": 1, "per": { "secs": 3600, "nanos": 0 }, "burst": 2, "each": "Route",
        });
        rule["guards"] = json!({ "limit": limit, "fault": null, "missing": false });
    });
    assert_answer(&get(&scene), 200, "");
    assert_answer(&get(&scene), 200, "");
    let refused = get(&scene);
    assert_answer(&refused, 429, "request-limit");
    assert!(refused.contains("retry-after: "), "{refused}");
    assert_eq!(heard.all().len(), 2);
}

#[test]
fn calls_of_grpc_are_limited_and_told_so() {
    let scene = ruled(&[grpc_echo()], |rule| {
        let limit = json!({
            "name": { "namespace": "shop", "name": "few" },
            "requests": 1, "per": { "secs": 3600, "nanos": 0 }, "burst": 1, "each": "Route",
        });
        rule["kind"] = "GRPCRoute".into();
        rule["guards"] = json!({ "limit": limit, "fault": null, "missing": false });
    });
    run(async {
        let mut caller = caller(&scene).await;
        for want in [None, Some("8")] {
            let (answer, _) =
                caller.send_request(post("/shop.Echo/Both", "application/grpc"), true).expect("sent");
            let answer = answer.await.expect("an answer");
            let status = answer.headers().get("grpc-status").map(|it| it.to_str().expect("a number"));
            assert_eq!(status, want, "8 is RESOURCE_EXHAUSTED; an echo tells at its end");
            caller = caller.ready().await.expect("ready");
        }
    });
}

#[test]
fn an_injected_delay_ends_with_the_time_of_the_request() {
    let heard = Heard::default();
    let all = json!({ "numerator": 100, "denominator": 100 });
    let fault = json!({
        "name": { "namespace": "shop", "name": "slow" },
        "delay": { "time": { "secs": 3600, "nanos": 0 }, "share": all },
    });
    let scene = ruled(&[answering(&heard, OK)], |rule| {
        rule["timeouts"]["request"] = milliseconds(50);
        rule["guards"] = json!({ "limit": null, "fault": fault, "missing": false });
    });
    assert_answer(&get(&scene), 504, "injected-fault");
    assert_eq!(heard.all(), [""; 0]);
}

#[test]
fn a_fault_is_injected_and_a_missing_guard_refused_before_anything_reaches_the_backend() {
    let name = json!({ "namespace": "shop", "name": "broken" });
    let all = json!({ "numerator": 100, "denominator": 100 });
    let fault = json!({ "name": name, "abort": { "status": 418, "share": all } });
    for (guards, status, reason) in [
        (json!({ "limit": null, "fault": fault, "missing": false }), 418, "injected-fault"),
        (json!({ "limit": null, "fault": null, "missing": true }), 500, "invalid-filter"),
    ] {
        let heard = Heard::default();
        let scene = ruled(&[answering(&heard, OK)], |rule| rule["guards"] = guards);
        assert_answer(&get(&scene), status, reason);
        assert_eq!(heard.all(), [""; 0]);
    }
}

#[test]
fn who_waits_for_the_endpoints_leave_to_send_a_body_is_not_the_one_who_is_late() {
    let (hung, good) = (Heard::default(), Heard::default());
    let hour = json!({ "secs": 3600, "nanos": 0 });
    let outliers = json!({
        "failures": 1, "serverErrors": 1, "interval": hour, "baseEjection": hour,
        "maxPercent": 100, "minHealthPercent": 0,
    });
    let leave = server({
        let good = good.clone();
        move |mut stream| {
            while let Some(request) = read_head(&mut stream) {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("written");
                stream.read_exact(&mut [0; 3]).expect("a body");
                good.add(request);
                stream.write_all(OK.as_bytes()).expect("written");
            }
        }
    });
    let silent = server({
        let hung = hung.clone();
        move |mut stream| {
            hung.add(read_head(&mut stream).expect("a head"));
            let _ = stream.read(&mut [0]);
        }
    });
    let scene = Scene::with(&[silent, leave], |snapshot| {
        add_rule(snapshot, |rule| {
            rule["timeouts"]["backendRequest"] = milliseconds(900);
            rule["retry"] = retry(1);
        });
        snapshot["backends"][0]["traffic"] = json!({ "outliers": outliers, "balance": "round-robin" });
    });
    for _ in 0..4 {
        let mut caller = scene.connect();
        caller
            .write_all(b"PUT / HTTP/1.1\r\nhost: web\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 3\r\n\r\n")
            .expect("written");
        assert!(read_head(&mut caller).is_some_and(|it| it.starts_with("HTTP/1.1 100 ")));
        caller.write_all(b"abc").expect("written");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).expect("an answer");
        assert_answer(&answer, 200, "");
    }
    assert_eq!((hung.all().len(), good.all().len()), (1, 4), "one of the two had its turn, and is out");
}

/// A head, whatever follows it.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut text, mut byte) = (String::new(), [0; 1]);
    while !text.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(char::from(byte[0]));
    }
    Some(text)
}

#[test]
fn an_endpoint_that_can_not_be_connected_to_in_the_routes_time_is_ejected() {
    let (_held, _waiting, address) = full();
    let good = Heard::default();
    let hour = json!({ "secs": 3600, "nanos": 0 });
    let outliers = json!({
        "failures": 1, "serverErrors": 1, "interval": hour, "baseEjection": hour,
        "maxPercent": 100, "minHealthPercent": 0,
    });
    let scene = Scene::with(&[address, answering(&good, OK)], |snapshot| {
        // Less than a connection is given otherwise.
        add_rule(snapshot, |rule| rule["timeouts"]["request"] = milliseconds(900));
        snapshot["backends"][0]["traffic"] = json!({ "outliers": outliers, "balance": "round-robin" });
    });
    let late = (0..10).filter(|_| get(&scene).starts_with("HTTP/1.1 504 ")).count();
    assert!(late <= 1, "{late} of ten were late");
    assert!(good.all().len() >= 9);
}
