//! Connections to endpoints, each on behalf of one workload: kept while idle, so that a request need not wait for one.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr, TcpStream as StdStream},
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use tokio::{net::TcpStream, task::spawn_local, time::timeout};
use wabe_http1::{BodyDecoder, Framing};
use wabe_model::ConnectionPool;

use crate::{
    balance::{Limits, Overflow, Permit},
    failure::Failure,
    keeper::Link,
    wire::{Reader, Writer, split},
    world::World,
};

/// How long an endpoint has for the handshake, unless its service's rule says otherwise.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// What an endpoint may send on a stream, and on all of a connection, before it is taken: as much as [`crate::serve`] grants.
const WINDOW: u32 = 256 << 10;
const WINDOWS: u32 = 1 << 20;
/// What waits on a stream to be written, however much the endpoint says that it would take.
const SENT: usize = 64 << 10;

/// What is spoken with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Speech {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Who calls, where, and how: connections of one workload are never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub(crate) caller: u32,
    pub(crate) to: SocketAddr,
    pub(crate) speech: Speech,
}

/// A connection that can carry a request.
#[derive(Debug)]
pub(crate) enum Connection {
    /// One at a time.
    Http1(Box<Http1>),
    /// One of many.
    Http2(Stream),
}

/// A place on a connection that carries many requests.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) sender: SendRequest<Bytes>,
    taken: Rc<Cell<usize>>,
    limits: Rc<Limits>,
}

/// A connection that carries many requests.
#[derive(Debug)]
struct Shared {
    permit: Permit,
    sender: SendRequest<Bytes>,
    /// No policy that is newer than this generation may be gone by on it.
    since: u64,
    /// Places that are taken.
    taken: Rc<Cell<usize>>,
}

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(crate) struct Http1 {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// Of the answer that comes, or came last.
    pub(crate) decoder: BodyDecoder,
    /// Requests that it may still carry, this one left out.
    left: u32,
    /// How long it is kept that nobody uses it.
    idle: Duration,
    /// No policy that is newer than this generation may be gone by on it.
    since: u64,
    permit: Permit,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Pool {
    link: Rc<Link>,
    idle: RefCell<FxHashMap<Way, Vec<Kept>>>,
    shared: RefCell<FxHashMap<Way, Vec<Shared>>>,
    /// When [`Pool::sweep`] was called last: near enough to now, and no look at the clock for each request.
    swept: Cell<Instant>,
    /// Since when what goes to an address is judged as it is now, of those where it is.
    judged: RefCell<FxHashMap<IpAddr, u64>>,
}

#[derive(Debug)]
struct Kept {
    connection: Box<Http1>,
    since: Instant,
}

/// What was waited for.
enum Room {
    New(Permit),
    Used(Connection),
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoConnection {
    /// Another endpoint may be better.
    Unreachable,
    /// The endpoint's policies are newer than those that the socket bears.
    PolicyNewer,
    /// No other endpoint helps.
    Failed(Failure),
}

impl Pool {
    pub(crate) fn new(link: Rc<Link>) -> Self {
        let (idle, shared, judged) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { link, idle, shared, swept: Cell::new(Instant::now()), judged }
    }

    /// A connection that was used before. It may be about to be closed by its other end.
    pub(crate) fn used(&self, way: Way) -> Option<Connection> {
        match way.speech {
            Speech::Http1 => {
                let mut idle = self.idle.borrow_mut();
                let list = idle.get_mut(&way)?;
                // The one that was used last is the one least likely to be closed.
                while let Some(kept) = list.pop() {
                    if kept.connection.reader.is_quiet() {
                        return Some(Connection::Http1(kept.connection));
                    }
                }
                None
            }
            Speech::Http2 => {
                let mut shared = self.shared.borrow_mut();
                let list = shared.get_mut(&way)?;
                let roomy = |it: &Shared| it.taken.get() < it.sender.current_max_send_streams();
                while let Some(place) = list.iter().position(roomy) {
                    if is_open(&mut list[place].sender) {
                        return Some(Connection::Http2(list[place].place()));
                    }
                    list.swap_remove(place);
                }
                None
            }
        }
    }

    /// A new one, once there may be one more; or one that comes free meanwhile (and true).
    pub(crate) async fn connect(
        &self,
        way: Way,
        limits: &Rc<Limits>,
        terms: &ConnectionPool,
    ) -> Result<(Connection, bool), NoConnection> {
        let patience = terms.connect_timeout.unwrap_or(CONNECT);
        let permit = match self.room(limits) {
            Ok(permit) => permit,
            Err(_) => match timeout(patience, self.wait(way, limits)).await {
                Ok(Ok(Room::New(permit))) => permit,
                Ok(Ok(Room::Used(connection))) => return Ok((connection, true)),
                Ok(Err(_)) | Err(_) => return Err(NoConnection::Failed(Failure::Overflow)),
            },
        };
        let since = self.link.oldest();
        let stream = self.stream(way.caller, way.to, Some(patience)).await?;
        match way.speech {
            Speech::Http1 => {
                let (reader, writer) = split(stream);
                let decoder = BodyDecoder::new(Framing::None, &wabe_http1::Limits::default());
                let left = terms.requests_per_connection.unwrap_or(u32::MAX) - 1;
                let idle = terms.idle.unwrap_or(IDLE);
                Ok((
                    Connection::Http1(Box::new(Http1 { reader, writer, decoder, left, idle, since, permit })),
                    false,
                ))
            }
            Speech::Http2 => {
                let mut settings = client::Builder::new();
                settings
                    .enable_push(false)
                    .initial_window_size(WINDOW)
                    .initial_connection_window_size(WINDOWS)
                    .max_send_buffer_size(SENT);
                let handshake = settings.handshake::<_, Bytes>(stream);
                let (sender, connection) = match timeout(patience, handshake).await {
                    Ok(Ok(made)) => made,
                    Ok(Err(_)) | Err(_) => return Err(NoConnection::Unreachable),
                };
                spawn_local(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(to = %way.to, %error, "a connection to an endpoint ended");
                    }
                });
                let shared = Shared { permit, sender, since, taken: Rc::default() };
                let place = shared.place();
                self.shared.borrow_mut().entry(way).or_default().push(shared);
                Ok((Connection::Http2(place), false))
            }
        }
    }

    /// Waits until a connection comes free, or there may be one more.
    async fn wait(&self, way: Way, limits: &Rc<Limits>) -> Result<Room, Overflow> {
        let _pending = limits.pending()?;
        loop {
            limits.freed().await;
            if let Some(connection) = self.used(way) {
                return Ok(Room::Used(connection));
            }
            if let Ok(permit) = self.room(limits) {
                return Ok(Room::New(permit));
            }
        }
    }

    /// Leave for a new connection, if need be in place of one that nobody uses now: it may lead to another endpoint, and would
    /// keep out who has to go to this one.
    fn room(&self, limits: &Rc<Limits>) -> Result<Permit, Overflow> {
        limits
            .connection()
            .or_else(|overflow| if self.let_go_of_one(limits) { limits.connection() } else { Err(overflow) })
    }

    /// Closes the connection under these limits that nobody has used for the longest time.
    fn let_go_of_one(&self, limits: &Rc<Limits>) -> bool {
        let mut idle = self.idle.borrow_mut();
        let oldest = idle
            .iter()
            .flat_map(|(way, list)| list.iter().enumerate().map(move |(place, it)| (*way, place, it)))
            .filter(|(.., it)| Rc::ptr_eq(it.connection.permit.limits(), limits))
            .min_by_key(|(.., it)| it.since)
            .map(|(way, place, _)| (way, place));
        if let Some((way, place)) = oldest {
            return idle.get_mut(&way).map(|list| list.remove(place)).is_some();
        }
        self.shared.borrow_mut().values_mut().any(|list| {
            let unused =
                list.iter().position(|it| it.taken.get() == 0 && Rc::ptr_eq(it.permit.limits(), limits));
            unused.map(|place| list.swap_remove(place)).is_some()
        })
    }

    /// A bare connection.
    pub(crate) async fn stream(
        &self,
        caller: u32,
        to: SocketAddr,
        patience: Option<Duration>,
    ) -> Result<TcpStream, NoConnection> {
        let socket = self.link.socket(caller, to.is_ipv6()).await.map_err(NoConnection::Failed)?;
        match timeout(patience.unwrap_or(CONNECT), connected(socket, to)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                tracing::debug!(caller, %to, %error, "no connection");
                Err(match Errno::from_io_error(&error) {
                    Some(Errno::PERM) => NoConnection::Failed(Failure::Policy),
                    Some(Errno::STALE) => NoConnection::PolicyNewer,
                    _ => NoConnection::Unreachable,
                })
            }
            Err(_) => Err(NoConnection::Unreachable),
        }
    }

    /// Keeps a connection for the next request. (Those of many requests are kept anyway.)
    pub(crate) fn keep(&self, way: Way, mut connection: Box<Http1>) {
        let Some(left) = connection.left.checked_sub(1) else { return };
        if self.is_outdated(way, connection.since) {
            return;
        }
        connection.left = left;
        connection.permit.returned();
        connection.reader.rest();
        connection.writer.rest();
        self.idle.borrow_mut().entry(way).or_default().push(Kept { connection, since: self.swept.get() });
    }

    /// Lets go of what nobody used for long, and of what was closed.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.swept.set(now);
        self.idle.borrow_mut().retain(|_, list| {
            list.retain(|it| {
                now.duration_since(it.since) < it.connection.idle && it.connection.reader.is_quiet()
            });
            !list.is_empty()
        });
        self.shared.borrow_mut().retain(|_, list| {
            list.retain_mut(|it| is_open(&mut it.sender));
            !list.is_empty()
        });
    }

    /// Has new connections say the generation of this snapshot, and lets go of those that nobody uses now and that are older than
    /// the policies of their endpoint.
    pub(crate) fn follow(&self, world: &World) {
        let (generation, newest_policy) = world.policies.generations();
        if !self.link.renew(generation, newest_policy) {
            return;
        }
        self.judged.replace(world.judged_addresses());
        self.idle.borrow_mut().retain(|way, list| {
            list.retain(|it| !self.is_outdated(*way, it.connection.since));
            !list.is_empty()
        });
        self.shared.borrow_mut().retain(|way, list| {
            list.retain(|it| !self.is_outdated(*way, it.since));
            !list.is_empty()
        });
    }

    /// Whether the endpoint's policies are newer than a connection to it.
    fn is_outdated(&self, way: Way, since: u64) -> bool {
        self.judged.borrow().get(&way.to.ip()).is_some_and(|it| *it > since)
    }

    /// Forgets what was connected on a workload's behalf.
    pub(crate) fn forget(&self, workload: u32) {
        self.idle.borrow_mut().retain(|way, _| way.caller != workload);
        self.shared.borrow_mut().retain(|way, _| way.caller != workload);
    }
}

impl Shared {
    fn place(&self) -> Stream {
        self.taken.set(self.taken.get() + 1);
        let limits = Rc::clone(self.permit.limits());
        Stream { sender: self.sender.clone(), taken: Rc::clone(&self.taken), limits }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.taken.set(self.taken.get() - 1);
        self.limits.returned();
    }
}

/// Whether new streams may be begun on a connection.
fn is_open(sender: &mut SendRequest<Bytes>) -> bool {
    !matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), std::task::Poll::Ready(Err(_)))
}

async fn connected(socket: OwnedFd, to: SocketAddr) -> io::Result<TcpStream> {
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from_std(StdStream::from(socket))?;
    stream.writable().await?;
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Waits until a stream can be begun.
pub(crate) async fn ready(sender: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    poll_fn(|context| sender.poll_ready(context)).await
}
