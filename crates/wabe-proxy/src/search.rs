//! The look-out for an endpoint of a service that can be reached.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::sleep};
use wabe_model::Locality;

use crate::{
    balance::{Balancer, NoChoice, Outcome, Permit, UnderWay, Wish},
    failure::Failure,
    policy,
    serve::{Caller, Proxy},
    snapshot::{EndpointFacts, Speaks},
    upstream::{Connection, NoConnection, Queue, Speech, Way},
    world::{Backend, World},
};

/// So many endpoints are tried until one can be connected to, whatever a route says.
const TRIES: usize = 3;
/// So many looks are taken at the snapshot if the kernel says that there are newer policies, with a longer pause before each.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A look-out on behalf of a caller.
pub(crate) struct Search<'a> {
    proxy: &'a Proxy,
    caller: &'a Caller,
    backend: &'a Backend,
    locality: Option<&'a Locality>,
    /// What says where the caller goes.
    pub(crate) hash: Option<u64>,
    /// What the caller wants to say can't be said in HTTP/2.
    pub(crate) plain: bool,
    /// What the caller wants to say can only be said in HTTP/2: it is gRPC.
    pub(crate) grpc: bool,
    /// Only connections that nobody used before will do.
    pub(crate) anew: bool,
    /// Workloads that were tried.
    pub(crate) tried: Vec<u32>,
    /// The last of them, or the one that is being tried.
    pub(crate) last: Option<u32>,
    /// It is waited for that others make room for a connection.
    pub(crate) waits: Cell<bool>,
}

/// A connection, and whose it is.
pub(crate) struct Reached {
    pub(crate) connection: Connection,
    pub(crate) endpoint: Rc<EndpointFacts>,
    pub(crate) way: Way,
    /// The connection was used before.
    pub(crate) used: bool,
    pub(crate) under_way: UnderWay,
}

/// A connection for bytes of any kind.
pub(crate) struct Stream {
    pub(crate) stream: TcpStream,
    pub(crate) endpoint: Rc<EndpointFacts>,
    pub(crate) under_way: UnderWay,
    pub(crate) permit: Permit,
    /// How long neither end may say anything, if its service limits that.
    pub(crate) idle: Option<Duration>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(proxy: &'a Proxy, world: &'a World, caller: &'a Caller, backend: &'a Backend) -> Self {
        let locality = world.workloads.get(&caller.workload).map(|it| &it.locality);
        Self {
            proxy,
            caller,
            backend,
            locality,
            hash: None,
            plain: false,
            grpc: false,
            anew: false,
            tried: Vec::new(),
            last: None,
            waits: Cell::default(),
        }
    }

    /// A connection that can carry a request. An endpoint that can't be connected to by then, the end of the route's own time, has
    /// failed as one that can't be connected to at all.
    pub(crate) async fn reach(&mut self, by: Option<Instant>) -> Result<Reached, Failure> {
        let pool = &self.proxy.pool;
        let traffic = self.balancer().traffic();
        let streams = match self.backend.speaks {
            Speaks::AsCaller => self.caller.streams || traffic.pool.http2,
            Speaks::Http1 => traffic.pool.http2,
            Speaks::Http2 => true,
        };
        let speech = if (streams || self.grpc) && !self.plain { Speech::Http2 } else { Speech::Http1 };
        let (mut outdated, mut why) = (0, None);
        for _ in 0..TRIES {
            let (endpoint, under_way) = self.next(why)?;
            let way = Way { caller: self.caller.workload, to: self.address(&endpoint), speech };
            if let Some(connection) = (!self.anew).then(|| pool.used(way)).flatten() {
                return Ok(Reached { connection, endpoint, way, used: true, under_way });
            }
            let queue = |step| {
                self.waits.set(step == Queue::Entered);
                if step == Queue::Left {
                    under_way.begins(Instant::now());
                }
            };
            let no_connection = loop {
                match pool.connect(way, self.balancer().limits(), &traffic.pool, by, &queue).await {
                    Ok((connection, used)) => {
                        return Ok(Reached { connection, endpoint, way, used, under_way });
                    }
                    Err(NoConnection::PolicyNewer) => self.read_policies(&mut outdated).await?,
                    Err(no_connection) => break no_connection,
                }
            };
            why = Some(self.failed(&endpoint, &under_way, no_connection)?);
        }
        Err(why.unwrap_or(Failure::NoHealthyEndpoint))
    }

    /// A connection that can carry anything.
    pub(crate) async fn stream(&mut self) -> Result<Stream, Failure> {
        let traffic = self.balancer().traffic();
        let permit = self.balancer().limits().connection().map_err(|_| Failure::Overflow)?;
        let (mut outdated, mut why) = (0, None);
        for _ in 0..TRIES {
            let (endpoint, under_way) = self.next(why)?;
            let to = self.address(&endpoint);
            let patience = traffic.pool.connect_timeout;
            let no_connection = loop {
                match self.proxy.pool.stream(self.caller.workload, to, patience, None).await {
                    Ok(stream) => {
                        let idle = traffic.pool.stream_idle;
                        return Ok(Stream { stream, endpoint, under_way, permit, idle });
                    }
                    Err(NoConnection::PolicyNewer) => self.read_policies(&mut outdated).await?,
                    Err(no_connection) => break no_connection,
                }
            };
            why = Some(self.failed(&endpoint, &under_way, no_connection)?);
        }
        Err(why.unwrap_or(Failure::NoHealthyEndpoint))
    }

    /// Policies are written for the proxy before they are in force, so one look is enough, unless it can't be understood.
    async fn read_policies(&self, looks: &mut u32) -> Result<(), Failure> {
        if *looks == LOOKS {
            return Err(Failure::PolicyNewer);
        }
        sleep(BETWEEN_LOOKS * *looks).await;
        *looks += 1;
        policy::look(self.proxy);
        Ok(())
    }

    /// Another endpoint; `why` is what became of the one before, if there was one.
    fn next(&mut self, why: Option<Failure>) -> Result<(Rc<EndpointFacts>, UnderWay), Failure> {
        let now = Instant::now();
        // Endpoints come and go before it is looked for news by itself, and the mesh refuses those that go at once.
        let mut looked = why.is_some();
        if looked {
            policy::look(self.proxy);
        }
        loop {
            let wish = Wish { hash: self.hash, tried: &self.tried, locality: self.locality };
            match self.balancer().choose(now, &wish) {
                Ok(endpoint) => {
                    let under_way = self.balancer().begin(endpoint.workload, now);
                    self.last = Some(endpoint.workload);
                    return Ok((endpoint, under_way));
                }
                Err(NoChoice::Empty | NoChoice::AllTried) if !looked => {
                    looked = true;
                    policy::look(self.proxy);
                }
                // Who failed once may do better the next time; who can't be reached will not.
                Err(NoChoice::AllTried) if why.is_none() && !self.tried.is_empty() => self.tried.clear(),
                Err(NoChoice::Empty | NoChoice::AllTried) => {
                    return Err(why.unwrap_or(Failure::NoHealthyEndpoint));
                }
            }
        }
    }

    /// What is said if no other endpoint does better.
    ///
    /// # Errors
    /// None can.
    fn failed(
        &mut self,
        endpoint: &EndpointFacts,
        under_way: &UnderWay,
        why: NoConnection,
    ) -> Result<Failure, Failure> {
        let failure = match why {
            NoConnection::Failed(failure) => return Err(failure),
            NoConnection::PolicyNewer => return Err(Failure::PolicyNewer),
            NoConnection::Limited => Failure::ConnectionLimit,
            NoConnection::Unreachable(failure) => {
                under_way.done(Instant::now(), Outcome::ConnectFailed);
                failure
            }
        };
        self.tried.push(endpoint.workload);
        Ok(failure)
    }

    fn balancer(&self) -> &'a Rc<Balancer> {
        &self.backend.balancer
    }

    /// Of the family that the caller uses.
    fn address(&self, endpoint: &EndpointFacts) -> SocketAddr {
        match self.caller.dialled {
            SocketAddr::V4(_) => (endpoint.v4, endpoint.port).into(),
            SocketAddr::V6(_) => (endpoint.v6, endpoint.port).into(),
        }
    }
}
