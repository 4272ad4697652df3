//! One document: which kind it is, and who reads it.

use std::{path::Path, sync::Arc};

use crate::{
    Kind, Object,
    manifest::{
        destination_rule::destination_rule,
        field::{Field, Report, Shape},
        grpc_route::grpc_route,
        guard::{fault_injection, request_limit},
        http_route::http_route,
        mesh_config::mesh_config,
        metadata::{Metadata, metadata},
        policy::authorization_policy,
        reference_grant::reference_grant,
        scalar::{nearest, shown},
        service::service,
        stream_route::{tcp_route, tls_route},
        tree::Node,
        workload::workload,
    },
};

/// `status` is what servers write; `kubectl get -o yaml` shows it.
const WITH_SPEC: Shape =
    Shape { known: &["apiVersion", "kind", "metadata", "spec"], ignored: &["status"], refused: &[] };
const NAMESPACE: Shape =
    Shape { known: &["apiVersion", "kind", "metadata"], ignored: &["spec", "status"], refused: &[] };
const NAMESPACE_SPEC: Shape = Shape { known: &[], ignored: &["finalizers"], refused: &[] };
const SERVICE_ACCOUNT: Shape = Shape {
    known: &["apiVersion", "kind", "metadata"],
    ignored: &[],
    refused: &[
        ("secrets", POD_FIELD, "leave it out; an identity needs only the account's name"),
        ("imagePullSecrets", POD_FIELD, "leave it out; an identity needs only the account's name"),
        (
            "automountServiceAccountToken",
            POD_FIELD,
            "leave it out; an identity needs only the account's name",
        ),
    ],
};
const POD_FIELD: &str = "is about Pods, which are not supported";

/// Kinds that people have in their manifests, and what to write instead.
const OTHER_KINDS: [(&[&str], &str); 7] = [
    (
        &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "Job", "CronJob"],
        "describe the program as a Workload (mesh.wabe.dev/v1alpha1)",
    ),
    (
        &["Endpoints", "EndpointSlice"],
        "a Service finds its workloads by spec.selector; describe them as Workload (mesh.wabe.dev/v1alpha1)",
    ),
    (
        &["UDPRoute", "Gateway", "GatewayClass", "Ingress"],
        "not supported yet; the nearest is an HTTPRoute (gateway.networking.k8s.io/v1) attached to a Service",
    ),
    (
        &["VirtualService", "Sidecar", "EnvoyFilter"],
        "not supported yet; the nearest is an HTTPRoute (gateway.networking.k8s.io/v1)",
    ),
    (
        &["ServiceEntry", "WorkloadEntry", "WorkloadGroup"],
        "the nearest is a Workload (mesh.wabe.dev/v1alpha1)",
    ),
    (
        &["PeerAuthentication", "RequestAuthentication", "NetworkPolicy"],
        "the nearest is an AuthorizationPolicy (security.istio.io/v1)",
    ),
    (&["ConfigMap", "Secret"], "write what the program needs into the Workload's spec.env, or into a file"),
];

/// The object of a document; `None` after complaints.
pub(crate) fn object(tree: &Arc<Node>, report: &Report<'_>, folder: &Path) -> Option<Object> {
    let root = Field::root(tree, report);
    let kind = kind(&root)?;
    match kind {
        Kind::Namespace => {
            let fields = root.fields(&NAMESPACE)?;
            if let Some(spec) = fields.find("spec") {
                spec.fields(&NAMESPACE_SPEC)?;
            }
            metadata(&fields, kind).map(|it| Object::Namespace { name: it.name.name })
        }
        Kind::ServiceAccount => {
            let fields = root.fields(&SERVICE_ACCOUNT)?;
            metadata(&fields, kind).map(|it| Object::ServiceAccount { name: it.name })
        }
        Kind::Service => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            service(metadata, &spec).map(Object::Service)
        }
        Kind::Workload => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            workload(metadata, &spec, folder).map(Object::Workload)
        }
        Kind::MeshConfig => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            mesh_config(metadata, &spec).map(Object::MeshConfig)
        }
        Kind::DestinationRule => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            destination_rule(metadata, &spec).map(Object::DestinationRule)
        }
        Kind::HttpRoute => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            http_route(metadata, &spec).map(Object::HttpRoute)
        }
        Kind::TlsRoute => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            tls_route(metadata, &spec).map(Object::TlsRoute)
        }
        Kind::TcpRoute => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            tcp_route(metadata, &spec).map(Object::TcpRoute)
        }
        Kind::GrpcRoute => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            grpc_route(metadata, &spec).map(Object::GrpcRoute)
        }
        Kind::ReferenceGrant => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            reference_grant(metadata, &spec).map(Object::ReferenceGrant)
        }
        Kind::RequestLimit => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            request_limit(metadata, &spec).map(Object::RequestLimit)
        }
        Kind::FaultInjection => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            fault_injection(metadata, &spec).map(Object::FaultInjection)
        }
        Kind::AuthorizationPolicy => {
            let (metadata, spec) = metadata_and_spec(&root, kind)?;
            authorization_policy(metadata, &spec).map(Object::AuthorizationPolicy)
        }
    }
}

/// Metadata that is wrong must not hide what is wrong in the spec, hence the inner `Option`.
fn metadata_and_spec<'a>(root: &Field<'a>, kind: Kind) -> Option<(Option<Metadata<'a>>, Field<'a>)> {
    let fields = root.fields(&WITH_SPEC)?;
    let metadata = metadata(&fields, kind);
    let remedy = match kind {
        Kind::DestinationRule => "write `spec:` with a `host`",
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute => {
            "write `spec:` with `parentRefs` and `rules`"
        }
        Kind::ReferenceGrant => "write `spec:` with `from` and `to`",
        Kind::RequestLimit => "write `spec:` with `requests`",
        Kind::FaultInjection => "write `spec:` with `delay` or `abort`",
        Kind::AuthorizationPolicy => "write `spec: {}` for a policy without rules",
        Kind::MeshConfig => "write `spec: {}` for the defaults",
        Kind::Namespace | Kind::ServiceAccount | Kind::Service | Kind::Workload => "write what it shall be",
    };
    Some((metadata, fields.require("spec", remedy)?))
}

fn kind(root: &Field<'_>) -> Option<Kind> {
    // Reported once if it is no mapping at all.
    root.entries()?;
    let Some(field) = root.peek("kind") else {
        return root.error("`kind` is missing", format!("supported kinds: {}", supported()));
    };
    let word = field.text()?;
    let Some(kind) = Kind::ALL.into_iter().find(|it| it.as_str() == word) else {
        return unknown_kind(&field, word);
    };
    let versions = kind.api_versions();
    let Some(version) = root.peek("apiVersion") else {
        return root.error("`apiVersion` is missing", format!("write `apiVersion: {}`", versions[0]));
    };
    let text = version.text()?;
    if !versions.contains(&text) {
        return version
            .error(format!("{} has no {kind}", shown(text)), format!("write `apiVersion: {}`", versions[0]));
    }
    Some(kind)
}

fn unknown_kind(field: &Field<'_>, word: &str) -> Option<Kind> {
    if word == "List" || word.ends_with("List") {
        return field.error(
            format!("{} is a list of objects, which is not supported", shown(word)),
            "write each item as a document of its own, with a line `---` between them",
        );
    }
    if let Some((_, remedy)) = OTHER_KINDS.iter().find(|(kinds, _)| kinds.contains(&word)) {
        return field.error(format!("the kind {} is not supported", shown(word)), *remedy);
    }
    let hint = nearest(word, Kind::ALL.map(Kind::as_str)).map(|it| format!("did you mean `{it}`? "));
    field.error(
        format!("unknown kind {}", shown(word)),
        format!("{}supported kinds: {}", hint.unwrap_or_default(), supported()),
    )
}

fn supported() -> String {
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| format!("{kind} ({})", kind.api_versions()[0])).collect();
    kinds.join(", ")
}
