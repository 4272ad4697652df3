//! `wabe get`: objects as they are in the mesh.

use std::process::ExitCode;

use serde_json::Value;
use wabe_keeper::layout::Mesh;
use wabe_model::{Kind, Object, to_manifest, to_yaml};

use crate::{
    ask,
    cli::{Get, Output},
    failure::Failure,
    screen::{Table, json, line},
    workload::Word,
};

pub(crate) fn run(mesh: &Mesh, arguments: &Get) -> Result<ExitCode, Failure> {
    let kind: Kind = arguments.kind.parse().map_err(Failure::usage)?;
    let all = ask::objects(mesh, Some(kind))?;
    let mut found: Vec<&Object> = all.iter().collect();
    if let Some(text) = &arguments.object {
        let names: Vec<String> = found.iter().map(|object| full_name(object)).collect();
        let what = kind.as_str();
        let meant = if kind.is_namespaced() {
            Word::new(text).only(what, names.iter().map(String::as_str))?
        } else {
            Word::new(&format!("/{text}")).only(what, names.iter().map(String::as_str))?
        };
        found.retain(|object| full_name(object) == meant);
    }
    let manifests: Vec<Value> = found.iter().map(|object| to_manifest(object)).collect();
    match (arguments.plain.output, &arguments.object, manifests.as_slice()) {
        (Output::Json, Some(_), [one]) => json(one)?,
        (Output::Json, ..) => json(&manifests)?,
        (Output::Yaml, ..) => {
            let documents: Vec<String> = manifests.iter().map(to_yaml).collect();
            line(documents.join("---\n").trim_end())?;
        }
        (Output::Text, ..) => line(&table(&found))?,
    }
    Ok(ExitCode::SUCCESS)
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
        Object::AuthorizationPolicy(it) => {
            format!("{:?}, {} rules{}", it.action, it.rules.len(), if it.dry_run { ", dry run" } else { "" })
        }
    }
}
