//! Whether a rule matches. Allocates nothing, but where a header that a rule is about has several lines, and where a path that one is
//! about has escapes, or a host a dot at its end.

use std::{borrow::Cow, net::IpAddr};

use wabe_model::{
    HeaderCondition, ObjectName, Operation, PolicyAction, Rule, Source, StringMatch, without_escapes,
};

use super::{Caller, CallerIdentity, Content, Headers, Request};
use crate::evaluate::contains;

/// What rules look at.
pub(super) struct Seen<'a> {
    /// A stranger has empty names.
    names: CallerIdentity<'a>,
    is_stranger: bool,
    address: IpAddr,
    port: u16,
    request: Option<&'a Request<'a>>,
    /// Of the request, with escapes in capitals: as it was sent, and without those of characters that need none everywhere.
    path: [&'a str; 2],
}

impl<'a> Seen<'a> {
    pub(super) fn new(caller: &Caller<'a>, port: u16, content: Content<'a>, path: [&'a str; 2]) -> Self {
        const NOBODY: CallerIdentity<'static> = CallerIdentity { principal: "", namespace: "", account: "" };
        Self {
            names: caller.identity.unwrap_or(NOBODY),
            is_stranger: caller.identity.is_none(),
            address: caller.address.to_canonical(),
            port,
            request: match content {
                Content::Request(request) => Some(request),
                Content::Opaque => None,
            },
            path,
        }
    }

    fn is_account(&self, name: &ObjectName) -> bool {
        !self.is_stranger && name.namespace == self.names.namespace && name.name == self.names.account
    }
}

pub(super) fn matches(rule: &Rule, seen: &Seen<'_>, action: PolicyAction) -> bool {
    let admits = match action {
        PolicyAction::Allow => true,
        PolicyAction::Deny | PolicyAction::Audit => false,
    };
    if admits && seen.request.is_none() && rule.looks_at_requests() {
        return false;
    }
    let doubt = if admits { Doubt::Refuses } else { Doubt::Matches };
    either(&rule.from, |source| is_from(source, seen))
        && either(&rule.to, |operation| is_to(operation, seen, doubt))
        && rule.when_sources.iter().all(|source| is_from(source, seen))
        && rule.when_operations.iter().all(|operation| is_to(operation, seen, doubt))
        && rule.when_headers.iter().all(|header| has_header(header, seen, doubt))
}

/// Whether an ALLOW rule matches because it names the caller's address.
pub(super) fn matches_by_address(rule: &Rule, seen: &Seen<'_>) -> bool {
    let named = |source: &Source| !source.ip_blocks.is_empty();
    let by_from = rule.from.iter().any(|source| named(source) && is_from(source, seen));
    (by_from || rule.when_sources.iter().any(named)) && matches(rule, seen, PolicyAction::Allow)
}

/// Whether one of them does, or there is none.
fn either<T>(list: &[T], does: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(does)
}

fn is_from(source: &Source, seen: &Seen<'_>) -> bool {
    let principal = |it: &StringMatch| it.matches(seen.names.principal);
    let namespace = |it: &StringMatch| it.matches(seen.names.namespace);
    let account = |it: &ObjectName| seen.is_account(it);
    let block = |it: &ipnet::IpNet| contains(it, seen.address);
    either(&source.principals, principal)
        && either(&source.namespaces, namespace)
        && either(&source.service_accounts, account)
        && either(&source.ip_blocks, block)
        && !source.not_principals.iter().any(principal)
        && !source.not_namespaces.iter().any(namespace)
        && !source.not_service_accounts.iter().any(account)
        && !source.not_ip_blocks.iter().any(block)
}

/// What an operation says of requests is left aside where there is none.
fn is_to(operation: &Operation, seen: &Seen<'_>, doubt: Doubt) -> bool {
    let port = |it: &u16| *it == seen.port;
    if !either(&operation.ports, port) || operation.not_ports.iter().any(port) {
        return false;
    }
    let Some(request) = seen.request else { return true };
    let method = |it: &StringMatch| it.matches(request.method);
    let host = |it: &StringMatch| is_host(it, request.host);
    either(&operation.methods, method)
        && (operation.paths.is_empty() || is_path(&operation.paths, seen.path, doubt))
        && either(&operation.hosts, host)
        && !operation.not_methods.iter().any(method)
        && !is_path(&operation.not_paths, seen.path, doubt.of_exceptions())
        && !operation.not_hosts.iter().any(host)
}

/// Whether a path is one of a list.
fn is_path(list: &[StringMatch], [sent, read]: [&str; 2], doubt: Doubt) -> bool {
    let as_sent = list.iter().any(|it| it.matches(sent));
    let mut as_read = list.iter().map(|it| match it {
        StringMatch::Exact(it) => read == without_escapes(it),
        StringMatch::Prefix(it) => read.starts_with(&*without_escapes(it)),
        StringMatch::Suffix(it) => read.ends_with(&*without_escapes(it)),
        StringMatch::Present => !read.is_empty(),
    });
    match doubt {
        Doubt::Matches => as_sent || as_read.any(|it| it),
        Doubt::Refuses => as_sent && as_read.any(|it| it),
    }
}

/// Whether a host is as wanted, as it is written or without the dot at the end of its name, which makes no other of it (RFC 3986,
/// section 3.2.2).
fn is_host(wanted: &StringMatch, host: &[u8]) -> bool {
    let (text, plain) = match wanted {
        StringMatch::Exact(it) | StringMatch::Suffix(it) => (it.as_bytes(), without_dot(it.as_bytes())),
        // The name that begins with `a.` goes on.
        StringMatch::Prefix(it) if !it.contains(':') => (it.as_bytes(), Cow::Borrowed(it.as_bytes())),
        StringMatch::Prefix(it) => (it.as_bytes(), without_dot(it.as_bytes())),
        StringMatch::Present => return !host.is_empty(),
    };
    is_host_text(wanted, text, host) || is_host_text(wanted, &plain, &without_dot(host))
}

/// Hosts are the same whatever their case (RFC 4343).
fn is_host_text(wanted: &StringMatch, text: &[u8], host: &[u8]) -> bool {
    let part = match wanted {
        StringMatch::Exact(_) => Some(host),
        StringMatch::Prefix(_) => host.get(..text.len()),
        StringMatch::Suffix(_) => host.get(host.len().wrapping_sub(text.len())..),
        StringMatch::Present => None,
    };
    part.is_some_and(|it| it.eq_ignore_ascii_case(text))
}

/// Without the dot at the end of the name, before the port if there is one.
fn without_dot(host: &[u8]) -> Cow<'_, [u8]> {
    let colon = host.iter().rposition(|it| *it == b':');
    let port = colon.filter(|at| host[at + 1..].iter().all(u8::is_ascii_digit));
    let (name, port) = host.split_at(port.unwrap_or(host.len()));
    match name.strip_suffix(b".") {
        Some(name) if !name.is_empty() => Cow::Owned([name, port].concat()),
        Some(_) | None => Cow::Borrowed(host),
    }
}

/// What is made of what servers read differently: of a header of several lines, whose value is that of all of them to one and that of
/// one to another, and of characters of a path that may be escaped or not.
#[derive(Clone, Copy)]
enum Doubt {
    /// A DENY rule matches if any reading does.
    Matches,
    /// An ALLOW rule matches if every reading does.
    Refuses,
}

impl Doubt {
    /// What is excepted from a rule is looked at the other way.
    fn of_exceptions(self) -> Self {
        match self {
            Self::Matches => Self::Refuses,
            Self::Refuses => Self::Matches,
        }
    }
}

fn has_header(condition: &HeaderCondition, seen: &Seen<'_>, doubt: Doubt) -> bool {
    let Some(request) = seen.request else { return true };
    let (wanted, unwanted) = match doubt {
        Doubt::Matches => (Reading::Any, Reading::Whole),
        Doubt::Refuses => (Reading::Whole, Reading::Any),
    };
    let has = |list: &[StringMatch], reading| is_as(list, &condition.name, request.headers, reading);
    (condition.values.is_empty() || has(&condition.values, wanted)) && !has(&condition.not_values, unwanted)
}

/// How a header of several lines is read.
#[derive(Clone, Copy)]
enum Reading {
    /// As one value, joined by commas (RFC 9110, section 5.3), which is Istio's.
    Whole,
    /// So, or as any one of its lines.
    Any,
}

fn is_as(list: &[StringMatch], name: &str, headers: &dyn Headers, reading: Reading) -> bool {
    if list.is_empty() {
        return false;
    }
    let (mut lines, mut any) = (0, false);
    headers.lines(name, &mut |line| {
        lines += 1;
        any |= list.iter().any(|it| is_value(it, line));
    });
    let by_line = match reading {
        Reading::Whole => lines == 1,
        Reading::Any => any || lines == 1,
    };
    if lines == 0 || by_line {
        return any;
    }
    let mut whole = Vec::new();
    headers.lines(name, &mut |line| {
        if !whole.is_empty() {
            // RFC 9113, section 8.2.3.
            whole.extend_from_slice(if name == "cookie" { b"; " } else { b"," });
        }
        whole.extend_from_slice(line);
    });
    list.iter().any(|it| is_value(it, &whole))
}

fn is_value(wanted: &StringMatch, value: &[u8]) -> bool {
    match wanted {
        StringMatch::Exact(it) => value == it.as_bytes(),
        StringMatch::Prefix(it) => value.starts_with(it.as_bytes()),
        StringMatch::Suffix(it) => value.ends_with(it.as_bytes()),
        StringMatch::Present => true,
    }
}
