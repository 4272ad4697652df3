//! What is accepted here, hyper reads the same way.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wabe_http1::is_persistent;

use crate::support::{Read, inputs, read_all, written};

/// Method, target, fields, body, trailers.
type Understood = (String, String, HeaderMap, Vec<u8>, HeaderMap);

fn understood(read: &Read) -> Understood {
    let head = &read.head;
    let target = head.uri.to_string();
    (head.method.to_string(), target, head.headers.clone(), read.body.clone(), read.trailers.clone())
}

/// What hyper hands to a service, for each request of `input` whose end came.
async fn by_hyper(input: &[u8]) -> Vec<Understood> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(input).await.unwrap();
    client.shutdown().await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let trailers = body.trailers().cloned().unwrap_or_default();
                let body = body.to_bytes().to_vec();
                let read = (head.method.to_string(), head.uri.to_string(), head.headers, body, trailers);
                seen.lock().unwrap().push(read);
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut answers = Vec::new();
    {
        let connection =
            http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
        let _ = pin!(connection).await;
    }
    client.read_to_end(&mut answers).await.unwrap();
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

/// The requests that a server answers, up to the one after which it closes.
fn answered(read: Vec<Read>) -> Vec<Read> {
    let mut open = true;
    let answered = read.into_iter().take_while(|it| {
        let now = open && it.complete;
        open &= is_persistent(it.head.version, &it.head.headers);
        now
    });
    answered.collect()
}

#[tokio::test]
async fn on_what_is_accepted() {
    const INPUTS: usize = 1500;
    let (mut runner, mut compared) = (TestRunner::deterministic(), 0);
    for _ in 0..INPUTS {
        let input = inputs().new_tree(&mut runner).unwrap().current();
        let read = answered(read_all(&input).0);
        let ours: Vec<Understood> = read.iter().map(understood).collect();
        let theirs = by_hyper(&input).await;
        let common = theirs.get(..ours.len());
        assert_eq!(common, Some(&ours[..]), "{}", input.escape_ascii());
        compared += ours.len();
    }
    println!("{compared} requests of {INPUTS} inputs");
    assert!(compared > INPUTS / 2, "{compared} are few");
}

#[tokio::test]
async fn on_what_is_written() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..500 {
        let input = inputs().new_tree(&mut runner).unwrap().current();
        for read in read_all(&input).0.iter().filter(|it| it.complete) {
            let theirs = by_hyper(&written(read)).await;
            let [(method, target, _, body, trailers)] = &theirs[..] else { panic!("{theirs:?}") };
            assert_eq!(method, read.head.method.as_str());
            assert_eq!(target, read.head.uri.path_and_query().unwrap().as_str());
            assert_eq!((body, trailers), (&read.body, &read.trailers));
        }
    }
}
