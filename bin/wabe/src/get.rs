//! `wabe get`: objects as they are in the mesh.

use std::process::ExitCode;

use serde_json::Value;
use wabe_keeper::layout::Mesh;
use wabe_model::{Kind, Object, Objects, Route, to_manifest, to_yaml};

use crate::{
    ask,
    cli::{Get, Output},
    failure::Failure,
    screen::{Table, json, line},
    workload::Word,
};

mod routes;

pub(crate) fn run(mesh: &Mesh, arguments: &Get) -> Result<ExitCode, Failure> {
    let kinds = kinds(&arguments.kind)?;
    // What has become of a route depends on services and grants.
    let all = ask::objects(mesh, None)?;
    let mut found: Vec<&Object> = kinds.iter().flat_map(|kind| all.of_kind(*kind)).collect();
    if let Some(text) = &arguments.object {
        let names: Vec<String> = found.iter().map(|object| full_name(object)).collect();
        let what = kinds[0].as_str();
        let meant = if kinds[0].is_namespaced() {
            Word::new(text).only(what, names.iter().map(String::as_str))?
        } else {
            Word::new(&format!("/{text}")).only(what, names.iter().map(String::as_str))?
        };
        found.retain(|object| full_name(object) == meant);
    }
    let manifests: Vec<Value> = found.iter().map(|object| manifest(object, &all)).collect();
    match (arguments.plain.output, &arguments.object, manifests.as_slice()) {
        (Output::Json, Some(_), [one]) => json(one)?,
        (Output::Json, ..) => json(&manifests)?,
        (Output::Yaml, ..) => {
            let documents: Vec<String> = manifests.iter().map(to_yaml).collect();
            line(documents.join("---\n").trim_end())?;
        }
        (Output::Text, ..) => {
            let routes: Vec<_> = found.iter().filter_map(|object| Route::of(object)).collect();
            let only_routes = !routes.is_empty() && routes.len() == found.len();
            line(&if only_routes { routes::table(&routes, &all) } else { table(&found) })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One kind, or those of all routes.
fn kinds(word: &str) -> Result<Vec<Kind>, Failure> {
    match word.to_ascii_lowercase().as_str() {
        "route" | "routes" => Ok(vec![Kind::HttpRoute, Kind::GrpcRoute, Kind::TlsRoute, Kind::TcpRoute]),
        _ => Ok(vec![word.parse().map_err(Failure::usage)?]),
    }
}

fn manifest(object: &Object, all: &Objects) -> Value {
    let mut manifest = to_manifest(object);
    if let Some(route) = Route::of(object) {
        routes::add_status(&mut manifest, all, route);
    }
    manifest
}

fn full_name(object: &Object) -> String {
    object.key().name.to_string()
}

fn table(objects: &[&Object]) -> String {
    let mut table = Table::new(["NAME", "WHAT"]);
    for object in objects {
        let name = full_name(object);
        table.row([name.trim_start_matches('/').to_owned(), summary(object)]);
    }
    table.text()
}

fn summary(object: &Object) -> String {
    match object {
        Object::Namespace { .. } | Object::ServiceAccount { .. } => String::new(),
        Object::Service(it) => {
            let ports: Vec<String> = it.ports.iter().map(|port| port.port.to_string()).collect();
            format!("ports {}", ports.join(", "))
        }
        Object::Workload(it) => format!("{} x {}", it.replicas, it.command.join(" ")),
        Object::MeshConfig(it) => format!("trust domain {}", it.trust_domain),
        Object::DestinationRule(it) => format!("for {}", it.service),
        Object::HttpRoute(it) => {
            let services: Vec<_> = it.parents.iter().map(|parent| parent.service.to_string()).collect();
            format!("for {}, {} rules", services.join(", "), it.rules.len())
        }
        Object::GrpcRoute(it) => {
            let services: Vec<_> = it.parents.iter().map(|parent| parent.service.to_string()).collect();
            format!("for {}, {} rules", services.join(", "), it.rules.len())
        }
        Object::TlsRoute(it) => {
            let services: Vec<_> = it.parents.iter().map(|parent| parent.service.to_string()).collect();
            format!("for {}, {} hostnames", services.join(", "), it.hostnames.len())
        }
        Object::TcpRoute(it) => {
            let services: Vec<_> = it.parents.iter().map(|parent| parent.service.to_string()).collect();
            format!("for {}, {} backends", services.join(", "), it.rule.backends.len())
        }
        Object::ReferenceGrant(it) => {
            let from: Vec<_> =
                it.from.iter().map(|from| format!("{}s of {}", from.kind, from.namespace)).collect();
            format!("to {}", from.join(", "))
        }
        Object::RequestLimit(it) => format!("{} in {:?}", it.requests, it.per),
        Object::FaultInjection(it) => {
            let delay = it.delay.map(|it| format!("{:?} late", it.time));
            let abort = it.abort.map(|it| format!("answered by {}", it.status));
            delay.into_iter().chain(abort).collect::<Vec<_>>().join(", ")
        }
        Object::AuthorizationPolicy(it) => {
            format!("{:?}, {} rules{}", it.action, it.rules.len(), if it.dry_run { ", dry run" } else { "" })
        }
    }
}
