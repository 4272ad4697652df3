//! A caller that speaks HTTP/1: its requests, one after the other.

use std::{
    cell::Cell,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::Version;
use tokio::{
    net::TcpStream,
    select,
    sync::watch,
    time::{Instant, Sleep, sleep, timeout_at},
};
use wabe_http1::{BodyDecoder, Framing, Limits, Refusal, is_persistent, plain_request, request};

use crate::{
    access,
    answer::Answerer,
    body::Source,
    exchange::{Over, Switched, exchange},
    failure::Failure,
    head::Head,
    policy::Case,
    serve::{Caller, Proxy, refuse},
    tunnel,
    upstream::Http1,
    websocket,
    wire::{Reader, Writer, close, close_behind_body, expect_to_read, split},
    world::News,
};

/// How long a connection may do nothing once the proxy is to end: the next request may be on its way, and is answered with `Connection: close`.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// Serves until the caller leaves, an answer says that it is the last, or the proxy is to end. `first` was read already.
pub(super) async fn serve(proxy: &Rc<Proxy>, caller: &Caller, stream: TcpStream, first: bytes::BytesMut) {
    expect_to_read(&stream, Some(proxy.bounds.body));
    let (mut reader, mut writer) = split(stream);
    reader.buffer = first;
    let (idle, closing) = (pin!(sleep(proxy.bounds.idle)), proxy.closing.subscribe());
    let lingering = pin!(async {
        select! {
            () = lingering(proxy.closing.subscribe()) => {}
            () = unled(proxy, caller) => {}
        }
    });
    let parted = proxy.watched.partings();
    let mut patience =
        Patience { proxy, caller, parted, idle, lingering, closing, served: false, asleep: false };
    let limits = Limits::default();
    let (closes, news) = (Cell::new(false), proxy.watched.news());
    loop {
        let Asked { head, version, framing, persistent } = match next(&mut reader, &limits, &mut patience)
            .await
        {
            Next::Request(asked) => *asked,
            Next::Over => return,
            Next::Refused(refusal) => {
                Box::pin(refuse_and_close(proxy, caller, reader, writer, Failure::Malformed(refusal))).await;
                return;
            }
            Next::Slow => {
                Box::pin(refuse_and_close(proxy, caller, reader, writer, Failure::SlowHead)).await;
                return;
            }
        };
        patience.served = true;
        // A caller that closes its direction waits for nothing: nginx and Envoy see it so, too.
        writer.heed();
        let led_here = proxy.watched.is_led_here(caller.dialled);
        closes.set(!persistent || patience.is_closing() || !led_here);
        let mut decoder = BodyDecoder::new(framing, &limits);
        let unread = !decoder.is_done();
        let over = {
            let source = match framing {
                Framing::None => Source::Nothing,
                Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
                    Source::Http1 { reader: &mut reader, decoder: &mut decoder, framing }
                }
            };
            let method = head.method().clone();
            let answerer = Answerer::Http1 { writer: &mut writer, method, version, closes: &closes, unread };
            // In a box, as a connection that waits for its next request is to be small.
            Box::pin(exchange(proxy, caller, head, source, answerer, &news)).await
        };
        match over {
            Over::Answered if decoder.is_done() && !closes.get() => {}
            // What is left of the request's body would be taken for the next request.
            Over::Answered if !decoder.is_done() => {
                // It is told all that there is time for.
                select! {
                    () = Box::pin(close_behind_body(reader, writer)) => return,
                    () = proxy.drain.over() => return,
                }
            }
            Over::Answered => return Box::pin(close(reader, writer)).await,
            // Where the connection's end is the answer's, it would seem whole.
            Over::Broken if version == Version::HTTP_10 => return writer.reset(),
            Over::Broken => return,
            Over::Switched(switched) => {
                let closing = patience.closing;
                return Box::pin(carry_on(proxy, caller, closing, *switched, (reader, writer), &news)).await;
            }
        }
        if reader.buffer.is_empty() {
            reader.rest();
            writer.rest();
        }
    }
}

/// What both ends say once they talk something else.
async fn carry_on(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    mut closing: watch::Receiver<bool>,
    switched: Switched,
    ours: (Reader, Writer),
    news: &News<'_>,
) {
    let Switched { connection, endpoint, mut head, mut record, counted: _counted, is_websocket } = switched;
    let case = Case { proxy, caller, endpoint: &endpoint, news };
    let revoked = async { record.refused(case.revoked(&mut head).await) };
    // Whoever talks something else may let the other end wait for as long as it likes.
    let Http1 { reader, writer, .. } = *connection;
    [&ours.0, &reader].iter().for_each(|it| expect_to_read(it.stream(), None));
    let theirs = (reader, writer);
    let moved = if is_websocket {
        websocket::between(proxy, &mut closing, ours, theirs, revoked).await
    } else {
        tunnel::between(ours, theirs, proxy.tunnel_limits(), revoked).await
    };
    record.tunnelled(moved);
}

/// Completes once the proxy is to end and a while has gone by.
pub(super) async fn lingering(mut closing: watch::Receiver<bool>) {
    if closing.wait_for(|it| *it).await.is_ok() {
        sleep(LINGER).await;
    }
}

/// Completes some time after callers of what this one dialled are led here no more: long before that is forgotten, but not while what
/// they asked for may be on its way.
pub(super) async fn unled(proxy: &Proxy, caller: &Caller) {
    loop {
        if !proxy.watched.is_led_here(caller.dialled) {
            sleep(LINGER).await;
            if !proxy.watched.is_led_here(caller.dialled) {
                return;
            }
        }
        proxy.watched.parted().await;
    }
}

/// What ends the wait for a request. Made once for each connection: timers of each request would cost more than they are for.
struct Patience<'a, L> {
    proxy: &'a Proxy,
    caller: &'a Caller,
    /// As often had services gone when it was seen last that callers are led here.
    parted: u64,
    idle: Pin<&'a mut Sleep>,
    /// Of the proxy that is to end, and of callers that are led here no more.
    lingering: Pin<&'a mut L>,
    closing: watch::Receiver<bool>,
    /// There was a request since `idle` was set.
    served: bool,
    /// Both know whom to wake.
    asleep: bool,
}

impl<L: Future<Output = ()>> Patience<'_, L> {
    async fn ends(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // They wake this task; until then it is of no use to ask them.
        let is_quiet =
            matches!(self.closing.has_changed(), Ok(false)) && self.proxy.watched.partings() == self.parted;
        if self.asleep && !self.idle.is_elapsed() && is_quiet {
            return Poll::Pending;
        }
        self.asleep = true;
        if self.lingering.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if self.proxy.watched.is_led_here(self.caller.dialled) {
            self.parted = self.proxy.watched.partings();
        }
        while self.idle.as_mut().poll(context).is_ready() {
            if !mem::take(&mut self.served) {
                return Poll::Ready(());
            }
            self.idle.as_mut().reset(Instant::now() + self.proxy.bounds.idle);
        }
        Poll::Pending
    }

    /// Whether the answer to this request is to be the last.
    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// A request of which the head came.
struct Asked {
    head: Head,
    version: Version,
    framing: Framing,
    /// The caller would ask for more on this connection.
    persistent: bool,
}

impl Asked {
    /// Takes one off the buffer, if it is whole.
    fn take(buffer: &mut bytes::BytesMut, limits: &Limits) -> Result<Option<Self>, Refusal> {
        if let Some(plain) = plain_request(buffer, limits, Head::is_special) {
            let (framing, persistent) = (plain.framing, plain.persistent);
            return Ok(Some(Self {
                head: Head::whole(plain),
                version: Version::HTTP_11,
                framing,
                persistent,
            }));
        }
        let Some((head, framing)) = request(buffer, limits)? else { return Ok(None) };
        let (version, persistent) = (head.version, is_persistent(head.version, &head.headers));
        Ok(Some(Self { head: head.into(), version, framing, persistent }))
    }
}

enum Next {
    Request(Box<Asked>),
    /// Nothing more comes, or nothing more is wanted.
    Over,
    Refused(Refusal),
    Slow,
}

async fn next<L: Future<Output = ()>>(
    reader: &mut Reader,
    limits: &Limits,
    patience: &mut Patience<'_, L>,
) -> Next {
    let mut deadline = None;
    loop {
        if !reader.buffer.is_empty() {
            match Asked::take(&mut reader.buffer, limits) {
                Ok(Some(asked)) => return Next::Request(Box::new(asked)),
                Ok(None) => {}
                Err(refusal) => return Next::Refused(refusal),
            }
        }
        let got = if reader.buffer.is_empty() {
            select! {
                biased;
                got = reader.fill() => got,
                () = patience.ends() => return Next::Over,
            }
        } else {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience.proxy.bounds.head);
            match timeout_at(deadline, reader.fill()).await {
                Ok(got) => got,
                Err(_) => return Next::Slow,
            }
        };
        match got {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Next::Over,
        }
    }
}

/// Says why, and that this was all.
async fn refuse_and_close(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    reader: Reader,
    mut writer: Writer,
    why: Failure,
) {
    let closes = Cell::new(true);
    let (method, version) = (http::Method::GET, http::Version::HTTP_11);
    let answerer = Answerer::Http1 { writer: &mut writer, method, version, closes: &closes, unread: true };
    let mut record = proxy.log.record(caller, access::Asked::unknown());
    let world = proxy.watched.world();
    (record.service, record.world) = (world.service(caller.dialled), Some(world));
    if refuse(record, answerer, why, false).await {
        close(reader, writer).await;
    }
}
