//! One netlink socket, spoken to in turns.
//!
//! A netlink socket stays in the namespace that it was made in, whichever thread uses it: so nobody has to enter a
//! namespace again to change something there, and the keeper needs no asynchronous runtime for it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Flags of a request: `NLM_F_*` of `linux/netlink.h`.
pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
}

/// Sequence numbers, for all sockets of the process: a socket that several users speak to still gets each number
/// once.
static SEQUENCE: AtomicU32 = AtomicU32::new(1);

/// A socket and the right to use it alone.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    turn: Mutex<()>,
}

impl Netlink {
    /// In the calling thread's namespace. `None` is NETLINK_ROUTE, whose number is 0.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        Ok(Self { socket: open(protocol)?, turn: Mutex::new(()) })
    }

    /// Sends one message and hands every answer (type and payload) to `each`, until the kernel says it is done.
    pub(crate) fn talk(
        &self,
        kind: u16,
        flags: u16,
        payload: &[u8],
        each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        talk(self.socket.as_fd(), kind, flags, payload, each)
    }
}

/// A netlink socket in the calling thread's namespace. `None` is NETLINK_ROUTE, whose number is 0.
pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

/// As [`Netlink::talk`], over a socket that the caller has for itself.
pub(crate) fn talk(
    socket: BorrowedFd<'_>,
    kind: u16,
    flags: u16,
    payload: &[u8],
    mut each: impl FnMut(u16, &[u8]),
) -> io::Result<()> {
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let length = HEADER + payload.len();
    let mut message = Vec::with_capacity(length);
    message.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(payload);
    send(socket, &message, SendFlags::empty())?;

    let mut buffer = vec![0; 64 << 10];
    loop {
        let (_, received) = match recv(socket, buffer.as_mut_slice(), RecvFlags::TRUNC) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let datagram =
            buffer.get(..received).ok_or_else(|| io::Error::other("a netlink answer above 64 KiB"))?;
        for answer in Answers(datagram) {
            // An earlier request that failed half-way may have left answers behind.
            if answer.sequence != sequence {
                continue;
            }
            match answer.kind {
                NLMSG_ERROR | NLMSG_DONE => return status(answer.payload),
                kind => each(kind, answer.payload),
            }
        }
    }
}

/// The number that an acknowledgement, an error or an end begins with: 0 or a negated errno.
fn status(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map_or(0, |number| i32::from_ne_bytes(*number)) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

struct Answer<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The messages in a datagram.
struct Answers<'a>(&'a [u8]);

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        let header = self.0.first_chunk::<HEADER>()?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = usize::try_from(word(0)).ok()?;
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer { kind: u16::from_ne_bytes([header[4], header[5]]), sequence: word(8), payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_split_and_what_is_cut_off_is_left() {
        let mut datagram = Vec::new();
        for (length, kind) in [(17_u32, 7_u16), (16, 8), (40, 9)] {
            datagram.extend_from_slice(&length.to_ne_bytes());
            datagram.extend_from_slice(&kind.to_ne_bytes());
            datagram.extend_from_slice(&[0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
            if length == 17 {
                datagram.extend_from_slice(&[1, 0, 0, 0]);
            }
        }
        let kinds: Vec<_> = Answers(&datagram).map(|it| (it.kind, it.sequence, it.payload.len())).collect();
        assert_eq!(kinds, [(7, 5, 1), (8, 5, 0)]);
    }
}
