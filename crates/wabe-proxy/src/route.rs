//! What becomes of a request: by the rules that hold for its caller. Decides and changes heads; sends nothing.

use std::time::Duration;

use hyper::{Request, Uri, Version, header::HeaderValue, http::request};
use wabe_model::{HttpFilter, ObjectName, PathMatch};
use wabe_policy::http::{HttpRequest, Routed, TableRule, joined};

use crate::{balance::Random, failure::Failure, filter, world::Service};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It goes to a service's port.
    Forward {
        service: ObjectName,
        port: u16,
        /// For the whole, and for one try.
        timeouts: (Option<Duration>, Option<Duration>),
    },
    /// The caller is sent elsewhere.
    Redirect { status: u16, location: String },
    /// The proxy answers.
    Fail(Failure),
}

/// What decided, for the log and the answer.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    /// The route and the rule's name or number.
    pub(crate) rule: Option<(ObjectName, String)>,
    pub(crate) answer_headers: Option<wabe_model::HeaderChange>,
}

/// Brings a request's head into one form: an origin-form target, and its host in `host`.
pub(crate) fn normalise(head: &mut request::Parts) -> Result<(), Failure> {
    if head.method == hyper::Method::CONNECT {
        return Err(Failure::Unsupported);
    }
    let hosts = head.headers.get_all("host").iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Failure::BadHost);
    }
    // RFC 9112, section 3.2.2: the host of an absolute-form target counts.
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Failure::BadHost)?;
        head.headers.insert("host", host);
        let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
        head.uri = target.parse::<Uri>().map_err(|_| Failure::BadHost)?;
    }
    Ok(())
}

/// Decides, and changes the head as the rule's filters say.
pub(crate) fn decide(
    service: &Service,
    namespace: &str,
    head: &mut request::Parts,
    random: &Random,
    dialled_port: u16,
) -> Decided {
    let headers = &head.headers;
    let header = |name: &str| joined(headers.get_all(name).iter().map(HeaderValue::as_bytes));
    let asked = HttpRequest {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query(),
        header: &header,
    };
    let (rule, matched) = match service.router.find(namespace, &asked) {
        Routed::Rule(rule, matched) => (rule, matched),
        Routed::NotFound => return Decided::of(Decision::Fail(Failure::NoRoute)),
        Routed::Unrouted => {
            let (service, port) = (service.name.clone(), service.port);
            return Decided::of(Decision::Forward { service, port, timeouts: (None, None) });
        }
    };
    let name = rule.name.clone().unwrap_or_else(|| rule.rule.to_string());
    let mut decided = apply(rule, matched, head, random, dialled_port);
    decided.rule = Some((rule.route.clone(), name));
    decided
}

fn apply(
    rule: &TableRule,
    matched: &PathMatch,
    head: &mut request::Parts,
    random: &Random,
    dialled_port: u16,
) -> Decided {
    let mut answer_headers = None;
    let mut redirect = None;
    for filter in &rule.filters {
        match filter {
            HttpFilter::RequestHeaders(change) => filter::change(&mut head.headers, change),
            HttpFilter::ResponseHeaders(change) => answer_headers = Some(change.clone()),
            HttpFilter::Redirect(wanted) => redirect = Some(wanted),
            HttpFilter::Mirror(_) => {}
            HttpFilter::Rewrite(rewrite) => {
                if let Some(target) =
                    rewrite.path.as_ref().and_then(|change| filter::target(&head.uri, matched, change))
                {
                    head.uri = Uri::from(target);
                }
                if let Some(host) = rewrite.hostname.as_ref().and_then(|it| HeaderValue::from_str(it).ok()) {
                    head.headers.insert("host", host);
                }
            }
        }
    }
    if let Some(redirect) = redirect {
        let host = head.headers.get("host").map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
        let location =
            filter::location(redirect, &head.uri, matched, host.as_deref().unwrap_or_default(), dialled_port);
        let decision = Decision::Redirect { status: redirect.status, location };
        return Decided { answer_headers, ..Decided::of(decision) };
    }
    let weights: Vec<u32> = rule.backends.iter().map(|it| it.weight).collect();
    let decision = match random.draw(&weights).map(|place| &rule.backends[place]) {
        Some(backend) if backend.invalid.is_none() => {
            let timeouts = (rule.timeouts.request, rule.timeouts.backend_request);
            Decision::Forward { service: backend.service.clone(), port: backend.port, timeouts }
        }
        Some(_) | None => Decision::Fail(Failure::InvalidBackend),
    };
    Decided { answer_headers, ..Decided::of(decision) }
}

impl Decided {
    pub(crate) fn of(decision: Decision) -> Self {
        Self { decision, rule: None, answer_headers: None }
    }
}

/// A request's path for the log, without its query, which may hold secrets.
pub(crate) fn logged_path<B>(request: &Request<B>) -> String {
    request.uri().path().chars().take(256).collect()
}
