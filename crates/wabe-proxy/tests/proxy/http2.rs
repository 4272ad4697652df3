//! Callers that speak HTTP/2, with servers that speak either.

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, client, server as h2_server};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    http1::{OK, answering},
    scene::{Heard, PATIENCE, Scene, nobody},
};

/// Runs a test's calls, within [`PATIENCE`].
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") });
}

pub async fn caller(scene: &Scene) -> client::SendRequest<Bytes> {
    let stream = TcpStream::connect(scene.address).await.expect("connected");
    let (sender, connection) = client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.ready().await.expect("ready")
}

/// A server of gRPC that echoes each message and tells its sum at the end, or that it failed (`/failing`). Its own thread ends with the test.
pub fn grpc_echo() -> SocketAddr {
    grpc_echo_that_tells(&Heard::default())
}

/// The same, of each call that came to its end.
pub fn grpc_echo_that_tells(heard: &Heard) -> SocketAddr {
    grpc_server(heard, false)
}

/// The same, which fails at no path.
pub fn grpc_echo_that_is_well(heard: &Heard) -> SocketAddr {
    grpc_server(heard, true)
}

fn grpc_server(heard: &Heard, is_well: bool) -> SocketAddr {
    let heard = heard.clone();
    serving(move |mut connection| {
        let heard = heard.clone();
        async move {
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(echo(request, respond, heard.clone(), is_well));
            }
        }
    })
}

/// A connection to a server of these tests.
pub type Served = h2_server::Connection<TcpStream, Bytes>;

/// A server of HTTP/2 on a thread of its own, which ends with the test.
pub fn serving<F>(serve: impl Fn(Served) -> F + Send + Sync + Clone + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("non-blocking");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let serve = serve.clone();
                tokio::spawn(async move { serve(h2_server::handshake(stream).await.expect("HTTP/2")).await });
            }
        });
    });
    address
}

async fn echo(
    request: Request<RecvStream>,
    mut respond: h2_server::SendResponse<Bytes>,
    heard: Heard,
    is_well: bool,
) {
    let path = request.uri().path().to_owned();
    if request.uri().path() == "/silent" {
        tokio::time::sleep(PATIENCE * 2).await;
        return;
    }
    let failing = !is_well && request.uri().path() == "/failing";
    let breaking = !is_well && request.uri().path() == "/breaking";
    if request.uri().path() == "/failing/at-once" {
        let head = Response::builder().header("content-type", "application/grpc").header("grpc-status", "5");
        respond.send_response(head.body(()).expect("a head"), true).expect("ended");
        return;
    }
    let unending = request.uri().path() == "/unending";
    let mut body = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
    let mut answer = respond.send_response(head, false).expect("begun");
    if unending {
        tokio::time::sleep(PATIENCE * 2).await;
    }
    let mut sum = 0;
    while let Some(Ok(data)) = body.data().await {
        sum += data.len();
        let _ = body.flow_control().release_capacity(data.len());
        answer.send_data(data, false).expect("sent");
    }
    heard.add(format!("{path}: {sum} bytes"));
    if breaking {
        // Else its head might be thrown away with it.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        return answer.send_reset(h2::Reason::INTERNAL_ERROR);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(if failing { "13" } else { "0" }));
    trailers.insert("x-sum", HeaderValue::from(sum));
    answer.send_trailers(trailers).expect("ended");
}

pub fn post(path: &str, kind: &'static str) -> Request<()> {
    let uri = format!("http://web{path}");
    Request::post(uri).header("content-type", kind).header("te", "trailers").body(()).expect("a request")
}

#[test]
fn a_server_that_knows_http1_only_serves_callers_of_http2() {
    let heard = Heard::default();
    let scene = Scene::with(&[answering(&heard, OK)], |snapshot| {
        snapshot["backends"][0]["speaks"] = "Http1".into();
    });
    run(async {
        let mut caller = caller(&scene).await;
        let request =
            Request::get("http://web/a?b=c").header("cookie", "a=1").header("cookie", "b=2").body(());
        let (answer, _) = caller.send_request(request.expect("a request"), true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.headers().contains_key("connection"));
        let data = answer.into_body().data().await.expect("data").expect("data");
        assert_eq!(data, "ok");
    });
    let request = &heard.all()[0];
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: web\r\n") && request.contains("cookie: a=1; b=2\r\n"), "{request}");
}

#[test]
fn streams_of_grpc_go_both_ways_at_once_and_end_with_trailers() {
    let scene = Scene::new(&[grpc_echo()]);
    run(async {
        let mut caller = caller(&scene).await;
        let (answer, mut sender) =
            caller.send_request(post("/Echo/Both", "application/grpc"), false).expect("sent");
        sender.send_data(Bytes::from_static(b"one"), false).expect("sent");
        // The answer begins while the request goes on.
        let mut body = answer.await.expect("an answer").into_body();
        for word in ["one", "two", "three"] {
            assert_eq!(body.data().await.expect("data").expect("data"), word);
            let next = if word == "one" { "two" } else { "three" };
            sender.send_data(Bytes::from_static(next.as_bytes()), word == "three").expect("sent");
        }
        assert_eq!(body.data().await.expect("data").expect("data"), "three");
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.expect("trailers").expect("trailers");
        assert_eq!(
            (&trailers["grpc-status"], &trailers["x-sum"]),
            (&"0".parse().expect("a value"), &"16".parse().expect("a value"))
        );
    });
}

#[test]
fn failures_are_told_in_grpcs_own_way() {
    let scene = Scene::new(&[nobody()]);
    run(async {
        let mut caller = caller(&scene).await;
        let (answer, _) = caller.send_request(post("/Echo/Both", "application/grpc"), true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(
            (answer.status(), &answer.headers()["grpc-status"]),
            (StatusCode::OK, &HeaderValue::from_static("14"))
        );
        assert_eq!(answer.headers()["x-wabe-reason"], "connect-failed");
    });
}

#[test]
fn who_is_answered_before_it_has_said_all_may_say_the_rest_for_a_while() {
    // More than a stream's window.
    let rest = Bytes::from(vec![b'x'; 200 << 10]);
    let scene = Scene::new(&[]);
    run(async {
        let mut caller = caller(&scene).await;
        for goes_on in [false, true] {
            let (answer, mut body) = caller.send_request(post("/", "text/plain"), false).expect("sent");
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.headers()["x-wabe-reason"], "no-healthy-endpoint");
            let mut text = answer.into_body();
            while text.data().await.is_some_and(|it| it.is_ok()) {}
            assert!(text.is_end_stream(), "it is whole");
            let mut rest = rest.clone();
            while !rest.is_empty() {
                body.reserve_capacity(rest.len());
                let room = poll_fn(|context| body.poll_capacity(context)).await.expect("open").expect("room");
                let part = rest.split_to(room.min(rest.len()));
                body.send_data(part, !goes_on && rest.is_empty()).expect("sent");
            }
            if goes_on {
                let reset = poll_fn(|context| body.poll_reset(context)).await;
                assert_eq!(reset.expect("a reset"), Reason::NO_ERROR);
            }
        }
    });
}

#[test]
fn a_callers_own_deadline_holds() {
    let scene = Scene::new(&[grpc_echo()]);
    run(async {
        let mut caller = caller(&scene).await;
        let mut request = post("/silent", "application/grpc");
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("50m"));
        let (answer, _) = caller.send_request(request, true).expect("sent");
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED");
        assert_eq!(answer.headers()["x-wabe-reason"], "caller-deadline");
    });
}

#[test]
fn a_callers_own_deadline_ends_a_call_that_is_being_answered() {
    let scene = Scene::new(&[grpc_echo()]);
    run(async {
        let mut caller = caller(&scene).await;
        let mut request = post("/unending", "application/grpc");
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("2S"));
        let (answer, _) = caller.send_request(request, true).expect("sent");
        let answer = answer.await.expect("it has begun");
        assert!(!answer.headers().contains_key("grpc-status"), "{answer:?}");
        let trailers = answer.into_body().trailers().await.expect("the end").expect("trailers");
        assert_eq!(trailers["grpc-status"], "4", "DEADLINE_EXCEEDED");
    });
}

#[test]
fn what_an_endpoint_says_of_its_connection_with_an_interim_answer_stays_there() {
    let heard = Heard::default();
    let answer = "HTTP/1.1 100 Continue\r\nconnection: keep-alive\r\nkeep-alive: timeout=5\r\n\r\n\
                  HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let scene = Scene::with(&[answering(&heard, answer)], |snapshot| {
        snapshot["backends"][0]["speaks"] = "Http1".into();
    });
    run(async {
        let mut caller = caller(&scene).await;
        let request = Request::get("http://web/").body(()).expect("a request");
        let (answer, _) = caller.send_request(request, true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), StatusCode::OK);
    });
    let got = scene.say(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{got}");
}

#[test]
fn many_streams_share_a_connection() {
    let scene = Scene::new(&[grpc_echo()]);
    run(async {
        let mut caller = caller(&scene).await;
        let mut answers = Vec::new();
        for number in 0..100 {
            caller = caller.ready().await.expect("ready");
            let (answer, mut sender) =
                caller.send_request(post("/Echo/Both", "application/grpc"), false).expect("sent");
            sender.send_data(Bytes::from(vec![b'a'; number]), true).expect("sent");
            answers.push(answer);
        }
        for (number, answer) in answers.into_iter().enumerate() {
            let mut body = answer.await.expect("an answer").into_body();
            let mut bytes = 0;
            while let Some(data) = body.data().await {
                bytes += data.expect("data").len();
            }
            assert_eq!(bytes, number);
        }
    });
}

#[test]
fn a_stream_that_its_caller_resets_does_not_disturb_the_others() {
    let scene = Scene::new(&[grpc_echo()]);
    run(async {
        let mut caller = caller(&scene).await;
        let (_silent, mut sender) =
            caller.send_request(post("/silent", "application/grpc"), false).expect("sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
        sender.send_reset(Reason::CANCEL);
        let mut caller = caller.ready().await.expect("ready");
        let (answer, mut sender) =
            caller.send_request(post("/Echo/Both", "application/grpc"), false).expect("sent");
        sender.send_data(Bytes::from_static(b"one"), true).expect("sent");
        assert_eq!(
            answer.await.expect("an answer").into_body().data().await.expect("data").expect("data"),
            "one"
        );
    });
}

#[test]
fn an_endpoint_that_answers_before_it_has_heard_all_is_heard() {
    let server = serving(|mut connection| async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = Response::builder().status(StatusCode::PAYLOAD_TOO_LARGE).body(()).expect("a head");
            let mut answer = respond.send_response(head, false).expect("begun");
            answer.send_data("too large".into(), true).expect("sent");
            // Its reset comes right behind.
            drop(request);
        }
    });
    let scene = Scene::new(&[server]);
    run(async {
        for turn in 0..20 {
            let mut caller = caller(&scene).await;
            let (answer, mut body) = caller.send_request(post("/", "text/plain"), false).expect("sent");
            body.send_data(vec![b'x'; 40 << 10].into(), false).expect("sent");
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{turn}");
            let data = answer.into_body().data().await.expect("data").expect("data");
            assert_eq!(data, "too large");
        }
    });
}
