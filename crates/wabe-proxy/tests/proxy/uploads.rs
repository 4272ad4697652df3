//! Bodies of requests that are still under way when something else happens: an answer, a change of protocol, a caller that leaves.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;
use wabe_proxy::Bounds;

use crate::{
    http1::{OK, answering, read_request},
    http2::grpc_echo,
    retries::{assert_answer, get},
    scene::{Heard, PATIENCE, Scene, server},
};

const MEGABYTE: usize = 1 << 20;

/// A head, up to its empty line.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut octet = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet).expect("more of a head");
        head.push(octet[0]);
    }
    String::from_utf8(head).expect("text")
}

#[test]
fn a_request_in_chunks_reaches_a_server_of_http2() {
    let scene = Scene::with(&[grpc_echo()], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["speaks"] = "Http2".into();
    });
    for more in ["", "x-request-id: 1\r\n"] {
        let said = format!(
            "POST / HTTP/1.1\r\nhost: web\r\n{more}transfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        let answer = scene.say(said.as_bytes());
        assert_answer(&answer, 200, "");
        assert!(answer.contains("abc"), "{answer}");
    }
}

#[test]
fn a_server_that_answers_early_and_reads_on_gets_all_of_the_body() {
    let heard = Heard::default();
    let scene = Scene::new(&[server({
        let heard = heard.clone();
        move |mut stream| {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").expect("written");
            let mut body = vec![0; 4 * MEGABYTE];
            heard.add(match stream.read_exact(&mut body) {
                Ok(()) => "all".to_owned(),
                Err(error) => error.to_string(),
            });
            while read_request(&mut stream).is_some() {
                stream.write_all(OK.as_bytes()).expect("written");
            }
        }
    })]);
    let mut caller = scene.connect();
    let said = format!("POST / HTTP/1.1\r\nhost: web\r\ncontent-length: {}\r\n\r\n", 4 * MEGABYTE);
    caller.write_all(said.as_bytes()).expect("written");
    let answer = head(&mut caller);
    assert!(answer.starts_with("HTTP/1.1 202 ") && !answer.contains("connection: close"), "{answer}");
    caller.write_all(&vec![b'a'; 4 * MEGABYTE]).expect("taken");
    assert_eq!(heard.wait(1), ["all"]);
    // And both connections are of use still.
    caller.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").expect("written");
    assert!(head(&mut caller).starts_with("HTTP/1.1 200 "));
}

#[test]
fn who_waited_for_leave_and_got_an_answer_is_told_that_the_connection_ends() {
    let scene = Scene::new(&[server(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").expect("written");
        let _ = stream.read_to_end(&mut Vec::new());
    })]);
    let mut caller = scene.connect();
    caller
        .write_all(b"POST / HTTP/1.1\r\nhost: web\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n")
        .expect("written");
    let answer = head(&mut caller);
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(caller.read(&mut [0; 1]).expect("an end"), 0);
}

#[test]
fn another_protocol_begins_behind_the_body() {
    let heard = Heard::default();
    let scene = Scene::new(&[server({
        let heard = heard.clone();
        move |mut stream| {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time");
            head(&mut stream);
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
                )
                .expect("written");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            heard.add(String::from_utf8_lossy(&rest));
        }
    })]);
    let mut caller = scene.connect();
    let said = "POST / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: echo\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    caller.write_all(said.as_bytes()).expect("written");
    assert!(head(&mut caller).starts_with("HTTP/1.1 101 "));
    // The proxy's own chunks have no extension.
    caller.write_all(b"5;a=b\r\nworld\r\n0\r\n\r\nnew words").expect("written");
    caller.shutdown(std::net::Shutdown::Write).expect("ended");
    let all = heard.wait(1)[0].clone();
    assert_eq!(all, "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\nnew words");
}

#[test]
fn other_protocols_are_not_for_http_1_0_nor_for_servers_of_http2() {
    let heard = Heard::default();
    let scene = Scene::new(&[answering(&heard, OK)]);
    let fields = "host: web\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let answer = scene.say(format!("GET / HTTP/1.0\r\n{fields}").as_bytes());
    assert_answer(&answer, 200, "");
    assert!(!heard.all()[0].contains("upgrade"), "{:?}", heard.all());
    let scene = Scene::with(&[grpc_echo()], |snapshot| {
        snapshot["ports"][0]["protocol"] = "http".into();
        snapshot["backends"][0]["speaks"] = "Http2".into();
    });
    let mut caller = scene.connect();
    write!(caller, "GET / HTTP/1.1\r\n{fields}").expect("written");
    assert!(head(&mut caller).starts_with("HTTP/1.1 200 "), "as if nothing had been asked for");
    assert_answer(&scene.say(b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"), 501, "unsupported");
    // None of which is held against the server.
    assert_answer(&get(&scene), 200, "");
}

#[test]
fn what_follows_a_tunnel_that_was_refused_is_no_request() {
    let heard = Heard::default();
    let scene = Scene::new(&[answering(&heard, "HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n")]);
    let answer =
        scene.say(b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\nGET /admin HTTP/1.1\r\nhost: web\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(heard.all().len(), 1, "{:?}", heard.all());
}

#[test]
fn an_endpoint_that_takes_nothing_is_left() {
    let bounds = Bounds { body: Duration::from_secs(3), ..Bounds::default() };
    let body = vec![b'a'; 64 * MEGABYTE];
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let scene = Scene::bounded(
        &[server(move |mut stream| {
            head(&mut stream);
            let _ = released.lock().expect("no panic").recv_timeout(PATIENCE * 2);
        })],
        bounds,
        |snapshot| snapshot["ports"][0]["protocol"] = "http".into(),
    );
    let said = format!("POST / HTTP/1.1\r\nhost: web\r\ncontent-length: {}\r\n\r\n", 64 * MEGABYTE);
    let mut caller = scene.connect();
    caller.set_write_timeout(Some(PATIENCE)).expect("a time");
    caller.write_all(said.as_bytes()).expect("written");
    // All of it is taken, if only to be thrown away, or some of it.
    let taken = caller.write_all(&body);
    assert!(taken.is_ok_and(|()| head(&mut caller).starts_with("HTTP/1.1 502 ")), "nobody takes more");
    release.send(()).expect("awaited");
}

/// Whatever the endpoint is asked for: its end shows when the proxy let go.
#[test]
fn a_caller_that_leaves_is_noticed_behind_what_it_sent() {
    let (gone, is_gone) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let scene = Scene::new(&[server(move |mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let head = head(&mut stream);
        if head.contains("/stuck") {
            // It reads nothing more until the caller has left for long.
            let _ = goes_on.lock().expect("no panic").recv_timeout(PATIENCE);
        } else {
            // Much waits meanwhile.
            thread::sleep(Duration::from_millis(300));
        }
        let mut sink = vec![0; MEGABYTE];
        let end = loop {
            match stream.read(&mut sink) {
                Ok(0) => break "closed".to_owned(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break "closed".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        gone.send(end).expect("awaited");
    })]);
    let ended = || is_gone.recv_timeout(PATIENCE).expect("the endpoint's connection ends");
    // Much of the body waits in the proxy, and before it.
    let mut caller = scene.connect();
    caller.set_write_timeout(Some(Duration::from_millis(500))).expect("a time");
    let said = format!("POST /stuck HTTP/1.1\r\nhost: web\r\ncontent-length: {}\r\n\r\n", 64 * MEGABYTE);
    caller.write_all(said.as_bytes()).expect("written");
    let _ = caller.write_all(&vec![b'a'; 64 * MEGABYTE]);
    // An end in order would come behind all that it wrote.
    SockRef::from(&caller).set_linger(Some(Duration::ZERO)).expect("set");
    drop(caller);
    let is_told = || {
        let figures = scene.figures().unwrap_or_default();
        figures
            .requests
            .iter()
            .flat_map(|it| &it.1.answers)
            .any(|it| it.reason.as_deref() == Some("no-answer"))
    };
    let since = Instant::now();
    while !is_told() {
        assert!(since.elapsed() < PATIENCE / 2, "the endpoint still takes nothing");
        thread::sleep(Duration::from_millis(50));
    }
    go_on.send(()).expect("awaited");
    assert_eq!(ended(), "closed");
    // All of the body came, and nothing else does.
    let mut caller = scene.connect();
    let said = format!("POST / HTTP/1.1\r\nhost: web\r\ncontent-length: {}\r\n\r\n", 32 * MEGABYTE);
    caller.write_all(said.as_bytes()).expect("written");
    caller.write_all(&vec![b'a'; 32 * MEGABYTE]).expect("written");
    thread::sleep(Duration::from_millis(500));
    drop(caller);
    assert_eq!(ended(), "closed");
}
