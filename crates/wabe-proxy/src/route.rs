//! What becomes of a request: by the rules that hold for its caller. Decides and changes heads; sends nothing.

use std::{net::SocketAddr, sync::Arc};

use http::{
    HeaderMap, Method, Uri, Version,
    header::{CONTENT_LENGTH, HOST, HeaderValue},
    request, uri,
};
use wabe_http1::{Refusal, check_host, check_method};
use wabe_model::{HeaderChange, HttpFilter, Mirror, ObjectName, PathMatch, Redirect};
use wabe_policy::http::{HttpRequest, Routed, TableRule, joined};

use crate::{balance::Random, cors::Sharing, failure::Failure, filter, head::Head, world::Service};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Decision<'a> {
    /// It goes to a service's port.
    Forward { service: &'a ObjectName, port: u16 },
    /// The caller is sent elsewhere, or told what it may ask for.
    Tell { status: u16, location: Option<String> },
    /// The proxy answers.
    Fail(Failure),
}

/// What was decided, and by which rule.
#[derive(Debug)]
pub(crate) struct Decided<'a> {
    pub(crate) decision: Decision<'a>,
    /// `None` if no route holds for the caller.
    pub(crate) rule: Option<&'a Arc<TableRule>>,
    /// What is done to the answer's head, in this order.
    pub(crate) answer: Vec<AnswerChange<'a>>,
    /// Who else gets this request.
    pub(crate) mirrors: Vec<&'a Mirror>,
    /// So many of them, the first, get it as the rule's filters left it.
    pub(crate) mirrors_of_rule: usize,
    /// That, where the backend's may have changed it since and somebody gets it.
    pub(crate) before_backend: Option<Box<request::Parts>>,
}

/// What is done to an answer's head.
#[derive(Debug)]
pub(crate) enum AnswerChange<'a> {
    Headers(&'a HeaderChange),
    Sharing(Sharing<'a>),
}

impl AnswerChange<'_> {
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        match self {
            Self::Headers(change) => filter::change(headers, change),
            Self::Sharing(sharing) => sharing.tell(headers),
        }
    }

    fn is_preflight(&self) -> bool {
        match self {
            Self::Headers(_) => false,
            Self::Sharing(sharing) => sharing.is_preflight(),
        }
    }
}

/// Brings a request's head into one form: an origin-form target, and its host in `host`.
pub(crate) fn normalise(head: &mut request::Parts, dialled: SocketAddr) -> Result<(), Failure> {
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts == 0
        && head.version == Version::HTTP_10
        && head.uri.authority().is_none()
        && let Ok(host) = HeaderValue::from_str(&dialled.to_string())
    {
        // It need not say one, but whoever is asked in HTTP/1.1 must be told.
        head.headers.insert(HOST, host);
    }
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Failure::BadHost);
    }
    if head.method == Method::CONNECT {
        // Rules and policies look there for what it asks for, and HTTP/1.0 need not say it twice.
        if let Some(authority) = head.uri.authority().filter(|_| hosts == 0) {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Failure::BadHost)?;
            head.headers.insert(HOST, host);
        }
        // Streams can't be handed to a connection that has one request at a time.
        return if head.version == Version::HTTP_2 { Err(Failure::Unsupported) } else { Ok(()) };
    }
    if head.version == Version::HTTP_2 {
        check_method(&head.method).map_err(Failure::Malformed)?;
        let authority = head.uri.authority().map(|it| it.as_str().as_bytes());
        let default = if head.uri.scheme() == Some(&uri::Scheme::HTTPS) { 443 } else { 80 };
        check_host(authority, head.headers.get(HOST).map(HeaderValue::as_bytes), default)
            .map_err(Failure::Malformed)?;
        // What is read as one there may be read as two elsewhere.
        if head.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
            return Err(Failure::Malformed(Refusal::ContentLengthTwice));
        }
    }
    // RFC 9112, section 3.2.2: the host of an absolute-form target counts.
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Failure::BadHost)?;
        head.headers.insert(HOST, host);
        let mut parts = uri::Parts::default();
        parts.path_and_query =
            Some(head.uri.path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/")));
        head.uri = Uri::from_parts(parts).map_err(|_| Failure::BadHost)?;
    }
    Ok(())
}

/// Decides, and changes the head as the rule's filters say.
pub(crate) fn decide<'a>(
    service: &'a Service,
    namespace: &str,
    head: &mut Head,
    random: &Random,
    dialled_port: u16,
) -> Decided<'a> {
    let head = head.for_rules(service.router.looks_at_fields());
    let (rule, matched) = match find(service, namespace, head) {
        Routed::Rule(rule, matched) => (rule, matched),
        Routed::NotFound => return Decided::of(Decision::Fail(Failure::NoRoute)),
        Routed::Unrouted => {
            return Decided::of(Decision::Forward { service: &service.name, port: service.port });
        }
    };
    let mut decided = Decided { rule: Some(rule), ..Decided::of(Decision::Fail(Failure::InvalidBackend)) };
    let mut change = Change { head, matched, random, decided: &mut decided };
    let redirect = match change.apply(&rule.filters) {
        Ok(redirect) => redirect,
        Err(failure) => return Decided { decision: Decision::Fail(failure), ..decided },
    };
    if decided.answers_preflight() {
        return decided;
    }
    if let Some(redirect) = redirect {
        decided.decision = redirected(redirect, head, matched, dialled_port);
        return decided;
    }
    let weights = rule.backends.iter().map(|it| it.weight);
    let Some(backend) = random.draw(weights).map(|place| &rule.backends[place]) else { return decided };
    if backend.invalid.is_some() {
        return decided;
    }
    decided.mirrors_of_rule = decided.mirrors.len();
    if !decided.mirrors.is_empty() && !backend.filters.is_empty() {
        decided.before_backend = Some(Box::new(head.clone()));
    }
    let mut change = Change { head, matched, random, decided: &mut decided };
    let redirect = match change.apply(&backend.filters) {
        Ok(redirect) => redirect,
        Err(failure) => return Decided { decision: Decision::Fail(failure), ..decided },
    };
    if decided.answers_preflight() {
        return decided;
    }
    decided.decision = match redirect {
        Some(redirect) => redirected(redirect, head, matched, dialled_port),
        None => Decision::Forward { service: &backend.service, port: backend.port },
    };
    decided
}

fn find<'a>(service: &'a Service, namespace: &str, head: &request::Parts) -> Routed<'a> {
    let headers: &HeaderMap = &head.headers;
    let header = |name: &str| joined(headers.get_all(name).iter().map(HeaderValue::as_bytes));
    let asked = HttpRequest {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query(),
        header: &header,
    };
    service.router.find(namespace, &asked)
}

fn redirected(
    redirect: &Redirect,
    head: &request::Parts,
    matched: &PathMatch,
    dialled_port: u16,
) -> Decision<'static> {
    let host = head.headers.get(HOST).map(|it| String::from_utf8_lossy(it.as_bytes()));
    let host = host.unwrap_or_default();
    let location = filter::location(redirect, &head.uri, matched, &host, dialled_port);
    Decision::Tell { status: redirect.status, location: Some(location) }
}

/// A head that filters change, and what they say of the answer.
struct Change<'a, 'f> {
    head: &'a mut request::Parts,
    matched: &'a PathMatch,
    random: &'a Random,
    decided: &'a mut Decided<'f>,
}

impl<'f> Change<'_, 'f> {
    /// Applies filters in their order; returns where the caller is sent, if anywhere.
    fn apply(&mut self, filters: &'f [HttpFilter]) -> Result<Option<&'f Redirect>, Failure> {
        let mut redirect = None;
        for filter in filters {
            match filter {
                HttpFilter::RequestHeaders(change) => filter::change(&mut self.head.headers, change),
                HttpFilter::ResponseHeaders(change) => {
                    self.decided.answer.push(AnswerChange::Headers(change))
                }
                HttpFilter::Cors(cors) => {
                    let sharing = Sharing::of(cors, self.head);
                    self.decided.answer.push(AnswerChange::Sharing(sharing));
                }
                HttpFilter::Redirect(wanted) => redirect = Some(wanted),
                // Looked at before, see `guard`.
                HttpFilter::Limit(_) | HttpFilter::Fault(_) => {}
                HttpFilter::Mirror(mirror) => {
                    let drawn = self.random.next() % u64::from(mirror.denominator.max(1));
                    if drawn < u64::from(mirror.numerator) {
                        self.decided.mirrors.push(mirror);
                    }
                }
                HttpFilter::Rewrite(rewrite) => filter::rewrite(self.head, self.matched, rewrite)
                    .ok_or(Failure::Malformed(Refusal::TargetTooLong))?,
            }
        }
        Ok(redirect)
    }
}

impl<'a> Decided<'a> {
    fn of(decision: Decision<'a>) -> Self {
        Self {
            decision,
            rule: None,
            answer: Vec::new(),
            mirrors: Vec::new(),
            mirrors_of_rule: 0,
            before_backend: None,
        }
    }

    /// Whether a browser asks for leave, which is for the route to give, whoever would serve the request.
    fn answers_preflight(&mut self) -> bool {
        let asks = self.answer.iter().any(AnswerChange::is_preflight);
        if asks {
            self.decision = Decision::Tell { status: 204, location: None };
        }
        asks
    }
}
