//! The link to the keeper: listeners come over it, and sockets to connect with.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
};

use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send},
};
use serde::{Deserialize, Serialize};
use tokio::{io::Interest, net::UnixStream, sync::oneshot};

use crate::{failure::Failure, locked::lock};

/// The most descriptors that come with one packet.
const MOST: usize = 64;
/// The longest packet of the keeper's.
const LONGEST: usize = 512;
/// So many sockets of a workload and family are kept.
const STOCK: usize = 8;

/// What the keeper says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Given {
    /// The listener inside a workload, which comes with it.
    Listen { workload: u32 },
    /// The workload is gone.
    Forget { workload: u32 },
    /// All listeners that there are were told.
    Complete,
    /// A file for what is counted, which comes with it.
    Figures,
    /// Sockets, which come with it; none if the workload is gone. They bear this generation.
    Sockets {
        workload: u32,
        v6: bool,
        #[serde(default)]
        generation: u64,
    },
}

/// What is said to the keeper.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Sockets {
        workload: u32,
        v4: usize,
        v6: usize,
        /// Of the policies that what is sent over them is judged by.
        generation: u64,
    },
    /// All listeners are served.
    Ready,
    /// No more connections are accepted.
    Draining,
}

/// The proxy's end of the link, with the sockets that came over it. One worker hears what comes; all may ask.
#[derive(Debug)]
pub(crate) struct Link {
    socket: UnixStream,
    /// Sockets of this number and above are given up: what is left is for listeners and callers that leave.
    scarce: RawFd,
    stocks: Mutex<HashMap<(u32, bool), Stock>>,
    /// What new sockets bear.
    generation: AtomicU64,
    /// Those that bear an older one are of no use.
    oldest: AtomicU64,
    /// Sockets are wanted that the keeper could not be asked for.
    unasked: AtomicBool,
}

/// Sockets of one workload and family.
#[derive(Debug, Default)]
struct Stock {
    ready: Vec<OwnedFd>,
    waiting: VecDeque<oneshot::Sender<OwnedFd>>,
    /// Packets that were asked for and have not come.
    asked: usize,
}

impl Link {
    /// No socket to connect with has the number `scarce` or a higher one.
    pub(crate) fn new(keeper: OwnedFd, scarce: RawFd) -> io::Result<Arc<Self>> {
        rustix::io::ioctl_fionbio(&keeper, true)?;
        // One of packets, which tokio has no type for; only its readiness is asked for.
        let socket = UnixStream::from_std(StdUnixStream::from(keeper))?;
        let (generation, oldest) = (AtomicU64::default(), AtomicU64::default());
        let unasked = AtomicBool::default();
        Ok(Arc::new(Self { socket, scarce, stocks: Mutex::default(), generation, oldest, unasked }))
    }

    /// The next thing that the keeper says; `None` once it has gone. Sockets are put into stock here.
    pub(crate) async fn next(&self) -> io::Result<Option<(Given, Vec<OwnedFd>)>> {
        loop {
            self.socket.readable().await?;
            match self.socket.try_io(Interest::READABLE, || receive(&self.socket)) {
                Ok(Some((Given::Sockets { workload, v6, generation }, sockets))) => {
                    if generation >= self.oldest() {
                        self.stock(workload, v6, sockets);
                    } else {
                        self.outdated(workload, v6, sockets);
                    }
                }
                // Readiness was a false alarm.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }

    /// An unconnected socket of a workload's.
    pub(crate) async fn socket(&self, workload: u32, v6: bool) -> Result<OwnedFd, Failure> {
        let (wait, have) = {
            let mut stocks = lock(&self.stocks);
            let stock = stocks.entry((workload, v6)).or_default();
            let have = stock.ready.pop();
            let short = stock.ready.len() < STOCK / 2;
            let wait = have.is_none().then(|| {
                // Who left waits for nothing.
                stock.waiting.retain(|it| !it.is_closed());
                let (sender, receiver) = oneshot::channel();
                stock.waiting.push_back(sender);
                receiver
            });
            // One packet under way is enough, but for more who wait than it brings.
            if short && stock.asked * STOCK <= stock.waiting.len() {
                self.ask(workload, v6, stock);
            }
            (wait, have)
        };
        match (have, wait) {
            (Some(socket), _) => Ok(socket),
            (None, Some(wait)) => wait.await.map_err(|_| Failure::NoSocket),
            (None, None) => Err(Failure::NoSocket),
        }
    }

    /// Has new sockets bear this generation, and throws away those that bear one before `oldest`. Older news than known is none.
    pub(crate) fn renew(&self, generation: u64, oldest: u64) {
        if self.oldest.fetch_max(oldest, AcqRel) < oldest {
            lock(&self.stocks).values_mut().for_each(|stock| stock.ready.clear());
        }
        self.generation.fetch_max(generation, AcqRel);
    }

    /// No socket that is given bears a newer generation.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// No socket that is given bears an older generation.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest.load(Acquire)
    }

    /// Forgets a workload's sockets.
    pub(crate) fn forget(&self, workload: u32) {
        lock(&self.stocks).retain(|(of, _), _| *of != workload);
    }

    /// Says that all listeners are served: whoever served them before may drain.
    pub(crate) fn ready(&self) {
        let _ = self.say(&Wanted::Ready);
    }

    /// Says that no more connections are accepted: another proxy is to be started, if none was.
    pub(crate) fn draining(&self) {
        let _ = self.say(&Wanted::Draining);
    }

    /// Asks for sockets; if the keeper can't be asked now, [`Self::ask_again`] does.
    fn ask(&self, workload: u32, v6: bool, stock: &mut Stock) {
        let (v4, v6) = if v6 { (0, STOCK) } else { (STOCK, 0) };
        if self.say(&Wanted::Sockets { workload, v4, v6, generation: self.generation() }) {
            stock.asked += 1;
        } else {
            self.unasked.store(true, Release);
        }
    }

    /// Asks for what could not be asked for when it was wanted, as the link was full: the keeper is being replaced, or very busy.
    pub(crate) fn ask_again(&self) {
        if !self.unasked.swap(false, AcqRel) {
            return;
        }
        for ((workload, v6), stock) in lock(&self.stocks).iter_mut() {
            stock.waiting.retain(|it| !it.is_closed());
            if stock.asked * STOCK < stock.waiting.len() {
                self.ask(*workload, *v6, stock);
            }
        }
    }

    /// Whether it could be said.
    fn say(&self, wanted: &Wanted) -> bool {
        let text = serde_json::to_vec(wanted).expect("invariant: plain data");
        let sent = send(&self.socket, &text, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        if let Err(error) = sent {
            tracing::warn!(%error, ?wanted, "the keeper can't be told");
        }
        sent.is_ok()
    }

    /// Sockets that were asked for before they were of no use. Others are asked for if somebody waits; none came if the workload
    /// is gone.
    fn outdated(&self, workload: u32, v6: bool, sockets: Vec<OwnedFd>) {
        if sockets.is_empty() {
            return self.stock(workload, v6, sockets);
        }
        let mut stocks = lock(&self.stocks);
        let stock = stocks.entry((workload, v6)).or_default();
        stock.asked = stock.asked.saturating_sub(1);
        stock.waiting.retain(|it| !it.is_closed());
        if stock.asked * STOCK < stock.waiting.len() {
            self.ask(workload, v6, stock);
        }
    }

    fn stock(&self, workload: u32, v6: bool, mut sockets: Vec<OwnedFd>) {
        let came = sockets.len();
        sockets.retain(|it| it.as_raw_fd() < self.scarce);
        let is_short = sockets.is_empty() || sockets.len() < came;
        let mut stocks = lock(&self.stocks);
        let stock = stocks.entry((workload, v6)).or_default();
        stock.asked = stock.asked.saturating_sub(1);
        for mut socket in sockets {
            loop {
                let Some(waiting) = stock.waiting.pop_front() else {
                    stock.ready.push(socket);
                    break;
                };
                match waiting.send(socket) {
                    Ok(()) => break,
                    // It waits no more.
                    Err(back) => socket = back,
                }
            }
        }
        if is_short {
            // The workload is gone, or there is no room: whoever waits is told so.
            stock.waiting.clear();
        }
    }
}

fn receive(socket: &UnixStream) -> io::Result<Option<(Given, Vec<OwnedFd>)>> {
    let mut packet = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut packet)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some((serde_json::from_slice(&packet[..got.bytes])?, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::{io::IoSlice, os::fd::AsFd as _};

    use rustix::net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SocketFlags, SocketType, sendmsg,
        socketpair,
    };
    use tokio::task::LocalSet;

    use super::*;

    fn pair() -> (OwnedFd, Arc<Link>) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a pair");
        (ours, Link::new(theirs, RawFd::MAX).expect("a link"))
    }

    fn give(keeper: &OwnedFd, text: &str, count: usize) {
        let null = std::fs::File::open("/dev/null").expect("null");
        let descriptors = vec![null.as_fd(); count];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if count > 0 {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        sendmsg(keeper, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty()).expect("sent");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_waits_gets_what_comes_and_the_rest_is_kept() {
        let (keeper, link) = pair();
        LocalSet::new()
            .run_until(async {
                let hearing = Arc::clone(&link);
                let heard = tokio::task::spawn_local(async move { hearing.next().await });
                let taking = Arc::clone(&link);
                let taken = tokio::task::spawn_local(async move { taking.socket(7, false).await });
                tokio::task::yield_now().await;
                let mut asked = [0; 128];
                let (_, length) = rustix::net::recv(&keeper, &mut asked, RecvFlags::empty()).expect("asked");
                assert_eq!(&asked[..length], br#"{"sockets":{"workload":7,"v4":8,"v6":0,"generation":0}}"#);
                give(&keeper, r#"{"sockets":{"workload":7,"v6":false}}"#, 8);
                assert!(taken.await.expect("no panic").is_ok());
                assert_eq!(lock(&link.stocks)[&(7, false)].ready.len(), 7);
                give(&keeper, r#"{"listen":{"workload":9}}"#, 1);
                let (given, descriptors) = heard.await.expect("no panic").expect("heard").expect("open");
                assert!(matches!(given, Given::Listen { workload: 9 }));
                assert_eq!(descriptors.len(), 1);
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn sockets_of_older_policies_are_thrown_away_and_others_asked_for() {
        let (keeper, link) = pair();
        LocalSet::new()
            .run_until(async {
                let hearing = Arc::clone(&link);
                tokio::task::spawn_local(async move { hearing.next().await });
                link.stock(7, false, vec![std::fs::File::open("/dev/null").expect("null").into()]);
                link.renew(3, 0);
                link.renew(2, 0);
                assert_eq!(link.generation(), 3, "a worker that is behind takes nobody back");
                assert_eq!(lock(&link.stocks)[&(7, false)].ready.len(), 1, "no policy needs another");
                link.renew(4, 4);
                assert_eq!(lock(&link.stocks)[&(7, false)].ready.len(), 0);
                let taking = Arc::clone(&link);
                let taken = tokio::task::spawn_local(async move { taking.socket(7, false).await });
                tokio::task::yield_now().await;
                let mut asked = [0; 128];
                let (_, length) = rustix::net::recv(&keeper, &mut asked, RecvFlags::empty()).expect("asked");
                assert_eq!(&asked[..length], br#"{"sockets":{"workload":7,"v4":8,"v6":0,"generation":4}}"#);
                link.renew(6, 6);
                give(&keeper, r#"{"sockets":{"workload":7,"v6":false,"generation":4}}"#, 8);
                let again = tokio::task::spawn_blocking({
                    let keeper = keeper.try_clone().expect("a copy");
                    move || {
                        let mut asked = [0; 128];
                        let (_, length) =
                            rustix::net::recv(&keeper, &mut asked, RecvFlags::empty()).expect("asked");
                        String::from_utf8_lossy(&asked[..length]).into_owned()
                    }
                });
                let again = again.await.expect("no panic");
                assert_eq!(again, r#"{"sockets":{"workload":7,"v4":8,"v6":0,"generation":6}}"#);
                give(&keeper, r#"{"sockets":{"workload":7,"v6":false,"generation":6}}"#, 8);
                assert!(taken.await.expect("no panic").is_ok());
                assert_eq!(lock(&link.stocks)[&(7, false)].ready.len(), 7);
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_waits_is_asked_for_once_the_link_has_room_again() {
        let (keeper, link) = pair();
        while link.say(&Wanted::Ready) {}
        LocalSet::new()
            .run_until(async {
                let taking = Arc::clone(&link);
                let taken = tokio::task::spawn_local(async move { taking.socket(7, false).await });
                tokio::task::yield_now().await;
                assert_eq!(lock(&link.stocks)[&(7, false)].asked, 0, "nobody heard it");
                link.ask_again();
                let mut asked = [0; 128];
                while rustix::net::recv(&keeper, &mut asked, RecvFlags::DONTWAIT).is_ok() {}
                link.ask_again();
                let (_, length) = rustix::net::recv(&keeper, &mut asked, RecvFlags::DONTWAIT).expect("asked");
                assert_eq!(&asked[..length], br#"{"sockets":{"workload":7,"v4":8,"v6":0,"generation":0}}"#);
                link.ask_again();
                assert!(rustix::net::recv(&keeper, &mut asked, RecvFlags::DONTWAIT).is_err(), "once");
                let hearing = Arc::clone(&link);
                tokio::task::spawn_local(async move { hearing.next().await });
                give(&keeper, r#"{"sockets":{"workload":7,"v6":false}}"#, 8);
                assert!(taken.await.expect("no panic").is_ok());
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_workload_that_is_gone_has_no_sockets() {
        let (keeper, link) = pair();
        LocalSet::new()
            .run_until(async {
                let hearing = Arc::clone(&link);
                tokio::task::spawn_local(async move { hearing.next().await });
                let taking = Arc::clone(&link);
                let taken = tokio::task::spawn_local(async move { taking.socket(7, true).await });
                tokio::task::yield_now().await;
                give(&keeper, r#"{"sockets":{"workload":7,"v6":true}}"#, 0);
                assert_eq!(taken.await.expect("no panic").expect_err("none"), Failure::NoSocket);
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_last_tenth_of_the_descriptors_is_not_for_sockets() {
        let (keeper, mut link) = pair();
        Arc::get_mut(&mut link).expect("nobody else has it").scarce = 0;
        LocalSet::new()
            .run_until(async {
                let hearing = Arc::clone(&link);
                let heard = tokio::task::spawn_local(async move { hearing.next().await });
                let taking = Arc::clone(&link);
                let taken = tokio::task::spawn_local(async move { taking.socket(7, false).await });
                tokio::task::yield_now().await;
                give(&keeper, r#"{"sockets":{"workload":7,"v6":false}}"#, 8);
                assert_eq!(taken.await.expect("no panic").expect_err("none"), Failure::NoSocket);
                give(&keeper, r#"{"listen":{"workload":9}}"#, 1);
                let (_, descriptors) = heard.await.expect("no panic").expect("heard").expect("open");
                assert_eq!(descriptors.len(), 1, "listeners are taken as long as there is one");
            })
            .await;
    }
}
