//! What would happen to a connection: the data plane's own decisions, taken on the tables as they are, with names.
//!
//! Pure: reads tables and names, so the command line can ask with the agent dead.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Serialize;
use wabe_abi::{
    Action, Balance, Be16, DropReason, EndpointKey, Ip, Lane, ServiceKey, ServiceRecord, TCP, VethRecord,
    WorkloadRecord, service_flag,
};
use wabe_verdict::{
    Caller, Creation, Departure, Outbound, Tables, authorize, creation, departure, nearest, outbound,
};

use crate::published::Published;

mod arrival;
pub mod request;
#[cfg(test)]
mod tests;

use arrival::arrive;

/// A connection that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The caller's workload.
    pub from: u32,
    /// [`wabe_abi::TCP`] or [`wabe_abi::UDP`].
    pub protocol: u8,
    /// What it dials.
    pub destination: IpAddr,
    /// The port that it dials.
    pub port: u16,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The generation of the tables.
    pub generation: u64,
    /// `namespace/name` of the caller.
    pub from: String,
    /// Which replica.
    pub replica: u32,
    /// The caller's identity.
    pub identity: String,
    /// What it dials.
    pub dialled: IpAddr,
    /// The port that it dials.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The service there, if it is one.
    pub service: Option<ServiceView>,
    /// Where the connection may go: one for each endpoint of a service, one at most otherwise.
    pub candidates: Vec<Candidate>,
    /// Hook by hook.
    pub steps: Vec<Step>,
    /// `allowed`, `refused`, or `depends` on the endpoint that is chosen.
    pub verdict: Verdict,
    /// The lane; `None` if it depends.
    pub lane: Option<&'static str>,
    /// Whether its packets go from interface to interface, past the node's stack; `None` where none leave a workload.
    pub short_cut: Option<bool>,
    /// Why it is refused.
    pub reason: Option<&'static str>,
    /// The same as a sentence.
    pub sentence: Option<&'static str>,
    /// The error number that `connect` or `sendmsg` fails with.
    pub errno: Option<i32>,
    /// The rule that decides, if one does for all candidates.
    pub rule: Option<String>,
}

/// Whether a connection comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    Allowed,
    /// It does not.
    Refused,
    /// That depends on the endpoint that is chosen.
    Depends,
}

/// A service's port.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// `namespace/name`.
    pub name: String,
    /// `two-choices`, `random`, `round-robin`, `consistent`.
    pub balance: &'static str,
    /// The endpoint set in force.
    pub endpoint_set: u32,
}

/// A place where the connection may go.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// `namespace/name` of the workload there.
    pub workload: String,
    /// Which replica.
    pub replica: Option<u32>,
    /// Its address.
    pub address: IpAddr,
    /// The port that it listens on.
    pub port: u16,
    /// Connections open towards it.
    pub live: u64,
    /// Its weight.
    pub weight: u32,
    /// Connections by weight: the smaller of two that were drawn is taken.
    pub score: f64,
    /// How often it is drawn, 0 to 1.
    pub share: f64,
    /// Whether a connection to it comes to be.
    pub verdict: Verdict,
    /// Why not.
    pub reason: Option<&'static str>,
    /// The rule that decides, if one does.
    pub rule: Option<String>,
    /// The AUDIT rule that matches, if one does.
    pub audit: Option<String>,
    /// What policies in dry run would make of it: `allow` or `deny`.
    pub dry_run: Option<&'static str>,
    /// Its policies look at requests: within what the kernel allows, the proxy judges each (`wabe explain --http`).
    pub by_request: bool,
}

/// What one hook does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The hook.
    pub hook: &'static str,
    /// What it does.
    pub text: String,
}

/// Decides as the kernel would; `None` if the tables do not know the caller.
pub fn explain<T: Tables>(tables: &T, names: &Published, question: &Question) -> Option<Explanation> {
    let record = tables.workload(question.from)?;
    let caller = names.workloads.get(&question.from);
    let generation = tables.config().map_or(0, |config| config.generation);
    let identity = names.identities.get(&record.identity).cloned();
    let mut explanation = Explanation {
        generation,
        from: caller.map_or_else(|| format!("workload {}", question.from), |it| it.name.to_string()),
        replica: caller.map_or(0, |it| it.replica),
        identity: identity.unwrap_or_else(|| format!("identity {}", record.identity)),
        dialled: question.destination,
        port: question.port,
        protocol: if question.protocol == TCP { "tcp" } else { "udp" },
        service: None,
        candidates: Vec::new(),
        steps: Vec::new(),
        verdict: Verdict::Refused,
        lane: Some(Lane::Refused.name()),
        short_cut: None,
        reason: None,
        sentence: None,
        errno: None,
        rule: None,
    };
    if !explanation.create(tables, question) {
        return Some(explanation);
    }
    let dialled = Ip::from(question.destination);
    let key = ServiceKey::port(dialled, Be16::new(question.port), question.protocol);
    match nearest(tables, &key, record.locality) {
        Some(service) if service.flags & service_flag::PROXY != 0 && question.protocol == TCP => {
            explanation.lead_to_proxy(tables, names, question, &service);
        }
        Some(service) if service.endpoints > 0 => {
            explanation.balance(tables, names, question, &service, By::Caller);
        }
        Some(_) | None => explanation.direct(tables, names, question),
    }
    explanation.way(tables, &record);
    Some(explanation)
}

impl Explanation {
    /// `socket()`; whether it succeeds.
    fn create<T: Tables>(&mut self, tables: &T, question: &Question) -> bool {
        let family = if question.destination.is_ipv4() { 2 } else { 10 };
        let kind = if question.protocol == TCP { 1 } else { 2 };
        match creation(tables, question.from, family, kind, 0) {
            Creation::Stamp => {
                let text = format!("stamped as {}-{}, {}", self.from, self.replica, self.identity);
                self.steps.push(Step { hook: "sock_create", text });
                true
            }
            Creation::Refuse(reason) => {
                self.refuse("sock_create", reason);
                false
            }
        }
    }

    /// The service has rules of layer 7: the proxy decides, within what the kernel lets the caller itself do.
    fn lead_to_proxy<T: Tables>(
        &mut self,
        tables: &T,
        names: &Published,
        question: &Question,
        service: &ServiceRecord,
    ) {
        let begun = self.steps.len();
        self.balance(tables, names, question, service, By::Proxy);
        self.steps.truncate(begun + 1);
        (self.verdict, self.rule) = (Verdict::Allowed, None);
        (self.reason, self.sentence, self.errno) = (None, None, None);
        self.lane = Some(Lane::Proxy.name());
        self.pass(Lane::Proxy);
        for (hook, text) in [
            ("sockops TCP_CONNECT_CB", "the ticket says that the node's proxy is meant"),
            (
                "sk_lookup",
                "the proxy's listener inside the workload takes it; candidates are the service's own endpoints; of routes `--http` tells",
            ),
        ] {
            self.steps.push(Step { hook, text: text.to_owned() });
        }
        if self.candidates.iter().any(|it| it.by_request) {
            let text = "policies look at requests: the proxy judges each, and `--http` tells how".to_owned();
            self.steps.push(Step { hook: "proxy", text });
        }
    }

    /// The destination is a service with endpoints: each of them is judged.
    fn balance<T: Tables>(
        &mut self,
        tables: &T,
        names: &Published,
        question: &Question,
        service: &ServiceRecord,
        by: By,
    ) {
        let view = ServiceView {
            name: names
                .services
                .get(&service.service)
                .map_or_else(|| format!("service {}", service.service), |it| it.name.to_string()),
            balance: match Balance::from_number(service.balance) {
                Some(Balance::TwoChoices) => "two-choices",
                Some(Balance::Random) => "random",
                Some(Balance::RoundRobin) => "round-robin",
                Some(Balance::Consistent) => "consistent",
                None => "unknown",
            },
            endpoint_set: service.endpoint_set,
        };
        let set = service.endpoint_set;
        let rows: Vec<_> =
            (0..service.endpoints).filter_map(|index| tables.endpoint(&EndpointKey { set, index })).collect();
        let consistent = service.balance == Balance::Consistent as u8;
        let total: u64 =
            if consistent { rows.len() as u64 } else { rows.iter().map(|row| u64::from(row.weight)).sum() };
        // An endpoint has many places in a consistent table.
        let mut of_endpoint: BTreeMap<u32, u64> = BTreeMap::new();
        for row in &rows {
            *of_endpoint.entry(row.endpoint).or_insert(0) +=
                if consistent { 1 } else { u64::from(row.weight) };
        }
        let mut told = BTreeSet::new();
        let rows: Vec<_> = rows.into_iter().filter(|row| told.insert(row.endpoint)).collect();
        let text = format!(
            "{}:{} is service {}: {} endpoints, {}",
            self.dialled,
            self.port,
            view.name,
            rows.len(),
            view.balance
        );
        self.steps.push(Step { hook: self.connect_hook(), text });
        self.service = Some(view);
        let mut outcomes = Vec::new();
        for row in rows {
            let to_endpoint =
                Question { destination: IpAddr::from(row.address), port: row.port.host(), ..*question };
            let (mut candidate, outcome) = self.judge(tables, names, &to_endpoint, row.workload, by);
            candidate.weight = row.weight;
            candidate.live = tables.live(row.endpoint);
            candidate.score = candidate.live as f64 / f64::from(row.weight.max(1));
            let share = of_endpoint.get(&row.endpoint).copied().unwrap_or(0);
            candidate.share = share as f64 / total.max(1) as f64;
            self.candidates.push(candidate);
            outcomes.push(outcome);
        }
        self.conclude(&outcomes);
    }

    /// The destination is a workload, the outside, or nothing.
    fn direct<T: Tables>(&mut self, tables: &T, names: &Published, question: &Question) {
        let outcome = match outbound(tables, &caller(question, By::Caller)) {
            Outbound::Go(target) if target.lane == Lane::Direct => {
                let (mut candidate, outcome) =
                    self.judge(tables, names, question, target.workload, By::Caller);
                candidate.live = tables.live(target.endpoint);
                self.candidates.push(candidate);
                outcome
            }
            Outbound::Go(target) => Outcome { refusal: None, lane: target.lane, rule: 0, at_receiver: false },
            Outbound::Answer => ANSWER,
            Outbound::Refuse { reason, rule, workload, .. } => {
                if workload != 0 {
                    let (candidate, _) = self.judge(tables, names, question, workload, By::Caller);
                    self.candidates.push(candidate);
                }
                Outcome { refusal: Some(reason), lane: Lane::Refused, rule, at_receiver: false }
            }
        };
        self.conclude(&[outcome]);
        self.rule = (outcome.rule != 0).then(|| names.rule(outcome.rule).to_string());
    }

    /// Both sides' verdicts on a connection to one workload.
    fn judge<T: Tables>(
        &self,
        tables: &T,
        names: &Published,
        question: &Question,
        workload: u32,
        by: By,
    ) -> (Candidate, Outcome) {
        let outcome = outcome(tables, question, by);
        let marks = tables.workload(question.from).zip(tables.workload(workload)).map(|(from, to)| {
            let source = if Ip::from(question.destination).is_v4() { from.v4 } else { from.v6 };
            let table = if question.protocol == TCP { to.table } else { to.datagram_table };
            authorize(tables, table, from.identity, &source, Be16::new(question.port))
        });
        let known = names.workloads.get(&workload);
        let candidate = Candidate {
            workload: known.map_or_else(|| format!("workload {workload}"), |it| it.name.to_string()),
            replica: known.map(|it| it.replica),
            address: question.destination,
            port: question.port,
            live: 0,
            weight: 0,
            score: 0.0,
            share: 1.0,
            verdict: if outcome.refusal.is_none() { Verdict::Allowed } else { Verdict::Refused },
            reason: outcome.refusal.map(DropReason::name),
            rule: (outcome.rule != 0).then(|| names.rule(outcome.rule).to_string()),
            audit: marks.filter(|it| it.audit_rule != 0).map(|it| names.rule(it.audit_rule).to_string()),
            dry_run: marks.and_then(|it| Action::from_number(it.dry_run_action)).map(|action| match action {
                Action::Allow => "allow",
                Action::Deny | Action::NoMatch | Action::Stranger => "deny",
            }),
            by_request: question.protocol == TCP
                && tables.workload(workload).is_some_and(|it| it.layer7_generation != 0),
        };
        (candidate, outcome)
    }

    /// The verdict on the whole, and the remaining steps.
    fn conclude(&mut self, outcomes: &[Outcome]) {
        let refused: Vec<DropReason> = outcomes.iter().filter_map(|it| it.refusal).collect();
        let Some(first) = outcomes.first() else {
            return self.refuse(self.connect_hook(), DropReason::Inconsistent);
        };
        if refused.len() == outcomes.len() {
            let by_receiver = first.at_receiver;
            self.refuse(if by_receiver { "sk_lookup" } else { self.connect_hook() }, refused[0]);
        } else {
            let same_lane = outcomes.iter().all(|it| it.lane == first.lane);
            self.verdict = if refused.is_empty() { Verdict::Allowed } else { Verdict::Depends };
            self.lane = same_lane.then(|| first.lane.name());
            self.pass(first.lane);
        }
        if outcomes.iter().all(|it| it.rule == first.rule) {
            self.rule = self.candidates.first().and_then(|candidate| candidate.rule.clone());
        }
    }

    /// The steps of a connection that goes on.
    fn pass(&mut self, lane: Lane) {
        let hook = self.connect_hook();
        let text = match (self.verdict, lane) {
            (Verdict::Depends, _) => {
                "some endpoints are allowed and some are not: see the candidates".to_owned()
            }
            (_, Lane::Local) => "stays inside the workload, over lo; never checked".to_owned(),
            (_, Lane::Names) => "a question to the mesh's name server".to_owned(),
            (_, Lane::Outside) => "leaves the mesh, untouched".to_owned(),
            (_, Lane::Proxy) => {
                "layer 7 rules are attached: the node's proxy looks at each request".to_owned()
            }
            (_, Lane::Direct | Lane::Refused) => {
                "allowed; the address becomes the chosen endpoint's".to_owned()
            }
        };
        self.steps.push(Step { hook, text });
        if lane == Lane::Direct || self.verdict == Verdict::Depends {
            let (hook, voucher) = match self.protocol {
                "tcp" => ("sockops TCP_CONNECT_CB", "ticket"),
                _ => ("cgroup_skb egress", "exchange"),
            };
            let text =
                format!("the {voucher} vouches for {} in generation {}", self.identity, self.generation);
            self.steps.push(Step { hook, text });
            let text = format!("the destination's policy admits the {voucher}'s identity");
            self.steps.push(Step { hook: "sk_lookup", text });
        }
    }

    /// Which way the packets of a connection go that comes to be: the same in both directions.
    fn way<T: Tables>(&mut self, tables: &T, caller: &WorkloadRecord) {
        if self.lane != Some(Lane::Direct.name()) {
            return;
        }
        let Some(candidate) = self.candidates.iter().find(|it| it.verdict == Verdict::Allowed) else {
            return;
        };
        let destination = Ip::from(candidate.address);
        let (v4, v6) = (caller.v4, caller.v6);
        let veth = VethRecord { v4, v6, ..VethRecord::default() };
        let source = if destination.is_v4() { v4 } else { v6 };
        let (short, text) = match departure(tables, &veth, veth.mac(), &source, &destination) {
            Departure::ShortCut { .. } => {
                (true, "packets go from interface to interface, past the node's stack")
            }
            Departure::Stack | Departure::Refuse(_) => (false, "packets go through the node's stack"),
        };
        self.short_cut = Some(short);
        let place = self.steps.iter().position(|step| step.hook == "sk_lookup").unwrap_or(self.steps.len());
        self.steps.insert(place, Step { hook: "tc ingress", text: text.to_owned() });
    }

    fn refuse(&mut self, hook: &'static str, reason: DropReason) {
        self.verdict = Verdict::Refused;
        self.lane = Some(Lane::Refused.name());
        self.reason = Some(reason.name());
        self.sentence = Some(reason.sentence());
        self.errno = Some(reason.errno());
        self.steps.push(Step { hook, text: format!("refused: {}", reason.sentence()) });
    }

    fn connect_hook(&self) -> &'static str {
        match (self.protocol, self.dialled) {
            ("tcp", IpAddr::V4(_)) => "connect4",
            ("tcp", IpAddr::V6(_)) => "connect6",
            (_, IpAddr::V4(_)) => "sendmsg4",
            (_, IpAddr::V6(_)) => "sendmsg6",
        }
    }
}

/// What becomes of a connection to one place.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    refusal: Option<DropReason>,
    lane: Lane,
    rule: u32,
    /// The receiver's side decided, not the caller's.
    at_receiver: bool,
}

/// A datagram that belongs to an exchange; none of a question, which has no port of its own.
const ANSWER: Outcome = Outcome { refusal: None, lane: Lane::Direct, rule: 0, at_receiver: false };

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The workload itself.
    Caller,
    /// The node's proxy on its behalf, by the newest policies.
    Proxy,
}

/// Whether the kernel lets the node's proxy connect on the caller's behalf to an endpoint's own address.
pub fn admits_proxy<T: Tables>(tables: &T, question: &Question) -> bool {
    outcome(tables, question, By::Proxy).refusal.is_none()
}

/// Both sides' verdict.
fn outcome<T: Tables>(tables: &T, question: &Question, by: By) -> Outcome {
    match outbound(tables, &caller(question, by)) {
        Outbound::Refuse { reason, rule, .. } => {
            Outcome { refusal: Some(reason), lane: Lane::Refused, rule, at_receiver: false }
        }
        Outbound::Answer => ANSWER,
        Outbound::Go(target) if target.lane == Lane::Direct => arrive(tables, question, by, target.rule),
        Outbound::Go(target) => {
            Outcome { refusal: None, lane: target.lane, rule: target.rule, at_receiver: false }
        }
    }
}

fn caller(question: &Question, by: By) -> Caller {
    Caller {
        workload: question.from,
        protocol: question.protocol,
        destination: Ip::from(question.destination),
        port: Be16::new(question.port),
        source_port: Be16::new(0),
        only_names: false,
        vended: by == By::Proxy,
        layer7_generation: u64::MAX,
    }
}
