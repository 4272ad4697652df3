//! What rules and filters say, for people to read.

use std::time::Duration;

use wabe_model::{
    FaultInjection, HeaderChange, HttpFilter, LimitScope, PathChange, PathMatch, RequestLimit, Share,
};
use wabe_policy::http::{Guards, TableRule};

use super::{AbortView, Asked, DelayView, FaultView, LimitView, RuleView};

/// A rule, and the path of its match that holds.
pub(super) fn rule_view(rule: &TableRule, path: &PathMatch, asked: &Asked) -> RuleView {
    let timeouts = [("request", rule.timeouts.request), ("backendRequest", rule.timeouts.backend_request)];
    let mut limits: Vec<String> = timeouts
        .iter()
        .filter_map(|(name, time)| time.map(|time| format!("{name} within {time:?}")))
        .collect();
    limits.extend(rule.retry.as_ref().map(|retry| {
        let codes: Vec<String> = retry.codes.iter().map(u16::to_string).collect();
        let after = retry.backoff.map_or_else(String::new, |it| format!(", {it:?} apart at least"));
        let times = format!("tried again {} times at most", retry.attempts);
        match unrepeatable(asked) {
            None if codes.is_empty() => format!("{times}{after}"),
            None => format!("{times} after {}{after}", codes.join(", ")),
            Some(what) => {
                format!("{times}{after}, as long as no endpoint has begun on it: {what} is never repeated after that")
            }
        }
    }));
    RuleView {
        kind: rule.kind.as_str(),
        route: rule.route.to_string(),
        rule: rule.rule,
        name: rule.name.clone(),
        path: match path {
            PathMatch::Exact(path) => path.clone(),
            PathMatch::Prefix(path) => format!("{}/*", path.trim_end_matches('/')),
            PathMatch::Expression(path) => format!("~ {}", path.as_str()),
        },
        filters: rule.filters.iter().map(|it| filter(it, Some(&rule.guards))).collect(),
        limits,
        request_limit: rule.guards.limit.as_ref().map(limit_view),
        fault: rule.guards.fault.as_ref().map(|it| fault_view(it, rule.timeouts.request)),
    }
}

/// What about a request keeps it from being sent again once an endpoint may work on it: as the proxy has it.
fn unrepeatable(asked: &Asked) -> Option<&str> {
    // RFC 9110, section 9.2.2.
    if !["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(&&*asked.method) {
        return Some(&asked.method);
    }
    let upgrades = asked.headers.iter().any(|it| it.0.eq_ignore_ascii_case("upgrade"));
    upgrades.then_some("what asks for another protocol")
}

fn limit_view(limit: &RequestLimit) -> LimitView {
    LimitView {
        name: limit.name.to_string(),
        requests: limit.requests,
        per: milliseconds(limit.per),
        burst: limit.burst,
        each: match limit.each {
            LimitScope::Route => "route",
            LimitScope::Caller => "caller",
        },
    }
}

fn fault_view(fault: &FaultInjection, patience: Option<Duration>) -> FaultView {
    let all = |share: Share| share.numerator >= share.denominator;
    let delay = fault.delay.filter(|it| all(it.share));
    // The route's time goes on while a request waits, and what it ends then the fault has made late.
    let late = delay.is_some_and(|it| patience.is_some_and(|patience| it.time > patience));
    let abort = fault.abort.filter(|it| all(it.share));
    FaultView {
        name: fault.name.to_string(),
        abort: fault.abort.map(|it| AbortView { status: it.status, share: share(it.share) }),
        delay: fault.delay.map(|it| DelayView { time: milliseconds(it.time), share: share(it.share) }),
        always: if late { Some(504) } else { abort.map(|it| it.status) },
    }
}

fn share(share: Share) -> f64 {
    f64::from(share.numerator) / f64::from(share.denominator.max(1))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As people write it, to a millionth.
fn percent(it: Share) -> String {
    format!("{} %", (share(it) * 1e6).round() / 1e4)
}

fn limit(limit: &RequestLimit) -> String {
    let each = match limit.each {
        LimitScope::Route => "",
        LimitScope::Caller => ", per caller",
    };
    format!("{} in {:?}, burst {}{each}", limit.requests, limit.per, limit.burst)
}

fn fault(fault: &FaultInjection) -> String {
    let abort = fault.abort.map(|it| format!("{} answered by {}", percent(it.share), it.status));
    let delay = fault.delay.map(|it| format!("{} late by {:?}", percent(it.share), it.time));
    abort.into_iter().chain(delay).collect::<Vec<_>>().join(", ")
}

/// A filter in a line; what those of Wabe's own say is in the rule's guards.
pub(super) fn filter(filter: &HttpFilter, guards: Option<&Guards>) -> String {
    let says = |what: Option<String>| match (guards, what) {
        (_, Some(what)) => format!(": {what}"),
        (Some(_), None) => ", which does not exist".to_owned(),
        (None, None) => String::new(),
    };
    match filter {
        HttpFilter::RequestHeaders(it) => format!("the request's headers: {}", headers(it)),
        HttpFilter::ResponseHeaders(it) => format!("the answer's headers: {}", headers(it)),
        HttpFilter::Redirect(it) => {
            let port = it.port.map(|port| format!("port {port}"));
            let parts = [it.scheme.clone(), it.hostname.clone(), port, it.path.as_ref().map(path)];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            format!("redirected with {}: {}", it.status, parts.join(", "))
        }
        HttpFilter::Rewrite(it) => {
            let parts = [it.hostname.as_ref().map(|it| format!("host {it}")), it.path.as_ref().map(path)];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            format!("rewritten: {}", parts.join(", "))
        }
        HttpFilter::Mirror(it) => {
            format!("{} of {} copied to {}:{}", it.numerator, it.denominator, it.service, it.port)
        }
        HttpFilter::Cors(it) => {
            let origins: Vec<String> = it.origins.iter().map(ToString::to_string).collect();
            format!("CORS for {}", if origins.is_empty() { "no origin".into() } else { origins.join(", ") })
        }
        HttpFilter::Limit(name) => {
            let what = guards.and_then(|it| it.limit.as_ref()).map(limit);
            format!("limited by RequestLimit {name}{}", says(what))
        }
        HttpFilter::Fault(name) => {
            let what = guards.and_then(|it| it.fault.as_ref()).map(fault);
            format!("made to fail by FaultInjection {name}{}", says(what))
        }
    }
}

fn path(change: &PathChange) -> String {
    match change {
        PathChange::Full(path) => format!("path {path}"),
        PathChange::Prefix(path) => format!("prefix {path}"),
    }
}

fn headers(change: &HeaderChange) -> String {
    let set = change.set.iter().map(|(name, value)| format!("set {name}: {value}"));
    let add = change.add.iter().map(|(name, value)| format!("add {name}: {value}"));
    let remove = change.remove.iter().map(|name| format!("remove {name}"));
    set.chain(add).chain(remove).collect::<Vec<_>>().join(", ")
}
