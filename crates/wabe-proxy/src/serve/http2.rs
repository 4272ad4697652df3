//! A caller that speaks HTTP/2: its requests, many at a time.

use std::{mem, pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, server};
use http::{
    Method, Request,
    header::{CONTENT_LENGTH, COOKIE, HeaderValue},
};
use tokio::{
    select,
    sync::watch,
    task::{spawn_local, unconstrained},
    time::{Instant, sleep, timeout},
};

use crate::{
    access::Asked,
    answer::{Answerer, Protocol},
    body::Source,
    drain::is_true,
    exchange::{Over, exchange},
    failure::Failure,
    serve::{
        Caller, Proxy,
        http1::{LINGER, unled},
    },
    wire::{Prefixed, close, expect_to_read, split},
};

mod lent;

use lent::{Lent, Owned};

/// Streams at once.
pub(crate) const STREAMS: u32 = 256;
/// What a caller may send on a stream, and on all of a connection, before it is taken on: each stream has its part, whatever lies on
/// others that nobody takes on. (Callers are on the proxy's node, so that more would gain nothing.)
const WINDOW: u32 = 64 << 10;
pub(crate) const WINDOWS: u32 = STREAMS * WINDOW;
/// Of all headers of a request together, as HTTP/2 counts them.
pub(crate) const HEADERS: u32 = 64 << 10;
/// What waits on a stream to be written, however much the caller says that it would take.
pub(crate) const SENT: usize = 64 << 10;
/// Streams that a caller has reset before they were looked at (rapid reset, CVE-2023-44487), and that it made us reset.
const RESETS: usize = 32;
const MISTAKES: usize = 256;
/// How long streams have to end once the drain is over.
const LAST_STREAMS: Duration = Duration::from_millis(500);
/// How long is listened to the rest of a request that has been answered.
const BEHIND_ANSWER: Duration = Duration::from_secs(1);

/// Serves until the caller leaves or the proxy is to end.
pub(super) async fn serve(proxy: &Rc<Proxy>, caller: &Caller, stream: Prefixed) {
    expect_to_read(stream.stream(), Some(proxy.bounds.body));
    let mut settings = server::Builder::new();
    settings
        .max_concurrent_streams(STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .max_header_list_size(HEADERS)
        .max_send_buffer_size(SENT)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(MISTAKES));
    let owned = Rc::new(Owned::new(stream));
    let lent = Lent::new(&owned);
    let mut connection = match timeout(proxy.bounds.head, settings.handshake::<_, Bytes>(lent)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(?caller, %error, "no HTTP/2");
            if error.is_library() {
                ended(proxy, caller, Failure::BadHttp2);
            }
            return;
        }
        Err(_) => return ended(proxy, caller, Failure::SlowHead),
    };
    let mut closing = proxy.closing.subscribe();
    serve_streams(proxy, caller, &mut connection, &owned, &mut closing).await;
    drop(connection);
    // Dropped with bytes that nobody read it would be reset, and the caller might lose what it was told last.
    if let Some(stream) = Rc::into_inner(owned) {
        let (reader, writer) = split(stream.into_inner().into_stream());
        close(reader, writer).await;
    }
}

async fn serve_streams(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    connection: &mut server::Connection<Lent, Bytes>,
    owned: &Owned,
    closing: &mut watch::Receiver<bool>,
) {
    let (mut told, mut over) = (false, false);
    let mut drains = pin!(is_true(closing));
    let mut late = pin!(async {
        proxy.drain.over().await;
        sleep(LAST_STREAMS).await;
    });
    // Each request under way has one, and there was one since `idle` was set.
    let (under_way, mut served) = (Rc::new(()), false);
    let mut idle = pin!(sleep(proxy.bounds.idle));
    let mut abused = pin!(owned.abused(proxy.bounds.head));
    let mut unled = pin!(unled(proxy, caller));
    loop {
        // `accept` reads until nothing is left or tokio's budget is spent, so all else goes without: who never pauses would else
        // keep it from being heard.
        let next = select! {
            biased;
            next = connection.accept() => next,
            () = unconstrained(&mut drains), if !told => {
                // Those that are under way may end: the caller learns which these are (RFC 9113, section 6.8).
                connection.graceful_shutdown();
                told = true;
                continue;
            }
            () = unconstrained(&mut unled), if !told => {
                connection.graceful_shutdown();
                told = true;
                continue;
            }
            () = unconstrained(idle.as_mut()) => {
                let rests = Rc::strong_count(&under_way) == 1 && !mem::take(&mut served);
                // Who does not even take leave is left.
                if rests && told {
                    return;
                }
                let patience = if rests { proxy.bounds.idle.min(LINGER) } else { proxy.bounds.idle };
                if rests {
                    connection.graceful_shutdown();
                    told = true;
                }
                idle.as_mut().reset(Instant::now() + patience);
                continue;
            }
            abuse = unconstrained(&mut abused), if !over => {
                // Nothing else can come while a head does (section 4.3).
                ended(proxy, caller, abuse);
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                (told, over, served) = (true, true, false);
                idle.as_mut().reset(Instant::now() + LINGER);
                continue;
            }
            () = unconstrained(&mut late), if !over => {
                // Each was ended where it is answered. A caller that does not hear of that is not waited for.
                connection.abrupt_shutdown(Reason::NO_ERROR);
                over = true;
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
                served = true;
                let (proxy, caller, under_way) = (Rc::clone(proxy), caller.clone(), Rc::clone(&under_way));
                spawn_local(async move {
                    answer(&proxy, &caller, request, respond).await;
                    drop(under_way);
                });
            }
            Some(Err(error)) => {
                tracing::debug!(?caller, %error, "a caller's connection broke");
                // Callers may go as they like; what they say must be HTTP/2.
                if error.is_library() && !over {
                    let is_flood = error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
                    ended(proxy, caller, if is_flood { Failure::Http2Abuse } else { Failure::BadHttp2 });
                }
                return;
            }
            None => return,
        }
    }
}

/// Tells why a connection is ended, which none of its requests can.
fn ended(proxy: &Proxy, caller: &Caller, why: Failure) {
    let (world, service) = proxy.watched.in_force(caller.dialled);
    let mut record = proxy.log.record(caller, Asked::unknown());
    (record.service, record.world, record.failure) = (service, Some(world), Some(why));
    record.protocol = Some(Protocol::Http2);
}

async fn answer(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    request: Request<RecvStream>,
    respond: server::SendResponse<Bytes>,
) {
    // The proxy ends when all have.
    let _closing = proxy.closing.subscribe();
    let (mut head, mut stream) = request.into_parts();
    // RFC 9113, section 8.2.3: crumbs of one header.
    let crumbs: Vec<&[u8]> = head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        head.headers.insert(COOKIE, cookie);
    }
    // One that has none says so where others have one, or some servers would not serve it (RFC 9110, section 8.6).
    let has_none = stream.is_end_stream()
        && !matches!(head.method, Method::POST | Method::PUT | Method::PATCH)
        && !head.headers.contains_key(CONTENT_LENGTH);
    let source = if has_none { Source::Nothing } else { Source::Asked(&mut stream) };
    let answerer = Answerer::Http2 { respond, method: head.method.clone() };
    let news = proxy.watched.news();
    // In a box, as tasks are moved when they are begun.
    let over = Box::pin(exchange(proxy, caller, head.into(), source, answerer, &news)).await;
    if matches!(over, Over::Answered) && !stream.is_end_stream() {
        select! {
            () = Box::pin(take_rest(&mut stream)) => {}
            () = proxy.drain.over() => {}
        }
    }
}

/// Takes what a caller goes on to send though it has been answered. With the stream's reset (RFC 9113, section 8.1) right behind it
/// some don't see the answer: curl 7.88, for one.
async fn take_rest(stream: &mut RecvStream) {
    let rest = async {
        while let Some(Ok(data)) = stream.data().await {
            let _ = stream.flow_control().release_capacity(data.len());
        }
    };
    let _ = timeout(BEHIND_ANSWER, rest).await;
}
