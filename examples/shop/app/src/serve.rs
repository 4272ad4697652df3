//! Serves HTTP/1.1 until asked to stop, then lets open requests end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use http_body_util::Full;
pub(crate) use hyper::body::Incoming;
use hyper::{
    Request, Response, StatusCode, body::Bytes, header::CONTENT_TYPE, server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, time::timeout};

use crate::signals::Stop;

/// The header in which an answer says who made it.
pub(crate) const SERVED_BY: &str = "x-served-by";

/// How long open requests may take after SIGTERM; less than the 10 s after which a workload is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Listens on `address` and serves `answer` until `stop`.
///
/// # Errors
/// The address can't be listened on.
pub(crate) async fn run<A>(address: SocketAddr, verbose: bool, answer: A, stop: Stop) -> Result<()>
where
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static,
{
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address}; is it in use?"))?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, verbose, answer, stop).await;
    Ok(())
}

/// Serves `answer` on this listener until `stop`; open requests get [`GRACE`] to end.
pub(crate) async fn serve<A>(listener: TcpListener, verbose: bool, answer: A, mut stop: Stop)
where
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    let open = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // The caller left before it was accepted, or descriptors ran out: the next one may fare better.
                Err(error) => {
                    eprintln!("accept: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
            () = stop.requested() => break,
        };
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request| {
            let response = answer(&request);
            if verbose {
                println!("{peer} {} {} {}", request.method(), request.uri(), response.status().as_u16());
            }
            async { Ok::<_, Infallible>(response) }
        });
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A caller that breaks off is its own business; nothing here depends on it.
            if let Err(error) = connection.await
                && verbose
            {
                println!("{peer} {error}");
            }
        });
    }
    drop(listener);
    if timeout(GRACE, open.shutdown()).await.is_err() {
        eprintln!("requests still open after {GRACE:?} were cut off");
    }
}

/// An answer of JSON, made by `served_by`.
pub(crate) fn json(served_by: &str, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header(SERVED_BY, served_by)
        .body(Full::new(body))
        .expect("invariant: the names of this program are valid header values")
}

/// The answer to a readiness probe.
pub(crate) fn healthy() -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(b"ok\n")))
}

/// The answer for an unknown path.
pub(crate) fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"not found\n")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{call::Target, catalogue::Catalogue, payment};

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    #[tokio::test]
    async fn catalogue_tells_its_version_in_header_and_body() {
        let (listener, address) = listener().await;
        let catalogue = Catalogue::new("v2".into()).expect("v2 exists");
        tokio::spawn(serve(listener, false, move |it| catalogue.answer(it), Stop::when(pending())));

        let target = Target::parse(&format!("http://{address}/catalogue")).expect("a URL");
        assert_eq!(target.call().await.expect("an answer").served_by, "catalogue-v2");

        let mut raw = tokio::net::TcpStream::connect(address).await.expect("connects");
        raw.write_all(b"GET /catalogue HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut text = String::new();
        raw.read_to_string(&mut text).await.expect("an answer");
        let (_, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["version"], "v2");
        assert_eq!(body["goods"][0]["price"], 7);
    }

    #[tokio::test]
    async fn payment_answers_its_path_and_no_other() {
        let (listener, address) = listener().await;
        tokio::spawn(serve(listener, false, payment::answer, Stop::when(pending())));
        let call = |path| Target::parse(&format!("http://{address}{path}")).expect("a URL");
        assert_eq!(call("/pay").call().await.expect("an answer").served_by, "payment");
        assert!(call("/healthz").call().await.is_ok());
        let error = call("/steal").call().await.expect_err("no such path");
        assert_eq!(error.to_string(), "status 404 Not Found");
    }

    #[tokio::test]
    async fn stops_listening_but_ends_the_open_request_first() {
        let (listener, address) = listener().await;
        let (ask, asked) = tokio::sync::oneshot::channel::<()>();
        let stop = Stop::when(async move {
            asked.await.ok();
        });
        let server = tokio::spawn(serve(listener, false, payment::answer, stop));

        // Half a request: the connection is in use when the signal comes.
        let mut open = tokio::net::TcpStream::connect(address).await.expect("connects");
        open.write_all(b"GET /pay HTTP/1.1\r\nhost: x\r\n\r\nGET /pay HT").await.expect("sent");
        let mut first = [0; 12];
        open.read_exact(&mut first).await.expect("the first answer");
        ask.send(()).expect("the server runs");
        open.write_all(b"TP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        let mut rest = String::new();
        open.read_to_string(&mut rest).await.expect("the answers");
        assert!(rest.contains(r#"{"paid":true}"#), "{rest}");

        server.await.expect("ends by itself");
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }
}
