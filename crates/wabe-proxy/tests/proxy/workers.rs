//! A proxy of two workers: what a user's number bounds, it bounds for both together, and nobody is left waiting for what only the
//! other one has.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    http1::{OK, answering, read_request},
    http2::{caller, grpc_echo, run},
    retries::add_rule,
    scene::{Heard, Scene, server},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: web\r\n\r\n";
/// Callers' connections: half of them are each worker's.
const CALLERS: usize = 16;

fn two_workers(servers: &[SocketAddr], change: impl FnOnce(&mut Value)) -> Scene {
    Scene::with(servers, |snapshot| {
        snapshot["workers"] = 2.into();
        snapshot["ports"][0]["protocol"] = "http".into();
        change(snapshot);
    })
}

/// The next answer's status, and its body of two bytes.
fn status(stream: &mut TcpStream) -> u16 {
    let head = read_request(stream).expect("an answer");
    head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{head}"))
}

/// How often each status came, of so many requests on each of so many connections at a time.
fn statuses(scene: &Scene, requests: usize) -> Vec<u16> {
    let mut callers: Vec<_> = (0..CALLERS).map(|_| scene.connect()).collect();
    thread::scope(|scope| {
        let running: Vec<_> = callers
            .iter_mut()
            .map(|stream| {
                scope.spawn(move || {
                    let ask = |stream: &mut TcpStream| {
                        stream.write_all(GET).expect("written");
                        status(stream)
                    };
                    (0..requests).map(|_| ask(stream)).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|it| it.join().expect("no panic")).collect()
    })
}

#[test]
fn one_connection_is_one_for_both_and_every_request_is_counted() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = server({
        let most = Arc::clone(&most);
        move |mut stream| {
            while read_request(&mut stream).is_some() {
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
                under_way.fetch_sub(1, Ordering::SeqCst);
                if stream.write_all(OK.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    let mut scene = two_workers(&[server], |snapshot| {
        let pool = json!({ "connections": 1, "connectTimeout": { "secs": 10, "nanos": 0 } });
        snapshot["backends"][0]["traffic"] = json!({ "pool": pool });
    });
    assert_eq!(statuses(&scene, 20), [200; CALLERS * 20]);
    assert_eq!(most.load(Ordering::SeqCst), 1, "never two at a time");
    scene.end();
    let figures = scene.figures().expect("it tells");
    let counted: u64 = figures.requests.iter().flat_map(|it| &it.1.answers).map(|it| it.count).sum();
    assert_eq!(counted, (CALLERS * 20) as u64, "{figures:?}");
    assert!(figures.backends[0].connections <= 1, "{figures:?}");
}

#[test]
fn a_connection_that_the_other_worker_keeps_is_let_go_of() {
    let heard = Heard::default();
    let scene = two_workers(&[answering(&heard, OK)], |snapshot| {
        let pool = json!({ "connections": 1, "connectTimeout": { "secs": 10, "nanos": 0 } });
        snapshot["backends"][0]["traffic"] = json!({ "pool": pool });
    });
    let mut callers = [scene.connect(), scene.connect()];
    for turn in 0..10 {
        let caller = &mut callers[turn % 2];
        caller.write_all(GET).expect("written");
        // Less patient than a request that waits for a time to be up.
        assert_eq!(status(caller), 200);
    }
}

#[test]
fn a_connection_of_many_requests_is_lent_where_there_may_be_no_other() {
    let scene = two_workers(&[grpc_echo()], |snapshot| {
        snapshot["ports"][0]["protocol"] = "grpc".into();
        snapshot["backends"][0]["traffic"] = json!({ "pool": { "connections": 1 } });
    });
    let post = |path: &str| {
        let uri = format!("http://web{path}");
        Request::post(uri).header("content-type", "application/grpc").body(()).expect("a request")
    };
    run(async {
        let (mut first, mut second) = (caller(&scene).await, caller(&scene).await);
        let (answer, _sending) = first.send_request(post("/unending"), false).expect("sent");
        let unending = answer.await.expect("an answer");
        assert_eq!(unending.status(), StatusCode::OK);
        let (answer, _) = second.send_request(post("/"), true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!((answer.status(), answer.headers().get("x-wabe-reason")), (StatusCode::OK, None));
        let mut body = answer.into_body();
        while body.data().await.is_some() {}
        let trailers = body.trailers().await.expect("ended").expect("some");
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn a_rate_is_of_both_together() {
    let scene = two_workers(&[answering(&Heard::default(), OK)], |snapshot| {
        let limit = json!({
            "name": { "namespace": "shop", "name": "few" }, "requests": 10, "per": { "secs": 3600, "nanos": 0 },
            "burst": 10, "each": "Route",
        });
        add_rule(snapshot, |rule| {
            rule["guards"] = json!({ "limit": limit, "fault": null, "missing": false });
        });
    });
    let mut callers: Vec<_> = (0..CALLERS).map(|_| scene.connect()).collect();
    let mut passed = [0; 2];
    for turn in 0..40 {
        let stream = &mut callers[turn % CALLERS];
        stream.write_all(GET).expect("written");
        let head = answer_head(stream);
        passed[usize::from(head.starts_with("HTTP/1.1 200 "))] += 1;
        assert!(head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 429 "), "{head}");
    }
    assert_eq!(passed, [30, 10]);
}

/// The next answer, whatever length its body has.
fn answer_head(stream: &mut TcpStream) -> String {
    let mut text = read_request(stream).expect("an answer");
    text.truncate(64);
    text
}

#[test]
fn what_both_have_under_way_ends_in_order() {
    let (begun, has_begun) = mpsc::channel();
    let server = server(move |mut stream| {
        while read_request(&mut stream).is_some() {
            let _ = begun.send(());
            thread::sleep(Duration::from_millis(500));
            let _ = stream.write_all(OK.as_bytes());
        }
    });
    let mut scene = two_workers(&[server], |_| {});
    let mut callers: Vec<_> = (0..CALLERS).map(|_| scene.connect()).collect();
    for caller in &mut callers {
        caller.write_all(GET).expect("written");
    }
    for _ in 0..CALLERS {
        has_begun.recv_timeout(crate::scene::PATIENCE).expect("all are under way");
    }
    scene.drain();
    for caller in &mut callers {
        let mut answer = String::new();
        caller.read_to_string(&mut answer).expect("it ends in order");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
    }
    scene.end();
}

#[test]
fn a_worker_that_begins_late_knows_whom_the_others_served() {
    let mut scene = Scene::new(&[answering(&Heard::default(), OK)]);
    let mut first = scene.connect();
    first.write_all(GET).expect("written");
    assert_eq!(status(&mut first), 200);
    scene.lead_nobody_with(2);
    thread::sleep(Duration::from_millis(500));
    // The first worker has one connection, so that this one is the second worker's.
    let late = scene.say(GET);
    assert_eq!(late, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
}
