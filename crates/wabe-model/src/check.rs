//! What only shows when all objects are seen together.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::{
    AuthorizationPolicy, Balance, ByLabels, ClusterIps, ConnectionPool, Diagnostic, Diagnostics, HashKey,
    InvalidBackend, Kind, Located, Object, ObjectKey, ObjectName, Objects, ParentRef, Parsed, Position,
    Reference, Route, Service, ServicePort, TargetPort, Workload, manifest::duplicates,
};

/// Puts new objects over existing ones and checks what comes out, but complains only of what the new ones bring.
/// Returns everything merged, and all warnings.
///
/// # Errors
/// An object written twice, an address that two services have or that no service may have, a named target port that
/// none of the service's workloads has. The warnings are there besides.
pub fn check(new: &Parsed, existing: &Objects) -> Result<(Objects, Vec<Diagnostic>), Diagnostics> {
    let mut merged = existing.clone();
    merged.extend(new.objects.iter().map(|it| it.object.clone()));
    let workloads = ByLabels::of(merged.workloads().map(|it| (it.name.namespace.as_str(), &it.labels, it)));
    let written: Written<'_> = new.objects.iter().map(|it| (it.object.key(), it)).collect();
    let mut found = new.warnings.clone();
    found.extend(duplicates(&new.objects));
    found.extend(shared_addresses(&merged, new, &written));
    found.extend(addresses_out_of_range(&merged, &written));
    found.extend(rules_of_one_service(&merged, &new.objects));
    found.extend(named_ports(&merged, &workloads, &written));
    found.extend(new.objects.iter().flat_map(|it| leads_nowhere(&merged, it)));
    found.extend(new.objects.iter().flat_map(|it| set_aside(&merged, it)));
    found.extend(new.objects.iter().flat_map(|it| needs_layer7(&merged, it)));
    found.extend(new.objects.iter().filter_map(|it| selects_nothing(&merged, &workloads, it)));
    let found = Diagnostics(found);
    if found.has_errors() { Err(found) } else { Ok((merged, found.0)) }
}

/// The new objects and their places.
type Written<'a> = HashMap<ObjectKey, &'a Located>;

fn shared_addresses(merged: &Objects, new: &Parsed, written: &Written<'_>) -> Vec<Diagnostic> {
    let mut owners: BTreeMap<IpAddr, &ObjectName> = merged
        .services()
        .filter(|it| !written.contains_key(&key_of(it)))
        .flat_map(|it| it.cluster_ips.fixed().map(|address| (address, &it.name)))
        .collect();
    let mut found = Vec::new();
    for located in &new.objects {
        let Object::Service(service) = &located.object else { continue };
        for address in service.cluster_ips.fixed() {
            match owners.get(&address) {
                Some(owner) if **owner != service.name => {
                    let place = match written.get(&ObjectKey { kind: Kind::Service, name: (*owner).clone() })
                    {
                        Some(other) => format!("in {}", place(other, &address_field(other, address))),
                        None => "in the running mesh".to_owned(),
                    };
                    found.push(located.error(
                        &address_field(located, address),
                        format!("{address} is also the address of service {owner} {place}"),
                        "give one of them another address, or leave it out to have one chosen",
                    ));
                }
                Some(_) => {}
                None => {
                    owners.insert(address, &service.name);
                }
            }
        }
    }
    found
}

/// A service has one rule at most: which of two were to hold nobody could tell.
fn rules_of_one_service(merged: &Objects, new: &[Located]) -> Vec<Diagnostic> {
    let other = |located: &Located| {
        let Object::DestinationRule(own) = &located.object else { return None };
        let other = merged.destination_rules_of(&own.service).find(|it| it.name != own.name)?;
        Some(located.error(
            "spec.host",
            format!("DestinationRule {} is about service {} too", other.name, own.service),
            "write one rule for it",
        ))
    };
    new.iter().filter_map(other).collect()
}

fn addresses_out_of_range(merged: &Objects, written: &Written<'_>) -> Vec<Diagnostic> {
    let config = merged.mesh_config();
    let config_key = ObjectKey { kind: Kind::MeshConfig, name: ObjectName::new("", "mesh") };
    let mut found = Vec::new();
    for service in merged.services() {
        for address in service.cluster_ips.fixed() {
            let (wanted, forbidden) = match address {
                IpAddr::V4(it) => {
                    let holds = |range: &Ipv4Net| range.contains(&it);
                    (
                        config.service_range_v4.map(|range| (range.to_string(), holds(&range))),
                        config.workload_range_v4.is_some_and(|range| holds(&range)),
                    )
                }
                IpAddr::V6(it) => {
                    let holds = |range: &Ipv6Net| range.contains(&it);
                    (
                        config.service_range_v6.map(|range| (range.to_string(), holds(&range))),
                        config.workload_range_v6.is_some_and(|range| holds(&range)),
                    )
                }
            };
            let message = match wanted {
                Some((range, false)) => format!("{address} is outside of the range of services, {range}"),
                None if forbidden => format!("{address} is in the range of workloads"),
                Some((_, true)) | None => continue,
            };
            if let Some(located) = written.get(&key_of(service)) {
                let remedy =
                    "leave it out to have one chosen, or change spec.addressRanges of the MeshConfig";
                found.push(located.error(&address_field(located, address), message, remedy));
            } else if let Some(located) = written.get(&config_key) {
                let message = format!("of service {}, {message}", service.name);
                found.push(located.error(
                    "spec.addressRanges",
                    message,
                    "change the range, or the service first",
                ));
            }
        }
    }
    found
}

/// A service's workloads.
fn selected<'a>(
    workloads: &ByLabels<'a, &'a Workload>,
    service: &Service,
) -> impl Iterator<Item = &'a Workload> {
    let candidates = workloads.candidates(&service.name.namespace, &service.selector);
    candidates.iter().copied().filter(|it| it.has_labels(&service.selector))
}

/// Named target ports that none of the selected workloads has.
fn named_ports(
    merged: &Objects,
    workloads: &ByLabels<'_, &Workload>,
    written: &Written<'_>,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for service in merged.services() {
        let is_named = |port: &ServicePort| matches!(port.target, TargetPort::Name(_));
        if !service.ports.iter().any(is_named) {
            continue;
        }
        let workloads: Vec<_> = selected(workloads, service).collect();
        for (index, port) in service.ports.iter().enumerate() {
            let TargetPort::Name(name) = &port.target else { continue };
            let has =
                |it: &&Workload| it.ports.iter().any(|it| it.name == *name && it.transport == port.transport);
            if workloads.is_empty() || workloads.iter().any(has) {
                continue;
            }
            let transport = match port.transport {
                crate::Transport::Tcp => "TCP",
                crate::Transport::Udp => "UDP",
            };
            if let Some(located) = written.get(&key_of(service)) {
                let names: Vec<_> = workloads.iter().take(3).map(|it| it.name.to_string()).collect();
                found.push(located.error(
                    &format!("spec.ports[{index}].targetPort"),
                    format!(
                        "none of the selected workloads ({}) has a {transport} port `{name}`",
                        names.join(", ")
                    ),
                    "name it in the Workload's spec.ports, or write a number",
                ));
                continue;
            }
            let key = |it: &Workload| ObjectKey { kind: Kind::Workload, name: it.name.clone() };
            if let Some(located) = workloads.iter().find_map(|it| written.get(&key(it))) {
                found.push(located.error(
                    "spec.ports",
                    format!(
                        "service {} leads to the {transport} port `{name}`, which is missing here",
                        service.name
                    ),
                    "add it, or change the service first",
                ));
            }
        }
    }
    found
}

fn selects_nothing(
    merged: &Objects,
    workloads: &ByLabels<'_, &Workload>,
    located: &Located,
) -> Option<Diagnostic> {
    let remedy = "compare it with the labels and the namespaces of the Workloads";
    match &located.object {
        Object::Service(service) => selected(workloads, service).next().is_none().then(|| {
            let namespace = &service.name.namespace;
            located.warning(
                "spec.selector",
                format!("no workload in namespace {namespace} has these labels"),
                remedy,
            )
        }),
        Object::DestinationRule(rule) => merged.service(&rule.service).is_none().then(|| {
            located.warning(
                "spec.host",
                format!("there is no service {}", rule.service),
                "compare it with the names of the Services",
            )
        }),
        Object::AuthorizationPolicy(policy) => {
            if merged.selected_by_policy(policy).next().is_some() {
                return out_of_reach(merged, located, policy);
            }
            let namespace = &policy.name.namespace;
            let everywhere = *namespace == merged.mesh_config().root_namespace;
            match (everywhere, policy.selector.is_empty()) {
                // A policy for the whole mesh may well be there before the first workload.
                (true, true) => None,
                (true, false) => {
                    Some(located.warning("spec.selector", "no workload has these labels", remedy))
                }
                (false, true) => Some(located.warning(
                    "metadata.namespace",
                    format!("no workload is in namespace {namespace}"),
                    "check the namespace",
                )),
                (false, false) => Some(located.warning(
                    "spec.selector",
                    format!("no workload in namespace {namespace} has these labels"),
                    remedy,
                )),
            }
        }
        Object::Namespace { .. }
        | Object::ServiceAccount { .. }
        | Object::HttpRoute(_)
        | Object::GrpcRoute(_)
        | Object::TlsRoute(_)
        | Object::TcpRoute(_)
        | Object::ReferenceGrant(_)
        | Object::RequestLimit(_)
        | Object::FaultInjection(_)
        | Object::Workload(_)
        | Object::MeshConfig(_) => None,
    }
}

/// A workload that nobody can connect to, as a policy has it take connections of the proxy only and no service leads there.
fn out_of_reach(merged: &Objects, located: &Located, policy: &AuthorizationPolicy) -> Option<Diagnostic> {
    if !policy.decides_by_requests() {
        return None;
    }
    let leads = |service: &Service, workload: &Workload| {
        service.cluster_ips != ClusterIps::Headless
            && !service.selector.is_empty()
            && workload.has_labels(&service.selector)
    };
    let alone = merged.selected_by_policy(policy).find(|workload| {
        !merged.services_of(&workload.name.namespace).any(|service| leads(service, workload))
    })?;
    Some(located.warning(
        "spec.rules",
        format!(
            "looks at requests, so nobody can connect to workload {} but by a service, and none with an address selects it",
            alone.name
        ),
        "add a Service for it",
    ))
}

/// What a route names and what is not there, or not for it: it may come yet.
fn leads_nowhere(merged: &Objects, located: &Located) -> Vec<Diagnostic> {
    let Some(route) = Route::of(&located.object) else { return Vec::new() };
    let mut found = missing_filters(merged, located, route);
    for (index, parent) in route.parents().iter().enumerate() {
        let name = &parent.service;
        let why = match merged.service(name) {
            None => format!("there is no service {name}"),
            Some(service) if service.ports.iter().any(|port| parent.means(port)) => continue,
            Some(_) => format!("service {name} has no such port for TCP"),
        };
        let field = format!("spec.parentRefs[{index}].name");
        let message = format!("{why}; until it has, the route says nothing there");
        found.push(located.warning(&field, message, "compare it with the Services"));
    }
    let dialled: Vec<_> = route.parents().iter().map(|it| dialled(merged, route, it)).collect();
    let mut look = |field: String, to: Reference<'_>, meanwhile: &str| {
        if let Some(invalid) = dialled.iter().find_map(|it| merged.invalid_backend(route, *it, to)) {
            let message = format!("{}; meanwhile {meanwhile}", invalid.message(to));
            found.push(located.warning(&field, message, remedy(route, to, invalid)));
        }
    };
    let answered = match route {
        Route::Http(_) => "such requests are answered by 500",
        Route::Grpc(_) => "such calls are answered by UNAVAILABLE",
        Route::Tls(_) | Route::Tcp(_) => "such connections are reset",
    };
    for (index, rule) in route.rules().into_iter().enumerate() {
        for (place, backend) in rule.backends.iter().enumerate() {
            look(format!("spec.rules[{index}].backendRefs[{place}].name"), backend.reference(), answered);
        }
        for mirror in rule.mirrors() {
            look(format!("spec.rules[{index}].filters"), mirror.reference(), "nothing gets copies");
        }
    }
    found
}

/// An HTTPRoute that says nothing where a GRPCRoute of its namespace is attached, too, as GEP-1294 has it. Told of what is new.
fn set_aside(merged: &Objects, located: &Located) -> Vec<Diagnostic> {
    let Some(route @ (Route::Http(_) | Route::Grpc(_))) = Route::of(&located.object) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (index, parent) in route.parents().iter().enumerate() {
        let Some(service) = merged.service(&parent.service) else { continue };
        for port in service.ports.iter().filter(|it| parent.means(it)) {
            let others = merged.routes_about(service, port);
            let mut others = others.filter(|it| it.name().namespace == route.name().namespace);
            let place = format!("service {} port {}", service.name, port.port);
            let message = match route {
                Route::Grpc(_) => others.find(|it| matches!(it, Route::Http(_))).map(|http| {
                    format!(
                        "HTTPRoute {} says nothing at {place}, as this GRPCRoute holds there",
                        http.name()
                    )
                }),
                Route::Http(_) => others.find(|it| matches!(it, Route::Grpc(_))).map(|grpc| {
                    format!("GRPCRoute {} holds at {place}, so this route says nothing there", grpc.name())
                }),
                Route::Tls(_) | Route::Tcp(_) => None,
            };
            let remedy =
                "attach them to different ports: requests that no GRPCRoute matches are answered by 404";
            found.extend(
                message.map(|it| located.warning(&format!("spec.parentRefs[{index}].name"), it, remedy)),
            );
        }
    }
    found
}

/// The service of a parent, unless the route can't be attached to it. One that is not there yet may come.
fn dialled<'a>(merged: &Objects, route: Route<'_>, parent: &'a ParentRef) -> Option<&'a ObjectName> {
    let suits = |port: &ServicePort| parent.means(port) && route.suits(port.protocol());
    merged.service(&parent.service).is_none_or(|it| it.ports.iter().any(suits)).then_some(&parent.service)
}

/// Wabe's own filters that a route names and that are not there: they may come yet.
fn missing_filters(merged: &Objects, located: &Located, route: Route<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (index, rule) in route.rules().into_iter().enumerate() {
        for (place, filter) in rule.filters.iter().enumerate() {
            if let Some((kind, name)) = merged.missing_filter(filter) {
                let field = format!("spec.rules[{index}].filters[{place}].extensionRef.name");
                let meanwhile = match route {
                    Route::Grpc(_) => "such calls are answered by UNAVAILABLE",
                    Route::Http(_) | Route::Tls(_) | Route::Tcp(_) => "such requests are answered by 500",
                };
                let message = format!("there is no {kind} {name}; meanwhile {meanwhile}");
                let remedy = "compare it with the objects of the route's namespace";
                found.push(located.warning(&field, message, remedy));
            }
        }
    }
    found
}

/// What only the node's proxy does, said of services that no request comes to through it. A route may come yet.
fn needs_layer7(merged: &Objects, located: &Located) -> Vec<Diagnostic> {
    let (service, said) = match &located.object {
        Object::Service(service) => {
            let kind = (service.balance == Balance::PeakEwma).then_some("metadata.annotations");
            (&service.name, vec![kind.map(|field| (field, PEAK_EWMA))])
        }
        Object::DestinationRule(rule) => {
            let kind = (rule.balance == Some(Balance::PeakEwma)).then_some("metadata.annotations");
            let by_request = rule.hash.as_ref().is_some_and(|it| *it != HashKey::Source);
            let by_request = by_request.then_some("spec.trafficPolicy.loadBalancer.consistentHash");
            let budget = rule.pool.retry_budget.map(|_| "spec.trafficPolicy.retryBudget");
            let pool = ConnectionPool { retry_budget: None, ..rule.pool.clone() };
            let pool = (!pool.is_empty()).then_some("spec.trafficPolicy.connectionPool");
            let rate = rule.outliers.as_ref().and_then(|it| it.deviations);
            let rate = rate.map(|_| "metadata.annotations");
            let said = vec![
                kind.map(|field| (field, PEAK_EWMA)),
                by_request
                    .map(|field| (field, "connections are not seen into; they are balanced as others are")),
                pool.map(|field| (field, "callers' own connections have no such limits")),
                budget.map(|field| (field, "nothing is tried again for callers' own connections")),
                rate.map(|field| (field, "answers are not seen, only connections that fail")),
            ];
            (&rule.service, said)
        }
        Object::Namespace { .. }
        | Object::ServiceAccount { .. }
        | Object::Workload(_)
        | Object::MeshConfig(_)
        | Object::HttpRoute(_)
        | Object::GrpcRoute(_)
        | Object::TlsRoute(_)
        | Object::TcpRoute(_)
        | Object::ReferenceGrant(_)
        | Object::RequestLimit(_)
        | Object::FaultInjection(_)
        | Object::AuthorizationPolicy(_) => return Vec::new(),
    };
    let said: Vec<_> = said.into_iter().flatten().collect();
    if said.is_empty() || merged.service(service).is_none() || merged.comes_through_proxy(service) {
        return Vec::new();
    }
    let warn = |(field, instead): (&str, &str)| {
        let message = format!(
            "has no effect as long as nothing comes to service {service} through the node's proxy: {instead}"
        );
        located.warning(field, message, "attach an HTTPRoute to the service, write its annotation `mesh.wabe.dev/l7: always`, or leave it out")
    };
    said.into_iter().map(warn).collect()
}

const PEAK_EWMA: &str = "answers are not timed; `peak-ewma` is as `two-choices`";

/// What to do about a backend that is none.
fn remedy(route: Route<'_>, to: Reference<'_>, invalid: InvalidBackend) -> String {
    match invalid {
        InvalidBackend::NoSuchService | InvalidBackend::NoSuchPort => "compare it with the Services".into(),
        InvalidBackend::NotGranted => format!(
            "write a ReferenceGrant in namespace {}, from {}s of {} to Services",
            to.service.namespace,
            route.kind(),
            route.name().namespace
        ),
        InvalidBackend::OtherKind => "write a Service".into(),
        InvalidBackend::UnsupportedProtocol => {
            "name a port that speaks HTTP, or mend the port's `appProtocol` or name".into()
        }
    }
}

fn key_of(service: &Service) -> ObjectKey {
    ObjectKey { kind: Kind::Service, name: service.name.clone() }
}

/// Which field an address was written in.
fn address_field(located: &Located, address: IpAddr) -> String {
    let fields = ["spec.clusterIP", "spec.clusterIPs[0]", "spec.clusterIPs[1]"];
    let is_it = |field: &&str| located.text_of(field).and_then(|it| it.parse().ok()) == Some(address);
    fields.into_iter().find(is_it).unwrap_or("spec.clusterIPs").to_owned()
}

fn place(located: &Located, field: &str) -> String {
    let Position { line, column } = located.position_of(field);
    format!("{}:{line}:{column}", located.path.display())
}
