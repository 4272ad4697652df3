//! Callers of ports of which nobody said what they speak: the endpoint is connected to at once, so that one that speaks first is
//! heard at once, and both ends are watched until it is clear what this is ([`crate::detect`]).

use std::{rc::Rc, time::Instant};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    select,
    time::sleep_until,
};

use crate::{
    detect::{Course, Detected, Heard, MOST_HELD_TIME, Watch},
    search::Stream,
    serve::{Caller, Proxy, stream},
    workers::busy_poll::heard,
    world::Service,
};

/// What came out.
pub(super) enum Watched {
    /// Requests, of which so much was read.
    Requests(TcpStream, BytesMut, Detected),
    /// It was carried on as it is, and is over.
    Over,
}

/// Watches until it is clear, and carries on what is no HTTP.
pub(super) async fn watch(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    service: &Rc<Service>,
    mut from: TcpStream,
) -> Watched {
    let mut opened = stream::open(proxy, caller, service, &stream::By::Caller).await;
    let (mut first, mut greeting) = (BytesMut::with_capacity(4 << 10), BytesMut::new());
    let mut watch = Watch::default();
    // Who may say something yet has the time that there is, as who speaks no HTTP.
    let _closing = proxy.closing.subscribe();
    // Without an endpoint nobody speaks first: who asks for something is told, who waits is reset soon.
    let mut until = opened.reached.is_err().then(|| Instant::now() + MOST_HELD_TIME);
    loop {
        let course = select! {
            biased;
            got = from.read_buf(&mut first) => match got {
                Ok(1..) => watch.hear(Instant::now(), Heard::Caller(&first)),
                Ok(0) => watch.hear(Instant::now(), Heard::CallerEnded(&first)),
                Err(_) => return Watched::Over,
            },
            () = speaks(&mut opened, &mut greeting) => watch.hear(Instant::now(), Heard::Endpoint),
            () = at(until) => match opened.reached {
                Ok(_) => watch.hear(Instant::now(), Heard::Time),
                Err(_) => watch.hear(Instant::now(), Heard::Endpoint),
            },
            () = proxy.drain.over(), if first.is_empty() => {
                opened.forget();
                return Watched::Over;
            }
        };
        heard();
        match course {
            Course::Hold(time) => until = time.or(until),
            Course::Read(what) => {
                opened.forget();
                return Watched::Requests(from, first, what);
            }
            Course::PassOn(_) => break,
        }
    }
    let opened = opened.judged(proxy, caller);
    if opened.reached.is_err() {
        greeting.clear();
    }
    opened.passed_on(greeting.len());
    if from.write_all(&greeting).await.is_ok() {
        stream::carry(proxy, caller, opened, from, first.freeze()).await;
    }
    Watched::Over
}

/// Completes once the endpoint has said something, or that it will not.
async fn speaks(opened: &mut stream::Opened, greeting: &mut BytesMut) {
    match &mut opened.reached {
        Ok(Stream { stream, .. }) => {
            let _ = stream.read_buf(greeting).await;
        }
        Err(_) => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
