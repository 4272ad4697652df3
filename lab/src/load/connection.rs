//! One connection, or one socket for datagrams: what it is waiting for, and what it got.

use std::{net::SocketAddr, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, recv, send, socket_with, sockopt},
};

use super::{
    Scheme,
    framing::{Answer, Framing},
};

/// A place for a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    socket: Option<OwnedFd>,
    connecting: bool,
    /// When it began to connect.
    pub(super) since: u64,
    /// When the request that it has ought to have been sent, and when it was.
    pub(super) request: Option<Request>,
    framing: Framing,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) due: u64,
    /// When the connection got it, for timeouts.
    pub(super) taken: u64,
    /// Bytes that are written.
    written: usize,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing to tell.
    Nothing,
    /// It is connected.
    Connected,
    /// An answer is whole.
    Answered { status: u16, bytes: u64, keep: bool },
    /// It is of no use any more, for this reason.
    Failed(String),
    /// It went while it had nothing to do.
    Gone,
}

impl Connection {
    pub(super) fn is_vacant(&self) -> bool {
        self.socket.is_none()
    }

    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        self.socket.as_ref()
    }

    /// Begins to connect.
    pub(super) fn open(&mut self, to: SocketAddr, scheme: Scheme, now: u64) -> Result<(), Errno> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let (kind, protocol) = match scheme {
            Scheme::Http => (SocketType::STREAM, ipproto::TCP),
            Scheme::Udp => (SocketType::DGRAM, ipproto::UDP),
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, kind, flags, Some(protocol))?;
        if scheme == Scheme::Http {
            sockopt::set_tcp_nodelay(&socket, true)?;
            // Closed by a reset: no port waits.
            sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO))?;
        }
        self.connecting = match connect(&socket, &to) {
            Err(Errno::INPROGRESS) => true,
            other => other.map(|()| false)?,
        };
        (self.socket, self.since) = (Some(socket), now);
        self.framing = Framing::default();
        Ok(())
    }

    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// Gives it a request; it is sent by [`Self::push`].
    pub(super) fn take(&mut self, due: u64, now: u64) {
        self.request = Some(Request { due, taken: now, written: 0 });
    }

    /// Sends what can be sent of its request; true if the last byte has just been.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let (Some(socket), Some(request)) = (&self.socket, &mut self.request) else { return Ok(false) };
        if self.connecting || request.written == bytes.len() {
            return Ok(false);
        }
        while request.written < bytes.len() {
            match send(socket, &bytes[request.written..], rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => request.written += count,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(kind(error)),
            }
        }
        Ok(true)
    }

    /// What the kernel has for it.
    pub(super) fn pull(&mut self, scheme: Scheme, buffer: &mut [u8]) -> Event {
        let Some(socket) = &self.socket else { return Event::Nothing };
        if self.connecting {
            return match sockopt::socket_error(socket) {
                Ok(Ok(())) if rustix::net::getpeername(socket).is_ok() => {
                    self.connecting = false;
                    Event::Connected
                }
                Ok(Ok(())) => Event::Nothing,
                Ok(Err(error)) | Err(error) => Event::Failed(kind(error)),
            };
        }
        loop {
            let count = match recv(socket, &mut *buffer, rustix::net::RecvFlags::empty()) {
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return Event::Nothing,
                Err(Errno::INTR) => continue,
                Err(_) if self.request.is_none() => return Event::Gone,
                Err(error) => return Event::Failed(kind(error)),
            };
            if self.request.is_none() {
                // An end, or bytes that nobody asked for.
                return if scheme == Scheme::Udp { Event::Nothing } else { Event::Gone };
            }
            if scheme == Scheme::Udp {
                return Event::Answered { status: 200, bytes: count as u64, keep: true };
            }
            if count == 0 {
                return Event::Failed("closed early".to_owned());
            }
            match self.framing.feed(&buffer[..count]) {
                Answer::Partial if count < buffer.len() => return Event::Nothing,
                Answer::Partial => {}
                Answer::Whole { status, body, keep } => return Event::Answered { status, bytes: body, keep },
                Answer::Broken => return Event::Failed("no HTTP/1.1 answer".to_owned()),
            }
        }
    }
}

/// A failure in a word or two, so that equal ones can be counted.
fn kind(error: Errno) -> String {
    match error {
        Errno::CONNREFUSED => "refused".to_owned(),
        Errno::CONNRESET | Errno::PIPE => "reset".to_owned(),
        Errno::TIMEDOUT => "timeout".to_owned(),
        Errno::PERM | Errno::ACCESS => "not permitted".to_owned(),
        Errno::HOSTUNREACH | Errno::NETUNREACH => "unreachable".to_owned(),
        Errno::ADDRNOTAVAIL => "no free port".to_owned(),
        Errno::MFILE | Errno::NFILE => "too many open files".to_owned(),
        other => other.to_string(),
    }
}
