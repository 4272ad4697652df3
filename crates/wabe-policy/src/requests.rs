//! Policies that look at requests: what the node's proxy asks before it sends one to a workload that has some.
//!
//! The order of decision is that of [`crate::evaluate`], with which this agrees where no rule looks at requests; the code is
//! its own, as it must not allocate. A request is judged as the endpoint will see it. Bytes that are no HTTP (*opaque*) have
//! nothing that such a rule could look at: an ALLOW rule that does never admits them, and of a DENY rule the rest counts, as
//! in Istio.
//!
//! Paths are compared as text, so a workload that has rules about paths gets no request whose path some servers take for
//! another ([`wabe_model::is_plain_path`]): it is refused whatever the rules say. Characters that may be escaped or not
//! ([`wabe_model::without_escapes`]) make two readings, of which the one counts that lets less through. Nothing is rewritten, so that
//! what was judged is what is sent.

mod matching;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use wabe_abi::Action;
use wabe_model::{AuthorizationPolicy, PolicyAction, Rule, is_plain_path, same_escapes, without_escapes};

use crate::RuleRef;
use matching::{Seen, matches, matches_by_address};

/// The policies of a workload, in the order in which their rules decide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestPolicy {
    rules: Vec<RequestRule>,
    /// Whether a policy in force admits somebody: it may have no rule. And whether one does with those that are not.
    allows: [bool; 2],
    /// Whether a rule in force looks at paths.
    paths: bool,
    /// Whether there is a dry-run policy.
    dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestRule {
    /// As [`RuleRef`] is shown.
    name: String,
    action: PolicyAction,
    dry_run: bool,
    rule: Rule,
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Its identity; `None` for a stranger.
    pub identity: Option<CallerIdentity<'a>>,
    /// The address that it calls from. A mapped one is the IPv4 address.
    pub address: IpAddr,
}

/// An identity in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerIdentity<'a> {
    /// `TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`
    pub principal: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its service account.
    pub account: &'a str,
}

impl<'a> CallerIdentity<'a> {
    /// From `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`; `None` if it is none.
    #[must_use]
    pub fn of(uri: &'a str) -> Option<Self> {
        let principal = uri.strip_prefix("spiffe://")?;
        let (rest, account) = principal.rsplit_once("/sa/")?;
        let (_, namespace) = rest.rsplit_once("/ns/")?;
        Some(Self { principal, namespace, account })
    }
}

/// What goes to the endpoint.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// A request.
    Request(&'a Request<'a>),
    /// Bytes that nobody reads.
    Opaque,
}

/// A request as the endpoint will see it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its method, told apart by case.
    pub method: &'a str,
    /// Its path, without the query; empty if it has none, as that of CONNECT.
    pub path: &'a str,
    /// Its host, with the port if it names one; empty if it has none.
    pub host: &'a [u8],
    /// Its headers.
    pub headers: &'a dyn Headers,
}

/// Where a request's headers are.
pub trait Headers {
    /// Shows each line of the header of this name, which is in small letters.
    fn lines(&self, name: &str, see: &mut dyn FnMut(&[u8]));
}

/// What is to become of it.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// Let through or not.
    pub action: Action,
    /// The rule that decides, as `shop/readers rule 1`; `None` if none does.
    pub rule: Option<&'a str>,
    /// It is refused because of its path, which some servers take for another.
    pub ambiguous: bool,
}

impl Judgement<'_> {
    /// Whether it goes to the endpoint.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        match self.action {
            Action::Allow => true,
            Action::Deny | Action::NoMatch | Action::Stranger => false,
        }
    }
}

impl RequestPolicy {
    /// From the policies that select a workload; `None` if none of those in force looks at requests, so that the kernel alone
    /// decides.
    #[must_use]
    pub fn of(policies: &[&AuthorizationPolicy]) -> Option<Self> {
        policies.iter().any(|it| it.decides_by_requests()).then(|| Self::with_any(policies))
    }

    /// From policies of any kind.
    #[must_use]
    pub fn with_any(policies: &[&AuthorizationPolicy]) -> Self {
        let rules = policies.iter().flat_map(|policy| {
            policy.rules.iter().enumerate().map(|(index, rule)| RequestRule {
                name: RuleRef { policy: policy.name.clone(), index }.to_string(),
                action: policy.action,
                dry_run: policy.dry_run,
                rule: rule.clone(),
            })
        });
        let rules: Vec<_> = rules.collect();
        let allows = |with_dry_run: bool| {
            policies.iter().any(|it| it.action == PolicyAction::Allow && (with_dry_run || !it.dry_run))
        };
        let is_about_paths = |it: &RequestRule| {
            it.decides() && it.rule.to.iter().any(|it| !it.paths.is_empty() || !it.not_paths.is_empty())
        };
        Self {
            paths: rules.iter().any(is_about_paths),
            allows: [allows(false), allows(true)],
            dry_run: policies.iter().any(|it| it.dry_run),
            rules,
        }
    }

    /// Judges what a caller sends to a port that the workload listens on, by the policies in force. Where several rules match,
    /// the first decides.
    pub fn judge(&self, caller: &Caller<'_>, port: u16, content: Content<'_>) -> Judgement<'_> {
        self.decide(caller, port, content, false)
    }

    /// The same with those in dry run; `None` if there are none.
    pub fn dry_run(&self, caller: &Caller<'_>, port: u16, content: Content<'_>) -> Option<Judgement<'_>> {
        self.dry_run.then(|| self.decide(caller, port, content, true))
    }

    /// The first AUDIT rule that matches.
    #[must_use]
    pub fn audit(&self, caller: &Caller<'_>, port: u16, content: Content<'_>) -> Option<&str> {
        let sent = path(content);
        let read = without_escapes(&sent);
        let seen = Seen::new(caller, port, content, [&sent, &read]);
        self.first(PolicyAction::Audit, false, |rule| matches(rule, &seen, PolicyAction::Audit))
    }

    fn decide(
        &self,
        caller: &Caller<'_>,
        port: u16,
        content: Content<'_>,
        with_dry_run: bool,
    ) -> Judgement<'_> {
        if let Content::Request(request) = content
            && self.paths
            && !is_plain_path(request.path)
        {
            return Judgement { action: Action::Deny, rule: None, ambiguous: true };
        }
        let sent = path(content);
        let read = without_escapes(&sent);
        let seen = Seen::new(caller, port, content, [&sent, &read]);
        let judged = |action, rule| Judgement { action, rule, ambiguous: false };
        let deny = PolicyAction::Deny;
        if let Some(rule) = self.first(deny, with_dry_run, |rule| matches(rule, &seen, deny)) {
            return judged(Action::Deny, Some(rule));
        }
        let is_stranger = caller.identity.is_none();
        let rule = self.first(PolicyAction::Allow, with_dry_run, |rule| {
            if is_stranger {
                matches_by_address(rule, &seen)
            } else {
                matches(rule, &seen, PolicyAction::Allow)
            }
        });
        match (rule, is_stranger, self.allows[usize::from(with_dry_run)]) {
            (Some(rule), _, _) => judged(Action::Allow, Some(rule)),
            (None, true, _) => judged(Action::Stranger, None),
            (None, false, true) => judged(Action::NoMatch, None),
            (None, false, false) => judged(Action::Allow, None),
        }
    }

    fn first(
        &self,
        action: PolicyAction,
        with_dry_run: bool,
        matches: impl Fn(&Rule) -> bool,
    ) -> Option<&str> {
        let mut wanted = self.rules.iter().filter(|it| it.action == action && (with_dry_run || !it.dry_run));
        wanted.find(|it| matches(&it.rule)).map(|it| it.name.as_str())
    }
}

impl RequestRule {
    fn decides(&self) -> bool {
        match self.action {
            PolicyAction::Allow | PolicyAction::Deny => !self.dry_run,
            PolicyAction::Audit => false,
        }
    }
}

fn path<'a>(content: Content<'a>) -> std::borrow::Cow<'a, str> {
    match content {
        Content::Request(request) => same_escapes(request.path),
        Content::Opaque => "".into(),
    }
}
