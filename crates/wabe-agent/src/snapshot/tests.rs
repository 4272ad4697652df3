//! Snapshots of small meshes.

use wabe_abi::{Be16, NO_POLICY, TCP};
use wabe_model::{ClusterIps, Object, ObjectName, TargetPort, WorkloadPort};

use super::*;
use crate::{
    state::Phase,
    testing::{instance, node, only, service, workload},
};

struct Mesh {
    objects: Objects,
    instances: Vec<Instance>,
    ids: Ids,
    compiler: Compiler,
}

impl Mesh {
    fn of(objects: Vec<Object>, instances: Vec<Instance>) -> Self {
        let mut all = Objects::default();
        objects.into_iter().for_each(|object| drop(all.insert(object)));
        Self { objects: all, instances, ids: Ids::default(), compiler: Compiler::default() }
    }

    fn desired(&mut self) -> Desired {
        desired(&node(), &self.objects, self.instances.iter(), &mut self.ids, &mut self.compiler)
            .expect("a snapshot")
    }

    fn endpoints(&mut self, v4: bool) -> Vec<DesiredEndpoint> {
        let desired = self.desired();
        let addresses = self.ids.addresses_of(&ObjectName::new("shop", "web"));
        let address = if v4 { addresses.v4.map(IpAddr::V4) } else { addresses.v6.map(IpAddr::V6) };
        let key = ServiceKey::port(Ip::from(address.expect("an address")), Be16::new(80), TCP);
        desired.services[&key].endpoints.clone()
    }
}

fn web(target: TargetPort) -> Vec<Object> {
    vec![Object::Service(service("shop", "web", 80, target))]
}

#[test]
fn only_ready_workloads_of_the_namespace_that_the_selector_names_are_endpoints() {
    let (web_workload, other) = (workload("shop", "web"), workload("shop", "other"));
    let mut not_ready = instance(2, &web_workload, 1);
    not_ready.ready = false;
    let mut draining = instance(3, &web_workload, 2);
    draining.phase = Phase::Draining;
    let elsewhere = instance(4, &workload("bank", "web"), 0);
    let all = vec![instance(1, &web_workload, 0), not_ready, draining, elsewhere, instance(5, &other, 0)];
    let mut mesh = Mesh::of(web(TargetPort::Number(8080)), all);
    for v4 in [true, false] {
        let endpoints = mesh.endpoints(v4);
        assert_eq!(endpoints.len(), 1);
        assert_eq!((endpoints[0].workload, endpoints[0].port), (1, Be16::new(8080)));
        assert_eq!(endpoints[0].address.is_v4(), v4);
    }
}

#[test]
fn a_named_port_is_resolved_by_each_workload() {
    let port = |port| WorkloadPort { name: "http".into(), port, transport: wabe_model::Transport::Tcp };
    let one = Workload { ports: vec![port(1000)], ..workload("shop", "web") };
    let two = Workload { ports: vec![port(2000)], ..workload("shop", "web") };
    let none = workload("shop", "web");
    let mut mesh = Mesh::of(
        web(TargetPort::Name("http".into())),
        vec![instance(1, &one, 0), instance(2, &two, 0), instance(3, &none, 0)],
    );
    let ports: Vec<u16> = mesh.endpoints(true).iter().map(|endpoint| endpoint.port.host()).collect();
    assert_eq!(ports, [1000, 2000]);
    let warnings = mesh.desired().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings.first().is_some_and(|text| text.contains("no port named http")), "{warnings:?}");
}

#[test]
fn every_virtual_address_has_an_entry_of_its_own_and_headless_services_have_none() {
    let mut headless = service("shop", "db", 5432, TargetPort::Number(5432));
    headless.cluster_ips = ClusterIps::Headless;
    let mut objects = web(TargetPort::Number(80));
    objects.push(Object::Service(headless));
    let desired = Mesh::of(objects, Vec::new()).desired();
    assert_eq!(desired.services.len(), 4, "a port and an address in two families");
    assert_eq!(desired.services.keys().filter(|key| key.protocol == 0).count(), 2);
}

#[test]
fn flags_say_what_a_workload_may() {
    let mut special = workload("shop", "web");
    special.capabilities = vec!["NET_RAW".into()];
    special.egress = Egress::Masquerade;
    let mut leaving = instance(2, &workload("shop", "web"), 1);
    leaving.phase = Phase::Draining;
    let mut making = instance(3, &workload("shop", "web"), 2);
    making.place = None;
    let desired = Mesh::of(Vec::new(), vec![instance(1, &special, 0), leaving, making]).desired();
    assert_eq!(desired.workloads[&1].record.flags, workload_flag::ANY_PROTOCOL | workload_flag::EGRESS);
    assert_eq!(desired.workloads[&2].record.flags, workload_flag::STOPPING);
    assert!(!desired.workloads.contains_key(&3), "what has no place yet is in no table");
    assert_eq!((desired.cgroups.len(), desired.veths.len(), desired.addresses.len()), (2, 2, 4));
}

#[test]
fn workloads_get_the_policies_that_select_them_and_share_them() {
    let web_workload = workload("shop", "web");
    let objects = vec![Object::AuthorizationPolicy(only("shop", "web", "frontend"))];
    let all = vec![
        instance(1, &web_workload, 0),
        instance(2, &web_workload, 1),
        instance(3, &workload("shop", "x"), 0),
    ];
    let desired = Mesh::of(objects, all).desired();
    let policy = |id: u32| desired.workloads[&id].policies.as_ref().map(|it| Arc::clone(&it.connections));
    assert!(Arc::ptr_eq(&policy(1).expect("selected"), &policy(2).expect("selected")));
    assert!(policy(3).is_none());
    assert_eq!(desired.workloads[&3].record.table, NO_POLICY);
}

#[test]
fn a_policy_is_compiled_again_when_it_or_the_identities_change() {
    let web_workload = workload("shop", "web");
    let policy = only("shop", "web", "frontend");
    let mut mesh =
        Mesh::of(vec![Object::AuthorizationPolicy(policy.clone())], vec![instance(1, &web_workload, 0)]);
    let compiled = |mesh: &mut Mesh| {
        mesh.desired().workloads[&1]
            .policies
            .as_ref()
            .map(|it| Arc::clone(&it.connections))
            .expect("selected")
    };
    let (first, again) = (compiled(&mut mesh), compiled(&mut mesh));
    assert!(Arc::ptr_eq(&first, &again));
    let frontend = Workload { service_account: "frontend".into(), ..workload("shop", "frontend") };
    mesh.objects.insert(Object::Workload(frontend));
    let wider = compiled(&mut mesh);
    assert!(wider.identity_classes.len() > first.identity_classes.len(), "the new identity has a class");
    let mut denied = policy;
    denied.action = wabe_model::PolicyAction::Deny;
    mesh.objects.insert(Object::AuthorizationPolicy(denied));
    assert_ne!(compiled(&mut mesh), wider);
}

#[test]
fn rules_about_requests_are_compiled_for_connections_for_datagrams_and_for_the_proxy() {
    let web = workload("shop", "web");
    let plain = only("shop", "web", "frontend");
    let mut readers = plain.clone();
    let methods = vec![wabe_model::StringMatch::Exact("GET".into())];
    readers.rules[0].to = vec![wabe_model::Operation { methods, ..Default::default() }];
    let compiled = |policy: wabe_model::AuthorizationPolicy| {
        let frontend = Workload { service_account: "frontend".into(), ..workload("shop", "frontend") };
        let objects = vec![Object::AuthorizationPolicy(policy), Object::Workload(frontend)];
        let mut mesh = Mesh::of(objects, vec![instance(1, &web, 0)]);
        mesh.desired().workloads[&1].policies.clone().expect("selected")
    };
    let without = compiled(plain);
    assert!(Arc::ptr_eq(&without.connections, &without.datagrams));
    assert_eq!(without.requests, None);
    let with = compiled(readers.clone());
    assert_eq!(with.connections, without.connections, "who might be admitted may connect");
    assert_ne!(with.datagrams, without.datagrams, "and send no datagram");
    assert!(with.requests.is_some());
    readers.dry_run = true;
    assert_eq!(compiled(readers).requests, None, "what is not in force is nobody's business");
}
