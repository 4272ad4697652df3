//! A server of hyper, in memory.

use std::{
    convert::Infallible,
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Outcome, backend::Reached, status_of};

/// What hyper hands to its service.
pub fn outcome(bytes: &[u8]) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(served(bytes))
}

async fn served(bytes: &[u8]) -> Outcome {
    let reached = AtomicU8::new(0);
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(bytes).await.expect("there is room");
    let service = service_fn(|request: Request<Incoming>| {
        let reached = &reached;
        async move {
            reached.fetch_max(1, Ordering::Relaxed);
            if request.into_body().collect().await.is_ok() {
                reached.fetch_max(2, Ordering::Relaxed);
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let mut answer = vec![0; 4096];
    let waits = tokio::time::timeout(Duration::from_millis(50), pin!(connection)).await.is_err();
    let read = client.read(&mut answer);
    let length = tokio::time::timeout(Duration::from_millis(20), read).await.map_or(0, |it| it.unwrap_or(0));
    let otherwise = if waits { "waits" } else { "closed" };
    Outcome {
        status: status_of(&answer[..length]).unwrap_or_else(|| otherwise.into()),
        reached: match reached.into_inner() {
            0 => Reached::Nothing,
            1 => Reached::Head,
            _ => Reached::Whole,
        },
    }
}
