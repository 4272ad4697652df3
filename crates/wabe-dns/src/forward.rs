//! Questions to the host's nameservers.

use std::{
    cell::RefCell,
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::op::ResponseCode;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::{
    relay::{self, Relay},
    reply,
    request::Asked,
    respond::Carrier,
};

/// Asks nameservers, one after the other, each question from a port and with an id of its own.
pub(crate) struct Forwarder {
    timeout: Duration,
    /// Source ports and ids of questions under way.
    under_way: RefCell<HashSet<(u16, u16)>>,
}

impl Forwarder {
    /// Each nameserver has `timeout` to answer.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, under_way: RefCell::default() }
    }

    /// Whether a packet from this port with this id is a question of ours that came back to us: a nameserver of the
    /// host that is, or leads to, ourselves.
    pub(crate) fn is_ours(&self, port: u16, id: u16) -> bool {
        self.under_way.borrow().contains(&(port, id))
    }

    /// The reply to `packet`, which was read as `asked`, from the first of `servers` that has one. SERVFAIL if none
    /// has.
    pub(crate) async fn ask(
        &self,
        servers: &[SocketAddr],
        carrier: Carrier,
        asked: &Asked,
        packet: &[u8],
    ) -> Vec<u8> {
        let mut failure = None;
        for &server in servers {
            let reply = async {
                match carrier {
                    Carrier::Udp => self.by_udp(server, asked, packet).await,
                    Carrier::Tcp => self.by_tcp(server, asked, packet).await,
                }
            };
            match timeout(self.timeout, reply).await {
                Ok(Ok(Relay::Answer(bytes))) => return bytes,
                Ok(Ok(Relay::Failure(bytes))) => failure = Some(bytes),
                Ok(Ok(Relay::Foreign)) => tracing::debug!(%server, "nameserver answered another question"),
                Ok(Err(error)) => tracing::debug!(%server, %error, "nameserver can't be asked"),
                Err(_) => tracing::debug!(%server, "nameserver does not answer"),
            }
        }
        failure.unwrap_or_else(|| reply::error(asked, ResponseCode::ServFail))
    }

    async fn by_udp(&self, server: SocketAddr, asked: &Asked, packet: &[u8]) -> io::Result<Relay> {
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?;
        // The kernel then lets in only what comes from there, and reports "port unreachable".
        socket.connect(server).await?;
        let question = self.question(socket.local_addr()?.port(), packet)?;
        socket.send(&question.packet).await?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let length = socket.recv(&mut buffer).await?;
            match relay::judge(asked, question.id, Carrier::Udp, &buffer[..length]) {
                Relay::Foreign => {}
                done @ (Relay::Answer(_) | Relay::Failure(_)) => return Ok(done),
            }
        }
    }

    async fn by_tcp(&self, server: SocketAddr, asked: &Asked, packet: &[u8]) -> io::Result<Relay> {
        let mut stream = TcpStream::connect(server).await?;
        let question = self.question(stream.local_addr()?.port(), packet)?;
        stream.write_all(&framed(&question.packet)).await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        Ok(relay::judge(asked, question.id, Carrier::Tcp, &buffer))
    }

    fn question(&self, port: u16, packet: &[u8]) -> io::Result<Question<'_>> {
        let mut random = [0; 2];
        getrandom(&mut random, GetRandomFlags::empty())?;
        let mut packet = packet.to_vec();
        packet[..2].copy_from_slice(&random);
        let id = u16::from_be_bytes(random);
        self.under_way.borrow_mut().insert((port, id));
        Ok(Question { forwarder: self, port, id, packet })
    }
}

/// A message as it travels over TCP: behind its length.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("invariant: messages are made to fit into 64 KiB");
    [&length.to_be_bytes()[..], message].concat()
}

/// A question under way, until dropped.
struct Question<'a> {
    forwarder: &'a Forwarder,
    port: u16,
    id: u16,
    packet: Vec<u8>,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.forwarder.under_way.borrow_mut().remove(&(self.port, self.id));
    }
}
