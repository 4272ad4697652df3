//! `metadata`: names, labels, annotations.

use std::collections::BTreeMap;

use crate::{
    Balance, Kind, Layer7, ObjectName,
    manifest::{
        field::{Field, Fields, Shape},
        names::{label_name, labels, subdomain_name},
        scalar::{nearest, shown},
    },
};

/// What the mesh reads of it.
pub(crate) struct Metadata<'a> {
    pub(crate) name: ObjectName,
    pub(crate) labels: BTreeMap<String, String>,
    annotations: Vec<(&'a str, Field<'a>)>,
}

/// The only name of a MeshConfig, since there is only one.
pub(crate) const MESH_CONFIG_NAME: &str = "mesh";
pub(crate) const BALANCE: &str = "mesh.wabe.dev/balance";
pub(crate) const LAYER7: &str = "mesh.wabe.dev/l7";
/// What [`BALANCE`] may be.
pub(crate) const BALANCES: &[(&str, Balance)] = &[
    ("two-choices", Balance::TwoChoices),
    ("random", Balance::Random),
    ("round-robin", Balance::RoundRobin),
    ("peak-ewma", Balance::PeakEwma),
];
pub(crate) const SUCCESS_RATE: &str = "mesh.wabe.dev/success-rate-deviations";
pub(crate) const DRY_RUN: &str = "istio.io/dry-run";
/// Annotations below it are Wabe's own; any other belongs to somebody else.
const OURS: &str = "mesh.wabe.dev/";

const NAMESPACED: Shape = Shape {
    known: &["name", "namespace", "labels", "annotations"],
    ignored: SERVERS,
    refused: &[("generateName", "is not supported; names are how objects are told apart", "write `name`")],
};
const CLUSTER_WIDE: Shape = Shape {
    known: &["name", "labels", "annotations"],
    ignored: SERVERS,
    refused: &[
        ("generateName", "is not supported; names are how objects are told apart", "write `name`"),
        ("namespace", "objects of this kind are in no namespace", "leave it out"),
    ],
};
/// What a Kubernetes API server adds; `kubectl get -o yaml` shows it.
const SERVERS: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

pub(crate) fn metadata<'a>(document: &Fields<'a>, kind: Kind) -> Option<Metadata<'a>> {
    let field = document.require("metadata", "write `metadata:` with a `name`")?;
    let fields = field.fields(if kind.is_namespaced() { &NAMESPACED } else { &CLUSTER_WIDE })?;
    let name = fields.require("name", "give it a name").and_then(|it| name(&it, kind));
    let namespace = match kind.is_namespaced() {
        true => fields.or("namespace", "default".to_owned(), label_name),
        false => Some(String::new()),
    };
    // Templating tools leave an empty `labels:` behind, which Kubernetes takes for none.
    let given = |key| fields.find(key).filter(|it| !it.is_null());
    let labels = given("labels").map_or_else(|| Some(BTreeMap::new()), |it| labels(&it));
    let annotations = given("annotations").map_or_else(|| Some(Vec::new()), |it| annotations(&it, kind));
    Some(Metadata { name: ObjectName::new(namespace?, name?), labels: labels?, annotations: annotations? })
}

impl<'a> Metadata<'a> {
    /// Annotation `mesh.wabe.dev/l7`; `None` if it is wrong.
    pub(crate) fn layer7(&self) -> Option<Layer7> {
        self.annotation(LAYER7).map_or(Some(Layer7::default()), |field| {
            field.choice(&[("auto", Layer7::Auto), ("always", Layer7::Always)])
        })
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&Field<'a>> {
        self.annotations.iter().find(|(name, _)| *name == key).map(|(_, field)| field)
    }
}

fn name(field: &Field<'_>, kind: Kind) -> Option<String> {
    match kind {
        Kind::Namespace | Kind::Service | Kind::Workload => label_name(field),
        Kind::ServiceAccount
        | Kind::AuthorizationPolicy
        | Kind::DestinationRule
        | Kind::HttpRoute
        | Kind::GrpcRoute
        | Kind::TlsRoute
        | Kind::TcpRoute
        | Kind::ReferenceGrant
        | Kind::RequestLimit
        | Kind::FaultInjection => subdomain_name(field),
        Kind::MeshConfig => match field.text()? {
            MESH_CONFIG_NAME => Some(MESH_CONFIG_NAME.to_owned()),
            other => field.error(
                format!("a MeshConfig can't be called {}, since there is only one", shown(other)),
                format!("write `name: {MESH_CONFIG_NAME}`"),
            ),
        },
    }
}

fn annotations<'a>(field: &Field<'a>, kind: Kind) -> Option<Vec<(&'a str, Field<'a>)>> {
    let ours: &[&str] = match kind {
        Kind::Service => &[BALANCE, LAYER7],
        Kind::Workload => &[LAYER7],
        Kind::DestinationRule => &[BALANCE, SUCCESS_RATE],
        Kind::Namespace
        | Kind::ServiceAccount
        | Kind::MeshConfig
        | Kind::AuthorizationPolicy
        | Kind::HttpRoute
        | Kind::GrpcRoute
        | Kind::TlsRoute
        | Kind::TcpRoute
        | Kind::ReferenceGrant
        | Kind::RequestLimit
        | Kind::FaultInjection => &[],
    };
    let entries = field.entries()?;
    let mut good = true;
    for (key, value) in &entries {
        good &= value.text().is_some();
        if key.starts_with(OURS) && !ours.contains(key) {
            good = false;
            let remedy = match nearest(key, ours.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if ours.is_empty() => format!("a {kind} has none that begin with {OURS}; leave it out"),
                None => format!("supported: {}", ours.join(", ")),
            };
            field.key_error(key, format!("unknown annotation on a {kind}"), remedy);
        }
    }
    good.then_some(entries)
}
