//! The loop: due requests go to free connections, answers are counted.

use std::{
    collections::VecDeque,
    io::Write as _,
    iter::Peekable,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    event::{Timespec, epoll},
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

use super::{
    Plan, Scheme,
    connection::{Connection, Event},
    schedule::Schedule,
    tally::{Tally, nanoseconds},
    tls::Trust,
};
use crate::results::Load;

/// How often timeouts are looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Of datagrams, unless the plan says more.
const DATAGRAM: usize = 64;
/// After a failure a connection rests, so that a dead server is not asked a million times a second.
const REST: u64 = 10_000_000;
/// Who had nothing to do for so long is looked at before it is used: its end may have come just now.
const REUSED: u64 = 1_000_000_000;

pub(super) fn run(plan: &Plan) -> Result<Load> {
    let mut engine = Engine::new(plan)?;
    engine.go()?;
    Ok(engine.tally.load(plan))
}

struct Engine<'a> {
    plan: &'a Plan,
    scheme: Scheme,
    trust: Option<Trust>,
    request: Vec<u8>,
    epoll: OwnedFd,
    timer: OwnedFd,
    start: Instant,
    schedule: Peekable<Schedule>,
    /// The arrival that the timer is set for.
    set_for: Option<u64>,
    /// Due, and not yet given to a connection.
    queue: VecDeque<u64>,
    connections: Vec<Connection>,
    /// Those that can take a request: idle ones, or vacant ones if each request has its own.
    free: Vec<usize>,
    tally: Tally,
    buffer: Vec<u8>,
}

/// The timer's mark in epoll; connections have their numbers.
const TIMER: u64 = u64::MAX;

impl<'a> Engine<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // By edge: it is set anew each time, so it need not be read.
        epoll::add(
            &epoll,
            &timer,
            epoll::EventData::new_u64(TIMER),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Self {
            plan,
            scheme: plan.url.scheme,
            trust: trust(plan)?,
            request: request(plan),
            epoll,
            timer,
            start: Instant::now(),
            schedule: Schedule::new(plan.arrivals, plan.seed).peekable(),
            set_for: None,
            queue: VecDeque::new(),
            connections: (0..plan.connections).map(|_| Connection::default()).collect(),
            free: (0..plan.connections).rev().collect(),
            tally: Tally::new(plan),
            buffer: vec![0; 256 << 10],
        })
    }

    fn go(&mut self) -> Result<()> {
        if !self.plan.fresh {
            for index in std::mem::take(&mut self.free) {
                self.open(index, self.now());
            }
        }
        let end = self.tally.end();
        let last = end + nanoseconds(self.plan.timeout);
        let mut events = Vec::with_capacity(1024);
        let mut looked = 0;
        loop {
            let mut now = self.now();
            self.tally.tick(now);
            self.arrive(now.min(end));
            self.give(now);
            let waits = !self.queue.is_empty() || self.connections.iter().any(|it| it.request.is_some());
            if now >= end && (self.plan.arrivals.rate().is_none() || !waits || now >= last) {
                break;
            }
            events.clear();
            let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&patience)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for answers"),
            }
            now = self.now();
            for event in &events {
                let mark = event.data.u64();
                if mark != TIMER {
                    self.handle(mark as usize);
                }
            }
            if now - looked > nanoseconds(LOOK) {
                looked = now;
                self.time_out(now);
            }
        }
        // What is not answered by now has failed.
        let now = self.now();
        for due in self.queue.drain(..) {
            self.tally.failed(due, now, "never sent");
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// Moves what is due into the queue, and sets the timer for what comes next.
    fn arrive(&mut self, now: u64) {
        while let Some(due) = self.schedule.next_if(|due| *due <= now && *due < self.tally.end()) {
            self.queue.push_back(due);
        }
        let next = self.schedule.peek().copied().filter(|it| *it < self.tally.end());
        if next == self.set_for {
            return;
        }
        self.set_for = next;
        if let Some(next) = next {
            let wait = Duration::from_nanos(next.saturating_sub(self.now()).max(1));
            let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            // A timer that can't be set is made up for by the look for timeouts, and seen as lateness.
            let _ = timerfd_settime(
                &self.timer,
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: interval, it_value: value },
            );
        }
    }

    /// Gives due requests to free connections; without a schedule each free one gets one.
    fn give(&mut self, now: u64) {
        let closed = self.plan.arrivals.rate().is_none();
        if closed && now >= self.tally.end() {
            return;
        }
        let mut resting = Vec::new();
        while closed || !self.queue.is_empty() {
            let Some(index) = self.free.pop() else { break };
            if self.connections[index].is_vacant() && self.connections[index].since > now {
                resting.push(index);
                continue;
            }
            let due = if closed { now } else { self.queue.pop_front().unwrap_or(now) };
            let rested = now.saturating_sub(self.connections[index].answered) > REUSED;
            if rested && self.scheme == Scheme::Http && self.connections[index].has_gone() {
                self.connections[index].close();
            }
            self.connections[index].take(due, now);
            if self.connections[index].is_vacant() {
                self.open(index, now);
            } else {
                self.push(index);
            }
        }
        self.free.append(&mut resting);
    }

    fn open(&mut self, index: usize, now: u64) {
        let connection = &mut self.connections[index];
        let opened =
            connection.open(self.plan.url.address, self.scheme, self.trust.as_ref(), now).and_then(|()| {
                let Some(socket) = connection.socket() else { return Ok(()) };
                let flags = epoll::EventFlags::IN
                    | epoll::EventFlags::OUT
                    | epoll::EventFlags::RDHUP
                    | epoll::EventFlags::ET;
                epoll::add(&self.epoll, socket, epoll::EventData::new_u64(index as u64), flags)
                    .map_err(|error| error.to_string())
            });
        match opened {
            Err(kind) => self.fail(index, &kind),
            // Datagrams need no answer to be ready.
            Ok(()) if self.scheme == Scheme::Udp => self.ready(index),
            Ok(()) => {}
        }
    }

    fn ready(&mut self, index: usize) {
        if self.connections[index].request.is_some() {
            self.push(index);
        } else {
            self.free.push(index);
        }
    }

    fn push(&mut self, index: usize) {
        // Before the write: what it costs is the path's.
        let now = self.now();
        match self.connections[index].push(&self.request) {
            Ok(true) => {
                if let Some(request) = self.connections[index].request {
                    self.tally.sent(request.due, now);
                }
            }
            Ok(false) => {}
            Err(kind) => self.fail(index, &kind),
        }
    }

    fn handle(&mut self, index: usize) {
        match self.connections[index].pull(self.scheme, &mut self.buffer) {
            Event::Nothing => self.push(index),
            Event::Connected => {
                let now = self.now();
                if self.plan.fresh {
                    self.tally.connected(self.connections[index].since, now);
                }
                self.ready(index);
            }
            Event::Answered { status, bytes, keep } => self.answered(index, status, bytes, keep),
            Event::Failed(kind) => self.fail(index, &kind),
            Event::Gone => {
                self.free.retain(|it| *it != index);
                self.connections[index].close();
                self.open(index, self.now());
            }
        }
    }

    fn answered(&mut self, index: usize, status: u16, bytes: u64, keep: bool) {
        let now = self.now();
        let Some(request) = self.connections[index].request.take() else { return };
        if status == 200 {
            self.tally.answered(request.due, now, bytes);
        } else {
            self.tally.failed(request.due, now, &format!("status {status}"));
        }
        if self.plan.fresh {
            self.connections[index].close();
            self.free.push(index);
        } else if keep {
            self.connections[index].answered = now;
            self.free.push(index);
        } else {
            self.connections[index].close();
            self.open(index, now);
        }
    }

    /// Counts what failed, if it had a request; the connection is replaced when it is needed.
    fn fail(&mut self, index: usize, kind: &str) {
        let now = self.now();
        if let Some(request) = self.connections[index].request {
            self.tally.failed(request.due, now, kind);
        }
        self.connections[index].close();
        self.connections[index].since = now + REST;
        self.free.push(index);
    }

    fn time_out(&mut self, now: u64) {
        let patience = nanoseconds(self.plan.timeout);
        for index in 0..self.connections.len() {
            if self.connections[index].request.is_some_and(|it| now > it.taken + patience) {
                self.fail(index, "timeout");
            }
        }
    }
}

/// Whom to believe, if the other side is reached by TLS.
fn trust(plan: &Plan) -> Result<Option<Trust>> {
    match (plan.url.scheme, &plan.trust) {
        (Scheme::Https, Some(roots)) => Trust::new(roots, plan.url.host()).map(Some),
        (Scheme::Https, None) => {
            anyhow::bail!("{}: whose certificates are to be believed? --trust FILE has their roots", plan.url)
        }
        (Scheme::Http | Scheme::Udp, _) => Ok(None),
    }
}

/// What is sent each time.
fn request(plan: &Plan) -> Vec<u8> {
    if plan.url.scheme == Scheme::Udp {
        return vec![b'w'; plan.body.max(DATAGRAM)];
    }
    let (path, host) = (&plan.url.path, &plan.url.authority);
    let mut bytes = Vec::new();
    // Writing into memory does not fail.
    let _ = if plan.body == 0 {
        write!(bytes, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    } else {
        write!(bytes, "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", plan.body)
    };
    bytes.resize(bytes.len() + plan.body, b'w');
    bytes
}
