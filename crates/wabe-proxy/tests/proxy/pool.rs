//! Connections to endpoints that carry many requests: how many there are, how long they are kept, and what is sent once more when
//! one of them ends.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client, server as h2_server};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    frames::{PING, SETTINGS, frame},
    http1::{OK, answering, read_request},
    http2::{caller, grpc_echo_that_is_well, post, run, serving},
    patience::http1,
    retries::{UNAVAILABLE, add_rule, assert_answer, get, read_head},
    scene::{Heard, PATIENCE, SERVERS, Scene, nobody, server},
};

const CONNECTED: &str = "connected";
const CLOSED: &str = "closed";

/// A server of HTTP/2 that notes connections as they come and go, and requests that it answers; those with these numbers, from 0, it
/// refuses unseen.
fn noting(heard: &Heard, refused: &'static [usize]) -> SocketAddr {
    let (heard, count) = (heard.clone(), Arc::new(AtomicUsize::new(0)));
    serving(move |mut connection| {
        let (heard, count) = (heard.clone(), Arc::clone(&count));
        async move {
            heard.add(CONNECTED);
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if refused.contains(&count.fetch_add(1, Ordering::Relaxed)) {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    tokio::spawn(answer(request, respond, heard.clone()));
                }
            }
            heard.add(CLOSED);
        }
    })
}

async fn answer(request: Request<RecvStream>, mut respond: h2_server::SendResponse<Bytes>, heard: Heard) {
    let (head, mut body) = request.into_parts();
    let mut text = String::new();
    while let Some(Ok(data)) = body.data().await {
        text += &String::from_utf8_lossy(&data);
    }
    heard.add(format!("{} {text}", head.method));
    let mut stream = respond.send_response(Response::new(()), false).expect("begun");
    if head.uri.path() == "/large" {
        return stream.send_data(vec![0; 1 << 20].into(), true).expect("sent as it is taken");
    }
    stream.send_data("ok".into(), true).expect("sent");
}

/// Before this server, which understands HTTP/2, with these terms for connections.
fn before(server: SocketAddr, pool: &Value) -> Scene {
    Scene::with(&[server], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["speaks"] = "Http2".into();
        snapshot["backends"][0]["traffic"] = json!({ "pool": pool });
    })
}

/// A request whose body is this.
async fn send(caller: &mut client::SendRequest<Bytes>, method: &str, body: &'static str) -> StatusCode {
    let request = Request::builder().method(method).uri("http://web/").body(()).expect("a request");
    let mut sender = caller.clone().ready().await.expect("ready");
    let (answer, mut stream) = sender.send_request(request, body.is_empty()).expect("sent");
    if !body.is_empty() {
        stream.send_data(body.into(), true).expect("sent");
    }
    let answer = answer.await.expect("an answer");
    let status = answer.status();
    let mut body = answer.into_body();
    while let Some(data) = body.data().await {
        data.expect("data");
    }
    status
}

#[test]
fn a_connection_of_many_requests_carries_no_more_than_it_may() {
    let heard = Heard::default();
    let scene = before(noting(&heard, &[]), &json!({ "requestsPerConnection": 2 }));
    run(async {
        let mut caller = caller(&scene).await;
        for _ in 0..4 {
            assert_eq!(send(&mut caller, "GET", "").await, StatusCode::OK);
        }
    });
    let heard = heard.wait(8);
    assert_eq!(heard.iter().filter(|it| *it == CONNECTED).count(), 2, "{heard:?}");
    assert_eq!(heard.iter().filter(|it| *it == CLOSED).count(), 2, "{heard:?}");
}

#[test]
fn a_connection_of_many_requests_that_nobody_uses_is_closed() {
    let heard = Heard::default();
    let scene = before(noting(&heard, &[]), &json!({ "idle": { "secs": 0, "nanos": 50_000_000 } }));
    run(async { assert_eq!(send(&mut caller(&scene).await, "GET", "").await, StatusCode::OK) });
    assert_eq!(heard.wait(3), [CONNECTED, "GET ", CLOSED]);
}

#[test]
fn connections_to_an_endpoint_that_leaves_are_closed() {
    let leave = |scene: &Scene| {
        scene.change(|snapshot| {
            snapshot["generation"] = 2.into();
            snapshot["workloads"][SERVERS.to_string()]["leaving"] = true.into();
            snapshot["backends"][0]["endpoints"] = json!([]);
        });
    };
    let heard = Heard::default();
    let scene = before(noting(&heard, &[]), &json!({}));
    run(async { assert_eq!(send(&mut caller(&scene).await, "GET", "").await, StatusCode::OK) });
    leave(&scene);
    assert_eq!(heard.wait(3), [CONNECTED, "GET ", CLOSED]);

    let heard = Heard::default();
    let server = server({
        let heard = heard.clone();
        move |mut stream| {
            while read_request(&mut stream).is_some() {
                heard.add("asked");
                stream.write_all(OK.as_bytes()).expect("written");
            }
            heard.add(CLOSED);
        }
    });
    let scene = Scene::with(&[server], |snapshot| snapshot["ports"][0]["protocol"] = "http".into());
    assert!(scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").contains("200 OK"));
    leave(&scene);
    assert_eq!(heard.wait(2), ["asked", CLOSED]);
}

#[test]
fn what_an_endpoint_refuses_unseen_is_sent_once_more_whatever_the_method() {
    let heard = Heard::default();
    // On a new connection, and on one that was used before.
    let scene = before(noting(&heard, &[0, 2]), &json!({}));
    run(async {
        let mut caller = caller(&scene).await;
        for body in ["abc", "def"] {
            assert_eq!(send(&mut caller, "POST", body).await, StatusCode::OK);
        }
    });
    let heard = heard.all();
    let posts: Vec<_> = heard.iter().filter(|it| it.starts_with("POST")).collect();
    assert_eq!(posts, ["POST abc", "POST def"], "{heard:?}");
}

#[test]
fn a_stream_that_an_endpoint_may_have_worked_on_is_not_sent_once_more() {
    let heard = Heard::default();
    // Ends each connection once a second request came, of which it has the head only.
    let server = serving({
        let heard = heard.clone();
        move |mut connection| {
            let heard = heard.clone();
            async move {
                if let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond, heard.clone()));
                }
                if let Some(Ok((request, _))) = connection.accept().await {
                    heard.add(format!("{} begun", request.method()));
                }
            }
        }
    });
    let scene = before(server, &json!({}));
    run(async {
        let mut caller = caller(&scene).await;
        assert_eq!(send(&mut caller, "GET", "").await, StatusCode::OK);
        let request = Request::post("http://web/").body(()).expect("a request");
        // Its body goes on.
        let (answer, _stream) = caller.send_request(request, false).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), StatusCode::BAD_GATEWAY);
    });
    assert_eq!(heard.all(), ["GET ", "POST begun"]);
}

#[test]
fn a_body_that_came_on_a_stream_is_sent_once_more_as_it_was() {
    for speaks in ["Http1", "Http2"] {
        let heard = Heard::default();
        let turn = AtomicUsize::new(0);
        let server = if speaks == "Http1" {
            let heard = heard.clone();
            server(move |mut stream| {
                while let Some(request) = read_request(&mut stream) {
                    heard.add(if request.contains("abc") { "abc" } else { "nothing" });
                    let answer = if turn.fetch_add(1, Ordering::Relaxed) == 0 { UNAVAILABLE } else { OK };
                    stream.write_all(answer.as_bytes()).expect("written");
                }
            })
        } else {
            noting(&heard, &[0])
        };
        let scene = Scene::with(&[server], |snapshot| {
            let backoff = json!({ "secs": 0, "nanos": 1_000_000 });
            add_rule(snapshot, |rule| {
                rule["retry"] = json!({ "codes": [503], "attempts": 1, "backoff": backoff });
            });
            snapshot["backends"][0]["speaks"] = speaks.into();
        });
        run(async {
            let mut caller = caller(&scene).await;
            assert_eq!(send(&mut caller, "PUT", "abc").await, StatusCode::OK, "{speaks}");
        });
        let heard = heard.all();
        let bodies = heard.iter().filter(|it| it.ends_with("abc")).count();
        assert_eq!(bodies, if speaks == "Http1" { 2 } else { 1 }, "{speaks} {heard:?}");
    }
}

#[test]
fn a_stream_without_a_body_says_so_to_a_server_of_http1() {
    let heard = Heard::default();
    let scene = Scene::with(&[answering(&heard, OK)], |snapshot| {
        snapshot["backends"][0]["speaks"] = "Http1".into();
    });
    run(async {
        let mut caller = caller(&scene).await;
        for method in ["POST", "GET"] {
            assert_eq!(send(&mut caller, method, "").await, StatusCode::OK);
        }
    });
    let says: Vec<bool> = heard.all().iter().map(|it| it.contains("content-length: 0\r\n")).collect();
    assert_eq!(says, [true, false]);
}

#[test]
fn answers_that_a_caller_does_not_read_do_not_hold_up_those_of_others() {
    let heard = Heard::default();
    let scene = before(noting(&heard, &[]), &json!({}));
    run(async {
        let mut idler = caller(&scene).await;
        let mut unread = Vec::new();
        for _ in 0..24 {
            let request = Request::get("http://web/large").body(()).expect("a request");
            idler = idler.ready().await.expect("ready");
            let (answer, _) = idler.send_request(request, true).expect("sent");
            // Its head comes, and then as much as fits on the way.
            unread.push(answer.await.expect("an answer"));
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(send(&mut caller(&scene).await, "GET", "").await, StatusCode::OK);
        drop(unread);
    });
    assert_eq!(heard.all().iter().filter(|it| *it == CONNECTED).count(), 1, "on the same connection");
}

#[test]
fn bodies_that_nobody_takes_do_not_hold_up_others_of_their_connection() {
    let heard = Heard::default();
    let scene = Scene::with(
        &[server({
            let heard = heard.clone();
            move |mut stream| {
                if read_head(&mut stream).is_some_and(|it| it.starts_with("PUT ")) {
                    heard.add("stuck");
                    // It reads nothing of the body.
                    std::thread::sleep(PATIENCE * 2);
                } else {
                    stream.read_exact(&mut [0; 3]).expect("a body");
                    stream.write_all(OK.as_bytes()).expect("written");
                }
            }
        })],
        http1,
    );
    run(async {
        let caller = caller(&scene).await;
        let mut stuck = Vec::new();
        for count in 1..=6 {
            let request = Request::put("http://web/").body(()).expect("a request");
            let mut sender = caller.clone().ready().await.expect("ready");
            let (answer, mut body) = sender.send_request(request, false).expect("sent");
            body.send_data(vec![0; 8 << 20].into(), true).expect("sent as it is taken");
            stuck.push((answer, body));
            while heard.all().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let request = Request::post("http://web/").header("content-length", "3").body(()).expect("a request");
        let (answer, mut body) =
            caller.ready().await.expect("ready").send_request(request, false).expect("sent");
        body.send_data("abc".into(), true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), StatusCode::OK);
        drop(stuck);
    });
}

#[test]
fn all_that_wait_go_over_the_connection_that_came_to_be() {
    let scene = before(grpc_echo_that_is_well(&Heard::default()), &json!({ "connections": 1 }));
    run(async {
        let caller = caller(&scene).await;
        // The first one has it made, and does not end: nothing comes free.
        let ask = |number| {
            let caller = caller.clone();
            async move {
                let path = if number == 0 { "/unending" } else { "/" };
                let mut caller = caller.ready().await.expect("ready");
                let (answer, body) =
                    caller.send_request(post(path, "application/grpc"), number > 0).expect("sent");
                (answer.await.expect("an answer").headers().get("x-wabe-reason").cloned(), body)
            }
        };
        let answers = all_of((0..20).map(ask)).await;
        assert!(answers.iter().all(|(reason, _)| reason.is_none()), "{answers:?}");
    });
}

/// All at once.
async fn all_of<T: 'static>(all: impl Iterator<Item = impl Future<Output = T> + 'static>) -> Vec<T> {
    let local = tokio::task::LocalSet::new();
    let begun: Vec<_> = all.map(|it| local.spawn_local(it)).collect();
    local.await;
    let mut done = Vec::new();
    for task in begun {
        done.push(task.await.expect("no panic"));
    }
    done
}

#[test]
fn the_only_connection_that_there_may_be_takes_as_many_as_its_endpoint_does() {
    const ALL: usize = 300;
    let came = Arc::new(tokio::sync::Barrier::new(ALL));
    let scene = before(
        serving(move |mut connection| {
            let came = Arc::clone(&came);
            async move {
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let came = Arc::clone(&came);
                    tokio::spawn(async move {
                        // Nobody is answered before all have come.
                        came.wait().await;
                        respond.send_response(Response::new(()), true).expect("answered");
                    });
                }
            }
        }),
        &json!({ "connections": 1 }),
    );
    run(async {
        // No caller may have so many at once.
        let (one, other) = (caller(&scene).await, caller(&scene).await);
        let all = (0..ALL).map(|number| {
            let mut caller = if number % 2 == 0 { one.clone() } else { other.clone() };
            async move { send(&mut caller, "GET", "").await }
        });
        assert!(all_of(all).await.into_iter().all(|it| it == StatusCode::OK));
    });
}

#[test]
fn an_endpoint_of_http2_hears_no_trailers_that_belong_into_heads() {
    let heard = Heard::default();
    let scene = before(grpc_echo_that_is_well(&heard), &json!({}));
    run(async {
        for (name, passes) in [
            ("x-own", true),
            ("x-forwarded-client-cert", false),
            ("authorization", false),
            ("x_request_id", false),
        ] {
            let mut caller = caller(&scene).await;
            let (answer, mut body) = caller.send_request(post("/", "application/grpc"), false).expect("sent");
            let mut trailers = HeaderMap::new();
            trailers.insert(name, HeaderValue::from_static("1"));
            body.send_trailers(trailers).expect("sent");
            let mut answered = None;
            if let Ok(answer) = answer.await {
                let mut body = answer.into_body();
                while let Some(Ok(_)) = body.data().await {}
                answered = body.trailers().await.ok().flatten().map(|it| it["grpc-status"] == "0");
            }
            assert_eq!(answered == Some(true), passes, "{name}: {answered:?}");
        }
    });
    assert_eq!(heard.all(), ["/: 0 bytes"], "one came to its end");
}

#[test]
fn an_endpoint_that_sends_nothing_but_signs_of_life_is_left() {
    let heard = Heard::default();
    let scene = before(
        server({
            let heard = heard.clone();
            move |mut stream| {
                let settings = frame(SETTINGS, 0, 0, b"");
                let pings = frame(PING, 0, 0, &[0; 8]).repeat(1000);
                // Who waits for an answer reads all of that, and answers it.
                let mut reading = stream.try_clone().expect("cloned");
                std::thread::spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
                stream.write_all(&settings).expect("written");
                let mut sent = 0;
                while sent < 1000 && stream.write_all(&pings).is_ok() {
                    sent += 1;
                }
                heard.add(if sent < 1000 { "left" } else { "17 MB were read" });
            }
        }),
        &json!({}),
    );
    run(async { assert_eq!(send(&mut caller(&scene).await, "GET", "").await, StatusCode::BAD_GATEWAY) });
    assert_eq!(heard.wait(1), ["left"]);
}

#[test]
fn requests_of_http1_go_by_http2_where_the_rule_says_so() {
    let heard = Heard::default();
    let scene = Scene::with(&[noting(&heard, &[])], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["traffic"] = json!({ "pool": { "http2": true } });
    });
    for _ in 0..2 {
        let answer = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\r\n0\r\n\r\n"), "{answer}");
    }
    assert_eq!(heard.all(), [CONNECTED, "GET ", "GET "]);
}

#[test]
fn a_head_of_an_endpoint_of_http2_that_is_too_large_is_none() {
    for (octets, status) in [(64 << 10, StatusCode::OK), (192 << 10, StatusCode::BAD_GATEWAY)] {
        let scene = before(
            serving(move |mut connection| async move {
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let field = HeaderValue::try_from("a".repeat(octets)).expect("a value");
                    let head = Response::builder().header("x-large", field).body(()).expect("a head");
                    let _ = respond.send_response(head, true);
                }
            }),
            &json!({}),
        );
        run(async {
            let mut caller = caller(&scene).await;
            let request = Request::get("http://web/").body(()).expect("a request");
            let (answer, _) = caller.send_request(request, true).expect("sent");
            assert_eq!(answer.await.expect("an answer").status(), status, "{octets}");
        });
    }
}

/// Endpoints come and go in the kernel at once, and the snapshot's file says so before.
#[test]
fn who_has_just_come_serves_at_once_and_who_goes_is_missed_by_nobody() {
    let heard = Heard::default();
    let scene = Scene::with(&[nobody(), answering(&heard, OK)], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
    });
    let place = |snapshot: &mut Value| -> [Value; 2] {
        let endpoints = snapshot["backends"][0]["endpoints"].as_array().expect("endpoints");
        [0, 1].map(|it| endpoints[it].clone())
    };
    let mut both = None;
    scene.change(|snapshot| both = Some(place(snapshot)));
    let [gone, new] = both.expect("two");
    for before in [json!([gone]), json!([])] {
        for _ in 0..10 {
            // The new one is not known to be a workload, either.
            scene.change(|snapshot| {
                snapshot["backends"][0]["endpoints"] = before.clone();
                let workloads = snapshot["workloads"].as_object_mut().expect("a table");
                workloads.remove(&(SERVERS + 1).to_string());
            });
            while !get(&scene).starts_with("HTTP/1.1 503 ") {}
            scene.change(|snapshot| {
                snapshot["backends"][0]["endpoints"] = json!([new]);
                let like = snapshot["workloads"][SERVERS.to_string()].clone();
                snapshot["workloads"][(SERVERS + 1).to_string()] = like;
            });
            assert_answer(&get(&scene), 200, "");
            let request = heard.all().pop().unwrap_or_default();
            assert!(request.contains("By=spiffe://cluster.local/ns/shop/sa/server-0"), "{request}");
        }
    }
}
