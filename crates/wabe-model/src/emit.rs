//! From objects back to manifests: [`crate::parse`] reads from them what went in.
//!
//! What was not written is not written: fields that have their defaults are left out.

mod destination_rule;
mod grpc_route;
mod guard;
mod http_route;
mod policy;
mod reference_grant;
mod stream_route;
mod workload;
mod yaml;

use serde_json::{Map, Value, json};

use crate::{
    AppProtocol, Balance, ClusterIps, Kind, Layer7, MeshConfig, Object, ObjectName, Service, ServicePort,
    TargetPort, Transport,
    emit::{
        destination_rule::{destination_rule_annotations, destination_rule_spec},
        grpc_route::grpc_route_spec,
        guard::{fault_injection_spec, request_limit_spec},
        http_route::http_route_spec,
        policy::policy_spec,
        reference_grant::reference_grant_spec,
        stream_route::{tcp_route_spec, tls_route_spec},
        workload::workload_spec,
    },
    manifest::{BALANCE, BALANCES, DRY_RUN, LAYER7, MESH_CONFIG_NAME},
    service::DEFAULT_AFFINITY,
};

pub use yaml::to_yaml;

/// The object as users write it. Labels and annotations that mean nothing to Wabe are not kept.
pub fn to_manifest(object: &Object) -> Value {
    match object {
        Object::Namespace { name } => manifest(Kind::Namespace, json!({ "name": name }), None),
        Object::ServiceAccount { name } => manifest(Kind::ServiceAccount, metadata(name), None),
        Object::Service(service) => {
            let mut metadata = metadata(&service.name);
            let balance = (service.balance != Balance::default()).then(|| balance_word(service.balance));
            let layer7 = layer7(service.layer7);
            annotate(&mut metadata, &[(BALANCE, balance), (LAYER7, layer7)]);
            manifest(Kind::Service, metadata, Some(service_spec(service)))
        }
        Object::Workload(workload) => {
            let mut metadata = metadata(&workload.name);
            if !workload.labels.is_empty() {
                metadata["labels"] = json!(workload.labels);
            }
            annotate(&mut metadata, &[(LAYER7, layer7(workload.layer7))]);
            manifest(Kind::Workload, metadata, Some(workload_spec(workload)))
        }
        Object::MeshConfig(config) => {
            manifest(Kind::MeshConfig, json!({ "name": MESH_CONFIG_NAME }), Some(mesh_config_spec(config)))
        }
        Object::DestinationRule(rule) => {
            let mut metadata = metadata(&rule.name);
            if let Some(annotations) = destination_rule_annotations(rule) {
                metadata["annotations"] = annotations;
            }
            manifest(Kind::DestinationRule, metadata, Some(destination_rule_spec(rule)))
        }
        Object::HttpRoute(route) => {
            manifest(Kind::HttpRoute, metadata(&route.name), Some(http_route_spec(route)))
        }
        Object::GrpcRoute(route) => {
            manifest(Kind::GrpcRoute, metadata(&route.name), Some(grpc_route_spec(route)))
        }
        Object::TlsRoute(route) => {
            manifest(Kind::TlsRoute, metadata(&route.name), Some(tls_route_spec(route)))
        }
        Object::TcpRoute(route) => {
            manifest(Kind::TcpRoute, metadata(&route.name), Some(tcp_route_spec(route)))
        }
        Object::ReferenceGrant(grant) => {
            manifest(Kind::ReferenceGrant, metadata(&grant.name), Some(reference_grant_spec(grant)))
        }
        Object::RequestLimit(limit) => {
            manifest(Kind::RequestLimit, metadata(&limit.name), Some(request_limit_spec(limit)))
        }
        Object::FaultInjection(fault) => {
            manifest(Kind::FaultInjection, metadata(&fault.name), Some(fault_injection_spec(fault)))
        }
        Object::AuthorizationPolicy(policy) => {
            let mut metadata = metadata(&policy.name);
            if policy.dry_run {
                metadata["annotations"] = json!({ DRY_RUN: "true" });
            }
            manifest(Kind::AuthorizationPolicy, metadata, Some(policy_spec(policy)))
        }
    }
}

/// As the annotation says it.
fn balance_word(balance: Balance) -> &'static str {
    let known = BALANCES.iter().find(|(_, it)| *it == balance);
    known.expect("invariant: every kind of balancing has a word").0
}

fn manifest(kind: Kind, metadata: Value, spec: Option<Value>) -> Value {
    let mut manifest =
        json!({ "apiVersion": kind.api_versions()[0], "kind": kind.as_str(), "metadata": metadata });
    if let Some(spec) = spec {
        manifest["spec"] = spec;
    }
    manifest
}

fn metadata(name: &ObjectName) -> Value {
    json!({ "name": name.name, "namespace": name.namespace })
}

fn layer7(layer7: Layer7) -> Option<&'static str> {
    match layer7 {
        Layer7::Auto => None,
        Layer7::Always => Some("always"),
    }
}

fn annotate(metadata: &mut Value, annotations: &[(&str, Option<&str>)]) {
    let written = annotations.iter().filter_map(|(key, value)| Some(((*key).to_owned(), json!((*value)?))));
    let written: Map<_, _> = written.collect();
    if !written.is_empty() {
        metadata["annotations"] = Value::Object(written);
    }
}

fn service_spec(service: &Service) -> Value {
    let mut spec = Map::new();
    spec.insert("selector".into(), json!(service.selector));
    let fixed: Vec<_> = service.cluster_ips.fixed().collect();
    match &service.cluster_ips {
        ClusterIps::Headless => {
            spec.insert("clusterIP".into(), json!("None"));
        }
        ClusterIps::Virtual { v4, v6 } => {
            if let [single] = fixed.as_slice() {
                spec.insert("clusterIP".into(), json!(single));
            } else if !fixed.is_empty() {
                spec.insert("clusterIPs".into(), json!(fixed));
            }
            if v4.is_none() || v6.is_none() {
                let families = [v4.map(|_| "IPv4"), v6.map(|_| "IPv6")];
                spec.insert("ipFamilies".into(), families.into_iter().flatten().collect());
            }
        }
    }
    if service.publish_not_ready {
        spec.insert("publishNotReadyAddresses".into(), json!(true));
    }
    if let Some(timeout) = service.affinity {
        spec.insert("sessionAffinity".into(), json!("ClientIP"));
        if timeout != DEFAULT_AFFINITY {
            spec.insert("sessionAffinityConfig".into(), json!({ "clientIP": { "timeoutSeconds": timeout } }));
        }
    }
    if let Some(distribution) = service.distribution {
        spec.insert("trafficDistribution".into(), json!(distribution));
    }
    if !service.ports.is_empty() {
        spec.insert("ports".into(), service.ports.iter().map(service_port).collect());
    }
    Value::Object(spec)
}

fn service_port(port: &ServicePort) -> Value {
    let mut value = port_entry(port.name.as_deref(), port.port, port.transport);
    match &port.target {
        TargetPort::Number(number) if *number == port.port => {}
        TargetPort::Number(number) => value["targetPort"] = json!(number),
        TargetPort::Name(name) => value["targetPort"] = json!(name),
    }
    // None of them means that it is to be detected.
    if let Some((word, _)) = AppProtocol::WORDS.into_iter().find(|it| it.1 == port.app_protocol) {
        value["appProtocol"] = json!(word);
    }
    value
}

/// As services and workloads both have it.
fn port_entry(name: Option<&str>, port: u16, transport: Transport) -> Value {
    let mut value = Map::new();
    if let Some(name) = name {
        value.insert("name".into(), json!(name));
    }
    value.insert("port".into(), json!(port));
    match transport {
        Transport::Tcp => {}
        Transport::Udp => {
            value.insert("protocol".into(), json!("UDP"));
        }
    }
    Value::Object(value)
}

fn mesh_config_spec(config: &MeshConfig) -> Value {
    let default = MeshConfig::default();
    let mut spec = Map::new();
    if config.trust_domain != default.trust_domain {
        spec.insert("trustDomain".into(), json!(config.trust_domain));
    }
    if config.root_namespace != default.root_namespace {
        spec.insert("rootNamespace".into(), json!(config.root_namespace));
    }
    if config.short_cut != default.short_cut {
        spec.insert("shortCut".into(), json!(config.short_cut));
    }
    if config.access_log != default.access_log {
        spec.insert("accessLog".into(), json!(config.access_log));
    }
    if let Some(workers) = config.proxy_workers {
        spec.insert("proxyWorkers".into(), json!(workers));
    }
    if config.proxy_busy_poll != default.proxy_busy_poll {
        let microseconds = u64::try_from(config.proxy_busy_poll.as_micros()).unwrap_or(u64::MAX);
        spec.insert("proxyBusyPollMicroseconds".into(), json!(microseconds));
    }
    let mut ranges = Map::new();
    for (name, v4, v6) in [
        ("workloads", config.workload_range_v4, config.workload_range_v6),
        ("services", config.service_range_v4, config.service_range_v6),
    ] {
        let list: Vec<_> =
            v4.map(|it| it.to_string()).into_iter().chain(v6.map(|it| it.to_string())).collect();
        if !list.is_empty() {
            ranges.insert(name.into(), json!(list));
        }
    }
    if !ranges.is_empty() {
        spec.insert("addressRanges".into(), Value::Object(ranges));
    }
    Value::Object(spec)
}
