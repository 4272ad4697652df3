//! A caller's connection: its requests, one after the other.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use http_body_util::{Either, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::HeaderValue,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::spawn_local,
    time::{sleep, timeout},
};

use crate::{
    access::{Line, Log, Record, Relayed, now},
    balance::Loads,
    failure::Failure,
    filter,
    forward::{Answered, Destination, forward},
    identity::end_hop,
    route::{Decided, Decision, decide, logged_path, normalise},
    upstream::Pool,
    world::Watched,
};

/// How long a caller has for a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection without a request is kept once it is to be closed.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes of a request's head, and of what is read at once.
const BUFFER: usize = 64 << 10;

/// What all connections share.
pub(crate) struct Proxy {
    pub(crate) watched: Watched,
    pub(crate) pool: Pool,
    pub(crate) loads: Rc<Loads>,
    pub(crate) log: Rc<Log>,
    /// True once no connection gets another request. Each connection listens.
    pub(crate) closing: watch::Sender<bool>,
}

/// Whose connection it is, and what was dialled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) workload: u32,
    pub(crate) address: IpAddr,
    pub(crate) dialled: SocketAddr,
}

/// What goes back to a caller.
type Answer = Response<Either<Relayed, Full<Bytes>>>;

/// Takes the connections of one workload, until the task is ended.
pub(crate) async fn listen(proxy: Rc<Proxy>, workload: u32, listener: StdListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let proxy = Rc::clone(&proxy);
                spawn_local(async move { connection(proxy, workload, stream, peer).await });
            }
            Err(error) => {
                // Out of descriptors, or the caller left: connections wait in the queue meanwhile.
                tracing::warn!(workload, %error, "a connection can't be accepted");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn connection(proxy: Rc<Proxy>, workload: u32, stream: TcpStream, peer: SocketAddr) {
    let Ok(dialled) = stream.local_addr() else { return };
    let dialled = SocketAddr::new(dialled.ip().to_canonical(), dialled.port());
    let caller = Caller { workload, address: peer.ip().to_canonical(), dialled };
    if proxy.watched.world().service(dialled).is_none() {
        // The kernel may know of a route a moment before we do.
        proxy.watched.look();
        if proxy.watched.world().service(dialled).is_none() {
            tracing::debug!(?caller, "dialled no service that is led here");
            return;
        }
    }
    // A caller that has gone is noticed soon enough.
    let _ = stream.set_nodelay(true);
    let service = {
        let proxy = Rc::clone(&proxy);
        service_fn(move |request| {
            let proxy = Rc::clone(&proxy);
            async move { Ok::<_, Infallible>(answer(&proxy, caller, request).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut closing = proxy.closing.subscribe();
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = lingering(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(?caller, %error, "a caller's connection ended");
    }
}

/// Once no more connections are accepted, one that idles is kept for a while: its next request may be on the way, and is
/// answered with `Connection: close`.
async fn lingering(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|it| *it).await.is_ok() {
        sleep(LINGER).await;
    }
}

/// Answers one request.
async fn answer(proxy: &Rc<Proxy>, caller: Caller, request: Request<Incoming>) -> Answer {
    let world = proxy.watched.world();
    let facts = world.workloads.get(&caller.workload);
    let service = world.service(caller.dialled);
    let named = service.as_ref().map(|it| format!("{}:{}", it.name, it.port));
    let mut record = proxy.log.record(Line {
        time: now(),
        caller: facts
            .map_or_else(|| caller.workload.to_string(), |it| format!("{}/{}", it.namespace, it.name)),
        service: named.unwrap_or_else(|| caller.dialled.to_string()),
        route: None,
        rule: None,
        method: request.method().to_string(),
        path: logged_path(&request),
        status: 0,
        reason: None,
        blame: None,
        endpoint: None,
        bytes: 0,
        complete: true,
        microseconds: 0,
        request_id: String::new(),
    });
    let Some(service) = service else { return failed(record, Failure::UnknownService) };
    let namespace = facts.map_or("", |it| it.namespace.as_str());
    let (mut head, body) = request.into_parts();
    if let Err(failure) = normalise(&mut head) {
        return failed(record, failure);
    }
    if !head.headers.contains_key("x-request-id")
        && let Ok(id) = HeaderValue::from_str(&proxy.loads.request_id())
    {
        head.headers.insert("x-request-id", id);
    }
    let id = head.headers.get("x-request-id").and_then(|it| it.to_str().ok()).unwrap_or_default();
    record.line.request_id = id.chars().take(64).collect();
    let upgrade = end_hop(&mut head.headers);
    let Decided { decision, rule, answer_headers } =
        decide(&service, namespace, &mut head, &proxy.loads, caller.dialled.port());
    if let Some((route, rule)) = rule {
        (record.line.route, record.line.rule) = (Some(route.to_string()), Some(rule));
    }
    let mut answer = match decision {
        Decision::Fail(failure) => failed(record, failure),
        Decision::Redirect { status, location } => redirected(record, status, &location),
        Decision::Forward { service, port, timeouts: (whole, patience) } => {
            if let Some(protocol) = &upgrade {
                head.headers.insert("connection", HeaderValue::from_static("upgrade"));
                head.headers.insert("upgrade", protocol.clone());
            }
            let mut request = Request::from_parts(head, body);
            let callers_end = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
            let to = Destination { service: &service, port, patience };
            let answered = forward(proxy, &world, &caller, &to, request);
            let answered = match whole {
                Some(whole) => match timeout(whole, answered).await {
                    Ok(answered) => answered,
                    Err(_) => Err(Failure::RequestTimeout(whole)),
                },
                None => answered.await,
            };
            match answered {
                Ok(answered) => relayed(&world, record, answered, callers_end, proxy.closing.subscribe()),
                Err(failure) => failed(record, failure),
            }
        }
    };
    if let Some(change) = &answer_headers {
        filter::change(answer.headers_mut(), change);
    }
    if *proxy.closing.borrow() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
    }
    answer
}

fn failed(mut record: Record, failure: Failure) -> Answer {
    record.line.status = failure.status().as_u16();
    (record.line.reason, record.line.blame) = (Some(failure.reason()), Some(failure.blame()));
    failure.answer().map(Either::Right)
}

fn redirected(mut record: Record, status: u16, location: &str) -> Answer {
    record.line.status = status;
    let mut answer = Response::new(Either::Right(Full::default()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    if let Ok(location) = HeaderValue::from_str(location) {
        answer.headers_mut().insert("location", location);
    }
    answer
}

fn relayed(
    world: &crate::world::World,
    mut record: Record,
    answered: Answered,
    callers_end: Option<hyper::upgrade::OnUpgrade>,
    counted: watch::Receiver<bool>,
) -> Answer {
    let Answered { mut response, endpoint, under_way } = answered;
    record.line.status = response.status().as_u16();
    record.line.endpoint = world.workloads.get(&endpoint).map(|it| format!("{}/{}", it.namespace, it.name));
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let endpoints_end = switches.then(|| hyper::upgrade::on(&mut response));
    let protocol = end_hop(response.headers_mut());
    if let (Some(callers), Some(endpoints)) = (callers_end, endpoints_end) {
        if let Some(protocol) = protocol {
            response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
            response.headers_mut().insert("upgrade", protocol);
        }
        spawn_local(async move {
            let _under_way = under_way;
            let _record = record;
            // A drain waits for it.
            let _counted = counted;
            let (Ok(callers), Ok(endpoints)) = tokio::join!(callers, endpoints) else { return };
            let (mut callers, mut endpoints) = (TokioIo::new(callers), TokioIo::new(endpoints));
            // Whoever ends it, ends it for both.
            let _ = tokio::io::copy_bidirectional(&mut callers, &mut endpoints).await;
        });
        return response.map(|_| Either::Right(Full::default()));
    }
    response.map(|body| Either::Left(Relayed::new(body, record, under_way)))
}
