//! Takes a request to an endpoint of the service that it goes to: to another one if that fails, as often as is right.

use std::{
    cell::{Cell, RefCell},
    ptr,
    rc::Rc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, header::SET_COOKIE, response};
use tokio::{
    select,
    time::{sleep, timeout_at},
};
use wabe_http1::Piece;
use wabe_model::{HashKey, ObjectName, Retry};
use wabe_policy::http::TableRule;

use crate::{
    access::Record,
    answer::Answerer,
    attempt::{End, Reach, Terms, Tried, attempt},
    balance::{Asked, Balancer, Hashed, Outcome, Permit, UnderWay, hashed},
    failure::Failure,
    head::Head,
    identity::vouch,
    policy::Case,
    replay::Replay,
    route::AnswerChange,
    search::{Reached, Search},
    serve::{Caller, Proxy},
    snapshot::EndpointFacts,
    upstream::{Connection, Http1},
    world::{News, World},
};

/// What is waited before the first repetition, unless the route says so; doubled for each further one, to a limit.
const BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// A kept connection's end that comes later than this was not on its way already when the request was sent.
const CROSSED: Duration = Duration::from_millis(250);
/// How long a connection is still looked for, or waited for, on behalf of a caller that has left.
const LEFT: Duration = Duration::from_secs(1);

/// Where a request goes, and on what terms.
pub(crate) struct Errand<'a> {
    pub(crate) proxy: &'a Rc<Proxy>,
    pub(crate) world: &'a World,
    pub(crate) caller: &'a Caller,
    /// A service and its port.
    pub(crate) to: (&'a ObjectName, u16),
    /// The rule that led there, if one did.
    pub(crate) rule: Option<&'a TableRule>,
    /// What is done to the answer's head.
    pub(crate) answer: &'a [AnswerChange<'a>],
    /// How long the caller itself waits.
    pub(crate) patience: Option<Duration>,
    /// It is the last one on its connection, which carries something else then.
    pub(crate) changes_protocol: bool,
    /// All of its body is wanted again when it is over.
    pub(crate) is_mirrored: bool,
    /// Of snapshots by which it is judged again.
    pub(crate) news: &'a News<'a>,
}

/// What became of it.
pub(crate) enum Forwarded {
    /// The answer went to the caller, all of it if `whole`.
    Relayed { whole: bool },
    /// Both ends talk something else from now on.
    Switched { connection: Box<Http1>, endpoint: Rc<EndpointFacts>, counted: (UnderWay, Permit) },
    /// The caller left.
    Forsaken,
    /// Nothing went to the caller.
    Failed(Failure),
}

impl Errand<'_> {
    fn retry(&self) -> Option<&Retry> {
        self.rule.and_then(|it| it.retry.as_ref())
    }

    /// Whether a request may be sent once more after an endpoint may have worked on it.
    pub(crate) fn may_repeat(&self, method: &Method) -> bool {
        is_idempotent(method) && !self.changes_protocol
    }
}

/// Until when all of the answer to a request that began then must have gone to its caller, who waits for so long.
pub(crate) fn deadline(
    rule: Option<&TableRule>,
    patience: Option<Duration>,
    began: Instant,
) -> Option<(Instant, Failure)> {
    let of_route = rule.and_then(|it| it.timeouts.request);
    let of_route = of_route.map(|patience| (began + patience, Failure::RequestTimeout(patience)));
    let of_caller = patience.map(|patience| (began + patience, Failure::CallerDeadline(patience)));
    of_route.into_iter().chain(of_caller).min_by_key(|it| it.0)
}

/// Has the request answered. The answerer is taken once the answer begins.
pub(crate) async fn forward(
    errand: &Errand<'_>,
    head: &mut Head,
    body: &mut Replay<'_>,
    answerer: &mut Option<Answerer<'_>>,
    record: &mut Record,
) -> Forwarded {
    let Some(backend) = errand.world.backend(errand.to.0, errand.to.1) else {
        return Forwarded::Failed(Failure::NoHealthyEndpoint);
    };
    let balancer = &backend.balancer;
    let Ok(request) = balancer.limits().request(record.began()) else {
        return Forwarded::Failed(Failure::Overflow);
    };
    let deadline = deadline(errand.rule, errand.patience, record.began());
    // Whoever can't be connected to in the time that the route grants has failed; a caller's own hurry says nothing.
    let by = errand.rule.and_then(|it| it.timeouts.request).map(|it| record.began() + it);
    let Hashed { hash, set_cookie } = hash(errand, balancer, head);
    let repeats = errand.may_repeat(head.method());
    let mut search = Search::new(errand.proxy, errand.world, errand.caller, backend);
    (search.hash, search.plain) = (hash, errand.changes_protocol);
    search.grpc = errand.caller.streams && head.is_grpc();
    let drain = &errand.proxy.drain;
    let left = Cell::new(errand.retry().map_or(0, |it| it.attempts));
    // Of the repetition under way, until its answer is passed on or it is repeated once more.
    let permit = RefCell::new(None);
    loop {
        let reaching = async {
            match deadline {
                Some((time, failure)) => {
                    timeout_at(time.into(), search.reach(by)).await.unwrap_or(Err(failure))
                }
                None => search.reach(None).await,
            }
        };
        let reached = select! {
            biased;
            reached = reaching => reached,
            // A moment longer than it is waited for: it tells whether an endpoint can be connected to, and the connection is of use to
            // others.
            () = async { forsaken(answerer).await; sleep(LEFT).await } => return Forwarded::Forsaken,
            () = drain.over_by(errand.news) => return Forwarded::Failed(Failure::Ending),
        };
        let Reached { mut connection, endpoint, way, used, under_way } = match reached {
            Ok(reached) => reached,
            // The standard has connections that fail repeated, too: each time to as many endpoints as without. Nothing was sent,
            // whatever the method.
            Err(failure)
                if failure.is_unconnected()
                    && !search.tried.is_empty()
                    && body.is_whole()
                    && may_retry(balancer, &left, &permit) =>
            {
                search.tried.clear();
                record.tries += 1;
                select! {
                    () = pause(errand, record.tries, deadline) => {}
                    () = forsaken(answerer) => return Forwarded::Forsaken,
                    () = drain.over_by(errand.news) => return Forwarded::Failed(Failure::Ending),
                }
                continue;
            }
            Err(failure) => {
                // A repetition that could connect to nobody was one, too.
                let connects_to_nobody = failure.is_unconnected() && !search.tried.is_empty();
                record.tries += u32::from(record.tries > 0 && connects_to_nobody);
                if failure.is_about_endpoint() {
                    record.endpoint = search.last.or(record.endpoint);
                }
                // While others were waited for the endpoint had no part in it.
                let overflows = failure.is_routes_time() && search.waits.get();
                return Forwarded::Failed(if overflows { Failure::Overflow } else { failure });
            }
        };
        record.endpoint = Some(endpoint.workload);
        let newest = errand.proxy.watched.world();
        let mut world = errand.world;
        if !ptr::eq(world, &*newest) && !world.workloads.contains_key(&endpoint.workload) {
            // It has come since the request did.
            (world, record.world) = (&newest, Some(Rc::clone(&newest)));
        }
        vouch(head, world.identities(errand.caller.workload, endpoint.workload));
        let case =
            Case { proxy: errand.proxy, caller: errand.caller, endpoint: &endpoint, news: errand.news };
        if let Err(refused) = case.judge(head) {
            let failure = refused.failure;
            record.refused(refused);
            if let Connection::Http1(connection) = connection {
                errand.proxy.pool.keep(way, connection);
            }
            return Forwarded::Failed(failure);
        }
        if drain.is_over() {
            return Forwarded::Failed(Failure::Ending);
        }
        record.tries += 1;
        // Of what waited then, more may have been read since.
        answerer.iter_mut().for_each(Answerer::heed);
        let of_try = errand.rule.and_then(|it| it.timeouts.backend_request);
        let of_try = of_try.map(|patience| (Instant::now() + patience, Failure::BackendTimeout(patience)));
        let kept = body.kept();
        let told = &*record;
        let terms = Terms {
            case,
            deadline: [deadline, of_try].into_iter().flatten().min_by_key(|it| it.0),
            is_unwanted: &|status| {
                let listed =
                    errand.retry().is_some_and(|it| it.codes.binary_search(&status.as_u16()).is_ok());
                let again = listed && repeats && kept.is_all() && may_retry(balancer, &left, &permit);
                if !again {
                    // The repetition is over, however long its answer takes.
                    permit.take();
                    if !errand.is_mirrored {
                        kept.let_go();
                    }
                }
                again
            },
            change: &|head| {
                told.hear(&head.headers);
                change(head, errand.answer, set_cookie.as_deref());
            },
            unchanged: errand.answer.is_empty() && set_cookie.is_none() && told.grpc.is_none(),
            heard: &|status| {
                let now = Instant::now();
                told.answered.set(Some(now));
                match told.grpc {
                    // The end tells how it fared.
                    Some(_) if status.is_success() => under_way.answers(now),
                    Some(_) | None => under_way.done(now, Outcome::Answered(status)),
                }
            },
            carried: &|piece| match piece {
                Piece::Data(data) => told.bytes.set(told.bytes.get() + data.len() as u64),
                Piece::Trailers(trailers) => told.hear(trailers),
                Piece::End => {}
            },
        };
        match attempt(&mut connection, head, body, answerer, &terms).await {
            Tried::Relayed { status, end, answered, reusable } => {
                record.ended = answered;
                let whole = matches!(end, End::Whole);
                (record.status, record.complete) = (Some(status), whole);
                match end {
                    End::Whole => {
                        let fared = record.grpc_code().map(|it| Outcome::Answered(it.as_http()));
                        fared.into_iter().for_each(|it| under_way.done(Instant::now(), it));
                    }
                    End::Broken => {
                        under_way.done(Instant::now(), Outcome::Reset);
                        record.failure = Some(Failure::UpstreamBroke);
                    }
                    End::Cut => record.failure = Some(Failure::CallerLeft),
                    End::Over => record.failure = Some(Failure::Ending),
                    End::Revoked(refused) => record.refused(refused),
                    // Not held against the endpoint: else a caller that reads slowly could have it ejected.
                    End::Late(failure) => record.failure = Some(failure),
                }
                if let (true, Connection::Http1(connection)) = (reusable, connection) {
                    errand.proxy.pool.keep(way, connection);
                }
                return Forwarded::Relayed { whole };
            }
            Tried::Switched(status) => {
                record.status = Some(status);
                let Connection::Http1(connection) = connection else { return Forwarded::Forsaken };
                return Forwarded::Switched { connection, endpoint, counted: (under_way, request) };
            }
            Tried::Forsaken => {
                // Calls of gRPC may have nothing to say for as long as they like.
                if told.grpc.is_none() && !kept.is_awaited() {
                    under_way.left(Instant::now());
                }
                return Forwarded::Forsaken;
            }
            Tried::Revoked(refused) => {
                let failure = refused.failure;
                record.refused(refused);
                return Forwarded::Failed(failure);
            }
            Tried::Malformed(refusal) => return Forwarded::Failed(Failure::Malformed(refusal)),
            Tried::Unwanted => {}
            Tried::Failed { failure, reach } => {
                let untouched = reach == Reach::Untouched;
                let again = (untouched || repeats) && body.is_whole();
                // Its other end had closed it while nobody used it, or did not begin, which is nobody's failure.
                let crossed = used && reach == Reach::Unknown && under_way.lasts(Instant::now()) < CROSSED;
                if (untouched || crossed) && again && !search.anew && failure == Failure::BadAnswer {
                    search.anew = true;
                    record.tries -= 1;
                    body.rewind();
                    continue;
                }
                // A caller that keeps its body back is not held against the endpoint, and comes no sooner to another one.
                let is_callers = reach == Reach::Waiting;
                let failure = if is_callers && failure.is_routes_time() && told.grpc.is_none() {
                    Failure::SlowBody
                } else {
                    failure
                };
                if let Some(outcome) = outcome(failure).filter(|_| !is_callers) {
                    under_way.done(Instant::now(), outcome);
                }
                let spent = is_callers
                    || matches!(
                        failure,
                        Failure::RequestTimeout(_)
                            | Failure::CallerDeadline(_)
                            | Failure::SlowBody
                            | Failure::Unsupported
                            | Failure::Ending
                    );
                if !again || spent || !may_retry(balancer, &left, &permit) {
                    return Forwarded::Failed(failure);
                }
            }
        }
        search.tried.push(endpoint.workload);
        body.rewind();
        select! {
            () = pause(errand, record.tries, deadline) => {}
            () = forsaken(answerer) => return Forwarded::Forsaken,
            () = drain.over_by(errand.news) => return Forwarded::Failed(Failure::Ending),
        }
    }
}

/// Completes once the caller leaves.
async fn forsaken(answerer: &mut Option<Answerer<'_>>) {
    match answerer {
        Some(answerer) => answerer.forsaken().await,
        None => std::future::pending().await,
    }
}

/// Takes one of the repetitions that are left, and leave for it.
fn may_retry(balancer: &Balancer, left: &Cell<u32>, permit: &RefCell<Option<Permit>>) -> bool {
    let Some(fewer) = left.get().checked_sub(1) else { return false };
    // That of the repetition before, which is over.
    permit.take();
    let Ok(granted) = balancer.limits().retry(Instant::now()) else { return false };
    left.set(fewer);
    permit.replace(Some(granted));
    true
}

async fn pause(errand: &Errand<'_>, tries: u32, deadline: Option<(Instant, Failure)>) {
    let random = errand.proxy.balancers.random();
    let least = errand.retry().and_then(|it| it.backoff).unwrap_or(BACKOFF);
    let doubled = least.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(LONGEST_BACKOFF.max(least));
    // Up to a half more, so that those who failed together do not come back together.
    let more = doubled.mul_f64(f64::from((random.next() % 512) as u32) / 1024.0);
    let pause = deadline
        .map_or(doubled + more, |it| (doubled + more).min(it.0.saturating_duration_since(Instant::now())));
    sleep(pause).await;
}

fn hash(errand: &Errand<'_>, balancer: &Balancer, head: &mut Head) -> Hashed {
    let traffic = balancer.traffic();
    let Some(key) = &traffic.hash else { return Hashed::default() };
    let head = head.for_rules(matches!(key, HashKey::Header(_) | HashKey::Cookie(_)));
    let asked = Asked { headers: &head.headers, query: head.uri.query(), source: errand.caller.address };
    hashed(key, &asked, errand.proxy.balancers.random())
}

fn change(head: &mut response::Parts, changes: &[AnswerChange<'_>], set_cookie: Option<&str>) {
    changes.iter().for_each(|it| it.apply(&mut head.headers));
    if let Some(cookie) = set_cookie.and_then(|it| HeaderValue::from_str(it).ok()) {
        head.headers.append(SET_COOKIE, cookie);
    }
}

/// What an endpoint is blamed for. A caller that hurries is not its fault.
fn outcome(failure: Failure) -> Option<Outcome> {
    let outcome = if failure.is_routes_time() { Outcome::TimedOut } else { Outcome::Reset };
    (failure.blame() == "upstream").then_some(outcome)
}

/// RFC 9110, section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
