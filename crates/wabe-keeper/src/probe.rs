//! Readiness probes: tried from inside the workload, over its `lo`.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::protocol::{ProbeAction, ProbeSpec};

/// Pause after the first failed try; doubles up to the period while the workload is not ready yet.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

type Execute = Box<dyn Fn(&[String], Duration) -> Result<(), String> + Send>;

/// Where a probe is made, and what it may do there.
pub(crate) struct Inside {
    /// The workload's network namespace.
    pub(crate) network: OwnedFd,
    /// Its own addresses, for programs that listen on nothing else.
    pub(crate) addresses: [IpAddr; 2],
    /// Runs a command inside the workload, and says how that went. Gives up after the time.
    pub(crate) execute: Execute,
}

/// A probe that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct Probe {
    _stop: Sender<()>,
}

impl Probe {
    /// Begins to probe on a thread of its own. `report` is called when the workload becomes ready, when it no longer
    /// is, and after the first failure.
    pub(crate) fn start(
        spec: ProbeSpec,
        inside: Inside,
        report: impl Fn(Result<(), String>) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel();
        thread::Builder::new().name("probe".into()).stack_size(256 << 10).spawn(move || {
            match move_into_link_name_space(inside.network.as_fd(), Some(LinkNameSpaceType::Network)) {
                Ok(()) => probe(&spec, &inside, &stopped, report),
                Err(error) => report(Err(format!("can't enter the workload's network namespace: {error}"))),
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

fn probe(spec: &ProbeSpec, inside: &Inside, stopped: &Receiver<()>, report: impl Fn(Result<(), String>)) {
    let mut judge = Judge::new(spec);
    let mut pause = Duration::from_millis(spec.initial_delay_ms);
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let result = attempt(&spec.action, inside, Duration::from_millis(spec.timeout_ms.max(1)));
        let (change, next) = judge.hear(result);
        if let Some(change) = change {
            report(change);
        }
        pause = next;
    }
}

/// Turns tries into readiness.
struct Judge {
    ready: Option<bool>,
    failures: u32,
    threshold: u32,
    pause: Duration,
    period: Duration,
}

impl Judge {
    fn new(spec: &ProbeSpec) -> Self {
        let period = Duration::from_millis(spec.period_ms.max(1));
        let threshold = spec.failure_threshold.max(1);
        Self { ready: None, failures: 0, threshold, pause: FIRST_PAUSE.min(period), period }
    }

    /// What is to be reported after this try, and the pause before the next.
    fn hear(&mut self, result: Result<(), String>) -> (Option<Result<(), String>>, Duration) {
        let pause = match self.ready {
            Some(true) => self.period,
            Some(false) | None if result.is_ok() => self.period,
            Some(false) | None => {
                let pause = self.pause;
                self.pause = (pause * 2).min(self.period);
                pause
            }
        };
        self.failures = if result.is_ok() { 0 } else { self.failures.saturating_add(1) };
        let ready = match (&result, self.ready) {
            (Ok(()), _) => true,
            (Err(_), Some(true)) => self.failures < self.threshold,
            (Err(_), Some(false) | None) => false,
        };
        let changed = self.ready.replace(ready) != Some(ready);
        if ready {
            self.pause = FIRST_PAUSE.min(self.period);
        }
        (changed.then_some(result), pause)
    }
}

fn attempt(action: &ProbeAction, inside: &Inside, patience: Duration) -> Result<(), String> {
    match action {
        ProbeAction::Tcp { port } => connect(*port, inside, Instant::now() + patience).map(drop),
        ProbeAction::Http { port, path } => {
            let deadline = Instant::now() + patience;
            let stream = connect(*port, inside, deadline)?;
            let status = ask(stream, *port, path, deadline)
                .map_err(|error| format!("GET {path} on port {port}: {error}"))?;
            match status {
                200..=399 => Ok(()),
                other => Err(format!("GET {path} on port {port}: status {other}")),
            }
        }
        ProbeAction::Exec { command } => (inside.execute)(command, patience),
    }
}

/// To wherever the program listens.
fn connect(port: u16, inside: &Inside, deadline: Instant) -> Result<TcpStream, String> {
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let mut problem = None;
    for address in loopback.into_iter().chain(inside.addresses) {
        let result =
            left(deadline).and_then(|time| TcpStream::connect_timeout(&SocketAddr::new(address, port), time));
        match result {
            Ok(stream) => return Ok(stream),
            // That of 127.0.0.1 is what people expect to read.
            Err(error) => drop(problem.get_or_insert(error)),
        }
    }
    let problem = problem.map_or_else(String::new, |error| error.to_string());
    Err(format!("nothing accepts connections on port {port}: {problem}"))
}

/// The status of the answer; nothing else of it is looked at.
fn ask(mut stream: TcpStream, port: u16, path: &str, deadline: Instant) -> io::Result<u16> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: wabe-probe\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    // "HTTP/1.1 200"
    let mut line = [0; 12];
    let mut length = 0;
    while length < line.len() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut line[length..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
            Err(error) => return Err(error),
        }
    }
    parse_status(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1"))
}

fn parse_status(line: &[u8; 12]) -> Option<u16> {
    let [version @ .., b' ', a, b, c] = line else { return None };
    let digits = [*a, *b, *c];
    let is_http = version.starts_with(b"HTTP/1.") && digits.iter().all(u8::is_ascii_digit);
    is_http.then(|| digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timed_out()) } else { Ok(left) }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(threshold: u32) -> Judge {
        let action = ProbeAction::Tcp { port: 1 };
        Judge::new(&ProbeSpec {
            action,
            initial_delay_ms: 0,
            period_ms: 300,
            timeout_ms: 1,
            failure_threshold: threshold,
        })
    }

    fn pauses(judge: &mut Judge, results: &[bool]) -> Vec<(Option<bool>, u128)> {
        let hear = |ok: &bool| {
            let (change, pause) = judge.hear(if *ok { Ok(()) } else { Err("no".into()) });
            (change.map(|it| it.is_ok()), pause.as_millis())
        };
        results.iter().map(hear).collect()
    }

    #[test]
    fn tries_often_until_ready_then_by_the_period() {
        let heard = pauses(&mut judge(3), &[false, false, false, false, true, true]);
        let expected =
            [(Some(false), 50), (None, 100), (None, 200), (None, 300), (Some(true), 300), (None, 300)];
        assert_eq!(heard, expected);
    }

    #[test]
    fn one_failure_of_a_ready_workload_is_forgiven() {
        let heard = pauses(&mut judge(2), &[true, false, true, false, false, true]);
        let changes: Vec<_> = heard.into_iter().map(|(change, _)| change).collect();
        assert_eq!(changes, [Some(true), None, None, None, Some(false), Some(true)]);
    }

    #[test]
    fn reads_a_status_line() {
        assert_eq!(parse_status(b"HTTP/1.1 204"), Some(204));
        assert_eq!(parse_status(b"HTTP/1.0 503"), Some(503));
        assert_eq!(parse_status(b"HTTP/1.1 2x4"), None);
        assert_eq!(parse_status(b"SSH-2.0-Open"), None);
    }
}
