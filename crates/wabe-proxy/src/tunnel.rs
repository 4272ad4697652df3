//! Bytes there and back that nobody looks at. Much at a time goes by `splice`, which copies nothing to user space.

use std::{
    cell::Cell,
    future::pending,
    io, mem,
    os::fd::{AsRawFd as _, RawFd},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::{
    fd::OwnedFd,
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
};
use tokio::{io::Interest, join, net::TcpStream, select, time::sleep, try_join};

use crate::{
    drain::Drain,
    failure::Failure,
    wire::{Reader, Writer, close, split},
    workers::busy_poll::heard,
};

/// A pipe's usual size: what one `splice` moves at most.
const PIPE: usize = 64 << 10;
/// Without bytes for so long none are under way, and how long that is waited for.
const LULL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));

/// What ends it, and what it may cost.
#[derive(Clone, Copy)]
pub(crate) struct Limits<'a> {
    pub(crate) drain: &'a Drain,
    /// No pipe has a descriptor of this number or above: see [`crate::bounds::Bounds::pipes`].
    pub(crate) pipes: RawFd,
}

/// Bytes to the endpoint and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) there: u64,
    pub(crate) back: u64,
    /// Both directions came to their end.
    pub(crate) whole: bool,
    /// Why they did not, if that is known here.
    pub(crate) why: Option<Failure>,
    /// The endpoint broke it off without having said anything, while the caller had not ended.
    pub(crate) refused: bool,
}

/// One way's.
#[derive(Default)]
struct Gone<'a> {
    bytes: Cell<u64>,
    /// Some were taken, and not passed on yet.
    holds: Cell<bool>,
    /// No more could be taken.
    fails: Cell<bool>,
    /// There was no more.
    ended: Cell<bool>,
    /// Asked to do something once there are bytes, or their end.
    comes: Option<&'a dyn Fn()>,
}

/// Carries bytes between two connections until both directions have ended. One that ends is closed onwards at once; the other
/// goes on. An error in one resets both, and so it does once they are `unwanted`. Once the drain is over both are ended, as by
/// their other ends if no bytes are under way.
pub(crate) async fn between(
    caller: (Reader, Writer),
    endpoint: (Reader, Writer),
    limits: Limits<'_>,
    unwanted: impl Future<Output = ()>,
) -> Moved {
    carry(caller, endpoint, None, limits, unwanted, &|| ()).await
}

/// The same for whole connections, of whose first some was read already. Without bytes for as long as `idle` they are reset. `answers`
/// is called when the endpoint says something or ends.
pub(crate) async fn relay(
    caller: TcpStream,
    first: Bytes,
    endpoint: TcpStream,
    idle: Option<Duration>,
    limits: Limits<'_>,
    unwanted: impl Future<Output = ()>,
    answers: &dyn Fn(),
) -> Moved {
    let mut caller = split(caller);
    caller.0.buffer = first.into();
    carry(caller, split(endpoint), idle, limits, unwanted, answers).await
}

async fn carry(
    (mut from_caller, mut to_caller): (Reader, Writer),
    (mut from_endpoint, mut to_endpoint): (Reader, Writer),
    idle: Option<Duration>,
    Limits { drain, pipes }: Limits<'_>,
    unwanted: impl Future<Output = ()>,
    answers: &dyn Fn(),
) -> Moved {
    let (there, back) = (Gone::default(), Gone { comes: Some(answers), ..Gone::default() });
    let both = async {
        try_join!(
            async {
                let poured = pour(&mut from_caller, &mut to_endpoint, &there, pipes).await;
                poured.map_err(|stop| stop.blames(Failure::CallerLeft, Failure::UpstreamBroke))
            },
            async {
                let poured = pour(&mut from_endpoint, &mut to_caller, &back, pipes).await;
                poured.map_err(|stop| stop.blames(Failure::UpstreamBroke, Failure::CallerLeft))
            }
        )
    };
    let end = select! {
        ended = both => ended.map_or_else(End::Broken, |_| End::Whole),
        failure = silence(&there, &back, idle) => End::Broken(failure),
        () = unwanted => End::Unwanted,
        parted = lull(&there, &back, drain) => if parted { End::Parted } else { End::CutOff },
    };
    let moved = Moved {
        there: there.bytes.get(),
        back: back.bytes.get(),
        whole: end == End::Whole,
        why: match end {
            End::Whole | End::Unwanted => None,
            End::Broken(failure) => Some(failure),
            End::Parted | End::CutOff => Some(Failure::Ending),
        },
        refused: back.fails.get() && back.bytes.get() == 0 && !there.ended.get(),
    };
    match end {
        End::Whole => {}
        End::Broken(_) | End::Unwanted | End::CutOff => {
            to_caller.reset();
            to_endpoint.reset();
        }
        End::Parted => {
            join!(close(from_caller, to_caller), close(from_endpoint, to_endpoint));
        }
    }
    moved
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// What was carried is not whole, and must not look so.
    Broken(Failure),
    /// Nor is it here: it may not go on.
    Unwanted,
    /// In order, when the proxy's time was up.
    Parted,
    /// Then, too, but in the middle of what was carried.
    CutOff,
}

/// Where bytes could not be carried on.
enum Stop {
    From,
    To,
}

impl Stop {
    /// Whose fault it is.
    fn blames(&self, from: Failure, to: Failure) -> Failure {
        match self {
            Self::From => from,
            Self::To => to,
        }
    }
}

/// Completes once nothing went by for so long; looked at each time that has passed.
async fn silence(there: &Gone<'_>, back: &Gone<'_>, idle: Option<Duration>) -> Failure {
    let Some(idle) = idle else { return pending().await };
    let mut before = None;
    loop {
        let now = (there.bytes.get(), back.bytes.get());
        if before == Some(now) {
            return Failure::StreamIdle(idle);
        }
        before = Some(now);
        sleep(idle).await;
    }
}

/// Completes after the drain: true as soon as no bytes are under way for a moment, false if they go on and on.
async fn lull(there: &Gone<'_>, back: &Gone<'_>, drain: &Drain) -> bool {
    drain.over().await;
    let until = Instant::now() + LULL.1;
    while Instant::now() < until {
        let before = (there.bytes.get(), back.bytes.get());
        sleep(LULL.0).await;
        if before == (there.bytes.get(), back.bytes.get()) && !there.holds.get() && !back.holds.get() {
            return true;
        }
    }
    false
}

async fn pour(from: &mut Reader, to: &mut Writer, gone: &Gone<'_>, pipes: RawFd) -> Result<(), Stop> {
    let mut may_have_a_pipe = true;
    loop {
        if from.buffer.is_empty() {
            let filled = from.fill().await;
            gone.fails.set(filled.is_err());
            if filled.map_err(|_| Stop::From)? == 0 {
                gone.ended.set(true);
                gone.come();
                return to.end().await.map_err(|_| Stop::To);
            }
        }
        let data = from.buffer.split().freeze();
        gone.take(data.len());
        to.data(data).await.map_err(|_| Stop::To)?;
        to.flush().await.map_err(|_| Stop::To)?;
        gone.holds.set(false);
        // Whoever sends so much goes on to do so. Without a pipe it works as well.
        if from.fills_its_room()
            && mem::take(&mut may_have_a_pipe)
            && let Some(pipe) = pipe_below(pipes)
        {
            move_all(from.stream(), &pipe, to.stream(), gone).await?;
            return to.end().await.map_err(|_| Stop::To);
        }
    }
}

/// A pipe, unless its descriptors are this one or above.
fn pipe_below(most: RawFd) -> Option<(OwnedFd, OwnedFd)> {
    let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
    (pipe.0.as_raw_fd().max(pipe.1.as_raw_fd()) < most).then_some(pipe)
}

/// Moves what comes until there is no more.
async fn move_all(
    from: &TcpStream,
    (out, into): &(OwnedFd, OwnedFd),
    to: &TcpStream,
    gone: &Gone<'_>,
) -> Result<(), Stop> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        from.readable().await.map_err(|_| Stop::From)?;
        // The pipe is empty here, so only the connection can have nothing.
        let mut left =
            match from.try_io(Interest::READABLE, || Ok(splice(from, None, into, None, PIPE, flags)?)) {
                Ok(0) => return Ok(()),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Err(Stop::From),
            };
        heard();
        gone.take(left);
        while left > 0 {
            to.writable().await.map_err(|_| Stop::To)?;
            match to.try_io(Interest::WRITABLE, || Ok(splice(out, None, to, None, left, flags)?)) {
                Ok(gone) => left -= gone,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Stop::To),
            }
        }
        gone.holds.set(false);
    }
}

impl Gone<'_> {
    fn come(&self) {
        self.comes.iter().for_each(|comes| comes());
    }

    fn take(&self, bytes: usize) {
        if self.bytes.get() == 0 {
            self.come();
        }
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.holds.set(true);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::{JoinSet, LocalSet, spawn_local},
    };

    use super::*;

    /// Two ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("bound");
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.expect("connected"), other.expect("accepted").0)
    }

    async fn relaying(ours: TcpStream, first: &'static [u8], theirs: TcpStream) -> Moved {
        relaying_with(ours, first, theirs, RawFd::MAX).await
    }

    async fn relaying_with(ours: TcpStream, first: &'static [u8], theirs: TcpStream, pipes: RawFd) -> Moved {
        let limits = Limits { drain: &Drain::new(Duration::ZERO), pipes };
        relay(ours, Bytes::from_static(first), theirs, None, limits, pending(), &|| ()).await
    }

    /// Every byte tells its place, so that none can be lost, doubled or moved.
    fn byte(place: usize) -> u8 {
        u8::try_from(place % 251).expect("small")
    }

    #[tokio::test]
    async fn everything_arrives_both_ways_little_and_much() {
        LocalSet::new().run_until(everything_arrives()).await;
    }

    async fn everything_arrives() {
        // Without pipes as well.
        let amounts = [1, 100, 64 << 10, 8 << 20].map(|bytes| (bytes, RawFd::MAX));
        for (bytes, pipes) in amounts.into_iter().chain([(8 << 20, 0)]) {
            let ((caller, ours), (theirs, endpoint)) = (pair().await, pair().await);
            let relayed = spawn_local(relaying_with(ours, b"first", theirs, pipes));
            let mut ends = JoinSet::new();
            for (stream, first) in [(caller, 0), (endpoint, 5)] {
                ends.spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    let sent: Vec<u8> = (0..bytes).map(byte).collect();
                    let send = async {
                        to.write_all(&sent).await.expect("sent");
                        to.shutdown().await.expect("ended");
                    };
                    let receive = async {
                        let mut got = Vec::new();
                        from.read_to_end(&mut got).await.expect("received");
                        got
                    };
                    let ((), got) = tokio::join!(send, receive);
                    assert_eq!(&got[..first], &b"first"[..first]);
                    assert!(got[first..] == sent, "{} of {bytes} bytes", got.len() - first);
                });
            }
            ends.join_all().await;
            let moved = relayed.await.expect("no panic");
            let bytes = bytes as u64;
            assert_eq!(
                moved,
                Moved { there: bytes + 5, back: bytes, whole: true, why: None, refused: false }
            );
        }
    }

    #[tokio::test]
    async fn an_end_that_is_reset_ends_the_other() {
        LocalSet::new().run_until(one_is_reset()).await;
    }

    async fn one_is_reset() {
        let ((caller, ours), (theirs, mut endpoint)) = (pair().await, pair().await);
        let relayed = spawn_local(relaying(ours, b"", theirs));
        socket2::SockRef::from(&caller).set_linger(Some(std::time::Duration::ZERO)).expect("set");
        drop(caller);
        assert_eq!(endpoint.read(&mut [0; 1]).await.unwrap_or(0), 0);
        let moved = relayed.await.expect("no panic");
        assert!(!moved.whole && !moved.refused, "{moved:?}: it was the caller");
        assert_eq!(moved.why, Some(Failure::CallerLeft));
    }

    #[tokio::test]
    async fn an_endpoint_that_resets_at_once_is_told_from_one_that_answers() {
        LocalSet::new().run_until(endpoints_reset()).await;
    }

    async fn endpoints_reset() {
        for says in [b"".as_slice(), b"hello"] {
            let ((mut caller, ours), (theirs, mut endpoint)) = (pair().await, pair().await);
            let relayed = spawn_local(relaying(ours, b"", theirs));
            endpoint.write_all(says).await.expect("sent");
            caller.read_exact(&mut vec![0; says.len()]).await.expect("received");
            socket2::SockRef::from(&endpoint).set_linger(Some(Duration::ZERO)).expect("set");
            drop(endpoint);
            let moved = relayed.await.expect("no panic");
            assert_eq!((moved.whole, moved.refused), (false, says.is_empty()));
            assert_eq!(moved.why, Some(Failure::UpstreamBroke));
        }
    }
}
