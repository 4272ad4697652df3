//! Callers whose bytes are carried on as they are: TCP, and TLS that the endpoint ends.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use rustix::net::sockopt::set_socket_linger;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use wabe_model::{HashKey, ObjectName};
use wabe_policy::stream::{
    Outlets,
    tls::{TlsRouted, TlsTable},
};

use crate::{
    access::{Asked, Record},
    balance::{self, Outcome, hashed},
    failure::Failure,
    policy,
    search::{Search, Stream},
    serve::{Caller, Proxy},
    sni, tunnel,
    workers::busy_poll::heard,
    world::{Service, World},
};

/// How long a caller has for its ClientHello.
const HELLO: Duration = Duration::from_secs(10);

/// What chooses where a connection goes.
pub(super) enum By {
    /// The caller alone.
    Caller,
    /// The name of the server that a TLS caller wants, if it says one.
    Name(Option<String>),
}

/// A connection to an endpoint, or why there is none.
pub(super) struct Opened {
    record: Record,
    pub(super) reached: Result<Stream, Failure>,
}

/// Carries bytes to an endpoint and back, until both have ended.
pub(super) async fn serve(proxy: &Rc<Proxy>, caller: &Caller, service: &Rc<Service>, stream: TcpStream) {
    let opened = open(proxy, caller, service, &By::Caller).await;
    carry(proxy, caller, opened, stream, Bytes::new()).await;
}

/// The same for TLS: if routes choose by the server's name, it is read first.
pub(super) async fn serve_tls(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    service: &Rc<Service>,
    mut stream: TcpStream,
) {
    // Where no route holds for this caller, nothing depends on the name, and the server may speak first.
    let world = proxy.watched.in_force(caller.dialled).0;
    let namespace = world.namespace_of(caller.workload);
    let has_routes = |tls: &Arc<TlsTable>| !matches!(tls.find(namespace, None), TlsRouted::Unrouted);
    if !service.tls.as_ref().is_some_and(has_routes) {
        return serve(proxy, caller, service, stream).await;
    }
    let mut first = BytesMut::with_capacity(4 << 10);
    let hello = async {
        loop {
            match sni::read(&first) {
                Ok(Some(hello)) => return hello.server_name,
                // It may go where every name goes, and will be understood there, or not.
                Err(bad) => {
                    tracing::debug!(?bad, "no ClientHello");
                    return None;
                }
                Ok(None) => {}
            }
            if !matches!(stream.read_buf(&mut first).await, Ok(1..)) {
                return None;
            }
            heard();
        }
    };
    let name = timeout(HELLO, hello).await.ok().flatten();
    let opened = open(proxy, caller, service, &By::Name(name)).await;
    carry(proxy, caller, opened, stream, first.freeze()).await;
}

/// Connects to an endpoint.
pub(super) async fn open(proxy: &Rc<Proxy>, caller: &Caller, service: &Rc<Service>, by: &By) -> Opened {
    let (world, _) = proxy.watched.in_force(caller.dialled);
    let mut record = proxy.log.record(caller, Asked::unknown());
    (record.service, record.world) = (Some(Rc::clone(service)), Some(Rc::clone(&world)));
    let reached = reach(proxy, caller, service, &world, by, &mut record).await;
    record.endpoint = reached.as_ref().ok().map(|it| it.endpoint.workload).or(record.endpoint);
    Opened { record, reached }
}

/// Carries bytes there and back; `first` was read already.
pub(super) async fn carry(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    opened: Opened,
    stream: TcpStream,
    first: Bytes,
) {
    // Nobody can tell the ends of a stream to come again, so they keep what time there is.
    let _closing = proxy.closing.subscribe();
    let Opened { mut record, reached } = opened.judged(proxy, caller);
    match reached {
        Ok(Stream { stream: to, endpoint, under_way, permit: _permit, idle }) => {
            // An endpoint that accepts and breaks off at once is no good one.
            let answers = || under_way.done(Instant::now(), Outcome::Connected);
            let forbidden = async { record.refused(policy::forbidden(proxy, caller, &endpoint).await) };
            let moved =
                tunnel::relay(stream, first, to, idle, proxy.tunnel_limits(), forbidden, &answers).await;
            let outcome = if moved.refused { Outcome::Reset } else { Outcome::Connected };
            under_way.done(Instant::now(), outcome);
            record.tunnelled(moved);
        }
        Err(failure) => {
            tracing::debug!(?caller, %failure, "a connection is reset");
            reset(Opened { record, reached: Err(failure) }, &stream);
        }
    }
}

/// An end that looks like the endpoint's own would say that all is well.
fn reset(mut opened: Opened, stream: &TcpStream) {
    opened.record.failure = opened.reached.err();
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

impl Opened {
    /// The same, if the endpoint's policies let bytes through that are no requests; else without the connection. Whoever tells
    /// the caller anything of what the endpoint said asks first.
    pub(super) fn judged(mut self, proxy: &Proxy, caller: &Caller) -> Self {
        if let Ok(stream) = &self.reached
            && let Err(refused) = policy::judge_stream(proxy, caller, &stream.endpoint)
        {
            self.reached = Err(refused.failure);
            self.record.refused(refused);
        }
        self
    }

    /// So much of what the endpoint said went to the caller already.
    pub(super) fn passed_on(&self, bytes: usize) {
        self.record.bytes.set(bytes as u64);
    }

    /// It was not needed: others tell what became of it.
    pub(super) fn forget(self) {
        self.record.forget();
    }
}

async fn reach(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    service: &Service,
    world: &World,
    by: &By,
    record: &mut Record,
) -> Result<Stream, Failure> {
    let namespace = world.namespace_of(caller.workload);
    let outlets = match (by, &service.tls, &service.tcp) {
        (By::Name(name), Some(tls), _) => match tls.find(namespace, name.as_deref()) {
            TlsRouted::To(outlets) => Some(outlets),
            TlsRouted::NotFound => return Err(Failure::NoRoute),
            TlsRouted::Unrouted => None,
        },
        (_, _, Some(tcp)) => tcp.find(namespace),
        (By::Caller | By::Name(_), _, None) => None,
    };
    let (name, port) = match outlets {
        Some(outlets) => {
            record.outlets = Some((outlets.route.to_string(), outlets.name.clone()));
            drawn(proxy, outlets)?
        }
        None => (&service.name, service.port),
    };
    let backend = world.backend(name, port).ok_or(Failure::NoHealthyEndpoint)?;
    let mut search = Search::new(proxy, world, caller, backend);
    // Of what requests can be told apart by, bytes have only their source.
    let traffic = backend.balancer.traffic();
    if let Some(key @ HashKey::Source) = &traffic.hash {
        let asked = balance::Asked { headers: &HeaderMap::new(), query: None, source: caller.address };
        search.hash = hashed(key, &asked, proxy.balancers.random()).hash;
    }
    let reached = search.stream().await;
    if reached.as_ref().is_err_and(|it| it.is_about_endpoint()) {
        record.endpoint = search.last;
    }
    reached
}

fn drawn<'a>(proxy: &Proxy, outlets: &'a Outlets) -> Result<(&'a ObjectName, u16), Failure> {
    let weights = outlets.backends.iter().map(|it| it.weight);
    let place = proxy.balancers.random().draw(weights).ok_or(Failure::InvalidBackend)?;
    let outlet = &outlets.backends[place];
    if outlet.invalid.is_some() { Err(Failure::InvalidBackend) } else { Ok((&outlet.service, outlet.port)) }
}
