//! Callers' connections: who calls, what was dialled, and which protocol is spoken.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::spawn_local,
    time::sleep,
};
use wabe_model::AppProtocol;

use crate::{
    access::{Asked, Log, Record},
    answer::Answerer,
    balance::Balancers,
    bounds::Bounds,
    detect::{Detected, PREFACE},
    drain::Drain,
    failure::Failure,
    figures::{About, Sums},
    guard::Passed,
    identity::Introduction,
    keeper::Link,
    policy, tunnel,
    upstream::{Pool, Shelves},
    wire::Prefixed,
    workers::{Accepted, Order, Place, Workers, busy_poll::heard},
    world::{self, Service, Source},
};

mod http1;
pub(crate) mod http2;
mod stream;
mod watched;

use watched::Watched;

/// What all workers share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) source: Arc<Source>,
    pub(crate) link: Arc<Link>,
    pub(crate) shelves: Arc<Shelves>,
    pub(crate) passed: Arc<Passed>,
    pub(crate) sums: Arc<Sums>,
    pub(crate) workers: Arc<Workers>,
    /// True once no connection gets another request. Each connection listens.
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) bounds: Bounds,
}

/// What all connections of one worker share, and what of it all workers do.
pub(crate) struct Proxy {
    /// The worker's number.
    worker: usize,
    workers: Arc<Workers>,
    pub(crate) watched: world::Watched,
    pub(crate) pool: Pool,
    pub(crate) balancers: Rc<Balancers>,
    pub(crate) passed: Arc<Passed>,
    /// Each copy of a request that is under way has one.
    pub(crate) copies: Rc<()>,
    pub(crate) log: Rc<Log>,
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) bounds: Bounds,
}

impl Proxy {
    pub(crate) fn new(common: &Common, worker: usize) -> Self {
        let Common { source, link, shelves, passed, sums, workers, closing, drain, bounds } = common.clone();
        let balancers = Rc::<Balancers>::default();
        Self {
            worker,
            workers,
            watched: world::Watched::new(source, Rc::clone(&balancers)),
            pool: Pool::new(link, shelves, worker, bounds.body),
            balancers,
            passed,
            copies: Rc::default(),
            log: Rc::new(Log::new(sums)),
            closing,
            drain,
            bounds,
        }
    }

    /// How it is.
    pub(crate) fn about(&self) -> About {
        About { generation: self.watched.world().policies.generations().0, connections: self.workers.open() }
    }

    pub(crate) fn tunnel_limits(&self) -> tunnel::Limits<'_> {
        tunnel::Limits { drain: &self.drain, pipes: self.bounds.pipes() }
    }
}

/// Whose connection it is, and what was dialled.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) workload: u32,
    pub(crate) address: IpAddr,
    pub(crate) dialled: SocketAddr,
    /// It speaks HTTP/2.
    pub(crate) streams: bool,
    /// How its requests tell of it.
    pub(crate) introduction: Rc<Introduction>,
}

/// Takes the connections of one workload, until the task is ended. Each is served here or by the worker that has fewer.
pub(crate) async fn listen(proxy: Rc<Proxy>, workload: u32, listener: StdListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match proxy.workers.place(proxy.worker, &proxy.closing) {
                Some(place) if place.worker == proxy.worker => begin(&proxy, workload, stream, peer, place),
                Some(place) => {
                    let Ok(stream) = stream.into_std() else { continue };
                    let worker = place.worker;
                    proxy.workers.tell(worker, Order::Serve(Accepted { workload, stream, peer, place }));
                }
                None => turn_away(&proxy, workload, &stream, peer),
            },
            Err(error) => {
                // Out of descriptors, or the caller left: connections wait in the queue meanwhile.
                tracing::warn!(workload, %error, "a connection can't be accepted");
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Serves a connection from now on.
pub(crate) fn begin(proxy: &Rc<Proxy>, workload: u32, stream: TcpStream, peer: SocketAddr, place: Place) {
    let proxy = Rc::clone(proxy);
    spawn_local(async move {
        let _place = place;
        connection(&proxy, workload, stream, peer).await;
    });
}

fn caller(workload: u32, stream: &TcpStream, peer: SocketAddr) -> io::Result<Caller> {
    let dialled = stream.local_addr()?;
    let dialled = SocketAddr::new(dialled.ip().to_canonical(), dialled.port());
    let introduction = Rc::new(Introduction::new(peer.ip(), dialled.ip()));
    Ok(Caller { workload, address: peer.ip().to_canonical(), dialled, streams: false, introduction })
}

/// Resets a connection that there is no room for. What it speaks is not known, so only the log can say why.
fn turn_away(proxy: &Proxy, workload: u32, stream: &TcpStream, peer: SocketAddr) {
    let Ok(caller) = caller(workload, stream, peer) else { return };
    let world = proxy.watched.world();
    let mut record = proxy.log.record(&caller, Asked::unknown());
    (record.service, record.world) = (world.service(caller.dialled), Some(world));
    record.failure = Some(Failure::TooManyConnections);
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

async fn connection(proxy: &Rc<Proxy>, workload: u32, mut stream: TcpStream, peer: SocketAddr) {
    let Ok(mut caller) = caller(workload, &stream, peer) else { return };
    let Some(service) = known(proxy, caller.dialled) else {
        let mut record = proxy.log.record(&caller, Asked::unknown());
        (record.world, record.failure) = (Some(proxy.watched.world()), Some(Failure::UnknownService));
        return;
    };
    // A caller that has gone is noticed soon enough.
    let _ = stream.set_nodelay(true);
    // In boxes, as a task is as large as the largest of what it may become: most are connections that wait for a request.
    if !proxy.watched.world().workloads.contains_key(&workload) {
        // It may have begun a moment ago.
        policy::look(proxy);
    }
    let protocol = service.protocol_of(proxy.watched.in_force(caller.dialled).0.namespace_of(workload));
    match protocol {
        AppProtocol::Tcp => Box::pin(stream::serve(proxy, &caller, &service, stream)).await,
        AppProtocol::Tls => Box::pin(stream::serve_tls(proxy, &caller, &service, stream)).await,
        AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc => {
            if let Some((first, streams)) = version(proxy, &mut stream).await {
                caller.streams = streams;
                requests(proxy, &caller, stream, first).await;
            }
        }
        AppProtocol::Detect => match Box::pin(watched::watch(proxy, &caller, &service, stream)).await {
            Watched::Requests(stream, first, what) => {
                caller.streams = what == Detected::Http2;
                requests(proxy, &caller, stream, first).await;
            }
            Watched::Over => {}
        },
    }
}

/// Reads until it is clear whether the caller speaks HTTP/2.
async fn version(proxy: &Proxy, stream: &mut TcpStream) -> Option<(BytesMut, bool)> {
    let mut lingering = pin!(http1::lingering(proxy.closing.subscribe()));
    let mut silence = pin!(sleep(proxy.bounds.first));
    let mut first = BytesMut::with_capacity(4 << 10);
    while PREFACE.starts_with(&first) && first.len() < PREFACE.len() {
        let got = select! {
            biased;
            got = stream.read_buf(&mut first) => got,
            () = &mut lingering => return None,
            () = &mut silence => return None,
        };
        if !matches!(got, Ok(1..)) {
            return None;
        }
        heard();
    }
    let streams = first.starts_with(PREFACE);
    Some((first, streams))
}

async fn requests(proxy: &Rc<Proxy>, caller: &Caller, stream: TcpStream, first: BytesMut) {
    if caller.streams {
        Box::pin(http2::serve(proxy, caller, Prefixed::new(stream, first.freeze()))).await;
    } else {
        Box::pin(http1::serve(proxy, caller, stream, first)).await;
    }
}

fn known(proxy: &Proxy, dialled: SocketAddr) -> Option<Rc<Service>> {
    proxy.watched.in_force(dialled).1.or_else(|| {
        // The kernel may know of a route a moment before we do.
        policy::look(proxy);
        proxy.watched.world().service(dialled)
    })
}

/// Answers in the proxy's own name; false if the caller has gone.
pub(crate) async fn refuse(mut record: Record, answerer: Answerer<'_>, why: Failure, grpc: bool) -> bool {
    let (head, text) = why.answer(grpc);
    record.hear(&head.headers);
    (record.status, record.failure) = (Some(head.status), Some(why));
    record.bytes.set(text.len() as u64);
    if why == Failure::Ending {
        answerer.is_last();
    }
    let told = answerer.tell(head, text).await;
    record.complete = told.is_ok();
    told.is_ok()
}
