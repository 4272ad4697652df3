//! What goes to an endpoint, judged by the policies of the workload there that look at requests.
//!
//! Always by the newest snapshot, also on behalf of a caller for whom an older one holds still. A request is judged once the
//! endpoint is chosen and all filters have been applied: as it will be sent; and again by each newer snapshot as long as it, or
//! what came of it, goes on. Connections to such an endpoint say by which snapshot their requests are judged; the kernel refuses
//! those of an older one than the policies, and then the newest is read.

use std::{net::IpAddr, rc::Rc};

use http::{HeaderMap, HeaderValue, header::HOST};
use rustc_hash::FxHashMap;
use wabe_policy::requests::{self, CallerIdentity, Content, Headers, Judgement, Request, RequestPolicy};

use crate::{
    failure::Failure,
    head::Head,
    serve::{Caller, Proxy},
    snapshot::{EndpointFacts, JudgedFacts, WorkloadFacts},
    world::{News, World},
};

/// The policies of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// The generation of the snapshot.
    generation: u64,
    policies: Vec<RequestPolicy>,
    of: FxHashMap<u32, JudgedFacts>,
}

impl Policies {
    pub(crate) fn new(
        generation: u64,
        policies: Vec<RequestPolicy>,
        of: impl IntoIterator<Item = (u32, JudgedFacts)>,
    ) -> Self {
        Self { generation, policies, of: of.into_iter().collect() }
    }

    /// The generation that connections say, and the newest of any policy: a connection that says an older one may be refused.
    pub(crate) fn generations(&self) -> (u64, u64) {
        (self.generation, self.of.values().map(|it| it.generation).max().unwrap_or(0))
    }

    /// Since when requests to an endpoint's workload are judged as they are now; `None` if they are not.
    pub(crate) fn since(&self, workload: u32) -> Option<u64> {
        self.of.get(&workload).map(|it| it.generation)
    }

    /// The policies of a workload, if it has some.
    fn of(&self, workload: u32) -> Option<Result<&RequestPolicy, Failure>> {
        // What is said to be there and is not must let nobody through.
        self.of.get(&workload).map(|it| self.policies.get(it.policy).ok_or(Failure::Forbidden))
    }
}

/// That something may not go to an endpoint.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) failure: Failure,
    /// What decided, in the words of `wabe explain --http`; `None` if no policy had to be asked for that.
    pub(crate) by: Option<String>,
}

/// Of what no rule admits.
const NO_RULE: &str = "no ALLOW rule matches";

impl Refused {
    fn of(judged: &Judgement<'_>) -> Self {
        if judged.ambiguous {
            return Self { failure: Failure::AmbiguousPath, by: None };
        }
        Self { failure: Failure::Forbidden, by: Some(judged.rule.unwrap_or(NO_RULE).to_owned()) }
    }
}

/// Why a request may not go on.
pub(crate) enum Ended {
    /// Policies refuse it by now, as it was sent.
    Revoked(Refused),
    /// The proxy's own time is up.
    Over,
}

/// Whose request goes where.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) proxy: &'a Proxy,
    pub(crate) caller: &'a Caller,
    pub(crate) endpoint: &'a EndpointFacts,
    pub(crate) news: &'a News<'a>,
}

impl Case<'_> {
    /// Whether the request may go there as it is now.
    pub(crate) fn judge(&self, head: &mut Head) -> Result<(), Refused> {
        let Self { proxy, caller, endpoint, news: _ } = *self;
        if !newest(proxy).policies.of.contains_key(&endpoint.workload) {
            return Ok(());
        }
        let head = head.apart();
        let host = head.headers.get(HOST).map_or(b"".as_slice(), HeaderValue::as_bytes);
        let request = Request {
            method: head.method.as_str(),
            path: head.uri.path(),
            host,
            headers: &Fields(&head.headers),
        };
        judge(proxy, caller, endpoint, Content::Request(&request))
    }

    /// Completes once the request may not go on. Can be dropped and called again.
    pub(crate) async fn ended(&self, head: &mut Head) -> Ended {
        loop {
            if self.proxy.drain.is_over() {
                return Ended::Over;
            }
            self.news.changed().await;
            if let Err(refused) = self.judge(head) {
                return Ended::Revoked(refused);
            }
        }
    }

    /// Completes once the request, as it was sent, may not go there any more. Can be dropped and called again.
    pub(crate) async fn revoked(&self, head: &mut Head) -> Refused {
        loop {
            self.news.changed().await;
            if let Err(refused) = self.judge(head) {
                return refused;
            }
        }
    }
}

/// Whether bytes that are no requests may go to an endpoint.
pub(crate) fn judge_stream(proxy: &Proxy, caller: &Caller, endpoint: &EndpointFacts) -> Result<(), Refused> {
    judge(proxy, caller, endpoint, Content::Opaque)
}

/// Completes once bytes that are no requests may not go to an endpoint any more.
pub(crate) async fn forbidden(proxy: &Proxy, caller: &Caller, endpoint: &EndpointFacts) -> Refused {
    let news = proxy.watched.news();
    loop {
        news.changed().await;
        if let Err(refused) = judge_stream(proxy, caller, endpoint) {
            return refused;
        }
    }
}

fn judge(
    proxy: &Proxy,
    caller: &Caller,
    endpoint: &EndpointFacts,
    content: Content<'_>,
) -> Result<(), Refused> {
    let world = newest(proxy);
    let Some(policy) = world.policies.of(endpoint.workload) else { return Ok(()) };
    let identity = world.workloads.get(&caller.workload).and_then(|it| CallerIdentity::of(&it.identity));
    let who = requests::Caller { identity, address: caller.address };
    let policy = policy.map_err(|failure| Refused { failure, by: None })?;
    let judged = policy.judge(&who, endpoint.port, content);
    if judged.is_allowed() {
        return Ok(());
    }
    let Judgement { action, rule, ambiguous } = judged;
    tracing::debug!(?caller, workload = endpoint.workload, ?action, ?rule, ambiguous, "a policy refuses");
    Err(Refused::of(&judged))
}

/// What is sent must not go by older policies than the connection says.
fn newest(proxy: &Proxy) -> Rc<World> {
    if proxy.pool.is_behind() {
        look(proxy);
    }
    proxy.watched.world()
}

/// Reads the snapshot if there is a newer one, and has what follows from its policies done.
pub(crate) fn look(proxy: &Proxy) {
    proxy.watched.look();
    follow(proxy);
}

/// Has sockets and connections that the policies of the newest snapshot have outdated thrown away.
pub(crate) fn follow(proxy: &Proxy) {
    proxy.pool.follow(&proxy.watched.world());
}

impl World {
    /// Since when what goes to an address is judged as it is now, of those where it is; never of one where it leaves.
    pub(crate) fn judged_addresses(&self) -> FxHashMap<IpAddr, u64> {
        let addresses = |(id, facts): (&u32, &WorkloadFacts)| {
            let since = if facts.leaving { u64::MAX } else { self.policies.since(*id)? };
            Some([(IpAddr::from(facts.v4), since), (IpAddr::from(facts.v6), since)])
        };
        self.workloads.iter().filter_map(addresses).flatten().collect()
    }
}

/// A request's headers.
pub(crate) struct Fields<'a>(pub(crate) &'a HeaderMap);

impl Headers for Fields<'_> {
    fn lines(&self, name: &str, see: &mut dyn FnMut(&[u8])) {
        self.0.get_all(name).iter().for_each(|value| see(value.as_bytes()));
    }
}
