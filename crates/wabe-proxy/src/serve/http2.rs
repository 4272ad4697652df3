//! A caller that speaks HTTP/2: its requests, many at a time.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, server};
use http::{
    Request,
    header::{COOKIE, HeaderValue},
};
use tokio::{select, task::spawn_local, time::timeout};

use crate::{
    answer::Answerer,
    body::Source,
    exchange::exchange,
    serve::{Caller, Proxy},
    wire::Prefixed,
};

/// How long a caller has to begin.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Streams at once.
const STREAMS: u32 = 256;
/// What a caller may send on a stream, and on all of a connection, before it is taken on.
const WINDOW: u32 = 256 << 10;
const WINDOWS: u32 = 1 << 20;
/// Of all headers of a request together, as HTTP/2 counts them.
const HEADERS: u32 = 64 << 10;
/// Streams that a caller has reset before they were looked at (rapid reset, CVE-2023-44487), and that it made us reset.
const RESETS: usize = 32;
const MISTAKES: usize = 256;

/// Serves until the caller leaves or the proxy is to end.
pub(super) async fn serve(proxy: &Rc<Proxy>, caller: &Caller, stream: Prefixed) {
    let mut settings = server::Builder::new();
    settings
        .max_concurrent_streams(STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .max_header_list_size(HEADERS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(MISTAKES));
    let mut connection = match timeout(HANDSHAKE, settings.handshake::<_, Bytes>(stream)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(?caller, %error, "no HTTP/2"),
        Err(_) => return tracing::debug!(?caller, "HTTP/2 was not begun in time"),
    };
    let mut closing = proxy.closing.subscribe();
    let mut told = false;
    loop {
        let next = select! {
            biased;
            next = connection.accept() => next,
            _ = closing.wait_for(|it| *it), if !told => {
                // Those that are under way may end.
                connection.graceful_shutdown();
                told = true;
                continue;
            }
        };
        match next {
            Some(Ok((request, respond))) => {
                if !told && !proxy.watched.is_led_here(caller.dialled) {
                    // The next connection is led elsewhere.
                    connection.graceful_shutdown();
                    told = true;
                }
                let (proxy, caller) = (Rc::clone(proxy), caller.clone());
                spawn_local(async move { answer(&proxy, &caller, request, respond).await });
            }
            Some(Err(error)) => {
                tracing::debug!(?caller, %error, "a caller's connection broke");
                return;
            }
            None => return,
        }
    }
}

async fn answer(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    request: Request<RecvStream>,
    respond: server::SendResponse<Bytes>,
) {
    // The proxy ends when all have.
    let _closing = proxy.closing.subscribe();
    let (mut head, stream) = request.into_parts();
    // RFC 9113, section 8.2.3: crumbs of one header.
    let crumbs: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        head.headers.insert(COOKIE, cookie);
    }
    let source = if stream.is_end_stream() { Source::Nothing } else { Source::Http2(Box::new(stream)) };
    let answerer = Answerer::Http2 { respond, method: head.method.clone() };
    // In a box, as tasks are moved when they are begun.
    let _ = Box::pin(exchange(proxy, caller, head, source, answerer)).await;
}
