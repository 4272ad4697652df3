//! Copies of requests: whom they go to, and that nobody has to wait for them.

use std::{net::SocketAddr, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    http1::{OK, answering, read_request},
    http2::{caller, grpc_echo, grpc_echo_that_tells, post, run},
    retries::{ERROR, add_rule, assert_answer, get, milliseconds, scripted, send, silent},
    scene::{Heard, Scene, nobody, server},
};

/// Requests go to the first server, copies to the second one, which is another service's.
fn mirrored(first: SocketAddr, second: SocketAddr) -> Scene {
    mirrored_as(first, second, |_| {})
}

fn mirrored_as(first: SocketAddr, second: SocketAddr, change: impl FnOnce(&mut Value)) -> Scene {
    Scene::with(&[first, second], |snapshot| {
        let copies = json!({ "namespace": "shop", "name": "copies" });
        let theirs = snapshot["backends"][0]["endpoints"].as_array_mut().expect("a list").pop();
        let backend = json!({ "service": copies, "port": 80, "endpoints": [theirs] });
        snapshot["backends"].as_array_mut().expect("a list").push(backend);
        let mirror = json!({ "service": copies, "port": 80, "numerator": 100, "denominator": 100 });
        add_rule(snapshot, |rule| {
            rule["filters"] = json!([{ "mirror": mirror }]);
            change(rule);
        });
    })
}

#[test]
fn a_mirror_gets_the_whole_request() {
    let (heard, copies) = (Heard::default(), Heard::default());
    let scene = mirrored(answering(&heard, OK), answering(&copies, ERROR));
    assert_answer(&send(&scene, "POST", "abc"), 200, "");
    let (request, copy) = (&heard.all()[0], &copies.wait(1)[0]);
    for part in ["POST / HTTP/1.1\r\n", "host: web\r\n", "content-length: 3\r\n", "\r\n\r\nabc"] {
        assert!(request.contains(part) && copy.contains(part), "{part:?} in {request} and {copy}");
    }
}

#[test]
fn a_mirror_that_is_silent_is_left_when_the_time_of_the_request_is_up() {
    let (heard, copies) = (Heard::default(), Heard::default());
    let silent = server({
        let copies = copies.clone();
        move |mut stream| {
            while read_request(&mut stream).is_some() {
                copies.add("asked");
            }
            copies.add("left");
        }
    });
    let scene =
        mirrored_as(answering(&heard, OK), silent, |rule| rule["timeouts"]["request"] = milliseconds(900));
    assert_answer(&get(&scene), 200, "");
    assert_eq!(copies.wait(2), ["asked", "left"]);
}

#[test]
fn no_more_copies_are_under_way_than_there_may_be() {
    let (heard, copies) = (Heard::default(), Heard::default());
    let scene = mirrored(answering(&heard, OK), silent(&copies));
    (0..280).for_each(|_| assert_answer(&get(&scene), 200, ""));
    copies.wait(256);
    // One more would come at once.
    thread::sleep(Duration::from_millis(300));
    assert_eq!((copies.all().len(), heard.all().len()), (256, 280));
}

#[test]
fn a_mirror_of_the_rule_sees_nothing_of_what_is_for_one_backend() {
    let (heard, copies) = (Heard::default(), Heard::default());
    let changes = |value: &str| json!({ "requestHeaders": { "set": [["x-secret", value], ["x-of", value]], "add": [], "remove": [] } });
    let scene = mirrored_as(answering(&heard, OK), answering(&copies, OK), |rule| {
        rule["filters"].as_array_mut().expect("a list").push(changes("rule"));
        rule["backends"][0]["filters"] = json!([
            changes("backend"),
            { "rewrite": { "hostname": null, "path": { "full": "/v1" } } },
        ]);
    });
    assert_answer(&get(&scene), 200, "");
    let (request, copy) = (&heard.all()[0], &copies.wait(1)[0]);
    assert!(request.starts_with("GET /v1 ") && request.contains("x-secret: backend\r\n"), "{request}");
    assert!(copy.starts_with("GET / ") && copy.contains("x-secret: rule\r\n"), "{copy}");
    assert!(copy.contains("x-forwarded-for: 127.0.0.1\r\n"), "{copy}");
}

#[test]
fn a_mirror_gets_a_call_of_grpc() {
    let copies = Heard::default();
    let scene = mirrored(grpc_echo(), grpc_echo_that_tells(&copies));
    run(async {
        let mut caller = caller(&scene).await;
        let (answer, mut body) =
            caller.send_request(post("/shop.Echo/Both", "application/grpc"), false).expect("sent");
        body.send_data("abc".into(), true).expect("sent");
        let mut body = answer.await.expect("an answer").into_body();
        while let Some(data) = body.data().await {
            assert_eq!(data.expect("data"), "abc");
        }
        body.trailers().await.expect("the end");
    });
    assert_eq!(copies.wait(1), ["/shop.Echo/Both: 3 bytes"]);
}

#[test]
fn a_mirror_that_fails_or_is_silent_does_not_matter() {
    let copies = Heard::default();
    for mirror in [nobody(), scripted(&copies, &[""]), silent(&copies)] {
        let heard = Heard::default();
        let mut scene = mirrored(answering(&heard, OK), mirror);
        assert_answer(&send(&scene, "POST", "abc"), 200, "");
        assert_answer(&get(&scene), 200, "");
        assert_eq!(heard.all().len(), 2);
        scene.end();
    }
}

#[test]
fn a_fraction_of_requests_is_copied() {
    let (heard, copies) = (Heard::default(), Heard::default());
    let scene = mirrored_as(answering(&heard, OK), answering(&copies, OK), |rule| {
        rule["filters"][0]["mirror"]["numerator"] = 1.into();
        rule["filters"][0]["mirror"]["denominator"] = 4.into();
    });
    for _ in 0..400 {
        assert_answer(&get(&scene), 200, "");
    }
    // A hundred, give or take five standard deviations.
    copies.wait(57);
    thread::sleep(Duration::from_millis(100));
    assert!(copies.all().len() < 144, "{} of 400 were copied", copies.all().len());
}
