//! One connection, or one socket for datagrams: what it is waiting for, and what it got.

use std::{net::SocketAddr, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, recv, send, socket_with, sockopt},
};

use super::{
    Scheme,
    framing::{Answer, Framing},
    tls::{Session, Trust},
};

/// A place for a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    socket: Option<OwnedFd>,
    connecting: bool,
    session: Option<Session>,
    /// When it began to connect.
    pub(super) since: u64,
    /// When it had its last answer.
    pub(super) answered: u64,
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

    /// Begins to connect. With `trust` it speaks TLS.
    pub(super) fn open(
        &mut self,
        to: SocketAddr,
        scheme: Scheme,
        trust: Option<&Trust>,
        now: u64,
    ) -> Result<(), String> {
        self.session = trust.map(Trust::begin).transpose()?;
        self.connect(to, scheme, now).map_err(kind)
    }

    fn connect(&mut self, to: SocketAddr, scheme: Scheme, now: u64) -> Result<(), Errno> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let (kind, protocol) = match scheme {
            Scheme::Http | Scheme::Https => (SocketType::STREAM, ipproto::TCP),
            Scheme::Udp => (SocketType::DGRAM, ipproto::UDP),
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, kind, flags, Some(protocol))?;
        if scheme != Scheme::Udp {
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

    /// Whether the other end has ended it while it had nothing to do, which a server may at any time.
    pub(super) fn has_gone(&self) -> bool {
        let looks = rustix::net::RecvFlags::PEEK;
        self.socket.as_ref().is_some_and(|socket| {
            !self.connecting && !matches!(recv(socket, &mut [0; 1], looks), Err(Errno::AGAIN | Errno::INTR))
        })
    }

    /// Gives it a request; it is sent by [`Self::push`].
    pub(super) fn take(&mut self, due: u64, now: u64) {
        self.request = Some(Request { due, taken: now, written: 0 });
    }

    /// Sends what can be sent of its request; true if the last byte has just been.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let (Some(socket), Some(request)) = (&self.socket, &mut self.request) else { return Ok(false) };
        if self.connecting {
            return Ok(false);
        }
        if let Some(session) = &mut self.session {
            let begins = session.is_ready() && request.written == 0;
            if begins {
                session.write(bytes)?;
                request.written = bytes.len();
            }
            session.flush(socket).map_err(|error| of_io(&error))?;
            return Ok(begins);
        }
        if request.written == bytes.len() {
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
                    match &mut self.session {
                        // The handshake begins; it is connected when that is over.
                        Some(session) => session
                            .flush(socket)
                            .map_or_else(|it| Event::Failed(of_io(&it)), |()| Event::Nothing),
                        None => Event::Connected,
                    }
                }
                Ok(Ok(())) => Event::Nothing,
                Ok(Err(error)) | Err(error) => Event::Failed(kind(error)),
            };
        }
        if self.session.is_some() {
            return self.pull_session(buffer);
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

impl Connection {
    /// The same through TLS.
    fn pull_session(&mut self, buffer: &mut [u8]) -> Event {
        let (Some(socket), Some(session)) = (&self.socket, &mut self.session) else { return Event::Nothing };
        let was_ready = session.is_ready();
        let open = match session.fill(socket).and_then(|open| session.flush(socket).map(|()| open)) {
            Ok(open) => open,
            Err(_) if was_ready && self.request.is_none() => return Event::Gone,
            Err(error) => return Event::Failed(of_io(&error)),
        };
        if !was_ready && session.is_ready() {
            return Event::Connected;
        }
        loop {
            match session.read(buffer) {
                0 if open => return Event::Nothing,
                0 if self.request.is_none() => return Event::Gone,
                0 => return Event::Failed("closed early".to_owned()),
                _ if self.request.is_none() => return Event::Gone,
                count => match self.framing.feed(&buffer[..count]) {
                    Answer::Partial => {}
                    Answer::Whole { status, body, keep } => {
                        return Event::Answered { status, bytes: body, keep };
                    }
                    Answer::Broken => return Event::Failed("no HTTP/1.1 answer".to_owned()),
                },
            }
        }
    }
}

/// The same of an error of TLS, or of the socket below.
fn of_io(error: &std::io::Error) -> String {
    Errno::from_io_error(error).map_or_else(|| error.to_string(), kind)
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

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread::yield_now};

    use super::*;

    #[test]
    fn an_end_is_seen_while_nothing_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut connection = Connection::default();
        connection.open(address, Scheme::Http, None, 0).expect("begun");
        let (accepted, _) = listener.accept().expect("a connection");
        while connection.pull(Scheme::Http, &mut [0; 16]) != Event::Connected {
            yield_now();
        }
        assert!(!connection.has_gone());
        drop(accepted);
        while !connection.has_gone() {
            yield_now();
        }
    }
}
