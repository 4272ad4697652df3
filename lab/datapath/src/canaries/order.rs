//! Whether bytes arrive as they were sent, when they begin before both ends are joined, and when their way changes
//! because the receiver falls behind and catches up.

use std::{
    io::{self, Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use super::{
    Canary, Scene,
    pair::{Pair, content},
};

/// More than TCP's queues and the bound hold, so that the way changes.
const MOST: u64 = 48 << 20;
/// The receiver begins late, and pauses.
const PAUSE: Duration = Duration::from_millis(200);
/// All of it.
const TIME: Duration = Duration::from_millis(2500);

pub(super) fn order(scene: &Scene<'_>) -> io::Result<Canary> {
    let pair = Pair::connect(scene)?;
    // Not a multiple of any buffer's length.
    let pattern = content(1_000_003);
    let seen = thread::scope(|scope| {
        let writer = scope.spawn(|| send(&pair, &pattern));
        let seen = receive(&pair, &pattern);
        // Ends a writer that still waits.
        let _ = pair.server.shutdown(std::net::Shutdown::Both);
        let _ = writer.join();
        seen
    });
    let (holds, seen) = match seen {
        Ok(received) => (true, format!("{received} bytes in order")),
        Err(place) => (false, format!("other bytes after {place}")),
    };
    Ok(Canary { name: "order", expected: "bytes arrive in the order in which they were sent", holds, seen })
}

/// Sends until it is enough, or nobody reads any more.
fn send(pair: &Pair, pattern: &[u8]) {
    let mut sent = 0_u64;
    while sent < MOST {
        let start = (sent % pattern.len() as u64) as usize;
        // Of changing length: short ones take another way through the kernel.
        let end = pattern.len().min(start + 1 + (sent * 7919 % 60_000) as usize);
        let Ok(()) = (&pair.client).write_all(&pattern[start..end]) else { return };
        sent += (end - start) as u64;
    }
    let _ = pair.client.shutdown(std::net::Shutdown::Write);
}

/// Bytes received, or after how many there were others than were sent.
fn receive(pair: &Pair, pattern: &[u8]) -> Result<u64, u64> {
    let deadline = Instant::now() + TIME;
    let mut buffer = vec![0_u8; 64 << 10];
    let (mut received, mut pause_at) = (0_u64, 0_u64);
    while received < MOST && Instant::now() < deadline {
        if received >= pause_at {
            thread::sleep(PAUSE);
            pause_at = received + MOST / 4;
        }
        let length = match (&pair.server).read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        };
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let start = (received % pattern.len() as u64) as usize;
            let should = &pattern[start..pattern.len().min(start + rest.len())];
            if !rest.starts_with(should) {
                return Err(received);
            }
            received += should.len() as u64;
            rest = &rest[should.len()..];
        }
    }
    Ok(received)
}
