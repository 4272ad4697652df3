//! Has a request answered by an endpoint of the service that it goes to.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use hyper::{Request, Response, body::Incoming};
use tokio::time::timeout;
use wabe_model::ObjectName;

use crate::{
    balance::{Balancer, Outcome, UnderWay, Wish},
    failure::Failure,
    identity::{Parties, introduce},
    serve::{Caller, Proxy},
    snapshot::EndpointFacts,
    upstream::{NoConnection, Sender},
    world::World,
};

/// So many endpoints are tried until one can be connected to.
const TRIES: usize = 3;

/// An endpoint's answer.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) endpoint: u32,
    pub(crate) under_way: UnderWay,
}

/// Where a request goes.
pub(crate) struct Destination<'a> {
    pub(crate) service: &'a ObjectName,
    pub(crate) port: u16,
    /// For one try.
    pub(crate) patience: Option<Duration>,
}

/// Sends the request to one of the endpoints and waits for the head of its answer.
pub(crate) async fn forward(
    proxy: &Rc<Proxy>,
    world: &World,
    caller: &Caller,
    to: &Destination<'_>,
    mut request: Request<Incoming>,
) -> Result<Answered, Failure> {
    let backend = world.backend(to.service, to.port).ok_or(Failure::NoHealthyEndpoint)?;
    let locality = world.workloads.get(&caller.workload).map(|it| &it.locality);
    let wish = Wish { locality, ..Wish::default() };
    let reached = reach(proxy, caller, backend, wish).await?;
    let Reached { mut sender, endpoint, used, under_way } = reached;
    let identity = |workload| world.workloads.get(&workload).map(|it| it.identity.as_str());
    let parties = Parties {
        caller: caller.address,
        caller_identity: identity(caller.workload),
        endpoint_identity: identity(endpoint.workload),
        dialled: caller.dialled,
    };
    introduce(request.headers_mut(), &parties, || proxy.balancers.random().request_id());
    let way = (caller.workload, address(&endpoint, caller.dialled));
    let answer = async {
        match sender.try_send_request(request).await {
            Ok(response) => Ok((response, sender)),
            // Its other end had closed it, and nothing was sent.
            Err(mut error) => match error.take_message() {
                Some(request) if used => {
                    let mut sender = proxy.pool.connect(way).await.map_err(|error| match error {
                        NoConnection::Unreachable => Failure::NoHealthyEndpoint,
                        NoConnection::Failed(failure) => failure,
                    })?;
                    let response = sender.send_request(request).await.map_err(|_| Failure::BadAnswer)?;
                    Ok((response, sender))
                }
                Some(_) | None => {
                    tracing::debug!(error = %error.error(), "a bad answer");
                    Err(Failure::BadAnswer)
                }
            },
        }
    };
    let (response, sender) = match to.patience {
        Some(patience) => {
            timeout(patience, answer).await.map_err(|_| Failure::BackendTimeout(patience))??
        }
        None => answer.await?,
    };
    proxy.pool.keep(way, sender);
    Ok(Answered { response, endpoint: endpoint.workload, under_way })
}

struct Reached {
    sender: Sender,
    endpoint: Rc<EndpointFacts>,
    /// The connection was used before.
    used: bool,
    under_way: UnderWay,
}

/// A connection to one of the endpoints; another is tried if one can't be reached.
async fn reach(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    backend: &Rc<Balancer>,
    wish: Wish<'_>,
) -> Result<Reached, Failure> {
    let mut tried = Vec::new();
    while tried.len() < TRIES
        && let Ok(endpoint) = backend.choose(Instant::now(), &Wish { tried: &tried, ..wish })
    {
        let under_way = backend.begin(endpoint.workload, Instant::now());
        let way = (caller.workload, address(&endpoint, caller.dialled));
        if let Some(sender) = proxy.pool.idle(way) {
            return Ok(Reached { sender, endpoint, used: true, under_way });
        }
        match proxy.pool.connect(way).await {
            Ok(sender) => return Ok(Reached { sender, endpoint, used: false, under_way }),
            Err(NoConnection::Unreachable) => {
                under_way.done(Instant::now(), Outcome::ConnectFailed);
                tried.push(endpoint.workload);
            }
            Err(NoConnection::Failed(failure)) => return Err(failure),
        }
    }
    Err(Failure::NoHealthyEndpoint)
}

/// Of the family that the caller uses.
fn address(endpoint: &EndpointFacts, dialled: SocketAddr) -> SocketAddr {
    if dialled.is_ipv4() { (endpoint.v4, endpoint.port).into() } else { (endpoint.v6, endpoint.port).into() }
}
