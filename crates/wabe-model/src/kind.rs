//! Kinds of objects and where they come from.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// `v1`
    Namespace,
    /// `v1`
    ServiceAccount,
    /// `v1`
    Service,
    /// `mesh.wabe.dev/v1alpha1`
    Workload,
    /// `mesh.wabe.dev/v1alpha1`
    MeshConfig,
    /// `security.istio.io/v1`
    AuthorizationPolicy,
    /// `networking.istio.io/v1`
    DestinationRule,
    /// `gateway.networking.k8s.io/v1`
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// `gateway.networking.k8s.io/v1`
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
    /// `gateway.networking.k8s.io/v1`
    #[serde(rename = "TLSRoute")]
    TlsRoute,
    /// `gateway.networking.k8s.io/v1alpha2`
    #[serde(rename = "TCPRoute")]
    TcpRoute,
    /// `gateway.networking.k8s.io/v1`
    ReferenceGrant,
    /// `mesh.wabe.dev/v1alpha1`
    RequestLimit,
    /// `mesh.wabe.dev/v1alpha1`
    FaultInjection,
}

impl Kind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::Service,
        Self::Workload,
        Self::MeshConfig,
        Self::AuthorizationPolicy,
        Self::DestinationRule,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::ReferenceGrant,
        Self::RequestLimit,
        Self::FaultInjection,
    ];

    /// The word in a manifest's `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::Workload => "Workload",
            Self::MeshConfig => "MeshConfig",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::DestinationRule => "DestinationRule",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::RequestLimit => "RequestLimit",
            Self::FaultInjection => "FaultInjection",
        }
    }

    /// What a manifest may say in `apiVersion`; the first is the one that Wabe writes.
    pub fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Namespace | Self::ServiceAccount | Self::Service => &["v1"],
            Self::Workload | Self::MeshConfig | Self::RequestLimit | Self::FaultInjection => {
                &["mesh.wabe.dev/v1alpha1"]
            }
            Self::HttpRoute | Self::ReferenceGrant => {
                &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"]
            }
            Self::GrpcRoute => &["gateway.networking.k8s.io/v1"],
            Self::TlsRoute => &[
                "gateway.networking.k8s.io/v1",
                "gateway.networking.k8s.io/v1alpha3",
                "gateway.networking.k8s.io/v1alpha2",
            ],
            Self::TcpRoute => &["gateway.networking.k8s.io/v1alpha2"],
            Self::DestinationRule => {
                &["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"]
            }
            Self::AuthorizationPolicy => &["security.istio.io/v1", "security.istio.io/v1beta1"],
        }
    }

    /// Whether its objects live in a namespace.
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::Namespace | Self::MeshConfig => false,
            Self::ServiceAccount
            | Self::Service
            | Self::Workload
            | Self::AuthorizationPolicy
            | Self::DestinationRule
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::TlsRoute
            | Self::TcpRoute
            | Self::ReferenceGrant
            | Self::RequestLimit
            | Self::FaultInjection => true,
        }
    }

    fn short(self) -> &'static str {
        match self {
            Self::Namespace => "ns",
            Self::ServiceAccount => "sa",
            Self::Service => "svc",
            Self::Workload => "wl",
            Self::MeshConfig => "mc",
            Self::AuthorizationPolicy => "ap",
            Self::DestinationRule => "dr",
            Self::HttpRoute => "route",
            Self::GrpcRoute => "grpc",
            Self::TlsRoute => "tls",
            Self::TcpRoute => "tcp",
            Self::ReferenceGrant => "grant",
            Self::RequestLimit => "limit",
            Self::FaultInjection => "fault",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word on the command line is no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no kind is called {0:?}; use one of namespaces (ns), serviceaccounts (sa), services (svc), workloads (wl), \
     meshconfigs (mc), authorizationpolicies (ap), destinationrules (dr), httproutes (route), grpcroutes (grpc), \
     tlsroutes (tls), tcproutes (tcp), referencegrants (grant), requestlimits (limit), \
     faultinjections (fault)"
)]
pub struct UnknownKind(String);

/// Reads a kind as people write it on a command line: any case, singular, plural or short (`svc`).
impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let word = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| {
                let singular = kind.as_str().to_ascii_lowercase();
                let plural = singular
                    .strip_suffix('y')
                    .map_or_else(|| format!("{singular}s"), |it| format!("{it}ies"));
                word == singular || word == plural || word == kind.short()
            })
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_singular_plural_and_short_in_any_case() {
        for (word, kind) in [
            ("svc", Kind::Service),
            ("services", Kind::Service),
            ("Service", Kind::Service),
            ("authorizationpolicies", Kind::AuthorizationPolicy),
            ("AuthorizationPolicy", Kind::AuthorizationPolicy),
            ("wl", Kind::Workload),
            ("serviceaccounts", Kind::ServiceAccount),
        ] {
            assert_eq!(word.parse(), Ok(kind), "{word}");
        }
        assert!("pods".parse::<Kind>().expect_err("no kind").to_string().contains("workloads (wl)"));
    }
}
