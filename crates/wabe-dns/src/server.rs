//! The process: sockets in, sockets out.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use tokio::{
    net::{TcpListener, UdpSocket},
    signal::unix::{SignalKind, signal},
    task::{LocalSet, spawn_local},
};

use crate::{
    Index, Names, SearchList,
    forward::Forwarder,
    quota::{Permit, Quota},
    reply, request,
    resolv_conf::ResolvConf,
    respond::{Carrier, Response, respond},
    tcp,
    watched::Watched,
};

/// Which files to read.
#[derive(Clone, Debug)]
pub struct Options {
    /// [`Names`] as JSON; read again when replaced.
    pub names: PathBuf,
    /// The host's `resolv.conf`; read again when changed.
    pub resolv_conf: PathBuf,
}

/// Answers questions that come through `udp` and `tcp` until SIGTERM. A socket on a wildcard address answers from the
/// address that was asked only if its network namespace has one address per family.
///
/// Sets `O_NONBLOCK` on both sockets, for all processes that share them.
///
/// # Errors
/// If the sockets can't be used, or the process can't have a runtime or a signal handler. A missing or broken file is
/// none: it is logged, and names are SERVFAIL until there was a good one.
pub fn run(udp: std::net::UdpSocket, tcp: std::net::TcpListener, options: Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut terminate = signal(SignalKind::terminate())?;
        let until = async move {
            terminate.recv().await;
        };
        serve(udp, tcp, Settings::new(options), until).await
    })
}

/// [`Options`] and the limits, which only tests change.
pub(crate) struct Settings {
    pub(crate) options: Options,
    /// Port of the host's nameservers.
    pub(crate) nameserver_port: u16,
    /// How long one of them may take to answer.
    pub(crate) nameserver_timeout: Duration,
    /// TCP connections without a question for so long are closed.
    pub(crate) idle: Duration,
    /// Forwarded questions under way: altogether, per client. Each takes a file descriptor, of which a process has 1 024
    /// unless told otherwise.
    pub(crate) forwards: (usize, usize),
    /// TCP connections: altogether, per client.
    pub(crate) connections: (usize, usize),
}

impl Settings {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            nameserver_port: 53,
            nameserver_timeout: Duration::from_secs(2),
            idle: Duration::from_secs(10),
            forwards: (512, 128),
            connections: (256, 32),
        }
    }
}

/// Serves `until` that ends. Must run on a [`LocalSet`].
pub(crate) async fn serve(
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
    settings: Settings,
    until: impl Future<Output = ()>,
) -> io::Result<()> {
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let own = udp.local_addr()?;
    let (udp, tcp) = (Rc::new(UdpSocket::from_std(udp)?), TcpListener::from_std(tcp)?);
    tracing::info!(address = %own, "answering names");
    let server = Rc::new(Server::new(settings, own));
    // Complaints about the files belong to the start, not to the first question.
    server.names.borrow_mut().current();
    server.resolv_conf.borrow_mut().current();
    tokio::select! {
        () = until => {
            tracing::info!("asked to end");
            Ok(())
        }
        never = datagrams(&server, &udp) => match never {},
        never = tcp::connections(&server, &tcp) => match never {},
    }
}

/// What all questions share.
pub(crate) struct Server {
    pub(crate) idle: Duration,
    pub(crate) connections: Rc<Quota>,
    own: SocketAddr,
    nameserver_port: u16,
    names: RefCell<Watched<Index>>,
    resolv_conf: RefCell<Watched<ResolvConf>>,
    forwarder: Forwarder,
    forwards: Rc<Quota>,
}

/// What is to be done for one packet.
pub(crate) enum Step {
    Ignore,
    Reply(Vec<u8>),
    Forward(Forward),
}

/// A question for the host's nameservers.
pub(crate) struct Forward {
    asked: request::Asked,
    packet: Vec<u8>,
    servers: Vec<SocketAddr>,
    carrier: Carrier,
    _permit: Permit,
}

impl Server {
    fn new(settings: Settings, own: SocketAddr) -> Self {
        let quota = |(total, per_client)| Quota::new(total, per_client);
        Self {
            idle: settings.idle,
            connections: quota(settings.connections),
            own,
            nameserver_port: settings.nameserver_port,
            names: RefCell::new(Watched::new(settings.options.names, read_names)),
            resolv_conf: RefCell::new(Watched::new(settings.options.resolv_conf, read_resolv_conf)),
            forwarder: Forwarder::new(settings.nameserver_timeout),
            forwards: quota(settings.forwards),
        }
    }

    /// Decides about one packet, at once.
    pub(crate) fn decide(&self, peer: SocketAddr, carrier: Carrier, packet: &[u8]) -> Step {
        if let Some(id) = request::id_of(packet).filter(|&id| self.forwarder.is_ours(peer.port(), id)) {
            tracing::warn!(
                "a nameserver of the host leads back to this resolver; take it out of resolv.conf"
            );
            let flags = packet.get(2).copied().unwrap_or(0);
            return Step::Reply(reply::header_only(id, flags, ResponseCode::ServFail));
        }
        let client = peer.ip().to_canonical();
        let (names, conf) = (self.names.borrow_mut().current(), self.resolv_conf.borrow_mut().current());
        let no_search = SearchList::default();
        let search = conf.as_ref().map_or(&no_search, |conf| &conf.search);
        let asked = match respond(names.as_deref(), search, client, carrier, packet) {
            Response::Ignore => return Step::Ignore,
            Response::Reply(bytes) => return Step::Reply(bytes),
            Response::Forward(asked) => asked,
        };
        let resolver = names.as_ref().map_or(&[][..], |names| &names.resolver);
        let servers = conf.iter().flat_map(|conf| &conf.nameservers).map(|it| it.at(self.nameserver_port));
        let servers = servers.filter(|server| !self.is_self(*server, resolver)).collect();
        match self.forwards.acquire(client) {
            Some(permit) => {
                Step::Forward(Forward { asked, packet: packet.to_vec(), servers, carrier, _permit: permit })
            }
            None => {
                tracing::debug!(%client, "too many questions under way");
                Step::Reply(reply::error(&asked, ResponseCode::ServFail))
            }
        }
    }

    /// The reply of the host's nameservers.
    pub(crate) async fn forward(&self, forward: Forward) -> Vec<u8> {
        self.forwarder.ask(&forward.servers, forward.carrier, &forward.asked, &forward.packet).await
    }

    /// The address of a wildcard socket says nothing: it lives in another network namespace than this process.
    fn is_self(&self, server: SocketAddr, resolver: &[IpAddr]) -> bool {
        let ip = server.ip().to_canonical();
        server.port() == self.own.port() && (self.own.ip().to_canonical() == ip || resolver.contains(&ip))
    }
}

async fn datagrams(server: &Rc<Server>, socket: &Rc<UdpSocket>) -> Infallible {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "can't receive; trying again");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        match server.decide(peer, Carrier::Udp, &buffer[..length]) {
            Step::Ignore => {}
            Step::Reply(bytes) => send(socket, peer, &bytes).await,
            Step::Forward(forward) => {
                let (server, socket) = (Rc::clone(server), Rc::clone(socket));
                spawn_local(async move {
                    let bytes = server.forward(forward).await;
                    send(&socket, peer, &bytes).await;
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, peer: SocketAddr, bytes: &[u8]) {
    if let Err(error) = socket.send_to(bytes, peer).await {
        tracing::debug!(%peer, %error, "can't send an answer; the client will ask again");
    }
}

fn read_names(text: &[u8]) -> Result<Index, String> {
    let names: Names = serde_json::from_slice(text)
        .map_err(|error| format!("{error}; restart the agent: it writes the file anew"))?;
    let index = Index::new(names).map_err(|error| error.to_string())?;
    for what in index.unnamable() {
        tracing::warn!("{what} has no name in DNS: use at most 63 of a-z, 0-9 and `-`");
    }
    Ok(index)
}

fn read_resolv_conf(text: &[u8]) -> Result<ResolvConf, String> {
    let system = rustix::system::uname();
    let index_of = |interface: &str| {
        let socket = std::net::UdpSocket::bind((IpAddr::from([127, 0, 0, 1]), 0)).ok()?;
        rustix::net::netdevice::name_to_index(&socket, interface).ok()
    };
    Ok(ResolvConf::parse(&String::from_utf8_lossy(text), &system.nodename().to_string_lossy(), index_of))
}

#[cfg(test)]
mod tests;
