//! Callers and servers that speak HTTP/1.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{Mutex, mpsc},
};

use http::Request;

use crate::{
    http2::{caller, run},
    patience::http1,
    scene::{Heard, PATIENCE, Scene, nobody, server},
};

/// A server that reads one head and the announced body, notes them, and answers with these bytes; then the next.
pub fn answering(heard: &Heard, answer: &'static str) -> std::net::SocketAddr {
    let heard = heard.clone();
    server(move |mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        while let Some(request) = read_request(&mut stream) {
            heard.add(request);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A head with its body, if that has a length or is chunked.
pub fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut byte = [0; 1];
    let mut read =
        |text: &mut String| (stream.read(&mut byte).ok()? > 0).then(|| text.push(char::from(byte[0])));
    while !text.ends_with("\r\n\r\n") {
        read(&mut text)?;
    }
    let head = text.len();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|it| it.parse::<usize>());
    if let Some(length) = length {
        let length = length.expect("a number");
        while text.len() < head + length {
            read(&mut text)?;
        }
    } else if text.contains("transfer-encoding: chunked\r\n") {
        // The last chunk, and then trailers or none.
        let is_last = |body: &str| body.starts_with("0\r\n") || body.contains("\r\n0\r\n");
        while !(text.ends_with("\r\n\r\n") && is_last(&text[head..])) {
            read(&mut text)?;
        }
    }
    Some(text)
}

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_request_arrives_with_who_asked_and_the_answer_comes_back() {
    let heard = Heard::default();
    let scene = Scene::new(&[answering(&heard, OK)]);
    let answer = scene.say(b"GET /a?b=c HTTP/1.1\r\nHost: web\r\nX-Own: 1\r\nConnection: close\r\n\r\n");
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    let request = &heard.all()[0];
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    for line in ["host: web", "x-own: 1", "x-forwarded-for: 127.0.0.1"] {
        assert!(request.contains(&format!("{line}\r\n")), "{line} in {request}");
    }
    assert!(request.contains("URI=spiffe://cluster.local/ns/shop/sa/caller"), "{request}");
    assert!(!request.contains("connection:"), "{request}");
}

#[test]
fn many_requests_on_one_connection_are_answered_in_their_order() {
    let heard = Heard::default();
    let scene = Scene::new(&[answering(&heard, OK)]);
    let one = "POST /x HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\n\r\nabc";
    let all = format!("{one}{one}GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    let answer = scene.say(all.as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answer}");
    assert_eq!(heard.all().len(), 3);
}

#[test]
fn chunks_and_trailers_go_there_and_back() {
    let heard = Heard::default();
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    let scene = Scene::new(&[answering(&heard, answer)]);
    let got = scene.say(
        b"POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n",
    );
    assert!(got.contains("transfer-encoding: chunked\r\n"), "{got}");
    assert!(got.ends_with("2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n"), "{got}");
    assert!(heard.all()[0].ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{:?}", heard.all());
}

#[test]
fn interim_answers_come_to_an_end() {
    let server = server(|mut stream| {
        let _ = read_request(&mut stream);
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").is_ok() {}
    });
    let scene = Scene::new(&[server]);
    let got = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    let (_, last) = got.split_at(got.rfind("HTTP/1.1 ").expect("an answer"));
    assert!(last.starts_with("HTTP/1.1 502 ") && last.contains("bad-upstream-answer"), "{last}");
}

#[test]
fn interim_answers_are_relayed() {
    let heard = Heard::default();
    let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let scene = Scene::new(&[answering(&heard, answer)]);
    let got = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{got}");
}

#[test]
fn a_caller_that_waits_for_100_continue_gets_the_servers_own() {
    let server = server(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut head = [0; 4096];
        let length = stream.read(&mut head).expect("a head");
        assert!(String::from_utf8_lossy(&head[..length]).contains("expect: 100-continue\r\n"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("written");
        let mut body = [0; 3];
        stream.read_exact(&mut body).expect("a body");
        stream.write_all(OK.as_bytes()).expect("written");
    });
    let scene = Scene::new(&[server]);
    let mut caller = scene.connect();
    let head = b"PUT / HTTP/1.1\r\nhost: web\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    caller.write_all(head).expect("written");
    let mut interim = [0; 25];
    caller.read_exact(&mut interim).expect("100");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"abc").expect("written");
    let mut answer = [0; 17];
    caller.read_exact(&mut answer).expect("200");
    assert_eq!(&answer, b"HTTP/1.1 200 OK\r\n");
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    let server = server(|mut stream| {
        let mut head = [0; 4096];
        let length = stream.read(&mut head).expect("a head");
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: echo\r\n"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\nhello";
        stream.write_all(answer).expect("written");
        let mut said = [0; 4];
        while stream.read_exact(&mut said).is_ok() {
            stream.write_all(&said).expect("written");
        }
    });
    let scene = Scene::new(&[server]);
    let mut caller = scene.connect();
    // What comes with the head belongs to the other protocol already.
    let head = b"GET / HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\nping";
    caller.write_all(head).expect("written");
    let mut text = String::new();
    let mut byte = [0; 1];
    while !text.ends_with("helloping") {
        caller.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {text}"));
        text.push(char::from(byte[0]));
    }
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}");
    assert!(text.contains("upgrade: echo\r\n"), "{text}");
    caller.write_all(b"more").expect("written");
    let mut more = [0; 4];
    caller.read_exact(&mut more).expect("an echo");
    assert_eq!(&more, b"more");
}

#[test]
fn nobody_changes_to_http2_within_a_connection() {
    for offer in ["h2c", "H2C", "echo, H2c"] {
        let heard = Heard::default();
        let scene = Scene::new(&[answering(&heard, OK)]);
        let got = scene.say(
            format!(
                "GET / HTTP/1.1\r\nhost: web\r\nconnection: Upgrade, close\r\nupgrade: {offer}\r\n\
                 http2-settings: AAMAAABkAAQAAP__\r\n\r\n"
            )
            .as_bytes(),
        );
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
        let request = &heard.all()[0];
        assert!(!request.contains("upgrade") && !request.contains("http2-settings"), "{request}");
    }
}

#[test]
fn an_endpoint_that_changes_the_protocol_unasked_is_not_followed() {
    let heard = Heard::default();
    let scene = Scene::new(&[answering(&heard, "HTTP/1.1 101 Switching Protocols\r\n\r\n")]);
    let got =
        scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\nGET /admin HTTP/1.1\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    assert!(got.contains("x-wabe-reason: bad-upstream-answer\r\n"), "{got}");
    assert_eq!(heard.all().len(), 1);
}

#[test]
fn a_body_that_breaks_once_the_answer_has_begun_ends_both() {
    let heard = Heard::default();
    let server = server({
        let heard = heard.clone();
        move |mut stream| {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).expect("a head");
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").expect("written");
            // Until the proxy leaves.
            let left = stream.read_to_end(&mut Vec::new());
            let waits = left.is_err_and(|it| it.kind() == ErrorKind::WouldBlock);
            heard.add(if waits { "still there" } else { "left" });
        }
    });
    let scene = Scene::with(&[server], http1);
    let mut caller = scene.connect();
    caller.write_all(b"POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n").expect("written");
    caller.read_exact(&mut [0; 17]).expect("it has begun");
    caller.write_all(b"no number\r\n").expect("written");
    let _ = caller.read_to_end(&mut Vec::new());
    assert_eq!(heard.wait(1), ["left"]);
}

#[test]
fn large_bodies_go_both_ways() {
    const LENGTH: usize = 8 << 20;
    let server = server(|mut stream| {
        let mut head = Vec::new();
        let mut byte = [0; 1];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let mut body = vec![0; LENGTH];
        stream.read_exact(&mut body).expect("a body");
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").expect("written");
        stream.write_all(&body).expect("written");
    });
    let scene = Scene::new(&[server]);
    let body: Vec<u8> = (0..LENGTH).map(|place| u8::try_from(place % 251).expect("small")).collect();
    let mut caller = scene.connect();
    write!(caller, "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: {LENGTH}\r\nconnection: close\r\n\r\n")
        .expect("written");
    caller.write_all(&body).expect("written");
    let mut answer = Vec::new();
    caller.read_to_end(&mut answer).expect("an answer");
    assert!(answer.ends_with(&body), "{} bytes", answer.len());
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_reaches_nobody() {
    let heard = Heard::default();
    let scene = Scene::new(&[answering(&heard, OK)]);
    for request in [
        "GET / HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nhost: web\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        let answer = scene.say(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{request:?}: {answer}");
        assert!(
            answer.contains("x-wabe-blame: caller\r\n") && answer.contains("connection: close\r\n"),
            "{answer}"
        );
    }
    assert_eq!(heard.all(), [""; 0]);
}

#[test]
fn no_server_is_told_at_once() {
    let scene = Scene::new(&[nobody()]);
    let answer = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("x-wabe-reason: connect-failed\r\n"), "{answer}");
}

#[test]
fn who_is_refused_before_its_body_was_read_is_told_that_the_connection_ends() {
    let heard = Heard::default();
    let scene = Scene::with(&[answering(&heard, OK)], |snapshot| {
        // Routes hold for the caller, and match nothing it asks for.
        let condition = serde_json::json!({ "path": { "exact": "/other" } });
        let rule = serde_json::json!({
            "kind": "HTTPRoute", "route": { "namespace": "shop", "name": "web" }, "rule": 0, "name": null,
            "filters": [], "backends": [], "timeouts": {}, "retry": null,
        });
        snapshot["ports"][0]["table"]["producer"] =
            serde_json::json!([{ "condition": condition, "rule": rule }]);
    });
    let get = "GET / HTTP/1.1\r\nhost: web\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 3\r\n\r\nabc";
    let answer = scene.say(format!("{get}{post}{get}").as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 404 Not Found\r\n").count(), 2, "{answer}");
    assert_eq!(answer.matches("connection: close\r\n").count(), 1, "{answer}");
    assert_eq!(heard.all(), [""; 0]);
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let scene = Scene::new(&[server(move |mut stream| {
        if read_request(&mut stream).is_some() {
            let part = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
            stream.write_all(part).expect("written");
            gate.lock().expect("no panic").recv_timeout(PATIENCE).expect("released");
        }
    })]);
    for (version, wanted) in [("1.1", "\r\n\r\n3\r\nabc\r\n"), ("1.0", "\r\n\r\nabc")] {
        let mut caller = scene.connect();
        write!(caller, "GET / HTTP/{version}\r\nhost: web\r\nconnection: close\r\n\r\n").expect("written");
        let mut text = String::new();
        let mut byte = [0; 1];
        while !text.ends_with(wanted) {
            caller.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {text}"));
            text.push(char::from(byte[0]));
        }
        release.send(()).expect("waited for");
        match (version, caller.read(&mut byte)) {
            // There is no last chunk.
            ("1.1", Ok(0)) => {}
            // The connection's end would be the answer's.
            ("1.0", Err(error)) if error.kind() == ErrorKind::ConnectionReset => {}
            (_, other) => panic!("{version}: {other:?}"),
        }
    }
}

#[test]
fn who_is_led_here_no_more_is_served_on_and_told_to_come_again() {
    let heard = Heard::default();
    let scene = Scene::new(&[answering(&heard, OK)]);
    let mut kept = scene.connect();
    let mut ask = || {
        kept.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
        let mut answer = String::new();
        let mut byte = [0; 1];
        while !answer.ends_with("\r\n\r\nok") {
            kept.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {answer}"));
            answer.push(char::from(byte[0]));
        }
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        answer.contains("connection: close\r\n")
    };
    assert!(!ask());
    scene.lead_nobody();
    // It is told with the first answer after the proxy has read the news.
    while !ask() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // However much else has changed meanwhile: more snapshots than are remembered, each of which is read.
    for _ in 0..20 {
        scene.lead_nobody();
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    // The kernel may have led another one here a moment before.
    let late = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    assert_eq!(late, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
}

#[test]
fn who_is_led_here_no_more_and_asks_for_nothing_is_left_before_it_is_forgotten() {
    let (begun, release) = (Heard::default(), Heard::default());
    let scene = Scene::new(&[server({
        let (begun, release) = (begun.clone(), release.clone());
        move |mut stream| {
            while let Some(request) = read_request(&mut stream) {
                begun.add("");
                if request.contains("/slow") {
                    release.wait(1);
                }
                stream.write_all(OK.as_bytes()).expect("written");
            }
        }
    })]);
    let ask = |path: &str| {
        let mut caller = scene.connect();
        write!(caller, "GET {path} HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
        caller
    };
    let answered = |caller: &mut std::net::TcpStream| {
        caller.read_exact(&mut [0; OK.len()]).expect("an answer");
    };
    let (mut kept, mut slow) = (ask("/"), ask("/slow"));
    answered(&mut kept);
    begun.wait(2);
    scene.lead_nobody();
    // One that is served meanwhile hears of it later.
    std::thread::sleep(std::time::Duration::from_millis(500));
    release.add("");
    answered(&mut slow);
    let since = std::time::Instant::now();
    assert_eq!(kept.read(&mut [0; 1]).expect("an end in order"), 0);
    assert_eq!(slow.read(&mut [0; 1]).expect("an end in order"), 0);
    assert!(
        since.elapsed() > std::time::Duration::from_secs(3),
        "what it asked for might have been on its way"
    );
}

#[test]
fn fields_of_one_connection_end_there_and_no_others() {
    let heard = Heard::default();
    let scene = Scene::new(&[answering(&heard, OK)]);
    let answer = scene.say(
        b"GET / HTTP/1.1\r\nhost: web\r\nx-request-id: mine\r\nX_Forwarded_Client_Cert: URI=spiffe://cluster.local/ns/bank/sa/root\r\n\
          x_forwarded-for: 192.0.2.1\r\nx_own: 1\r\nte: trailers\r\nconnection: close, host, x-request-id, te\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let request = &heard.all()[0];
    for line in ["host: web", "x_own: 1", "te: trailers", "connection: te"] {
        assert_eq!(request.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {request}");
    }
    // Another one was made.
    assert!(request.contains("x-request-id: ") && !request.contains("mine"), "{request}");
    assert!(!request.contains("bank") && !request.contains("192.0.2.1"), "{request}");
}

#[test]
fn who_is_answered_before_all_of_its_body_was_taken_is_told_that_the_connection_ends() {
    let scene = Scene::new(&[server(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).expect("a head") > 0);
        stream
            .write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
            .expect("written");
        let _ = stream.read_to_end(&mut Vec::new());
    })]);
    let mut caller = scene.connect();
    caller.write_all(b"POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 1000000\r\n\r\nabc").expect("written");
    let mut answer = Vec::new();
    caller.read_to_end(&mut answer).expect("an end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[test]
fn trace_contexts_go_through_as_they_are() {
    let fields = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
        ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90"),
        ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7"),
        ("x-b3-sampled", "1"),
        ("baggage", "user=alice"),
    ];
    let heard = Heard::default();
    let scene = Scene::with(&[answering(&heard, OK)], http1);
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    // In one piece, and taken apart.
    for more in ["", "x-request-id: 1\r\n"] {
        let said = format!("GET / HTTP/1.1\r\nhost: web\r\n{lines}{more}connection: close\r\n\r\n");
        assert!(scene.say(said.as_bytes()).starts_with("HTTP/1.1 200 "));
    }
    run(async {
        let request =
            fields.iter().fold(Request::get("http://web/"), |it, (name, value)| it.header(*name, *value));
        let (answer, _) =
            caller(&scene).await.send_request(request.body(()).expect("a request"), true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), 200);
    });
    let all = heard.all();
    assert_eq!(all.len(), 3);
    for (request, (name, value)) in all.iter().flat_map(|it| fields.iter().map(move |field| (it, field))) {
        assert!(request.contains(&format!("\r\n{name}: {value}\r\n")), "{name} in {request}");
    }
}
