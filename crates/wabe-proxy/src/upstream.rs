//! Connections to endpoints, each on behalf of one workload: kept while idle, so that a request need not wait for one.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{SocketAddr, TcpStream as StdStream},
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::{net::TcpStream, task::spawn_local, time::timeout};

use crate::{failure::Failure, keeper::Link};

/// How long an endpoint has for the handshake.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);

/// A connection that can carry a request.
pub(crate) type Sender = http1::SendRequest<Incoming>;

/// Who calls, and where: connections of one workload are never used for another.
type Way = (u32, SocketAddr);

/// All connections.
#[derive(Debug)]
pub(crate) struct Pool {
    link: Rc<Link>,
    kept: RefCell<HashMap<Way, Vec<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    sender: Sender,
    since: Instant,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoConnection {
    /// Another endpoint may be better.
    Unreachable,
    /// No other endpoint helps.
    Failed(Failure),
}

impl Pool {
    pub(crate) fn new(link: Rc<Link>) -> Self {
        Self { link, kept: RefCell::default() }
    }

    /// A connection that was used before and is idle now. It may be about to be closed by its other end.
    pub(crate) fn idle(&self, way: Way) -> Option<Sender> {
        let mut kept = self.kept.borrow_mut();
        let list = kept.get_mut(&way)?;
        list.retain(|it| !it.sender.is_closed());
        let place = list.iter().rposition(|it| it.sender.is_ready())?;
        Some(list.swap_remove(place).sender)
    }

    /// A new one.
    pub(crate) async fn connect(&self, (caller, to): Way) -> Result<Sender, NoConnection> {
        let socket = self.link.socket(caller, to.is_ipv6()).await.map_err(NoConnection::Failed)?;
        let stream = match timeout(CONNECT, connected(socket, to)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(caller, %to, %error, "no connection");
                return Err(match Errno::from_io_error(&error) {
                    Some(Errno::PERM) => NoConnection::Failed(Failure::Policy),
                    _ => NoConnection::Unreachable,
                });
            }
            Err(_) => return Err(NoConnection::Unreachable),
        };
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| NoConnection::Unreachable)?;
        spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%to, %error, "a connection to an endpoint ended");
            }
        });
        Ok(sender)
    }

    /// Keeps a connection, which may still be busy with an answer.
    pub(crate) fn keep(&self, way: Way, sender: Sender) {
        if !sender.is_closed() {
            let kept = Kept { sender, since: Instant::now() };
            self.kept.borrow_mut().entry(way).or_default().push(kept);
        }
    }

    /// Lets go of what nobody used for long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.kept.borrow_mut().retain(|_, list| {
            list.retain(|it| {
                let unused = it.sender.is_ready() && now.duration_since(it.since) > IDLE;
                !it.sender.is_closed() && !unused
            });
            !list.is_empty()
        });
    }

    /// Forgets what was connected on a workload's behalf.
    pub(crate) fn forget(&self, workload: u32) {
        self.kept.borrow_mut().retain(|(caller, _), _| *caller != workload);
    }
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
