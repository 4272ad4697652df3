//! The access log: one JSON line for each request or opaque connection that `accessLog` asks for, written when it is over.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Method, StatusCode, Uri};
use serde::Serialize;
use wabe_model::{AccessLog, ObjectName};
use wabe_policy::http::TableRule;

use crate::{
    failure::Failure,
    figures::{Ended, NO_ANSWER, Sums, Tally},
    grpc,
    identity::RequestId,
    policy::Refused,
    serve::Caller,
    tunnel::Moved,
    world::{Service, World},
};

/// Lines that wait to be written: at most some, and not for long.
const LINES: usize = 64 << 10;
/// Longer paths and request ids are cut.
const PATH: usize = 256;
const ID: usize = 64;

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
    /// Of the answer's body.
    pub(crate) bytes: Cell<u64>,
    /// The answer came to its end.
    pub(crate) complete: bool,
    forgotten: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since 1970.
    time: f64,
    /// `namespace/name` of the caller.
    caller: Name<'a>,
    /// `namespace/name:port` that was dialled.
    service: Shown<ServicePort<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Shown<RouteName<'a>>>,
    /// The rule's name, or its number from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleName<'a>>,
    /// Of a copy of a request: where it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    /// Without its query, which may hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Of a call of gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u8>,
    /// Why the proxy answered itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blame: Option<&'a str>,
    /// Of what a policy that looks at requests refused: the rule, or that none admits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<Name<'a>>,
    /// The endpoint's, which tells replicas apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// Only if it was tried more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    bytes: u64,
    complete: bool,
    /// From the request's head to the end of the answer.
    microseconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// `namespace/name`.
struct Name<'a> {
    id: u32,
    names: Option<(&'a str, &'a str)>,
}

impl Serialize for Name<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.names {
            Some((namespace, name)) => serializer.collect_str(&format_args!("{namespace}/{name}")),
            None => serializer.collect_str(&self.id),
        }
    }
}

/// A service's port, or the address if it is none.
struct ServicePort<'a> {
    service: Option<&'a Service>,
    dialled: SocketAddr,
}

impl fmt::Display for ServicePort<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.service {
            Some(service) => write!(formatter, "{}:{}", service.name, service.port),
            None => self.dialled.fmt(formatter),
        }
    }
}

/// As people write it.
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

enum RouteName<'a> {
    Of(&'a ObjectName),
    Written(&'a str),
}

impl fmt::Display for RouteName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(name) => name.fmt(formatter),
            Self::Written(text) => formatter.write_str(text),
        }
    }
}

enum RuleName<'a> {
    Of(&'a TableRule),
    Written(&'a str),
}

impl Serialize for RuleName<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Of(TableRule { name: Some(name), .. }) => serializer.serialize_str(name),
            Self::Of(rule) => serializer.collect_str(&rule.rule),
            Self::Written(name) => serializer.serialize_str(name),
        }
    }
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
            bytes: Cell::new(0),
            complete: false,
            forgotten: false,
        }
    }

    /// Writes what waits.
    pub(crate) fn flush(&self) {
        let lines = std::mem::take(&mut *self.lines.borrow_mut());
        if !lines.is_empty() {
            // Nobody could be told if it fails.
            let _ = io::stdout().lock().write_all(&lines);
        }
    }
}

impl Record {
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
        self.complete = moved.whole;
        if moved.ending {
            self.failure.get_or_insert(Failure::Ending);
        }
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

    /// What became of a call of gRPC. Of a whole answer that does not say so, what its caller takes it for.
    pub(crate) fn grpc_code(&self) -> Option<grpc::Code> {
        let told = self.grpc.as_ref()?.get();
        told.or_else(|| self.status.filter(|_| self.complete).map(grpc::untold))
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

    /// Requests only, and no copies of them.
    fn count(&self) {
        if self.mirror.is_none() && (self.asked.method.is_some() || self.status.is_some()) {
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
                took: self.began.elapsed(),
            });
        }
    }

    /// The endpoint's, of the family that was dialled.
    fn address(&self) -> Option<IpAddr> {
        let facts = self.world.as_ref()?.workloads.get(&self.endpoint?)?;
        Some(if self.caller.dialled.is_ipv4() { facts.v4.into() } else { facts.v6.into() })
    }

    fn line(&self) -> Line<'_> {
        let name = |id: u32| Name {
            id,
            names: self
                .world
                .as_ref()
                .and_then(|world| world.workloads.get(&id))
                .map(|it| (it.namespace.as_str(), it.name.as_str())),
        };
        let service = self.service.as_ref();
        let took = self.began.elapsed();
        let began = SystemTime::now().checked_sub(took).and_then(|it| it.duration_since(UNIX_EPOCH).ok());
        let left = (self.asked.method.is_some() && self.status.is_none()).then_some((NO_ANSWER, "caller"));
        Line {
            time: began.map_or(0.0, |it| it.as_secs_f64()),
            caller: name(self.caller.workload),
            service: Shown(ServicePort { service: service.map(Rc::as_ref), dialled: self.caller.dialled }),
            route: match (&self.rule, &self.outlets) {
                (Some(rule), _) => Some(Shown(RouteName::Of(&rule.route))),
                (None, Some((route, _))) => Some(Shown(RouteName::Written(route))),
                (None, None) => None,
            },
            rule: match (&self.rule, &self.outlets) {
                (Some(rule), _) => Some(RuleName::Of(rule)),
                (None, Some((_, name))) => name.as_deref().map(RuleName::Written),
                (None, None) => None,
            },
            mirror: self.mirror.as_deref(),
            method: self.asked.method.as_ref().map(Method::as_str),
            path: self.asked.target.as_ref().map(|it| cut(it.path(), PATH)),
            status: self.status.map(|it| it.as_u16()),
            grpc_status: self.grpc_code().map(grpc::Code::number),
            reason: self.failure.map(Failure::reason).or(left.map(|it| it.0)),
            blame: self.failure.map(Failure::blame).or(left.map(|it| it.1)),
            policy: self.refused_by.as_deref(),
            endpoint: self.endpoint.map(name),
            address: self.address(),
            tries: (self.tries > 1).then_some(self.tries),
            bytes: self.bytes.get(),
            complete: self.complete,
            microseconds: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            request_id: self.request_id.as_ref().and_then(RequestId::as_str).map(|it| cut(it, ID)),
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
    use crate::identity::Introduction;

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
