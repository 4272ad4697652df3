//! Reports from the kernel become lines for people: joined, named, kept for a while, handed to followers.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    api::Flow,
    balance::outcomes::{Outcome, Outcomes, Watched},
    datapath::EventSource,
    metrics::Traffic,
    published::Published,
};

mod join;
mod line;

pub use join::{Joined, Joiner};
pub use line::{Clock, line};

/// Lines that are kept.
const KEPT: usize = 10_000;
/// How long one end's report waits for the other's.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long reports gather before they are read. The kernel wakes a reader for each report that finds it waiting, and the
/// system call that reported pays for that; what is unread already wakes nobody.
const GATHER: Duration = Duration::from_millis(10);

/// The latest lines, and who follows them.
#[derive(Default)]
pub struct FlowLog {
    inner: Mutex<Inner>,
    /// Reports that followers were too slow for.
    lost: AtomicU64,
    traffic: Mutex<Traffic>,
}

#[derive(Default)]
struct Inner {
    lines: VecDeque<Arc<Flow>>,
    followers: Vec<SyncSender<Arc<Flow>>>,
}

impl FlowLog {
    /// The latest `last` lines, oldest first, and a receiver of all later ones if `backlog` is given: a follower that is
    /// further behind than that loses lines.
    pub fn read(&self, last: usize, backlog: Option<usize>) -> (Vec<Arc<Flow>>, Option<Receiver<Arc<Flow>>>) {
        let mut inner = self.lock();
        let skip = inner.lines.len().saturating_sub(last);
        let past = inner.lines.iter().skip(skip).cloned().collect();
        let new = backlog.map(|backlog| {
            let (sender, receiver) = mpsc::sync_channel(backlog);
            inner.followers.push(sender);
            receiver
        });
        (past, new)
    }

    /// Lines that followers lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What all lines together say.
    pub(crate) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, flow: Flow) {
        self.traffic().add(&flow);
        let flow = Arc::new(flow);
        let mut inner = self.lock();
        if inner.lines.len() == KEPT {
            inner.lines.pop_front();
        }
        inner.lines.push_back(Arc::clone(&flow));
        inner.followers.retain(|follower| match follower.try_send(Arc::clone(&flow)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names that lines are written with; replaced whole by each snapshot.
pub type SharedNames = Arc<RwLock<Arc<Published>>>;

/// Reads reports until the process ends; tells how connections to `watched` services fare.
pub fn watch(
    source: impl EventSource + 'static,
    log: Arc<FlowLog>,
    names: SharedNames,
    watched: Watched,
    tell: impl FnMut(Outcome) + Send + 'static,
) -> std::io::Result<()> {
    let outcomes = Outcomes::of(watched);
    let work = move || pump(source, &log, &names, outcomes, tell);
    thread::Builder::new().name("flows".into()).spawn(work).map(drop)
}

fn pump(
    mut source: impl EventSource,
    log: &FlowLog,
    names: &SharedNames,
    mut outcomes: Outcomes,
    mut tell: impl FnMut(Outcome),
) {
    let clock = line::Clock::now();
    let mut joiner = Joiner::default();
    loop {
        let wait = joiner.next_deadline().map(|deadline| deadline.saturating_sub(line::monotonic()));
        let timeout = wait.map(|nanos| Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as i64,
        });
        match poll(&mut [PollFd::new(&source, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => thread::sleep(GATHER),
            Err(error) => {
                tracing::error!(%error, "reports of connections can't be read any more");
                return;
            }
        }
        let now = line::monotonic();
        let published = Arc::clone(&names.read().unwrap_or_else(PoisonError::into_inner));
        let mut emit = |joined: &join::Joined| log.add(line::line(joined, &published, &clock));
        source.drain(&mut |event| {
            outcomes.see(event).into_iter().for_each(&mut tell);
            joiner.take(event, now + PATIENCE.as_nanos() as u64, &mut emit);
        });
        joiner.expire(now, &mut emit);
    }
}

#[cfg(test)]
mod tests {
    use wabe_abi::Event;

    use super::*;

    fn flow(port: u16) -> Flow {
        let joined = join::Joined {
            event: Event {
                destination_port: wabe_abi::Be16::new(port),
                kind: 1,
                lane: 2,
                ..Event::default()
            },
            source: true,
            destination: false,
        };
        line::line(&joined, &Published::default(), &line::Clock::now())
    }

    #[test]
    fn the_latest_lines_are_kept_and_followers_get_the_rest() {
        let log = FlowLog::default();
        for port in 0..(KEPT as u16 + 5) {
            log.add(flow(port));
        }
        let (past, new) = log.read(2, Some(1));
        let ports: Vec<u16> = past.iter().map(|flow| flow.to.port).collect();
        assert_eq!(ports, [KEPT as u16 + 3, KEPT as u16 + 4]);
        assert_eq!(log.read(usize::MAX, None).0.len(), KEPT);
        let new = new.expect("a follower");
        log.add(flow(1));
        log.add(flow(2));
        assert_eq!(new.recv().expect("a line").to.port, 1);
        assert_eq!(log.lost(), 1, "a slow follower loses lines, and it shows");
        drop(new);
        log.add(flow(3));
        assert!(log.lock().followers.is_empty());
    }
}
