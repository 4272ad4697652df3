//! Callers whose bytes are carried on as they are: TCP, and TLS that the endpoint ends.

use std::rc::Rc;

use bytes::Bytes;
use tokio::net::TcpStream;
use wabe_policy::stream::{Outlets, tls::TlsRouted};

use crate::{
    access::{Asked, Record},
    failure::Failure,
    search::{Search, Stream},
    serve::{Caller, Proxy},
    tunnel,
    world::{Service, World},
};

/// What chooses where a connection goes.
pub(super) enum By<'a> {
    /// The caller alone.
    Caller,
    /// The name of the server that a TLS caller wants, if it says one.
    Name(Option<&'a str>),
}

/// Carries bytes to an endpoint and back, until both have ended. `first` was read already.
pub(super) async fn serve(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    service: &Rc<Service>,
    stream: TcpStream,
    first: Bytes,
    by: By<'_>,
) {
    let world = proxy.watched.world();
    let mut record = proxy.log.record(caller, Asked::unknown());
    (record.service, record.world) = (Some(Rc::clone(service)), Some(Rc::clone(&world)));
    // The proxy ends when all have.
    let mut closing = proxy.closing.subscribe();
    match reach(proxy, caller, service, &world, &by, &mut record).await {
        Ok(Stream { stream: to, endpoint, under_way: _under_way, permit: _permit }) => {
            record.endpoint = Some(endpoint.workload);
            let idle = world
                .backend(&service.name, service.port)
                .and_then(|it| it.balancer.traffic().pool.stream_idle);
            let moved = tokio::select! {
                moved = tunnel::relay(stream, first, to, idle) => moved,
                // Nobody can tell its ends to come again, so they keep what time there is.
                () = async { let _ = closing.wait_for(|_| false).await; } => return,
            };
            record.tunnelled(moved);
        }
        Err(failure) => {
            tracing::debug!(?caller, %failure, "a connection is reset");
            record.failure = Some(failure);
            // An end that looks like the endpoint's own would say that all is well.
            let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO));
        }
    }
}

async fn reach(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    service: &Service,
    world: &World,
    by: &By<'_>,
    record: &mut Record,
) -> Result<Stream, Failure> {
    let namespace = world.workloads.get(&caller.workload).map_or("", |it| it.namespace.as_str());
    let outlets = match (by, &service.tls, &service.tcp) {
        (By::Name(name), Some(tls), _) => match tls.find(namespace, *name) {
            TlsRouted::To(outlets) => Some(outlets),
            TlsRouted::NotFound => return Err(Failure::NoRoute),
            TlsRouted::Unrouted => None,
        },
        (_, _, Some(tcp)) => tcp.find(namespace),
        _ => None,
    };
    let (name, port) = match outlets {
        Some(outlets) => {
            record.outlets = Some((outlets.route.to_string(), outlets.name.clone()));
            drawn(proxy, outlets)?
        }
        None => (&service.name, service.port),
    };
    let backend = world.backend(name, port).ok_or(Failure::NoHealthyEndpoint)?;
    Search::new(proxy, world, caller, backend).stream().await
}

fn drawn<'a>(proxy: &Proxy, outlets: &'a Outlets) -> Result<(&'a wabe_model::ObjectName, u16), Failure> {
    let weights: Vec<u32> = outlets.backends.iter().map(|it| it.weight).collect();
    let place = proxy.balancers.random().draw(&weights).ok_or(Failure::InvalidBackend)?;
    let outlet = &outlets.backends[place];
    if outlet.invalid.is_some() { Err(Failure::InvalidBackend) } else { Ok((&outlet.service, outlet.port)) }
}
