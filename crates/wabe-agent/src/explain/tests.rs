//! Explanations over the tables of a small mesh.

use wabe_abi::UDP;
use wabe_model::{Object, ObjectName, Objects, TargetPort, Workload};

use super::*;
use crate::{
    mirror::{Mirror, Still},
    plan::{Installed, plan},
    snapshot::{Compiler, desired},
    state::{Ids, Instance},
    testing::{instance, node, only, place, service, workload},
};

struct Mesh {
    mirror: Mirror,
    names: Published,
    payment: IpAddr,
}

/// Workloads `frontend` (1), `thief` (2) and two of `payment` (3, 4), which only the front end may call.
fn shop() -> Mesh {
    let account = |name: &str| Workload { service_account: name.into(), ..workload("shop", name) };
    let mut objects = Objects::default();
    objects.insert(Object::Service(service("shop", "payment", 80, TargetPort::Number(8080))));
    objects.insert(Object::AuthorizationPolicy(only("shop", "payment", "frontend")));
    let payment = Workload { weight: 300, ..account("payment") };
    let instances: Vec<Instance> = vec![
        instance(1, &account("frontend"), 0),
        instance(2, &account("thief"), 0),
        instance(3, &payment, 0),
        instance(4, &account("payment"), 1),
    ];
    let mut ids = Ids::default();
    let wanted =
        desired(&node(), &objects, instances.iter(), &mut ids, &mut Compiler::default()).expect("a snapshot");
    let mut installed = Installed::default();
    let plan = plan(&installed, &wanted);
    installed.commit(plan);
    let mirror = installed.mirror;
    let names = Published::of(&node(), &objects, instances.iter(), &mut ids, 1);
    let payment = ids.addresses_of(&ObjectName::new("shop", "payment")).v4.expect("an address");
    Mesh { mirror, names, payment: IpAddr::V4(payment) }
}

impl Mesh {
    fn ask(&self, from: u32, protocol: u8, destination: IpAddr, port: u16) -> Explanation {
        let question = Question { from, protocol, destination, port };
        explain(&Still::of(&self.mirror), &self.names, &question).expect("a known caller")
    }
}

fn hooks(explanation: &Explanation) -> Vec<&'static str> {
    explanation.steps.iter().map(|step| step.hook).collect()
}

#[test]
fn an_allowed_call_is_followed_through_every_hook() {
    let mesh = shop();
    let explanation = mesh.ask(1, TCP, mesh.payment, 80);
    assert_eq!(explanation.verdict, Verdict::Allowed);
    assert_eq!(explanation.lane, Some("direct"));
    assert_eq!(explanation.rule.as_deref(), Some("shop/only-frontend rule 1"));
    assert_eq!(
        hooks(&explanation),
        ["sock_create", "connect4", "connect4", "sockops TCP_CONNECT_CB", "tc ingress", "sk_lookup"]
    );
    let shares: Vec<f64> = explanation.candidates.iter().map(|candidate| candidate.share).collect();
    assert_eq!(shares, [0.75, 0.25]);
    assert_eq!(explanation.candidates[0].port, 8080);
}

#[test]
fn a_refused_call_says_where_and_why() {
    let mesh = shop();
    let explanation = mesh.ask(2, TCP, mesh.payment, 80);
    assert_eq!(explanation.verdict, Verdict::Refused);
    assert_eq!((explanation.reason, explanation.errno), (Some("policy_no_match"), Some(1)));
    assert_eq!(hooks(&explanation), ["sock_create", "connect4", "connect4"]);
    assert!(explanation.candidates.iter().all(|candidate| candidate.verdict == Verdict::Refused));
}

#[test]
fn a_workload_by_its_own_address_fares_the_same() {
    let mesh = shop();
    let address = IpAddr::V6(place(3).v6);
    assert_eq!(mesh.ask(1, TCP, address, 8080).verdict, Verdict::Allowed);
    let refused = mesh.ask(2, TCP, address, 8080);
    assert_eq!(refused.verdict, Verdict::Refused);
    assert_eq!(hooks(&refused), ["sock_create", "connect6"]);
    assert_eq!(refused.candidates.len(), 1);
}

#[test]
fn an_unknown_port_and_the_outside_have_their_own_reasons() {
    let mesh = shop();
    assert_eq!(mesh.ask(1, TCP, mesh.payment, 81).reason, Some("no_such_port"));
    let outside: IpAddr = "192.0.2.1".parse().expect("an address");
    assert_eq!(mesh.ask(1, TCP, outside, 80).reason, Some("egress"));
    assert!(mesh.ask(1, UDP, outside, 80).reason.is_some());
}

#[test]
fn itself_is_always_allowed() {
    let mesh = shop();
    let explanation = mesh.ask(2, TCP, IpAddr::V4(place(2).v4), 1);
    assert_eq!((explanation.verdict, explanation.lane), (Verdict::Allowed, Some("local")));
}

#[test]
fn endpoints_with_different_policies_make_it_depend() {
    let mut mesh = shop();
    mesh.mirror.workloads.get_mut(&4).expect("a workload").table = wabe_abi::NO_POLICY;
    let explanation = mesh.ask(2, TCP, mesh.payment, 80);
    assert_eq!(explanation.verdict, Verdict::Depends);
    let verdicts: Vec<Verdict> = explanation.candidates.iter().map(|candidate| candidate.verdict).collect();
    assert_eq!(verdicts, [Verdict::Refused, Verdict::Allowed]);
}

#[test]
fn an_unknown_caller_has_no_explanation() {
    let mesh = shop();
    let question = Question { from: 99, protocol: TCP, destination: mesh.payment, port: 80 };
    assert_eq!(explain(&Still::of(&mesh.mirror), &mesh.names, &question), None);
}
