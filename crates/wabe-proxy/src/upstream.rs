//! Connections to endpoints, each on behalf of one workload: kept while idle, so that a request need not wait for one.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr, TcpStream as StdStream},
    os::fd::OwnedFd,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use tokio::{
    net::TcpStream,
    task::spawn_local,
    time::{timeout, timeout_at},
};
use wabe_http1::{BodyDecoder, Framing};
use wabe_model::ConnectionPool;

use crate::{
    balance::{Limits, Overflow, Permit},
    failure::Failure,
    keeper::Link,
    locked::lock,
    wire::{Prefixed, Reader, Writer, expect_to_read, split},
    world::World,
};

mod heeded;
mod shelves;

pub(crate) use shelves::Shelves;

use heeded::Heeded;

/// How long an endpoint has for the handshake, unless its service's rule says otherwise.
const CONNECT: Duration = Duration::from_secs(1);
/// Who waits for a connection looks so often whether there is one, whatever it hears.
const LOOK: Duration = Duration::from_millis(100);
/// An endpoint that has less is not held to have failed.
const FAIR: Duration = Duration::from_millis(10);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// Requests at once on a connection that carries many, whatever the endpoint grants, if there may be another one.
const STREAMS: u32 = 256;
/// The same before the endpoint has said what it grants: as much as it should at least (RFC 9113, section 6.5.2).
const STREAMS_AT_FIRST: usize = 100;
/// What an endpoint may send on a stream before it is taken.
pub(crate) const WINDOW: u32 = 256 << 10;
/// The same on all of a connection: callers that do not read what they asked for must not hold up the others.
const WINDOWS: u32 = STREAMS * WINDOW;
/// What waits on a stream to be written, however much the endpoint says that it would take.
pub(crate) const SENT: usize = 64 << 10;
/// Of all headers of an answer together, as HTTP/2 counts them.
pub(crate) const HEADERS: u32 = 128 << 10;
/// How long a request waits for its turn on a connection where no more of them may be made, or for the keeper, if nothing limits its
/// time.
const QUEUE: Duration = Duration::from_secs(15);

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
    taken: Arc<AtomicUsize>,
    permit: Arc<Permit>,
}

/// A connection that carries many requests.
#[derive(Debug)]
struct Shared {
    /// It counts as long as one of its places is taken, also where no more may be.
    permit: Arc<Permit>,
    sender: SendRequest<Bytes>,
    /// Requests that it may still carry.
    left: u32,
    /// How long it is kept that nobody uses it.
    idle: Duration,
    /// When a place was taken last, as far as it was looked.
    used: Instant,
    /// No policy that is newer than this generation may be gone by on it.
    since: u64,
    /// Places that are taken.
    taken: Arc<AtomicUsize>,
    /// The worker that made it, and moves its bytes.
    worker: usize,
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

/// One worker's connections.
#[derive(Debug)]
pub(crate) struct Pool {
    link: Arc<Link>,
    shelves: Arc<Shelves>,
    worker: usize,
    /// How long an endpoint may take nothing of what it is sent.
    patience: Duration,
    /// Under which limits requests of this worker wait.
    waiting: RefCell<Vec<Arc<Limits>>>,
    /// When [`Pool::sweep`] was called last: near enough to now, and no look at the clock for each request.
    swept: Cell<Instant>,
    /// The snapshot whose policies it goes by.
    followed: Cell<u64>,
    /// Since when what goes to an address is judged as it is now, of those where it is.
    judged: RefCell<FxHashMap<IpAddr, u64>>,
}

#[derive(Debug)]
struct Kept {
    connection: Box<Http1>,
    since: Instant,
}

/// What is told of the wait for others to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Entered,
    Left,
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
    Unreachable(Failure),
    /// There may be no more connections to this endpoint, or of this caller, which is not the endpoint's fault.
    Limited,
    /// The endpoint's policies are newer than those that the socket bears.
    PolicyNewer,
    /// No other endpoint helps.
    Failed(Failure),
}

impl Pool {
    pub(crate) fn new(link: Arc<Link>, shelves: Arc<Shelves>, worker: usize, patience: Duration) -> Self {
        Self {
            link,
            shelves,
            worker,
            patience,
            waiting: RefCell::default(),
            swept: Cell::new(Instant::now()),
            followed: Cell::default(),
            judged: RefCell::default(),
        }
    }

    /// A connection that was used before. It may be about to be closed by its other end.
    pub(crate) fn used(&self, way: Way) -> Option<Connection> {
        match way.speech {
            Speech::Http1 => {
                let mut idle = lock(self.shelves.of(self.worker));
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
                let is_wanted = |it: &Shared| it.worker == self.worker && !self.is_outdated(way, it.since);
                self.shelves.place(way, self.swept.get(), STREAMS as usize, is_wanted)
            }
        }
    }

    /// A place on a connection that another worker made: where there may be no more of them.
    fn lent(&self, way: Way) -> Option<Connection> {
        match way.speech {
            Speech::Http1 => None,
            // And as many as it takes.
            Speech::Http2 => {
                self.shelves.place(way, self.swept.get(), usize::MAX, |it| !self.is_outdated(way, it.since))
            }
        }
    }

    /// A new one, once there may be one more; or one that comes free meanwhile (and true). The endpoint has until `by` at most.
    /// `queue` hears whether it is waited for that others make room.
    pub(crate) async fn connect(
        &self,
        way: Way,
        limits: &Arc<Limits>,
        terms: &ConnectionPool,
        by: Option<Instant>,
        queue: &dyn Fn(Queue),
    ) -> Result<(Connection, bool), NoConnection> {
        let room = match self.room(way, limits) {
            Ok(room) => Ok(room),
            Err(_) => {
                queue(Queue::Entered);
                let room = timeout(QUEUE, self.wait(way, limits)).await;
                queue(Queue::Left);
                room.unwrap_or(Err(Overflow::Connections))
            }
        };
        let permit = match room {
            Ok(Room::New(permit)) => permit,
            Ok(Room::Used(connection)) => return Ok((connection, true)),
            Err(_) => return Err(NoConnection::Failed(Failure::Overflow)),
        };
        let since = self.link.oldest();
        let stream = self.stream(way.caller, way.to, terms.connect_timeout, by).await?;
        // One that is there and takes nothing is left, as a caller is.
        expect_to_read(&stream, Some(self.patience));
        let left = terms.requests_per_connection.unwrap_or(u32::MAX);
        let idle = terms.idle.unwrap_or(IDLE);
        match way.speech {
            Speech::Http1 => {
                let (reader, writer) = split(stream);
                let decoder = BodyDecoder::new(Framing::None, &wabe_http1::Limits::default());
                let left = left - 1;
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
                    .initial_max_send_streams(STREAMS_AT_FIRST)
                    .max_header_list_size(HEADERS)
                    .max_send_buffer_size(SENT);
                // Who polls hears of what comes.
                let (stream, taken) = (Prefixed::new(stream, Bytes::new()), Arc::default());
                let handshake = settings.handshake::<_, Bytes>(Heeded::new(stream, Arc::clone(&taken)));
                let now = Instant::now();
                let patience = patience(terms.connect_timeout.unwrap_or(CONNECT), by, now);
                let (sender, connection) = match timeout_at((now + patience).into(), handshake).await {
                    Ok(Ok(made)) => made,
                    Ok(Err(_)) => return Err(NoConnection::Unreachable(Failure::ConnectFailed)),
                    Err(_) => return Err(NoConnection::Unreachable(Failure::ConnectTimeout(patience))),
                };
                spawn_local(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(to = %way.to, %error, "a connection to an endpoint ended");
                    }
                });
                let mut shared = Shared {
                    permit: Arc::new(permit),
                    sender,
                    left,
                    idle,
                    used: self.swept.get(),
                    since,
                    taken,
                    worker: self.worker,
                };
                let place = shared.place();
                // One that nobody else may use ends with this request.
                if shared.left > 0 && !self.is_outdated(way, since) {
                    self.shelves.share(way, shared);
                    // It has room for many of those that wait.
                    limits.share();
                }
                Ok((Connection::Http2(place), false))
            }
        }
    }

    /// Waits until a connection comes free, or there may be one more.
    async fn wait(&self, way: Way, limits: &Arc<Limits>) -> Result<Room, Overflow> {
        let _pending = limits.pending()?;
        let _waiting = Waiting::new(self, limits);
        loop {
            let mut freed = pin!(limits.freed());
            // What another worker frees after the look is heard of.
            freed.as_mut().enable();
            let room = self.used(way).map(Room::Used).or_else(|| self.room(way, limits).ok());
            if let Some(room) = room {
                // One that carries many may have room for the next, too.
                limits.returned();
                return Ok(room);
            }
            // An endpoint may also say by itself that it takes more.
            let _ = timeout(LOOK, freed).await;
        }
    }

    /// Leave for a new connection, if need be in place of one that nobody uses now: it may lead to another endpoint, or be another
    /// worker's, and would keep out who has to go to this one.
    fn room(&self, way: Way, limits: &Arc<Limits>) -> Result<Room, Overflow> {
        let overflow = match limits.connection() {
            Ok(permit) => return Ok(Room::New(permit)),
            Err(overflow) => overflow,
        };
        if let Some(connection) = self.lent(way) {
            return Ok(Room::Used(connection));
        }
        if self.shelves.let_go_of_one(self.worker, limits) {
            return limits.connection().map(Room::New);
        }
        Err(overflow)
    }

    /// A bare connection, which nobody waits for any more after `by`.
    pub(crate) async fn stream(
        &self,
        caller: u32,
        to: SocketAddr,
        most: Option<Duration>,
        by: Option<Instant>,
    ) -> Result<TcpStream, NoConnection> {
        let socket = timeout(QUEUE, self.link.socket(caller, to.is_ipv6())).await;
        let socket = socket.unwrap_or(Err(Failure::NoSocket)).map_err(NoConnection::Failed)?;
        // Not a moment of it is the endpoint's that the socket was waited for.
        let now = Instant::now();
        let patience = patience(most.unwrap_or(CONNECT), by, now);
        match timeout_at((now + patience).into(), connected(socket, to)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                tracing::debug!(caller, %to, %error, "no connection");
                Err(match Errno::from_io_error(&error) {
                    Some(Errno::PERM) => NoConnection::Failed(Failure::Policy),
                    Some(Errno::STALE) => NoConnection::PolicyNewer,
                    // The mesh's limits have the former; a workload without a free port the latter.
                    Some(Errno::AGAIN | Errno::ADDRNOTAVAIL) => NoConnection::Limited,
                    _ => NoConnection::Unreachable(Failure::ConnectFailed),
                })
            }
            Err(_) => Err(NoConnection::Unreachable(Failure::ConnectTimeout(patience))),
        }
    }

    /// Keeps a connection for the next request, unless one of another worker's waits to make its own. (Those of many requests are
    /// kept anyway.)
    pub(crate) fn keep(&self, way: Way, mut connection: Box<Http1>) {
        let Some(left) = connection.left.checked_sub(1) else { return };
        if self.is_outdated(way, connection.since) {
            return;
        }
        connection.left = left;
        if self.is_awaited_elsewhere(connection.permit.limits()) {
            return;
        }
        connection.reader.rest();
        connection.writer.rest();
        let mut idle = lock(self.shelves.of(self.worker));
        // Who hears of it has to wait for the lock.
        connection.permit.returned();
        idle.entry(way).or_default().push(Kept { connection, since: self.swept.get() });
    }

    /// Whether more requests wait under these limits than this worker's.
    fn is_awaited_elsewhere(&self, limits: &Arc<Limits>) -> bool {
        let pending = limits.in_use(Overflow::Pending) as usize;
        pending > 0 && pending > self.waiting.borrow().iter().filter(|it| Arc::ptr_eq(it, limits)).count()
    }

    /// Has new connections say the generation of this snapshot, and lets go of those that nobody uses now and that are older than
    /// the policies of their endpoint, or lead to one that is leaving: it waits for them to end.
    pub(crate) fn follow(&self, world: &World) {
        let (generation, newest_policy) = world.policies.generations();
        self.link.renew(generation, newest_policy);
        if self.followed.replace(generation) == generation {
            return;
        }
        self.judged.replace(world.judged_addresses());
        self.shelves.let_go(self.worker, |way, since| self.is_outdated(way, since));
    }

    /// Whether another worker has had connections say a newer generation than the one that this worker goes by.
    pub(crate) fn is_behind(&self) -> bool {
        self.link.generation() > self.followed.get()
    }

    /// Whether the endpoint's policies are newer than a connection to it, or the endpoint is leaving.
    fn is_outdated(&self, way: Way, since: u64) -> bool {
        self.judged.borrow().get(&way.to.ip()).is_some_and(|it| *it > since)
    }

    /// Lets go of what nobody used for long, and of what was closed.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.swept.set(now);
        self.shelves.sweep(self.worker, now);
    }
}

/// A request of this worker's waits.
struct Waiting<'a> {
    pool: &'a Pool,
    limits: &'a Arc<Limits>,
}

impl<'a> Waiting<'a> {
    fn new(pool: &'a Pool, limits: &'a Arc<Limits>) -> Self {
        pool.waiting.borrow_mut().push(Arc::clone(limits));
        Self { pool, limits }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.pool.waiting.borrow_mut();
        if let Some(place) = waiting.iter().position(|it| Arc::ptr_eq(it, self.limits)) {
            waiting.swap_remove(place);
        }
    }
}

impl Shared {
    /// One of those that are left.
    fn place(&mut self) -> Stream {
        self.left -= 1;
        self.taken.fetch_add(1, Relaxed);
        let permit = Arc::clone(&self.permit);
        Stream { sender: self.sender.clone(), taken: Arc::clone(&self.taken), permit }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Relaxed);
        self.permit.returned();
    }
}

/// How long an endpoint has for the handshake if nobody waits any more after `by`: so long that it is over before; unless it would have
/// hardly any time, which says nothing about it.
fn patience(most: Duration, by: Option<Instant>, now: Instant) -> Duration {
    match by.map(|by| by.saturating_duration_since(now)) {
        Some(left) if left >= FAIR => most.min(left - Duration::from_millis(1)),
        Some(_) | None => most,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_no_more_time_than_there_is() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let milliseconds = Duration::from_millis;
        for (by, expected) in [
            (None, second),
            (Some(2000), second),
            (Some(500), milliseconds(499)),
            (Some(10), milliseconds(9)),
            (Some(9), second),
            (Some(0), second),
        ] {
            let by = by.map(|it| now + milliseconds(it));
            assert_eq!(patience(second, by, now), expected, "{by:?}");
        }
    }
}
