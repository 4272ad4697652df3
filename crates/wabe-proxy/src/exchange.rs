//! One request and its answer: what is to become of it, and who says so.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode, Version,
    header::{CONNECTION, LOCATION, UPGRADE},
};
use tokio::{select, time::sleep};
use wabe_model::AccessLog;

use crate::{
    access::{Asked, Marks, Record},
    answer::{Answerer, Protocol},
    attempt::until,
    balance::{Permit, UnderWay},
    body::Source,
    failure::Failure,
    forward::{Errand, Forwarded, deadline, forward},
    grpc,
    guard::{forgive, guard},
    head::Head,
    identity::{RequestId, end_hop, unmask},
    mirror,
    replay::Replay,
    route::{Decided, Decision, decide, normalise},
    serve::{Caller, Proxy, refuse},
    snapshot::{EndpointFacts, Speaks},
    upstream::Http1,
    world::News,
};

/// How it ended.
pub(crate) enum Over {
    /// The caller has its answer, and may ask for more.
    Answered,
    /// The answer broke off, or there is nobody to answer.
    Broken,
    /// Both ends talk something else from now on.
    Switched(Box<Switched>),
}

/// The endpoint's end of what is a tunnel now.
pub(crate) struct Switched {
    pub(crate) connection: Box<Http1>,
    pub(crate) endpoint: Rc<EndpointFacts>,
    /// The request, as it was sent.
    pub(crate) head: Head,
    pub(crate) record: Record,
    /// As long as there are these it counts as a request under way.
    pub(crate) counted: (UnderWay, Permit),
    /// It is one of WebSocket frames.
    pub(crate) is_websocket: bool,
}

/// Has a request answered. By `news` it hears of policies that refuse it while it goes on.
pub(crate) async fn exchange(
    proxy: &Rc<Proxy>,
    caller: &Caller,
    mut head: Head,
    source: Source<'_>,
    mut answerer: Answerer<'_>,
    news: &News<'_>,
) -> Over {
    let (world, service) = proxy.watched.in_force(caller.dialled);
    let asked = Asked { method: Some(head.method().clone()), target: Some(head.target().clone()) };
    let mut record = proxy.log.record(caller, asked);
    record.world = Some(Rc::clone(&world));
    record.protocol = Some(answerer.protocol());
    let is_grpc = head.is_grpc();
    record.grpc = is_grpc.then(Cell::default);
    let Some(service) = service else {
        return over(refuse(record, answerer, Failure::UnknownService, is_grpc).await);
    };
    record.service = Some(Rc::clone(&service));
    if let Some(Err(failure)) = head.parts().map(|it| normalise(it, caller.dialled)) {
        return over(refuse(record, answerer, failure, is_grpc).await);
    }
    if world.access_log != AccessLog::None {
        record.marks = Marks::of(&head);
    }
    // Of HTTP/2 h2 refuses what has fields of one connection, and HTTP/1.0 has no other protocols (RFC 9110, section 7.8).
    let upgrade = if caller.streams { None } else { head.fields_mut().and_then(end_hop) };
    let upgrade = upgrade.filter(|_| answerer.protocol() != Protocol::Http10);
    head.fields_mut().into_iter().for_each(unmask);
    record.request_id = Some(RequestId::of(&mut head, proxy.balancers.random()));
    // Requests within it would be seen by no rule and no policy.
    let upgrade = upgrade.filter(|it| !offers_h2c(it));
    let namespace = world.namespace_of(caller.workload);
    let Decided { decision, rule, answer, mirrors, mirrors_of_rule, before_backend } =
        decide(&service, namespace, &mut head, proxy.balancers.random(), caller.dialled.port());
    record.rule = rule.cloned();
    let patience = if is_grpc { head.fields().and_then(grpc::patience) } else { None };
    let mut due = None;
    if let Some(rule) = rule {
        let random = proxy.balancers.random();
        let burden = match guard(rule, caller.workload, &proxy.passed, random, record.began()) {
            Ok(burden) => burden,
            Err(failure) => return over(refuse(record, answerer, failure, is_grpc).await),
        };
        due = burden.due;
        if let Some(delay) = burden.delay {
            let deadline = deadline(Some(rule), patience, record.began());
            select! {
                () = sleep(delay) => {}
                () = until(deadline.map(|it| it.0)) => {
                    let late = deadline.map_or(Failure::Ending, |it| it.1);
                    // No endpoint was asked.
                    let late = if late.is_routes_time() { Failure::Injected(504) } else { late };
                    return over(refuse(record, answerer, late, is_grpc).await);
                }
                () = answerer.forsaken() => return Over::Broken,
                () = proxy.drain.over_by(news) => {
                    return over(refuse(record, answerer, Failure::Ending, is_grpc).await);
                }
            }
        }
        if let Some(failure) = burden.abort {
            return over(refuse(record, answerer, failure, is_grpc).await);
        }
    }
    let to = match decision {
        Decision::Fail(failure) => return over(refuse(record, answerer, failure, is_grpc).await),
        Decision::Tell { status, location } => {
            let (mut head, ()) = Response::new(()).into_parts();
            head.status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
            if let Some(Ok(location)) = location.as_deref().map(HeaderValue::from_str) {
                head.headers.insert(LOCATION, location);
            }
            answer.iter().for_each(|it| it.apply(&mut head.headers));
            record.status = Some(head.status);
            record.complete = answerer.tell(head, Bytes::new()).await.is_ok();
            return over(record.complete);
        }
        Decision::Forward { service, port } => (service, port),
    };
    // Other protocols begin from HTTP/1 only; who asks for one may be answered as if it had not (RFC 9110, section 7.8).
    let has_http2_only = world.backend(to.0, to.1).is_some_and(|it| it.speaks == Speaks::Http2);
    if has_http2_only && *head.method() == Method::CONNECT {
        return over(refuse(record, answerer, Failure::Unsupported, is_grpc).await);
    }
    let upgrade = upgrade.filter(|_| !has_http2_only);
    let changes_protocol = upgrade.is_some() || *head.method() == Method::CONNECT;
    if let Some(parts) = head.parts() {
        if let Some(protocol) = upgrade {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol);
        }
        parts.version = Version::HTTP_11;
    }
    caller.introduction.give(&mut head);
    let errand = Errand {
        proxy,
        world: &world,
        caller,
        to,
        rule: rule.map(Arc::as_ref),
        answer: &answer,
        patience,
        changes_protocol,
        is_mirrored: !mirrors.is_empty(),
        news,
    };
    let patience = (!is_grpc).then_some(proxy.bounds.body);
    let mut body = Replay::new(source, !changes_protocol, patience);
    let mut answerer = Some(answerer);
    let forwarded = forward(&errand, &mut head, &mut body, &mut answerer, &mut record).await;
    record.received.set(body.octets() as u64);
    let tries = record.tries;
    if let Some(body) = body.all() {
        let patience = rule.and_then(|it| it.timeouts.request);
        let mut of_rule = before_backend.map(|it| Head::from(*it));
        of_rule.iter_mut().for_each(|it| caller.introduction.give(it));
        for (place, mirror) in mirrors.into_iter().enumerate() {
            // What the rule has copied is not for the backend's filters to change.
            let of_rule = of_rule.as_mut().filter(|_| place < mirrors_of_rule);
            let head = of_rule.unwrap_or(&mut head).apart();
            mirror::send(proxy, &world, caller, head, body.clone(), mirror, patience);
        }
    }
    if let (Some(rule), Some(due), 0) = (rule, due, tries)
        && let Forwarded::Failed(Failure::Policy | Failure::Forbidden | Failure::AmbiguousPath) = &forwarded
    {
        // What may not pass leaves room for what may.
        forgive(rule, caller.workload, &proxy.passed, due, Instant::now());
    }
    match (forwarded, answerer) {
        (Forwarded::Relayed { whole }, _) => over(whole),
        (Forwarded::Switched { connection, endpoint, counted }, _) => {
            let asked = head.fields().and_then(|it| it.get(UPGRADE));
            let is_websocket = asked.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
            Over::Switched(Box::new(Switched { connection, endpoint, head, record, counted, is_websocket }))
        }
        (Forwarded::Failed(failure), Some(mut answerer)) => {
            if body.is_read() {
                answerer.has_read();
            }
            over(refuse(record, answerer, failure, is_grpc).await)
        }
        (Forwarded::Forsaken | Forwarded::Failed(_), _) => Over::Broken,
    }
}

/// Whether one of the protocols is HTTP/2 without TLS; their names are the same in upper case (RFC 9110, section 7.8).
fn offers_h2c(upgrade: &HeaderValue) -> bool {
    let mut names = upgrade.as_bytes().split(|it| *it == b',').map(<[u8]>::trim_ascii);
    names.any(|it| it.eq_ignore_ascii_case(b"h2c"))
}

fn over(told: bool) -> Over {
    if told { Over::Answered } else { Over::Broken }
}
