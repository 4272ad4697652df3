//! WebSockets on their way (RFC 6455). Their bytes are carried as they are. They are not spliced, though: the proxy follows
//! where frames end, so that it can take leave between two of them when it is to end.

use std::{io, mem::swap, pin::pin, time::Duration};

use tokio::{join, select, sync::watch, time::timeout, try_join};

use crate::{
    failure::Failure,
    serve::Proxy,
    tunnel::Moved,
    wire::{Reader, Writer, close},
};

pub mod frames;

use frames::{Frames, Why, close as close_frame};

/// How long one end has to answer a Close frame, and to end a frame that it has begun.
const ANSWER: Duration = Duration::from_secs(1);
/// How long taking leave of both ends takes at most; and if it begins when the drain's time is up.
const LEAVE: Duration = Duration::from_secs(3);
const SHORT_LEAVE: Duration = Duration::from_millis(700);
/// How long, after that, the last bytes may take to be written.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// One direction.
struct Direction {
    from: Reader,
    to: Writer,
    frames: Frames,
    moved: u64,
    /// More could not be read.
    fails: bool,
    /// More could not be written.
    stuck: bool,
    /// Its end was passed on.
    ended: bool,
}

/// Carries frames between a caller and a server until both directions have ended, or it is time to go: then both get a Close
/// frame between two frames, and the connections' ends. Once it is `unwanted` nothing more is carried: who is not in the middle
/// of a frame gets a Close frame and an end, who is gets a reset.
pub(crate) async fn between(
    proxy: &Proxy,
    closing: &mut watch::Receiver<bool>,
    caller: (Reader, Writer),
    server: (Reader, Writer),
    unwanted: impl Future<Output = ()>,
) -> Moved {
    let random = proxy.balancers.random();
    let share = f64::from((random.next() >> 32) as u32) / f64::from(u32::MAX);
    let mut there = Direction::new(caller.0, server.1, true);
    let mut back = Direction::new(server.0, caller.1, false);
    let end = select! {
        ended = async { try_join!(there.pour(), back.pour()) } => {
            if ended.is_ok() {
                End::Whole
            } else if there.fails || back.stuck {
                End::Broken(Failure::CallerLeft)
            } else {
                End::Broken(Failure::UpstreamBroke)
            }
        }
        () = unwanted => End::Unwanted,
        () = proxy.drain.turn(closing, share) => End::Turn,
    };
    let mask = ((random.next() >> 32) as u32).to_be_bytes();
    let (told_caller, told_server) = match end {
        End::Whole => return moved(&there, &back, end),
        End::Broken(_) => (false, false),
        End::Unwanted => {
            let told = (back.says_close(Why::Policy, None), there.says_close(Why::Policy, Some(mask)));
            let flushed = async { join!(back.to.flush(), there.to.flush()) };
            let _ = timeout(LAST_BYTES, flushed).await;
            told
        }
        End::Turn => {
            let patience = if proxy.drain.is_over() { SHORT_LEAVE } else { LEAVE };
            let left = timeout(patience, take_leave(&mut there, &mut back, mask)).await;
            tracing::debug!(?left, "took leave of a WebSocket's ends");
            (true, true)
        }
    };
    let moved = moved(&there, &back, end);
    join!(end_one(there.from, back.to, told_caller), end_one(back.from, there.to, told_server));
    moved
}

fn moved(there: &Direction, back: &Direction, end: End) -> Moved {
    Moved {
        there: there.moved,
        back: back.moved,
        whole: end == End::Whole,
        why: match end {
            End::Whole | End::Unwanted => None,
            End::Broken(failure) => Some(failure),
            End::Turn => Some(Failure::Ending),
        },
        refused: false,
    }
}

/// To its end in order if it was told why: who is reset may lose the Close frame that it has not read yet.
async fn end_one(from: Reader, to: Writer, told: bool) {
    if told {
        let _ = timeout(LAST_BYTES, close(from, to)).await;
    } else {
        to.reset();
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Broken(Failure),
    /// It may not go on.
    Unwanted,
    /// The proxy is to end, and it was this one's turn.
    Turn,
}

/// The caller is told first, so that what it sent before it heard still arrives, and with it its own Close frame. What the server
/// says after the caller was told nobody may hear.
async fn take_leave(there: &mut Direction, back: &mut Direction, mask: [u8; 4]) -> io::Result<()> {
    beside(back.say_close(None), there.pour()).await?;
    let answered = async {
        // Whoever does not answer is not waited for.
        timeout(ANSWER, there.pour_to_close()).await.unwrap_or(Ok(()))
    };
    beside(answered, back.discard()).await?;
    there.say_close(Some(mask)).await?;
    timeout(ANSWER, back.discard()).await.unwrap_or(Ok(()))
}

/// The first, while the second goes on.
async fn beside(
    first: impl Future<Output = io::Result<()>>,
    second: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let mut first = pin!(first);
    select! {
        biased;
        done = &mut first => return done,
        ended = second => ended?,
    }
    first.await
}

/// Each of these can be dropped and called again: no byte is lost, or written twice.
impl Direction {
    fn new(from: Reader, to: Writer, masked: bool) -> Self {
        Self { from, to, frames: Frames::new(masked), moved: 0, fails: false, stuck: false, ended: false }
    }

    /// Carries all that comes, and its end.
    async fn pour(&mut self) -> io::Result<()> {
        loop {
            let flushed = self.to.flush().await;
            self.stuck = flushed.is_err();
            flushed?;
            if self.from.buffer.is_empty() {
                let filled = self.from.fill().await;
                self.fails = filled.is_err();
                if filled? == 0 {
                    self.ended = true;
                    return self.to.end().await;
                }
            }
            self.frames.follow_all(&self.from.buffer);
            self.moved += self.from.buffer.len() as u64;
            swap(&mut self.from.buffer, &mut self.to.buffer);
        }
    }

    /// Carries frames up to a Close frame, or the end.
    async fn pour_to_close(&mut self) -> io::Result<()> {
        while !self.frames.has_closed() && self.pour_frame().await? {}
        self.to.flush().await
    }

    /// Ends the frame that is under way, and says Close unless that was said.
    async fn say_close(&mut self, mask: Option<[u8; 4]>) -> io::Result<()> {
        while !self.frames.is_between() && !self.frames.is_lost() && self.pour_frame().await? {}
        self.says_close(Why::GoingAway, mask);
        self.to.flush().await
    }

    /// Has a Close frame sent, if there may be one here; false if the end is in the middle of a frame.
    fn says_close(&mut self, why: Why, mask: Option<[u8; 4]>) -> bool {
        if self.frames.is_between() && !self.frames.has_closed() && !self.ended {
            self.to.buffer.extend_from_slice(&close_frame(why, mask));
        }
        self.frames.is_between()
    }

    /// Carries what there is of one frame; false at the end.
    async fn pour_frame(&mut self) -> io::Result<bool> {
        self.to.flush().await?;
        if self.from.buffer.is_empty() && self.from.fill().await? == 0 {
            return Ok(false);
        }
        let taken = self.frames.follow(&self.from.buffer);
        self.moved += taken as u64;
        self.to.buffer.extend_from_slice(&self.from.buffer.split_to(taken));
        Ok(true)
    }

    /// Takes what comes up to a Close frame or the end, and carries none of it.
    async fn discard(&mut self) -> io::Result<()> {
        while !self.frames.has_closed() {
            if self.from.buffer.is_empty() && self.from.fill().await? == 0 {
                return Ok(());
            }
            let taken = self.frames.follow(&self.from.buffer);
            let _ = self.from.buffer.split_to(taken);
        }
        Ok(())
    }
}
