//! Small objects for tests.

mod kernel;

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use wabe_keeper::layout::Ranges;
use wabe_model::{
    AppProtocol, AuthorizationPolicy, Balance, ClusterIps, Egress, Layer7, ObjectName, PolicyAction,
    RestartPolicy, Rule, Service, ServicePort, Source, TargetPort, Transport, Workload,
};

use crate::{
    snapshot::Node,
    state::{Instance, Phase, Place},
};
pub(crate) use kernel::FakeKernel;

/// A workload with the label `app` and nothing special.
pub(crate) fn workload(namespace: &str, name: &str) -> Workload {
    Workload {
        name: ObjectName::new(namespace, name),
        labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
        service_account: "default".into(),
        command: vec!["/bin/true".into()],
        environment: BTreeMap::new(),
        working_directory: "/".into(),
        private_tmp: false,
        user: "nobody".into(),
        capabilities: Vec::new(),
        restart: RestartPolicy::Always,
        readiness: None,
        replicas: 1,
        ports: Vec::new(),
        weight: 100,
        locality: BTreeMap::new(),
        limits: Default::default(),
        egress: Egress::None,
        grace: Duration::from_secs(10),
        layer7: Layer7::Auto,
    }
}

/// A ready copy of it.
pub(crate) fn instance(id: u32, workload: &Workload, replica: u32) -> Instance {
    let mut instance = Instance::new(id, replica, 0, workload.clone());
    instance.phase = Phase::Started;
    instance.ready = true;
    instance.place = Some(place(id));
    instance
}

/// Where the fake keeper puts instance `id`.
pub(crate) fn place(id: u32) -> Place {
    Place {
        v4: [10, 8, 1 + (id >> 8) as u8, id as u8].into(),
        v6: Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, 256 + id as u16),
        cgroup: u64::from(id) + 1000,
        node_ifindex: id + 10,
    }
}

/// A node with ranges to spare.
pub(crate) fn node() -> Node {
    Node {
        host_v4: [10, 128, 0, 3].into(),
        host_v6: "fd77:6162:6500::3".parse().expect("an address"),
        v4: [10, 8, 255, 254].into(),
        v6: "fd08::ffff".parse().expect("a test's address"),
        ranges: Ranges {
            workloads_v4: "10.8.0.0/16".parse().expect("a test's range"),
            workloads_v6: "fd08::/64".parse().expect("a test's range"),
            services_v4: "10.9.0.0/16".parse().expect("a test's range"),
            services_v6: "fd09::/112".parse().expect("a test's range"),
        },
        trust_domain: "cluster.local".into(),
        root_namespace: "istio-system".into(),
        resolvers: Vec::new(),
        workload_level: 3,
    }
}

/// A service that selects the workload of its own name.
pub(crate) fn service(namespace: &str, name: &str, port: u16, target: TargetPort) -> Service {
    Service {
        name: ObjectName::new(namespace, name),
        selector: BTreeMap::from([("app".to_owned(), name.to_owned())]),
        ports: vec![ServicePort {
            name: None,
            port,
            target,
            transport: Transport::Tcp,
            app_protocol: AppProtocol::Detect,
        }],
        cluster_ips: ClusterIps::Virtual { v4: Some(None), v6: Some(None) },
        publish_not_ready: false,
        balance: Balance::TwoChoices,
        affinity: None,
        distribution: None,
        layer7: Layer7::Auto,
    }
}

/// A policy for the workload `app` that admits only this service account of its namespace.
pub(crate) fn only(namespace: &str, app: &str, account: &str) -> AuthorizationPolicy {
    let from = Source { service_accounts: vec![ObjectName::new(namespace, account)], ..Source::default() };
    AuthorizationPolicy {
        name: ObjectName::new(namespace, format!("only-{account}")),
        action: PolicyAction::Allow,
        selector: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        rules: vec![Rule { from: vec![from], ..Rule::default() }],
        dry_run: false,
    }
}
