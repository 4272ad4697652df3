//! Which processes a role has: one in charge; perhaps one that is to relieve it; and those that drain, having been relieved.
//!
//! Times and process ids in, signals out: nothing here starts or ends anything.

use std::time::{Duration, Instant};

use rustix::process::Signal;

/// How long one that was relieved may drain: the proxy's own 30 s, in which nearly all requests and downloads end, and
/// a moment more, as it ends by itself then.
pub(super) const DRAIN: Duration = Duration::from_secs(32);
/// How long a relief has until it says that it is ready.
pub(super) const READY: Duration = Duration::from_secs(10);
/// What processes of the mesh get to end in, when the mesh ends.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The most that drain at a time. Each holds the memory of a process, and connections.
pub(super) const MOST_DRAINING: usize = 4;

/// A process of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Unlike process ids, never used again.
    pub(super) number: u32,
    pub(super) pid: u32,
}

/// The processes of a role.
#[derive(Debug)]
pub(super) struct Shift {
    post: Post,
    relief: Option<Timed>,
    draining: Vec<Timed>,
    last: u32,
}

/// Who is in charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Post {
    /// Nobody until then.
    Vacant {
        until: Instant,
    },
    Held {
        process: Process,
        kill_at: Option<Instant>,
    },
    /// Nobody any more.
    Closed,
}

/// A process that may live until a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timed {
    process: Process,
    kill_at: Instant,
}

/// What a process was when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Was {
    InCharge,
    /// It was never ready.
    Relief,
    Draining,
}

impl Shift {
    pub(super) fn new(now: Instant) -> Self {
        Self { post: Post::Vacant { until: now }, relief: None, draining: Vec::new(), last: 0 }
    }

    /// The number of the next process.
    pub(super) fn next_number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Whether a process is to be started now, to be in charge.
    pub(super) fn wants_one(&self, now: Instant) -> bool {
        matches!(self.post, Post::Vacant { until } if until <= now)
    }

    /// It was started, or goes on from an earlier program.
    pub(super) fn take_charge(&mut self, process: Process) {
        self.post = Post::Held { process, kill_at: None };
    }

    /// Goes on from an earlier program.
    pub(super) fn drains(&mut self, process: Process, now: Instant) {
        self.draining.push(Timed { process, kill_at: now + DRAIN });
    }

    /// Whether there may be a relief now; why not.
    pub(super) fn may_be_relieved(&self, now: Instant) -> Result<(), String> {
        if self.relief.is_some() {
            return Err("another one is being started already".into());
        }
        if self.draining.len() < MOST_DRAINING {
            return Ok(());
        }
        let first = self.draining.iter().map(|it| it.kill_at).min().unwrap_or(now);
        let seconds = first.saturating_duration_since(now).as_secs() + 1;
        Err(format!(
            "{MOST_DRAINING} earlier ones still finish what they began: try again in {seconds} s at most"
        ))
    }

    /// A relief was started.
    pub(super) fn begin_relief(&mut self, process: Process, now: Instant) {
        self.relief = Some(Timed { process, kill_at: now + READY });
    }

    /// A process says that it serves. If it is the relief it is in charge now: returns true, and whom to tell to drain.
    pub(super) fn ready(&mut self, number: u32, now: Instant) -> (bool, Option<u32>) {
        let Some(relief) = self.relief.take_if(|it| it.process.number == number) else {
            return (false, None);
        };
        let relieved = match self.post {
            Post::Held { process, .. } => Some(process),
            Post::Vacant { .. } | Post::Closed => None,
        };
        self.take_charge(relief.process);
        if let Some(process) = relieved {
            self.drains(process, now);
        }
        (true, relieved.map(|it| it.pid))
    }

    /// A process says that it drains. If nobody told it to there is nobody in charge: another one is wanted, after a pause. Of those
    /// that drain the first has no more time if there were too many.
    pub(super) fn leaves(&mut self, number: u32, now: Instant, pause: impl FnOnce() -> Duration) {
        if let Post::Held { process, kill_at: None } = self.post
            && process.number == number
        {
            self.post = Post::Vacant { until: now + pause() };
            self.drains(process, now);
            let many = self.draining.len().saturating_sub(MOST_DRAINING);
            self.draining.iter_mut().take(many).for_each(|it| it.kill_at = it.kill_at.min(now));
        }
    }

    /// A process ended. One that was in charge is followed by another after a pause, unless the mesh ends.
    pub(super) fn ended(
        &mut self,
        number: u32,
        now: Instant,
        closing: bool,
        pause: impl FnOnce() -> Duration,
    ) -> Was {
        if self.relief.take_if(|it| it.process.number == number).is_some() {
            return Was::Relief;
        }
        if let Post::Held { process, .. } = self.post
            && process.number == number
        {
            self.post = if closing { Post::Closed } else { Post::Vacant { until: now + pause() } };
            return Was::InCharge;
        }
        self.draining.retain(|it| it.process.number != number);
        Was::Draining
    }

    /// One could not even be started.
    pub(super) fn failed_to_start(&mut self, now: Instant, pause: Duration) {
        self.post = Post::Vacant { until: now + pause };
    }

    /// The mesh ends: nobody is started any more. Returns whom to ask to end.
    pub(super) fn end(&mut self, now: Instant) -> Vec<u32> {
        let mut asked = Vec::new();
        match &mut self.post {
            Post::Held { process, kill_at: kill_at @ None } => {
                *kill_at = Some(now + GRACE);
                asked.push(process.pid);
            }
            Post::Held { .. } | Post::Closed => {}
            post @ Post::Vacant { .. } => *post = Post::Closed,
        }
        // A relief is in nobody's service yet.
        for timed in self.relief.iter_mut().chain(&mut self.draining) {
            timed.kill_at = timed.kill_at.min(now + GRACE);
            asked.push(timed.process.pid);
        }
        asked
    }

    /// Whose time is over. Told again if it doesn't help.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(u32, Signal)> {
        let mut overdue = Vec::new();
        if let Post::Held { process, kill_at: Some(at) } = &mut self.post
            && *at <= now
        {
            *at = now + GRACE;
            overdue.push((process.pid, Signal::KILL));
        }
        for timed in self.relief.iter_mut().chain(&mut self.draining).filter(|it| it.kill_at <= now) {
            timed.kill_at = now + GRACE;
            overdue.push((timed.process.pid, Signal::KILL));
        }
        overdue
    }

    /// When something is to be done though nothing is heard. While the mesh is `closing` nobody is started.
    pub(super) fn deadline(&self, closing: bool) -> Option<Instant> {
        let post = match self.post {
            Post::Vacant { until } => (!closing).then_some(until),
            Post::Held { kill_at, .. } => kill_at,
            Post::Closed => None,
        };
        post.into_iter().chain(self.relief.iter().chain(&self.draining).map(|it| it.kill_at)).min()
    }

    /// Whether nothing is left, and nothing will be.
    pub(super) fn is_over(&self) -> bool {
        self.post == Post::Closed && self.relief.is_none() && self.draining.is_empty()
    }

    pub(super) fn in_charge(&self) -> Option<Process> {
        match self.post {
            Post::Held { process, .. } => Some(process),
            Post::Vacant { .. } | Post::Closed => None,
        }
    }

    pub(super) fn relief(&self) -> Option<Process> {
        self.relief.map(|it| it.process)
    }

    /// Those that drain, the one that began first before others.
    pub(super) fn draining(&self) -> impl Iterator<Item = Process> {
        self.draining.iter().map(|it| it.process)
    }

    /// The process of this number.
    pub(super) fn pid(&self, number: u32) -> Option<u32> {
        let all = self.in_charge().into_iter().chain(self.relief()).chain(self.draining());
        all.into_iter().find(|it| it.number == number).map(|it| it.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(50);

    /// With process 100 in charge, number 1.
    fn at_work(now: Instant) -> Shift {
        let mut shift = Shift::new(now);
        assert!(shift.wants_one(now));
        let number = shift.next_number();
        shift.take_charge(Process { number, pid: 100 });
        assert!(!shift.wants_one(now));
        shift
    }

    fn relieve(shift: &mut Shift, pid: u32, now: Instant) -> u32 {
        assert_eq!(shift.may_be_relieved(now), Ok(()));
        let number = shift.next_number();
        shift.begin_relief(Process { number, pid }, now);
        number
    }

    fn pids(shift: &Shift) -> (Option<u32>, Vec<u32>) {
        (shift.in_charge().map(|it| it.pid), shift.draining().map(|it| it.pid).collect())
    }

    fn end(shift: &mut Shift, number: u32, now: Instant) -> Was {
        shift.ended(number, now, false, || PAUSE)
    }

    #[test]
    fn the_old_one_stays_in_charge_until_the_relief_is_ready_and_then_drains() {
        let now = Instant::now();
        let mut shift = at_work(now);
        let number = relieve(&mut shift, 101, now);
        assert_eq!(pids(&shift), (Some(100), vec![]));
        assert_eq!(shift.ready(number, now), (true, Some(100)));
        assert_eq!(pids(&shift), (Some(101), vec![100]));
        assert!(shift.overdue(now + DRAIN - PAUSE).is_empty());
        assert_eq!(shift.overdue(now + DRAIN), [(100, Signal::KILL)]);
        assert_eq!(end(&mut shift, 1, now), Was::Draining);
        assert_eq!(pids(&shift), (Some(101), vec![]));
        assert_eq!(shift.deadline(false), None);
    }

    #[test]
    fn a_relief_that_ends_or_is_never_ready_changes_nothing() {
        let now = Instant::now();
        let mut shift = at_work(now);
        let number = relieve(&mut shift, 101, now);
        assert_eq!(end(&mut shift, number, now), Was::Relief);
        assert_eq!(pids(&shift), (Some(100), vec![]));
        let number = relieve(&mut shift, 102, now);
        assert_eq!(shift.deadline(false), Some(now + READY));
        assert_eq!(shift.overdue(now + READY), [(102, Signal::KILL)]);
        assert_eq!(end(&mut shift, number, now), Was::Relief);
        assert_eq!(pids(&shift), (Some(100), vec![]));
    }

    #[test]
    fn a_crash_while_a_relief_begins_is_followed_by_another_and_the_relief_relieves_that() {
        let now = Instant::now();
        let mut shift = at_work(now);
        let relief = relieve(&mut shift, 101, now);
        assert_eq!(end(&mut shift, 1, now), Was::InCharge);
        assert!(!shift.wants_one(now) && shift.wants_one(now + PAUSE));
        let number = shift.next_number();
        shift.take_charge(Process { number, pid: 102 });
        assert_eq!(shift.ready(relief, now), (true, Some(102)));
        assert_eq!(pids(&shift), (Some(101), vec![102]));
    }

    #[test]
    fn a_relief_that_is_ready_while_nobody_is_in_charge_is() {
        let now = Instant::now();
        let mut shift = at_work(now);
        let relief = relieve(&mut shift, 101, now);
        assert_eq!(end(&mut shift, 1, now), Was::InCharge);
        assert_eq!(shift.ready(relief, now), (true, None));
        assert!(!shift.wants_one(now + PAUSE));
        assert_eq!(pids(&shift), (Some(101), vec![]));
    }

    #[test]
    fn so_many_drain_and_no_more() {
        let now = Instant::now();
        let mut shift = at_work(now);
        for pid in 0..MOST_DRAINING as u32 {
            let number = relieve(&mut shift, 200 + pid, now);
            assert!(shift.may_be_relieved(now).is_err(), "one at a time");
            assert!(shift.ready(number, now).0);
        }
        assert!(shift.may_be_relieved(now).expect_err("too many").contains("in 33 s at most"));
        assert_eq!(end(&mut shift, 1, now), Was::Draining);
        assert_eq!(shift.may_be_relieved(now), Ok(()));
    }

    #[test]
    fn one_that_drains_of_itself_is_followed_at_once_and_its_end_is_no_crash() {
        let now = Instant::now();
        let mut shift = at_work(now);
        shift.leaves(1, now, || Duration::ZERO);
        assert!(shift.wants_one(now));
        assert_eq!(
            shift.deadline(true),
            Some(now + DRAIN),
            "while the mesh ends nobody is waited for to be started"
        );
        let number = shift.next_number();
        shift.take_charge(Process { number, pid: 101 });
        // It says so too when it was told to.
        shift.leaves(1, now, || PAUSE);
        assert_eq!(pids(&shift), (Some(101), vec![100]));
        assert_eq!(end(&mut shift, 1, now), Was::Draining);
        assert_eq!(pids(&shift), (Some(101), vec![]));
    }

    #[test]
    fn a_word_of_nobody_or_said_twice_changes_nothing() {
        let now = Instant::now();
        let mut shift = at_work(now);
        assert_eq!(shift.ready(1, now), (false, None));
        assert_eq!(shift.ready(7, now), (false, None));
        shift.leaves(7, now, || PAUSE);
        assert_eq!(pids(&shift), (Some(100), vec![]));
    }

    #[test]
    fn at_the_end_all_are_asked_and_then_killed() {
        let now = Instant::now();
        let mut shift = at_work(now);
        let number = relieve(&mut shift, 101, now);
        assert!(shift.ready(number, now).0);
        let relief = relieve(&mut shift, 102, now);
        assert_eq!(shift.end(now), [101, 102, 100]);
        assert!(!shift.is_over());
        let killed: Vec<_> = shift.overdue(now + GRACE).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(killed, [101, 102, 100]);
        for number in [1, number, relief] {
            let _ = shift.ended(number, now, true, || PAUSE);
        }
        assert!(shift.is_over());
        assert_eq!(shift.deadline(true), None);
    }

    #[test]
    fn of_those_that_drain_of_themselves_again_and_again_few_live() {
        let now = Instant::now();
        let mut shift = at_work(now);
        let mut number = 1;
        for turn in 0..MOST_DRAINING as u32 + 2 {
            let later = now + PAUSE * turn;
            shift.leaves(number, later, || PAUSE);
            assert!(!shift.wants_one(later) && shift.wants_one(later + PAUSE));
            number = shift.next_number();
            shift.take_charge(Process { number, pid: 101 + turn });
        }
        let killed: Vec<_> = shift.overdue(now + PAUSE * 10).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(killed, [100, 101]);
    }
}
