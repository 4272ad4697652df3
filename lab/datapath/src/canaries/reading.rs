//! How data and its end are received.

use std::{
    io::{self, Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll},
    io::Errno,
    net::{RecvFlags, recv},
    pipe::{SpliceFlags, pipe, splice as splice_bytes},
};

use super::{
    Canary, Scene,
    pair::{PATIENCE, Pair, content},
};

/// For the other end to have received what was sent.
const ARRIVAL: Duration = Duration::from_millis(50);

/// `splice(2)` from a socket with data queued, as Go's `io.Copy` does it.
pub(super) fn splice(scene: &Scene<'_>) -> io::Result<Canary> {
    const SENT: usize = 10_000;
    let pair = warm(scene)?;
    (&pair.client).write_all(&content(SENT))?;
    thread::sleep(ARRIVAL);
    let (reader, writer) = pipe()?;
    let result = splice_bytes(&pair.server, None, &writer, None, SENT, SpliceFlags::NONBLOCK);
    drop(reader);
    let (holds, seen) = match result {
        Ok(length) => (length > 0, format!("{length} of {SENT} bytes")),
        Err(error) => (false, format!("{} with {SENT} bytes queued", name(error))),
    };
    Ok(Canary { name: "splice", expected: "splice(2) from a socket delivers what is queued", holds, seen })
}

/// A read that is to return when all is there.
pub(super) fn wait_for_all(scene: &Scene<'_>) -> io::Result<Canary> {
    const HALF: usize = 5_000;
    let pair = warm(scene)?;
    let sent = content(2 * HALF);
    let mut buffer = vec![0_u8; sent.len()];
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            // What can't be sent is not received, and seen there.
            let _ = (&pair.client).write_all(&sent[..HALF]);
            thread::sleep(ARRIVAL);
            let _ = (&pair.client).write_all(&sent[HALF..]);
        });
        recv(&pair.server, buffer.as_mut_slice(), RecvFlags::WAITALL)
    });
    let (holds, seen) = match result {
        Ok((length, _)) => (length == sent.len(), format!("{length} of {} bytes", sent.len())),
        Err(error) => (false, name(error)),
    };
    Ok(Canary {
        name: "MSG_WAITALL",
        expected: "a read with MSG_WAITALL returns all it asked for",
        holds,
        seen,
    })
}

/// A blocked reader while another thread fills the same socket and gets room again.
pub(super) fn blocking_read(scene: &Scene<'_>) -> io::Result<Canary> {
    const SENT: usize = 64 << 20;
    let pair = warm(scene)?;
    let mut discarded = 0_usize;
    let (waited, result) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let start = Instant::now();
            let result = recv(&pair.client, [0_u8; 64].as_mut_slice(), RecvFlags::empty());
            (start.elapsed(), result)
        });
        scope.spawn(|| {
            let piece = content(64 << 10);
            let deadline = Instant::now() + PATIENCE / 2;
            let mut sent = 0;
            while sent < SENT && Instant::now() < deadline && (&pair.client).write_all(&piece).is_ok() {
                sent += piece.len();
            }
        });
        let mut buffer = vec![0_u8; 256 << 10];
        let deadline = Instant::now() + PATIENCE;
        // In bursts, so that the writer fills the queue and is woken by room.
        while discarded < SENT && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            for _ in 0..64 {
                match recv(&pair.server, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                    Ok((length, _)) if length > 0 => discarded += length,
                    Ok(_) | Err(_) => break,
                }
            }
        }
        reader.join().unwrap_or((Duration::ZERO, Err(Errno::IO)))
    });
    // Nothing was sent to it: until its own time is up, it has nothing to return for.
    let holds = waited >= PATIENCE - ARRIVAL && result == Err(Errno::AGAIN);
    let outcome = result.map_or_else(name, |(length, _)| format!("{length} bytes"));
    let seen = format!("{outcome} after {} ms of {}", waited.as_millis(), PATIENCE.as_millis());
    let expected = "a blocked read is not woken by room for another thread's writing";
    Ok(Canary { name: "blocking read", expected, holds, seen })
}

/// A reader that is told once of what comes (`EPOLLET`), and takes a read that leaves room for the end of it: so do nginx, with
/// `EPOLLRDHUP`, and tokio.
pub(super) fn edge_triggered(scene: &Scene<'_>) -> io::Result<Canary> {
    /// Half a receive buffer of 128 KiB, which is what joined sockets may fill, does not take the last of them.
    const SENT: [usize; 4] = [20_000, 20_000, 20_000, 10_000];
    const ROOM: usize = 8 << 10;
    let pair = warm(scene)?;
    for length in SENT {
        (&pair.client).write_all(&content(length))?;
    }
    thread::sleep(ARRIVAL);
    let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let what = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
    epoll::add(&watch, &pair.server, epoll::EventData::new_u64(0), what)?;
    let wait = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
    let (mut received, all) = (0, SENT.iter().sum::<usize>());
    let mut events = Vec::with_capacity(1);
    while received < all && epoll::wait(&watch, rustix::buffer::spare_capacity(&mut events), Some(&wait))? > 0
    {
        events.clear();
        let mut buffer = [0_u8; ROOM];
        while let Ok((length @ 1.., _)) = recv(&pair.server, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            received += length;
            if length < ROOM {
                break;
            }
        }
    }
    Ok(Canary {
        name: "edge-triggered read",
        expected: "after a read that leaves room in its buffer, an event tells of more",
        holds: received == all,
        seen: format!("{received} of {all} bytes"),
    })
}

/// Closing with unread data tells the sender that it was lost (RFC 2525, section 2.17).
pub(super) fn reset(scene: &Scene<'_>) -> io::Result<Canary> {
    let pair = warm(scene)?;
    (&pair.client).write_all(&content(10_000))?;
    thread::sleep(ARRIVAL);
    drop(pair.server);
    let (holds, seen) = match (&pair.client).read(&mut [0; 64]) {
        Err(error) if error.raw_os_error() == Some(Errno::CONNRESET.raw_os_error()) => {
            (true, "ECONNRESET".to_owned())
        }
        Err(error) => (false, error.to_string()),
        Ok(0) => (false, "an orderly end".to_owned()),
        Ok(length) => (false, format!("{length} bytes")),
    };
    Ok(Canary { name: "reset", expected: "closing with unread data resets the connection", holds, seen })
}

/// A connection on which each end has heard from the other.
fn warm(scene: &Scene<'_>) -> io::Result<Pair> {
    let pair = Pair::connect(scene)?;
    let mut byte = [0];
    for (from, to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
        let (mut from, mut to) = (from, to);
        from.write_all(b"x")?;
        to.read_exact(&mut byte)?;
    }
    Ok(pair)
}

/// As errno(3) has it.
fn name(error: Errno) -> String {
    match error {
        Errno::AGAIN => "EAGAIN".to_owned(),
        Errno::INVAL => "EINVAL".to_owned(),
        other => other.to_string(),
    }
}
