//! Questions over TCP (RFC 7766): several on one connection, answered as answers come.

use std::{convert::Infallible, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinSet, spawn_local},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    forward::framed,
    respond::Carrier,
    server::{Server, Step},
};

/// Forwarded questions of one connection that may be under way; the next are read when one is answered.
const UNDER_WAY: usize = 16;
/// Replies are written out at the latest when there are so many octets of them.
const BATCH: usize = 64 << 10;

/// Accepts connections.
pub(crate) async fn connections(server: &Rc<Server>, listener: &TcpListener) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match server.connections.acquire(peer.ip().to_canonical()) {
                Some(permit) => {
                    let conversation = Conversation::new(Rc::clone(server), stream, peer);
                    spawn_local(async move {
                        let _permit = permit;
                        conversation.run().await;
                    });
                }
                None => tracing::debug!(%peer, "too many connections"),
            },
            Err(error) => {
                tracing::warn!(%error, "can't accept; trying again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

struct Conversation {
    server: Rc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    input: Vec<u8>,
    output: Vec<u8>,
    forwards: JoinSet<Vec<u8>>,
    /// When to give up; moved by answers only, so octets that trickle in don't keep a connection.
    deadline: Instant,
}

impl Conversation {
    fn new(server: Rc<Server>, stream: TcpStream, peer: SocketAddr) -> Self {
        let deadline = Instant::now() + server.idle;
        Self {
            server,
            stream,
            peer,
            input: Vec::new(),
            output: Vec::new(),
            forwards: JoinSet::new(),
            deadline,
        }
    }

    async fn run(mut self) {
        let mut open = true;
        loop {
            while self.take_questions() {
                if !self.flush().await {
                    return;
                }
            }
            // What a client sent before it closed its side is answered still.
            if !self.flush().await || (!open && self.forwards.is_empty()) {
                return;
            }
            self.input.reserve(4096);
            tokio::select! {
                read = self.stream.read_buf(&mut self.input), if open && self.forwards.len() < UNDER_WAY => match read {
                    Ok(0) => open = false,
                    Ok(_) => {}
                    Err(_) => return,
                },
                Some(reply) = self.forwards.join_next() => {
                    // A task ends without a reply only by a panic, which is a bug that must not hide in a hang.
                    let Ok(reply) = reply else { return };
                    self.output.extend(framed(&reply));
                }
                () = sleep_until(self.deadline), if self.forwards.is_empty() => return,
            }
        }
    }

    /// Works off questions that were read in full; false if there was none, or no room.
    fn take_questions(&mut self) -> bool {
        let mut used = 0;
        while self.forwards.len() < UNDER_WAY && self.output.len() < BATCH {
            let rest = &self.input[used..];
            let Some((length, rest)) = rest.split_first_chunk() else { break };
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(packet) = rest.get(..length) else { break };
            used += 2 + length;
            match self.server.decide(self.peer, Carrier::Tcp, packet) {
                Step::Ignore => {}
                Step::Reply(bytes) => self.output.extend(framed(&bytes)),
                Step::Forward(forward) => {
                    let server = Rc::clone(&self.server);
                    self.forwards.spawn_local(async move { server.forward(forward).await });
                }
            }
        }
        self.input.drain(..used);
        used > 0
    }

    /// Writes what there is; false if the client does not take it.
    async fn flush(&mut self) -> bool {
        if self.output.is_empty() {
            return true;
        }
        let written = timeout(self.server.idle, self.stream.write_all(&self.output)).await;
        self.output.clear();
        self.deadline = Instant::now() + self.server.idle;
        matches!(written, Ok(Ok(())))
    }
}
