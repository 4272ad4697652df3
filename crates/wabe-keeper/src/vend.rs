//! What the node's proxy gets from the keeper: listeners inside workloads, and sockets to connect with on their behalf. The
//! proxy has no right to make any.
//!
//! Packets with JSON over a `SEQPACKET` pair, whose other end is the proxy's stdin. Each proxy has a pair of its own, so that a
//! new one begins with all listeners while an old one, which drains, can still ask for sockets. The proxy is not trusted: what
//! it says is bounded, and one that says what ours never does is ended.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard,
        mpsc::{Receiver, Sender, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown,
        SocketFlags, SocketType, recv, sendmsg, shutdown, socketpair,
    },
};
use serde::{Deserialize, Serialize};
use wabe_abi::maps::MAX_WORKLOADS;

use crate::{
    net::Outlets,
    supervise::{Message, Word},
};

mod figures;

/// The most sockets that come with one packet. A proxy that asks for more at once is none of ours.
const MOST: usize = 64;
/// The longest packet that the proxy may send.
const LONGEST: usize = 256;
/// Packets that wait for a proxy which does not read: all listeners, and as much again of what changes. One that lets more
/// wait is ended.
const BEHIND: usize = 2 * MAX_WORKLOADS as usize;
/// How long a packet that is under way is waited for, before this program becomes another.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the keeper says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Given {
    /// The listener inside a workload, which comes with it.
    Listen { workload: u32 },
    /// The workload is gone.
    Forget { workload: u32 },
    /// All listeners that there are were told.
    Complete,
    /// A file for what the proxy counts, which comes with it.
    Figures,
    /// Sockets to connect with on a workload's behalf, which come with it and bear this generation; none if it is gone, or has too
    /// many.
    Sockets { workload: u32, v6: bool, generation: u64 },
}

/// What the proxy says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Wanted {
    /// So many sockets, over which only what is judged by the policies of this generation is sent.
    Sockets {
        workload: u32,
        v4: usize,
        v6: usize,
        /// An earlier version's proxy judges by none.
        #[serde(default)]
        generation: u64,
    },
    /// It serves all listeners.
    Ready,
    /// It accepts no more connections, and ends once those that it has are over.
    Draining,
}

/// A packet, and what goes with it.
type Packet = (Given, Vec<Arc<OwnedFd>>);

/// The keeper's ends of the links: one for each proxy that lives, of which one serves and others may finish what they began.
#[derive(Debug)]
pub(crate) struct Vendor {
    outlets: Outlets,
    /// The folder for what proxies count.
    figures: PathBuf,
    links: Mutex<Vec<Link>>,
    /// Read while a packet is answered, written to keep all links as they are.
    turns: Arc<RwLock<()>>,
    outbox: Sender<Message>,
}

#[derive(Debug)]
struct Link {
    /// The proxy's number.
    number: u32,
    socket: Arc<OwnedFd>,
    packets: SyncSender<Packet>,
}

impl Vendor {
    /// What proxies say of themselves goes to `outbox`.
    pub(crate) fn new(outlets: Outlets, figures: PathBuf, outbox: Sender<Message>) -> Self {
        Self { outlets, figures, links: Mutex::default(), turns: Arc::default(), outbox }
    }

    /// A new link for the proxy of this number; returns the proxy's end of it.
    pub(crate) fn link(&self, number: u32) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let file = figures::make(&self.figures);
        if let Err(error) = &file {
            tracing::warn!(%error, "what this proxy counts is not told");
        }
        let first = file.ok().map(|file| (Given::Figures, vec![Arc::new(OwnedFd::from(file))]));
        self.serve(number, ours, first, true)?;
        Ok(theirs)
    }

    /// Goes on with a link that was made before, by an earlier program perhaps. A proxy that serves is told all listeners.
    pub(crate) fn adopt(&self, number: u32, ours: OwnedFd, serves: bool) -> io::Result<()> {
        self.serve(number, ours, None, serves)
    }

    fn serve(&self, number: u32, ours: OwnedFd, first: Option<Packet>, serves: bool) -> io::Result<()> {
        let socket = Arc::new(ours);
        let (packets, waiting) = sync_channel(BEHIND);
        start("proxy-gives", {
            let (socket, turns) = (Arc::clone(&socket), Arc::clone(&self.turns));
            move || give(&socket, &waiting, &turns)
        })?;
        start("proxy-asks", {
            let desk = Desk {
                number,
                outlets: self.outlets.clone(),
                outbox: self.outbox.clone(),
                complained: false,
            };
            let (socket, turns) = (Arc::clone(&socket), Arc::clone(&self.turns));
            move || desk.answer(&socket, &turns)
        })?;
        // Those made while this lock is held are told twice, which does no harm; none is missed.
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packet) = first {
            packets.try_send(packet).map_err(|_| io::ErrorKind::WouldBlock)?;
        }
        if serves {
            let listeners = self.outlets.listeners().into_iter();
            let told = listeners.map(|(workload, listener)| (Given::Listen { workload }, vec![listener]));
            for packet in told.chain([(Given::Complete, Vec::new())]) {
                packets.try_send(packet).map_err(|_| io::ErrorKind::WouldBlock)?;
            }
        }
        links.push(Link { number, socket, packets });
        Ok(())
    }

    /// A proxy has ended.
    pub(crate) fn unlink(&self, number: u32) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for link in links.extract_if(.., |it| it.number == number) {
            // Both threads end with it.
            let _ = shutdown(&*link.socket, Shutdown::Both);
        }
    }

    /// Our end of a proxy's link.
    pub(crate) fn end_of(&self, number: u32) -> Option<Arc<OwnedFd>> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().find(|it| it.number == number).map(|it| Arc::clone(&it.socket))
    }

    /// Leaves in the links what proxies say from now on, until dropped: for another program. A proxy that does not take what it
    /// is given is not waited for.
    pub(crate) fn hold(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(held) = self.turns.try_write() {
                return Some(held);
            }
            if Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A workload was made.
    pub(crate) fn made(&self, workload: u32) {
        if let Some(listener) = self.outlets.listener(workload) {
            self.tell(|| (Given::Listen { workload }, vec![Arc::clone(&listener)]));
        }
    }

    /// A workload is gone.
    pub(crate) fn gone(&self, workload: u32) {
        self.tell(|| (Given::Forget { workload }, Vec::new()));
    }

    fn tell(&self, packet: impl Fn() -> Packet) {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for link in &*links {
            // One that has gone gets everything at its next start.
            if let Err(std::sync::mpsc::TrySendError::Full(_)) = link.packets.try_send(packet()) {
                let word = Word::Overreached("does not read what it is given".into());
                let _ = self.outbox.send(Message::ProxySaid { number: link.number, word });
            }
        }
    }
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(128 << 10).spawn(work).map(drop)
}

/// Sends what there is, until nobody has anything more or the proxy is gone.
fn give(link: &OwnedFd, waiting: &Receiver<Packet>, turns: &RwLock<()>) {
    for (given, descriptors) in waiting {
        let _turn = turns.read().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = send(link.as_fd(), &given, &descriptors) {
            if error != Errno::PIPE && error != Errno::CONNRESET {
                tracing::warn!(%error, ?given, "the proxy can't be given this");
            }
            // Whoever asks is on the other thread, and ends with the socket.
            let _ = shutdown(link, Shutdown::Both);
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

/// Where one proxy asks.
struct Desk {
    number: u32,
    outlets: Outlets,
    outbox: Sender<Message>,
    /// Once is enough: whoever misbehaves must not fill the log.
    complained: bool,
}

impl Desk {
    /// Makes what the proxy asks for, until it is gone. Sockets go out before the next request is read, so that of those which
    /// the proxy does not take few exist.
    fn answer(mut self, link: &OwnedFd, turns: &RwLock<()>) {
        let mut packet = [0; LONGEST];
        loop {
            let _ = poll(&mut [PollFd::new(link, PollFlags::IN)], None);
            let _turn = turns.read().unwrap_or_else(PoisonError::into_inner);
            // It is one that is too long, if it is longer.
            let length = match recv(link, &mut packet, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((_, 0)) => return,
                Ok((_, length)) => length,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => return,
            };
            let wanted = packet.get(..length).ok_or_else(|| format!("says {length} bytes at once"));
            let done = wanted.and_then(|text| {
                let wanted = serde_json::from_slice(text);
                self.serve(link, wanted.map_err(|error| format!("is not understood ({error})"))?)
            });
            if let Err(why) = done {
                let _ = shutdown(link, Shutdown::Both);
                self.say(Word::Overreached(why));
                return;
            }
        }
    }

    fn serve(&mut self, link: &OwnedFd, wanted: Wanted) -> Result<(), String> {
        match wanted {
            Wanted::Ready => self.say(Word::Ready),
            Wanted::Draining => self.say(Word::Draining),
            Wanted::Sockets { v4, v6, .. } if v4 > MOST || v6 > MOST => {
                return Err(format!("asks for {} sockets at once", v4.max(v6)));
            }
            Wanted::Sockets { workload, v4, v6, generation } => {
                for (v6, count) in [(false, v4), (true, v6)] {
                    if count > 0 {
                        let made = self.sockets(workload, v6, count, generation);
                        // One that is gone is noticed by the next look.
                        let _ = send(link.as_fd(), &Given::Sockets { workload, v6, generation }, &made);
                    }
                }
            }
        }
        Ok(())
    }

    fn sockets(&mut self, workload: u32, v6: bool, count: usize, generation: u64) -> Vec<Arc<OwnedFd>> {
        match self.outlets.sockets(workload, v6, count, generation) {
            Ok(made) => made.into_iter().map(Arc::new).collect(),
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(%error, workload, "no sockets are made for the proxy; this is told once");
                }
                Vec::new()
            }
        }
    }

    fn say(&self, word: Word) {
        // At the end of the keeper nobody listens any more.
        let _ = self.outbox.send(Message::ProxySaid { number: self.number, word });
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
        let sockets = Given::Sockets { workload: 7, v6: true, generation: 9 };
        assert_eq!(text(&sockets), r#"{"sockets":{"workload":7,"v6":true,"generation":9}}"#);
        assert_eq!(text(&Given::Complete), r#""complete""#);
        assert_eq!(text(&Given::Figures), r#""figures""#);
        let wanted = |text: &str| serde_json::from_str::<Wanted>(text).expect("a wish");
        let sockets = wanted(r#"{"sockets":{"workload":7,"v4":8,"v6":0}}"#);
        assert!(matches!(sockets, Wanted::Sockets { workload: 7, v4: 8, v6: 0, generation: 0 }));
        let sockets = wanted(r#"{"sockets":{"workload":7,"v4":0,"v6":1,"generation":9}}"#);
        assert!(matches!(sockets, Wanted::Sockets { workload: 7, v4: 0, v6: 1, generation: 9 }));
        assert!(matches!(wanted(r#""ready""#), Wanted::Ready));
        assert!(matches!(wanted(r#""draining""#), Wanted::Draining));
        assert!(serde_json::from_str::<Wanted>(r#"{"listen":{"workload":7}}"#).is_err());
    }
}
