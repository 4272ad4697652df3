//! Bytes there and back that nobody looks at. Much at a time goes by `splice`, which copies nothing to user space.

use std::{cell::Cell, io, time::Duration};

use bytes::Bytes;
use rustix::{
    fd::OwnedFd,
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
};
use tokio::{io::Interest, net::TcpStream, select, time::sleep, try_join};

use crate::wire::{Reader, Writer, split};

/// A pipe's usual size: what one `splice` moves at most.
const PIPE: usize = 64 << 10;

/// Bytes to the endpoint and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) there: u64,
    pub(crate) back: u64,
    /// Both directions came to their end.
    pub(crate) whole: bool,
}

/// Carries bytes between two connections until both directions have ended. One that ends is closed onwards at once; the other
/// goes on. An error in one resets both.
pub(crate) async fn between(caller: (Reader, Writer), endpoint: (Reader, Writer)) -> Moved {
    let (mut from_caller, mut to_caller) = caller;
    let (mut from_endpoint, mut to_endpoint) = endpoint;
    let (there, back) = (Cell::new(0), Cell::new(0));
    let whole = try_join!(
        pour(&mut from_caller, &mut to_endpoint, &there),
        pour(&mut from_endpoint, &mut to_caller, &back)
    );
    if whole.is_err() {
        to_caller.reset();
        to_endpoint.reset();
    }
    Moved { there: there.get(), back: back.get(), whole: whole.is_ok() }
}

/// The same for whole connections, of whose first some was read already. Without bytes for as long as `idle` they are ended.
pub(crate) async fn relay(
    caller: TcpStream,
    first: Bytes,
    endpoint: TcpStream,
    idle: Option<Duration>,
) -> Moved {
    let (mut from_caller, mut to_caller) = split(caller);
    let (mut from_endpoint, mut to_endpoint) = split(endpoint);
    from_caller.buffer = first.into();
    let (there, back) = (Cell::new(0), Cell::new(0));
    let both = async {
        try_join!(
            pour(&mut from_caller, &mut to_endpoint, &there),
            pour(&mut from_endpoint, &mut to_caller, &back)
        )
    };
    let whole = select! {
        ended = both => ended.is_ok(),
        () = silence(&there, &back, idle) => false,
    };
    if !whole {
        to_caller.reset();
        to_endpoint.reset();
    }
    Moved { there: there.get(), back: back.get(), whole }
}

/// Completes once nothing went by for so long; looked at each time that has passed.
async fn silence(there: &Cell<u64>, back: &Cell<u64>, idle: Option<Duration>) {
    let Some(idle) = idle else { return std::future::pending().await };
    let mut before = None;
    loop {
        let now = (there.get(), back.get());
        if before == Some(now) {
            return;
        }
        before = Some(now);
        sleep(idle).await;
    }
}

async fn pour(from: &mut Reader, to: &mut Writer, moved: &Cell<u64>) -> io::Result<()> {
    loop {
        if from.buffer.is_empty() && from.fill().await? == 0 {
            return to.end().await;
        }
        let data = from.buffer.split().freeze();
        moved.set(moved.get() + data.len() as u64);
        to.data(data).await?;
        to.flush().await?;
        // Whoever sends so much goes on to do so. Without a pipe it works as well.
        if from.fills_its_room()
            && let Ok(pipe) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        {
            move_all(from.stream(), &pipe, to.stream(), moved).await?;
            return to.end().await;
        }
    }
}

/// Moves what comes until there is no more.
async fn move_all(
    from: &TcpStream,
    (out, into): &(OwnedFd, OwnedFd),
    to: &TcpStream,
    moved: &Cell<u64>,
) -> io::Result<()> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        from.readable().await?;
        // The pipe is empty here, so only the connection can have nothing.
        let mut left =
            match from.try_io(Interest::READABLE, || Ok(splice(from, None, into, None, PIPE, flags)?)) {
                Ok(0) => return Ok(()),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
        moved.set(moved.get() + left as u64);
        while left > 0 {
            to.writable().await?;
            match to.try_io(Interest::WRITABLE, || Ok(splice(out, None, to, None, left, flags)?)) {
                Ok(gone) => left -= gone,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
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

    /// Every byte tells its place, so that none can be lost, doubled or moved.
    fn byte(place: usize) -> u8 {
        u8::try_from(place % 251).expect("small")
    }

    #[tokio::test]
    async fn everything_arrives_both_ways_little_and_much() {
        LocalSet::new().run_until(everything_arrives()).await;
    }

    async fn everything_arrives() {
        for bytes in [1, 100, 64 << 10, 8 << 20] {
            let ((caller, ours), (theirs, endpoint)) = (pair().await, pair().await);
            let relayed = spawn_local(relay(ours, Bytes::from_static(b"first"), theirs, None));
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
            assert_eq!(moved, Moved { there: bytes + 5, back: bytes, whole: true });
        }
    }

    #[tokio::test]
    async fn an_end_that_is_reset_ends_the_other() {
        LocalSet::new().run_until(one_is_reset()).await;
    }

    async fn one_is_reset() {
        let ((caller, ours), (theirs, mut endpoint)) = (pair().await, pair().await);
        let relayed = spawn_local(relay(ours, Bytes::new(), theirs, None));
        socket2::SockRef::from(&caller).set_linger(Some(std::time::Duration::ZERO)).expect("set");
        drop(caller);
        assert_eq!(endpoint.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(!relayed.await.expect("no panic").whole);
    }
}
