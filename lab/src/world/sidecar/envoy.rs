//! What istiod would tell the two Envoys, written down (Istio 1.24's listeners and clusters for one service, its telemetry
//! filters left out). Pure.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    INBOUND, OUTBOUND,
    certificates::{CLIENT, SERVER},
};
use crate::world::{pods, server};

/// The only path that may be asked for.
const PATH: &str = "/get";
/// How long an answer may take.
const TIMEOUT: &str = "2s";

/// The client's: what its application sends to a service goes to an endpoint, by mTLS.
pub(super) fn outbound(folder: &Path) -> Value {
    let original = format!("{}:80", pods::SERVICE);
    let filters = json!([manager(&json!({
        "stat_prefix": "outbound",
        "route_config": {
            "name": "80",
            "virtual_hosts": [{
                "name": "server.lab.svc.cluster.local:80",
                "domains": ["*"],
                "routes": [{
                    "match": {"prefix": "/"},
                    "route": {"cluster": "outbound|80||server.lab.svc.cluster.local", "timeout": TIMEOUT}
                }]
            }]
        },
        "http_filters": [router()]
    })),]);
    json!({
        "node": {"id": "client", "cluster": "client"},
        "static_resources": {
            "listeners": [
                {
                    "name": "virtualOutbound",
                    "address": address("0.0.0.0", OUTBOUND),
                    "use_original_dst": true,
                    "listener_filters": [original_dst()],
                    "filter_chains": [{"filters": [black_hole()]}]
                },
                {
                    // Not bound: connections come from the one above, by their original destination.
                    "name": original,
                    "address": address(&pods::SERVICE.to_string(), 80),
                    "bind_to_port": false,
                    "filter_chains": [{"filters": filters}]
                }
            ],
            "clusters": [
                {
                    "name": "outbound|80||server.lab.svc.cluster.local",
                    "type": "STATIC",
                    "connect_timeout": "10s",
                    "circuit_breakers": wide(),
                    "load_assignment": endpoint(&pods::SERVER.to_string(), server::HTTP),
                    "transport_socket": tls(folder, "client", SERVER, "UpstreamTlsContext", json!({})),
                    "typed_extension_protocol_options": keep_alive()
                },
                {"name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": "1s"}
            ]
        }
    })
}

/// The server's: only the client's GET on one path gets to the application.
pub(super) fn inbound(folder: &Path) -> Value {
    let rules = json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {
                "action": "ALLOW",
                "policies": {
                    "ns[lab]-policy[client-may-get]-rule[0]": {
                        "permissions": [{"and_rules": {"rules": [
                            {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
                            {"url_path": {"path": {"exact": PATH}}},
                            {"destination_port": server::HTTP}
                        ]}}],
                        "principals": [{"authenticated": {"principal_name": {"exact": CLIENT}}}]
                    }
                }
            }
        }
    });
    let filters = json!([manager(&json!({
        "stat_prefix": "inbound",
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"subject": true, "uri": true},
        "route_config": {
            "name": "inbound|8080||",
            "virtual_hosts": [{
                "name": "inbound|http|8080",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "inbound|8080||", "timeout": "0s"}}]
            }]
        },
        "http_filters": [rules, router()]
    })),]);
    json!({
        "node": {"id": "server", "cluster": "server"},
        "static_resources": {
            "listeners": [{
                "name": "virtualInbound",
                "address": address("0.0.0.0", INBOUND),
                "listener_filters": [
                    original_dst(),
                    {
                        "name": "envoy.filters.listener.tls_inspector",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
                        }
                    }
                ],
                "filter_chains": [{
                    "filter_chain_match": {"destination_port": server::HTTP, "transport_protocol": "tls"},
                    "transport_socket":
                        tls(folder, "server", CLIENT, "DownstreamTlsContext", json!({"require_client_certificate": true})),
                    "filters": filters
                }]
            }],
            "clusters": [{
                "name": "inbound|8080||",
                "type": "ORIGINAL_DST",
                "lb_policy": "CLUSTER_PROVIDED",
                "connect_timeout": "10s",
                "circuit_breakers": wide(),
                "upstream_bind_config": {"source_address": {"address": "127.0.0.6", "port_value": 0}},
                "typed_extension_protocol_options": keep_alive()
            }]
        }
    })
}

fn address(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

fn endpoint(to: &str, port: u16) -> Value {
    json!({
        "cluster_name": "endpoint",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(to, port)}}]}]
    })
}

fn manager(config: &Value) -> Value {
    let mut config = config.clone();
    config["@type"] = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager".into();
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": config})
}

fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    })
}

fn original_dst() -> Value {
    json!({
        "name": "envoy.filters.listener.original_dst",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"}
    })
}

/// What goes to no known service goes nowhere.
fn black_hole() -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "black-hole",
            "cluster": "BlackHoleCluster"
        }
    })
}

/// `own` names the files, `peer` is the identity that the other side must have.
fn tls(folder: &Path, own: &str, peer: &str, context: &str, more: Value) -> Value {
    let file = |name: String| json!({"filename": folder.join(name)});
    let mut config = more;
    config["@type"] =
        format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}").into();
    config["common_tls_context"] = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["http/1.1"],
        "tls_certificates": [
            {"certificate_chain": file(format!("{own}.pem")), "private_key": file(format!("{own}.key"))}
        ],
        "validation_context": {
            "trusted_ca": file("root.pem".into()),
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}}]
        }
    });
    json!({"name": "envoy.transport_sockets.tls", "typed_config": config})
}

/// As Istio sets them: no limit that a load test meets.
fn wide() -> Value {
    let all = u32::MAX;
    json!({"thresholds": [
        {"max_connections": all, "max_pending_requests": all, "max_requests": all, "max_retries": all}
    ]})
}

fn keep_alive() -> Value {
    json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}}
        }
    })
}
