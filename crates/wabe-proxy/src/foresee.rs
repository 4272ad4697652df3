//! What the policies of an endpoint would say of a request: for `wabe explain`, with the functions by which the proxy decides.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header::HOST, request};
use wabe_model::{HttpFilter, PathMatch};
use wabe_policy::requests::{self, CallerIdentity, Content, RequestPolicy};

use crate::{
    filter,
    policy::Fields,
    snapshot::{EndpointFacts, Snapshot},
};

/// A request that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The caller's workload.
    pub from: u32,
    /// It dials an IPv4 address.
    pub v4: bool,
    /// As sent: `GET`.
    pub method: &'a str,
    /// The path, and the query if there is one.
    pub target: &'a str,
    /// Names and values. What cannot be a header is left out.
    pub headers: &'a [(String, String)],
}

/// What policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// Whether it goes to the endpoint.
    pub allowed: bool,
    /// The rule that decides, if one does.
    pub rule: Option<String>,
    /// It is refused since its path is read as another by some servers.
    pub ambiguous_path: bool,
    /// The AUDIT rule that matches, if one does.
    pub audit: Option<String>,
    /// Whether it would go there with policies in dry run in force; `None` if there are none.
    pub dry_run: Option<bool>,
}

/// Judges a request as it is after these filters, one list after the other; `matched` is the path of the rule that they are of.
/// `None` if no policy of the endpoint's looks at requests.
#[must_use]
pub fn foresee(
    snapshot: &Snapshot,
    question: &Question<'_>,
    endpoint: &EndpointFacts,
    matched: Option<&PathMatch>,
    filters: &[&[HttpFilter]],
) -> Option<Foreseen> {
    let judged = snapshot.judged.get(&endpoint.workload)?;
    let refused = Foreseen { allowed: false, rule: None, ambiguous_path: false, audit: None, dry_run: None };
    let Some(policy) = snapshot.policies.get(judged.policy) else { return Some(refused) };
    let Some(mut head) = head(question) else { return Some(refused) };
    for filter in filters.iter().copied().flatten() {
        apply(filter, &mut head, matched);
    }
    let workload = snapshot.workloads.get(&question.from)?;
    let caller = requests::Caller {
        identity: CallerIdentity::of(&workload.identity),
        address: if question.v4 { workload.v4.into() } else { workload.v6.into() },
    };
    Some(told(policy, &caller, endpoint.port, &head))
}

fn told(policy: &RequestPolicy, caller: &requests::Caller<'_>, port: u16, head: &request::Parts) -> Foreseen {
    let host = head.headers.get(HOST).map_or(b"".as_slice(), HeaderValue::as_bytes);
    let (method, path) = (head.method.as_str(), head.uri.path());
    let request = requests::Request { method, path, host, headers: &Fields(&head.headers) };
    let content = Content::Request(&request);
    let judged = policy.judge(caller, port, content);
    Foreseen {
        allowed: judged.is_allowed(),
        rule: judged.rule.map(str::to_owned),
        ambiguous_path: judged.ambiguous,
        audit: policy.audit(caller, port, content).map(str::to_owned),
        dry_run: policy.dry_run(caller, port, content).map(|it| it.is_allowed()),
    }
}

fn head(question: &Question<'_>) -> Option<request::Parts> {
    let mut headers = HeaderMap::new();
    for (name, value) in question.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    }
    let method = Method::from_bytes(question.method.as_bytes()).ok()?;
    let (mut head, ()) = Request::builder().method(method).uri(question.target).body(()).ok()?.into_parts();
    head.headers = headers;
    Some(head)
}

fn apply(filter: &HttpFilter, head: &mut request::Parts, matched: Option<&PathMatch>) {
    match (filter, matched) {
        (HttpFilter::RequestHeaders(change), _) => filter::change(&mut head.headers, change),
        // One that gets too long goes nowhere.
        (HttpFilter::Rewrite(rewrite), Some(matched)) => {
            filter::rewrite(head, matched, rewrite).unwrap_or_default();
        }
        (
            HttpFilter::Rewrite(_)
            | HttpFilter::ResponseHeaders(_)
            | HttpFilter::Redirect(_)
            | HttpFilter::Cors(_)
            | HttpFilter::Mirror(_)
            | HttpFilter::Limit(_)
            | HttpFilter::Fault(_),
            _,
        ) => {}
    }
}
