//! An HTTP/1 server that tells what it was asked, with WebSockets, and gRPC at another port.

use std::{env, io, net::SocketAddr, time::Duration};

use anyhow::Result;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};

use crate::{args::Args, grpc, hold::raise_descriptor_limit, report, websocket};

/// Serves until killed.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: &Args) -> Result<()> {
    raise_descriptor_limit()?;
    let listener = TcpListener::bind(args.listen()?).await?;
    if let Some(address) = args.option::<SocketAddr>("grpc")? {
        tokio::spawn(grpc::serve(TcpListener::bind(address).await?, args.has("tell")));
    }
    report::line(&json!({ "listening": listener.local_addr()?.to_string() }));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let service =
                    service_fn(move |request| answer(request, peer.ip().to_canonical().to_string()));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A caller that resets, or that is dropped as it asked for, is its own business.
                tokio::spawn(async move { drop(connection.with_upgrades().await) });
            }
            // Out of descriptors, or the caller left: others may fare better soon.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn answer(mut request: Request<Incoming>, peer: String) -> io::Result<Response<Full<Bytes>>> {
    if request.uri().path() == "/chat" && request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            // A caller that has gone says nothing more.
            if let Ok(stream) = upgrade.await {
                websocket::echo(TokioIo::new(stream)).await;
            }
        });
        let answer =
            Response::builder().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        return answer.body(Full::default()).map_err(io::Error::other);
    }
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let number =
        |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.split('/').next()?.parse().ok());
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if path.starts_with("/drop") {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if let Some(delay) = number("/delay/") {
        sleep(Duration::from_millis(delay)).await;
    }
    let mut headers = serde_json::Map::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match headers.get_mut(name.as_str()) {
            Some(Value::Array(values)) => values.push(value.into()),
            _ => drop(headers.insert(name.as_str().to_owned(), json!([value]))),
        }
    }
    let told = json!({
        "workload": env::var("WABE_WORKLOAD").unwrap_or_default(),
        "replica": env::var("WABE_REPLICA").unwrap_or_default(),
        "method": head.method.as_str(),
        "path": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body": String::from_utf8_lossy(&body[..body.len().min(1024)]),
        "bytes": body.len(),
        "peer": peer,
    });
    let status = number("/status/").and_then(|it| u16::try_from(it).ok()).unwrap_or(200);
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(Full::from(format!("{told}\n"))).map_err(io::Error::other)
}
