//! How much a sender can give to a receiver that does not read.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::{
    Canary, Scene,
    pair::{Pair, content},
};

/// Where the canary stops; what no connection is to hold.
const MOST: usize = 64 << 20;
/// TCP's own queues at both ends together hold less, by the usual `tcp_rmem` and `tcp_wmem`; socket to socket
/// redirection adds its bound.
const EXPECTED: usize = 32 << 20;
/// How long nothing must go until the sender counts as blocked.
const BLOCKED: Duration = Duration::from_millis(300);

pub(super) fn receive_window(scene: &Scene<'_>) -> io::Result<Canary> {
    let pair = Pair::connect(scene)?;
    pair.client.set_write_timeout(Some(BLOCKED))?;
    let piece = content(64 << 10);
    let start = Instant::now();
    let mut sent = 0;
    let mut blocked = false;
    while !blocked && sent < MOST && start.elapsed() < Duration::from_secs(2) {
        match (&pair.client).write(&piece) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
            Err(error) => return Err(error),
        }
    }
    let how = if blocked { "then it blocked" } else { "and it was not blocked" };
    Ok(Canary {
        name: "receive window",
        expected: "a receiver that does not read stops the sender within 32 MiB",
        holds: blocked && sent <= EXPECTED,
        seen: format!("{:.1} MiB were sent, {how}", sent as f64 / f64::from(1 << 20)),
    })
}
