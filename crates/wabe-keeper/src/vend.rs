//! What the node's proxy gets from the keeper: listeners inside workloads, and sockets to connect with on their behalf. The
//! proxy has no right to make any.
//!
//! Packets with JSON over a `SEQPACKET` pair, whose other end is the proxy's stdin. Each start of the proxy has a pair of
//! its own, so that a new one begins with all listeners and hears nothing that was meant for an old one.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
        SocketType, recv, sendmsg, socketpair,
    },
};
use serde::{Deserialize, Serialize};

use crate::net::Outlets;

/// The most sockets that come with one packet.
const MOST: usize = 64;
/// The longest packet that the proxy may send.
const LONGEST: usize = 256;

/// What the keeper says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Given {
    /// The listener inside a workload, which comes with it.
    Listen { workload: u32 },
    /// The workload is gone.
    Forget { workload: u32 },
    /// Sockets to connect with on a workload's behalf, which come with it; none if it is gone.
    Sockets { workload: u32, v6: bool },
}

/// What the proxy says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Wanted {
    /// So many sockets.
    Sockets { workload: u32, v4: usize, v6: usize },
}

/// A packet, and what goes with it.
type Packet = (Given, Vec<Arc<OwnedFd>>);

/// The keeper's end of the proxy's link.
#[derive(Debug)]
pub(crate) struct Vendor {
    outlets: Outlets,
    packets: Mutex<Option<Sender<Packet>>>,
}

impl Vendor {
    pub(crate) fn new(outlets: Outlets) -> Self {
        Self { outlets, packets: Mutex::new(None) }
    }

    /// A new link; returns the proxy's end of it. What was linked before hears no more.
    pub(crate) fn link(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let ours = Arc::new(ours);
        let (packets, outbox) = channel();
        start("proxy-gives", {
            let ours = Arc::clone(&ours);
            move || give(ours.as_fd(), &outbox)
        })?;
        start("proxy-asks", {
            let (outlets, packets) = (self.outlets.clone(), packets.clone());
            move || answer(ours.as_fd(), &outlets, &packets)
        })?;
        // Those made while this lock is held are told twice, which does no harm; none is missed.
        let mut current = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        for (workload, listener) in self.outlets.listeners() {
            let _ = packets.send((Given::Listen { workload }, vec![listener]));
        }
        *current = Some(packets);
        Ok(theirs)
    }

    /// A workload was made.
    pub(crate) fn made(&self, workload: u32) {
        if let Some(listener) = self.outlets.listener(workload) {
            self.tell((Given::Listen { workload }, vec![listener]));
        }
    }

    /// A workload is gone.
    pub(crate) fn gone(&self, workload: u32) {
        self.tell((Given::Forget { workload }, Vec::new()));
    }

    fn tell(&self, packet: Packet) {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        // A proxy that has gone gets everything at its next start.
        let _ = packets.as_ref().map(|packets| packets.send(packet));
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(128 << 10).spawn(work).map(drop)
}

/// Sends what there is, until nobody has anything more or the proxy is gone.
fn give(link: BorrowedFd<'_>, outbox: &Receiver<Packet>) {
    for (given, descriptors) in outbox {
        if let Err(error) = send(link, &given, &descriptors) {
            if error != Errno::PIPE && error != Errno::CONNRESET {
                tracing::warn!(%error, ?given, "the proxy can't be given this");
            }
            // Whoever asks is on the other thread, and ends with the socket.
            let _ = rustix::net::shutdown(link, rustix::net::Shutdown::Both);
            return;
        }
    }
}

fn send(link: BorrowedFd<'_>, given: &Given, descriptors: &[Arc<OwnedFd>]) -> Result<(), Errno> {
    let body = serde_json::to_vec(given).map_err(|_| Errno::INVAL)?;
    let descriptors: Vec<_> = descriptors.iter().map(|it| it.as_fd()).collect();
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Errno::INVAL);
        }
        match sendmsg(link, &[IoSlice::new(&body)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Makes what the proxy asks for, until it is gone.
fn answer(link: BorrowedFd<'_>, outlets: &Outlets, packets: &Sender<Packet>) {
    let mut packet = [0; LONGEST];
    loop {
        let length = match recv(link, &mut packet, RecvFlags::empty()) {
            Ok((_, 0)) => return,
            Ok((_, length)) => length,
            Err(Errno::INTR) => continue,
            Err(_) => return,
        };
        let Some(Wanted::Sockets { workload, v4, v6 }) =
            packet.get(..length).and_then(|packet| serde_json::from_slice(packet).ok())
        else {
            tracing::warn!("the proxy says what nobody understands; its link is cut");
            let _ = rustix::net::shutdown(link, rustix::net::Shutdown::Both);
            return;
        };
        for (v6, count) in [(false, v4), (true, v6)] {
            if count == 0 {
                continue;
            }
            let made = outlets.sockets(workload, v6, count.min(MOST)).unwrap_or_else(|error| {
                tracing::warn!(%error, workload, "no sockets can be made for the proxy");
                Vec::new()
            });
            let made = made.into_iter().map(Arc::new).collect();
            if packets.send((Given::Sockets { workload, v6 }, made)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_has_a_stable_form() {
        let text = |given: &Given| serde_json::to_string(given).expect("text");
        assert_eq!(text(&Given::Listen { workload: 7 }), r#"{"listen":{"workload":7}}"#);
        assert_eq!(text(&Given::Forget { workload: 7 }), r#"{"forget":{"workload":7}}"#);
        let sockets = Given::Sockets { workload: 7, v6: true };
        assert_eq!(text(&sockets), r#"{"sockets":{"workload":7,"v6":true}}"#);
        let Wanted::Sockets { workload, v4, v6 } =
            serde_json::from_str(r#"{"sockets":{"workload":7,"v4":8,"v6":0}}"#).expect("a wish");
        assert_eq!((workload, v4, v6), (7, 8, 0));
        assert!(serde_json::from_str::<Wanted>(r#"{"listen":{"workload":7}}"#).is_err());
    }
}
