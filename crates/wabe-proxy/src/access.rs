//! The access log: one JSON line for each request or opaque connection that `accessLog` asks for, written when it is over.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, StatusCode, Uri};
use memchr::memrchr;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, write},
    stdio::stdout,
};
use wabe_model::AccessLog;
use wabe_policy::http::TableRule;

use crate::{
    answer::Protocol,
    failure::Failure,
    figures::{Ended, Sums, Tally},
    grpc,
    identity::RequestId,
    policy::Refused,
    serve::Caller,
    tunnel::Moved,
    world::{Service, World},
};

mod line;
mod marks;

pub(crate) use marks::Marks;

/// Lines that wait to be written: so many octets of them, unless nobody takes them.
const LINES: usize = 64 << 10;
/// So many then. Further lines are lost, and counted.
const MOST_LINES: usize = 1 << 20;
/// What a pipe takes in one piece (`PIPE_BUF`), so that lines of several processes do not mix; and what it has room for when it says
/// that it has some.
const PIECE: usize = 4096;

/// Whose turn it is to write: of two workers that are told that there is room one might wait for it.
static TURN: Mutex<()> = Mutex::new(());

/// Where one worker's lines go.
#[derive(Debug)]
pub(crate) struct Log {
    lines: RefCell<Vec<u8>>,
    /// What is counted of the same.
    pub(crate) tally: Tally,
}

/// What was asked for, as far as it was understood.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Option<Method>,
    pub(crate) target: Option<Uri>,
}

impl Asked {
    /// What came was no request.
    pub(crate) fn unknown() -> Self {
        Self { method: None, target: None }
    }
}

/// A request and what became of it; the line is written when it is dropped.
#[derive(Debug)]
pub(crate) struct Record {
    log: Rc<Log>,
    began: Instant,
    caller: Caller,
    asked: Asked,
    pub(crate) world: Option<Rc<World>>,
    pub(crate) service: Option<Rc<Service>>,
    pub(crate) rule: Option<Arc<TableRule>>,
    /// The same of a connection of bytes: the rule has a name or none.
    pub(crate) outlets: Option<(String, Option<String>)>,
    /// Of a copy of a request: where it went.
    pub(crate) mirror: Option<String>,
    pub(crate) request_id: Option<RequestId>,
    pub(crate) status: Option<StatusCode>,
    /// Of a call of gRPC: what became of it, as far as that was told.
    pub(crate) grpc: Option<Cell<Option<grpc::Code>>>,
    pub(crate) failure: Option<Failure>,
    /// What of the endpoint's policies refused it.
    refused_by: Option<String>,
    /// The workload that answered.
    pub(crate) endpoint: Option<u32>,
    /// How often it was tried.
    pub(crate) tries: u32,
    /// What the caller speaks, of requests.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) marks: Marks,
    /// Of the answer's body.
    pub(crate) bytes: Cell<u64>,
    /// Of the request's.
    pub(crate) received: Cell<u64>,
    /// When it was answered, if something went on behind that.
    pub(crate) ended: Option<Instant>,
    /// When the head of the endpoint's answer came.
    pub(crate) answered: Cell<Option<Instant>>,
    /// The answer came to its end.
    pub(crate) complete: bool,
    forgotten: bool,
}

impl Log {
    pub(crate) fn new(sums: Arc<Sums>) -> Self {
        Self { lines: RefCell::default(), tally: Tally::new(sums) }
    }

    /// Of something that begins now.
    pub(crate) fn record(self: &Rc<Self>, caller: &Caller, asked: Asked) -> Record {
        Record {
            log: Rc::clone(self),
            began: Instant::now(),
            caller: caller.clone(),
            asked,
            world: None,
            service: None,
            rule: None,
            outlets: None,
            mirror: None,
            request_id: None,
            status: None,
            grpc: None,
            failure: None,
            refused_by: None,
            endpoint: None,
            tries: 0,
            protocol: None,
            marks: Marks::default(),
            bytes: Cell::new(0),
            received: Cell::new(0),
            ended: None,
            answered: Cell::default(),
            complete: false,
            forgotten: false,
        }
    }

    /// Writes what waits, as far as it is taken: no request is to wait for who reads it, nor for another worker that writes.
    pub(crate) fn flush(&self) {
        let Ok(_turn) = TURN.try_lock() else { return };
        let mut lines = self.lines.borrow_mut();
        let mut written = 0;
        while let Some(piece) = piece(&lines[written..])
            && has_room()
        {
            match write(stdout(), piece) {
                Ok(bytes) => written += bytes,
                Err(Errno::INTR) => {}
                // Nobody could be told.
                Err(_) => written = lines.len(),
            }
        }
        if written == lines.len() {
            // What many lines needed at one time is given back.
            *lines = Vec::new();
        } else {
            lines.drain(..written);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
        let left = self.lines.borrow().iter().filter(|it| **it == b'\n').count();
        self.tally.lose(left as u64);
        self.tally.end();
    }
}

/// As many whole lines as fit, or a part of one that does not.
fn piece(lines: &[u8]) -> Option<&[u8]> {
    let window = &lines[..lines.len().min(PIECE)];
    let end = memrchr(b'\n', window).map_or(window.len(), |end| end + 1);
    Some(&lines[..end]).filter(|it| !it.is_empty())
}

/// Whether standard output takes a piece at once.
fn has_room() -> bool {
    let mut room = [PollFd::from_borrowed_fd(stdout(), PollFlags::OUT)];
    // Whoever has no room for long may lose lines; who has gone, all of them.
    poll(&mut room, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

impl Record {
    /// Until its answer's end.
    fn took(&self) -> Duration {
        self.ended.unwrap_or_else(Instant::now).saturating_duration_since(self.began)
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Policies of the endpoint refuse it.
    pub(crate) fn refused(&mut self, refused: Refused) {
        (self.failure, self.refused_by) = (Some(refused.failure), refused.by);
    }

    /// What went by after both ends changed to something else.
    pub(crate) fn tunnelled(mut self, moved: Moved) {
        self.bytes.set(self.bytes.get() + moved.back);
        self.received.set(self.received.get() + moved.there);
        self.complete = moved.whole;
        self.failure = self.failure.or(moved.why);
    }

    /// Nothing is told of it.
    pub(crate) fn forget(mut self) {
        self.forgotten = true;
    }

    /// Looks for what became of a call of gRPC in an answer's head or trailers.
    pub(crate) fn hear(&self, fields: &HeaderMap) {
        if let Some(grpc) = &self.grpc
            && let Some(code) = grpc::told(fields)
        {
            grpc.set(Some(code));
        }
    }

    /// What became of a call of gRPC. Of a whole answer that does not say so, and of one that broke off, what its caller takes it for.
    pub(crate) fn grpc_code(&self) -> Option<grpc::Code> {
        let told = self.grpc.as_ref()?.get();
        let untold = || self.status.filter(|_| self.complete).map(grpc::untold);
        told.or_else(untold).or_else(|| self.failure.map(Failure::grpc_status))
    }

    /// Whether it ended as it should.
    fn is_well(&self) -> bool {
        let is_answered = !self.status.is_some_and(|it| it.is_server_error())
            && !self.grpc_code().is_some_and(grpc::Code::is_server_error);
        is_answered && self.complete && self.failure.is_none()
    }

    /// Whether a line is asked for. Before there is a snapshot nobody has said.
    fn is_told(&self) -> bool {
        let asked = self.world.as_ref().map_or_else(AccessLog::default, |it| it.access_log);
        match asked {
            AccessLog::All => true,
            AccessLog::Failures => !self.is_well(),
            AccessLog::None => false,
        }
    }

    /// Requests only, and no copies of them; and what came of connections that could have been some.
    fn count(&self) {
        let is_request = self.asked.method.is_some() || self.status.is_some();
        let is_counted = is_request || self.failure.is_some_and(Failure::is_of_connection);
        if self.mirror.is_none() && is_counted {
            self.log.tally.count(&Ended {
                world: self.world.as_ref(),
                caller: self.caller.workload,
                service: self.service.as_ref(),
                rule: self.rule.as_ref(),
                status: self.status,
                is_grpc: self.grpc.is_some(),
                grpc: self.grpc_code().map(grpc::Code::number),
                endpoint: self.endpoint,
                failure: self.failure,
                tries: self.tries,
                took: self.took(),
                bytes: (self.received.get(), self.bytes.get()),
            });
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.forgotten {
            return;
        }
        self.count();
        if !self.is_told() {
            return;
        }
        let full = {
            let mut lines = self.log.lines.borrow_mut();
            if lines.len() > MOST_LINES {
                return self.log.tally.lose(1);
            }
            if serde_json::to_writer(&mut *lines, &self.line()).is_ok() {
                lines.push(b'\n');
            }
            lines.len() > LINES
        };
        if full {
            self.log.flush();
        }
    }
}

/// So many octets at most. Targets that came by HTTP/2 need not be ASCII.
fn cut(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{identity::Introduction, locked::lock};

    fn record(log: &Rc<Log>) -> Record {
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        let caller = Caller {
            workload: 7,
            address: local,
            dialled: (local, 80).into(),
            streams: true,
            introduction: Rc::new(Introduction::new(local, local)),
        };
        let mut record = log.record(&caller, Asked { method: Some(Method::POST), target: None });
        (record.status, record.complete) = (Some(StatusCode::OK), true);
        record
    }

    /// What the log says of it, if it says anything.
    fn told(change: impl FnOnce(&mut Record)) -> Option<serde_json::Value> {
        let log = Rc::new(Log::new(Arc::default()));
        let mut record = record(&log);
        change(&mut record);
        drop(record);
        let lines = log.lines.borrow();
        (!lines.is_empty()).then(|| serde_json::from_slice(&lines).expect("JSON"))
    }

    #[test]
    fn lines_are_written_in_pieces_that_a_pipe_takes_whole() {
        let line = |length: usize| [&vec![b'a'; length - 1][..], b"\n"].concat();
        let pieces = |lines: &[usize]| {
            let all: Vec<u8> = lines.iter().flat_map(|it| line(*it)).collect();
            let mut rest = all.as_slice();
            let next = || {
                let piece = piece(rest)?;
                rest = &rest[piece.len()..];
                Some(piece.len())
            };
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert_eq!(pieces(&[]), [0; 0]);
        assert_eq!(pieces(&[1000, 3000, 96, 1]), [4096, 1]);
        assert_eq!(pieces(&[1000, 3000, 97]), [4000, 97]);
        assert_eq!(pieces(&[5000, 10]), [4096, 914]);
    }

    #[test]
    fn lines_that_nobody_takes_are_lost_and_counted() {
        let log = Rc::new(Log::new(Arc::default()));
        for (waiting, lost) in [(MOST_LINES, 0), (MOST_LINES + 1, 1)] {
            // As if there were no room for any of it: else it would be tried to be written.
            *log.lines.borrow_mut() = vec![b'a'; waiting];
            let mut record = record(&log);
            record.failure = Some(Failure::Overflow);
            let turn = lock(&TURN);
            drop(record);
            drop(turn);
            let length = log.lines.take().len();
            assert_eq!((length > waiting, log.tally.lost_lines()), (lost == 0, lost));
        }
    }

    #[test]
    fn what_a_policy_refused_is_told_with_its_rule() {
        let refused = |failure, by: Option<&str>| {
            let by = by.map(str::to_owned);
            told(|record| record.refused(Refused { failure, by })).expect("a line")
        };
        let line = refused(Failure::Forbidden, Some("shop/readers rule 1"));
        assert_eq!((&line["reason"], &line["policy"]), (&"policy".into(), &"shop/readers rule 1".into()));
        assert!(refused(Failure::AmbiguousPath, None).get("policy").is_none());
    }

    #[test]
    fn who_left_without_an_answer_is_told_apart_from_what_failed() {
        let unanswered = |failure| {
            told(|record| (record.status, record.complete, record.failure) = (None, false, failure))
        };
        let why = |line: serde_json::Value| (line["reason"].clone(), line["blame"].clone());
        assert_eq!(why(unanswered(None).expect("a line")), ("no-answer".into(), "caller".into()));
        // A copy that can't be sent has no status either.
        let line = unanswered(Some(Failure::NoHealthyEndpoint)).expect("a line");
        assert_eq!(why(line), ("no-healthy-endpoint".into(), "upstream".into()));
        let line =
            told(|record| (record.asked, record.status, record.complete) = (Asked::unknown(), None, false));
        assert_eq!(line.expect("a line").get("reason"), None, "it was no request");
    }

    fn call(code: &'static str) -> impl FnOnce(&mut Record) {
        move |record| {
            record.grpc = Some(Cell::default());
            let code = http::HeaderValue::from_static(code);
            record.hear(&[(http::HeaderName::from_static("grpc-status"), code)].into_iter().collect());
        }
    }

    #[test]
    fn a_call_of_grpc_that_its_server_failed_is_a_failure() {
        let line = told(call("13")).expect("a line");
        assert_eq!((&line["grpc_status"], &line["status"]), (&13.into(), &200.into()));
        // OK, and that it was the caller's fault.
        for fine in ["0", "5", "8"] {
            assert_eq!(told(call(fine)), None, "{fine}");
        }
        assert_eq!(told(|_| ()), None);
    }

    #[test]
    fn what_is_no_call_has_no_status_of_one() {
        let line = told(|record| {
            call("13")(record);
            (record.grpc, record.status) = (None, Some(StatusCode::BAD_GATEWAY));
        });
        assert!(line.expect("a line").get("grpc_status").is_none());
        let line = told(|record| (record.grpc, record.complete) = (Some(Cell::default()), false));
        assert!(line.expect("a line").get("grpc_status").is_none(), "it broke off before anything was told");
    }
}
