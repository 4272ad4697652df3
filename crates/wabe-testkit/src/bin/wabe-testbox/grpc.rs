//! gRPC: the server of the Gateway API's conformance tests (`conformance/echo-basic` of kubernetes-sigs/gateway-api), and a caller.

use std::{env, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::{RecvStream, client, server};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{args::Args, report};

mod message;

/// The service of the conformance tests, and its methods that are implemented.
const ECHO: &str = "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/";
const METHODS: [&str; 2] = ["Echo", "EchoTwo"];
/// Sends back what comes on a stream, as it comes.
pub(crate) const STREAM: &str = "/wabe.testbox.Echo/Stream";

/// Serves until killed. `tells` of each call of the echo, so that a copy that nobody hears answered is seen.
pub(crate) async fn serve(listener: TcpListener, tells: bool) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    stream.set_nodelay(true).ok();
                    let Ok(mut connection) = server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        // A caller that has gone needs no answer.
                        tokio::spawn(async move { answer(request, respond, tells).await.ok() });
                    }
                });
            }
            // Out of descriptors, or the caller left: others may fare better soon.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: server::SendResponse<Bytes>,
    tells: bool,
) -> Result<()> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path();
    let implemented = path.strip_prefix(ECHO).is_some_and(|it| METHODS.contains(&it));
    if !implemented && path != STREAM {
        const UNIMPLEMENTED: u8 = 12;
        respond.send_response(begun(Some(UNIMPLEMENTED))?, true)?;
        return Ok(());
    }
    let mut answer = respond.send_response(begun(None)?, false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if path == STREAM {
            answer.send_data(data, false)?;
        }
    }
    if path != STREAM {
        let authority = head.uri.authority().map_or("", |it| it.as_str());
        let pod = env::var("WABE_WORKLOAD").unwrap_or_default();
        let response = message::response(path, authority, &head.headers, &pod);
        if tells {
            report::line(&json!({ "called": message::told(&response)? }));
        }
        answer.send_data(message::framed(&response), false)?;
    }
    answer.send_trailers(status(0))?;
    Ok(())
}

fn begun(failed: Option<u8>) -> Result<Response<()>> {
    let mut head = Response::builder().header("content-type", "application/grpc").body(())?;
    head.headers_mut().extend(failed.map(status).unwrap_or_default());
    Ok(head)
}

fn status(code: u8) -> HeaderMap {
    [(HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(code)))].into_iter().collect()
}

/// `grpc HOST:PORT [--count N] [NAME:VALUE...]`: so many calls of `Echo`, one after the other on one connection.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn call(args: &mut Args) -> Result<()> {
    let authority = args.word("an address and port, as name:7070")?;
    let count: usize = args.option("count")?.unwrap_or(1);
    let mut headers = HeaderMap::new();
    while let Some(word) = args.maybe_word() {
        let (name, value) = word.split_once(':').context("a header is NAME:VALUE")?;
        headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let stream = TcpStream::connect(&authority).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = client::handshake(stream).await?;
    tokio::spawn(connection);
    for _ in 0..count {
        sender = sender.ready().await?;
        let mut request = request(&authority, &format!("{ECHO}{}", METHODS[0]))?;
        request.headers_mut().extend(headers.clone());
        let (answer, mut body) = sender.send_request(request, false)?;
        body.send_data(message::framed(&[]), true)?;
        let (head, mut body) = answer.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            bytes.extend_from_slice(&data);
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        let status = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status"));
        let status = status.and_then(|it| it.to_str().ok()).unwrap_or("none").to_owned();
        let told = if status == "0" { message::told(message::unframed(&bytes)?)? } else { json!({}) };
        report::line(&json!({ "http": head.status.as_u16(), "status": status, "told": told }));
    }
    Ok(())
}

/// A call's head.
pub(crate) fn request(authority: &str, path: &str) -> Result<Request<()>> {
    let uri = format!("http://{authority}{path}");
    let head = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    Ok(head.body(())?)
}
