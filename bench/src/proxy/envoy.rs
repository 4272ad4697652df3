//! Envoy. Pure: text out.

use serde_json::{Value, json};

use super::{GRPC_PORT, HTTP2_PORT, Peer, Setting, Way, peer::IDENTITIES, route};
use crate::server;

/// As it is by default, without access log, and with circuit breakers so wide that none opens.
pub(crate) fn config(setting: &Setting<'_>) -> Value {
    let one = json!({"match": {"prefix": "/"}, "route": {"cluster": "http"}});
    let routes = (0..setting.routes)
        .map(|number| json!({"match": {"prefix": route(number)}, "route": {"cluster": "http"}}))
        .chain([one])
        .collect();
    let port = |way| Peer::Envoy.port(way);
    let to = |cluster: &str| json!([{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]);
    json!({
        "static_resources": {
            "listeners": [
                listener("http", port(Way::Http), &requests("HTTP1", &Value::Array(routes))),
                listener("introducing", Peer::Envoy.introducing_port(), &introducing(&to("http"))),
                listener("http2", port(Way::Http2), &requests("HTTP2", &to("http2"))),
                listener("grpc", port(Way::Grpc), &requests("HTTP2", &to("grpc"))),
                listener("tcp", port(Way::Tcp), &bytes())
            ],
            "clusters": [
                cluster("http", setting, server::PORT, "http_protocol_options"),
                cluster("http2", setting, HTTP2_PORT, "http2_protocol_options"),
                cluster("grpc", setting, GRPC_PORT, "http2_protocol_options")
            ]
        }
    })
}

fn listener(name: &str, port: u16, filter: &Value) -> Value {
    json!({
        "name": name,
        "address": address("0.0.0.0", port),
        "tcp_backlog_size": 4096,
        "filter_chains": [{"filters": [filter]}]
    })
}

fn requests(codec: &str, routes: &Value) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": codec,
            "codec_type": codec,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
            }]
        }
    })
}

/// Of HTTP/1.1, with the headers that Wabe's proxy adds; it makes `x-request-id` itself.
fn introducing(routes: &Value) -> Value {
    let header = |name: &str, value: &str| json!({"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"});
    let peers =
        "for=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%;by=%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%;proto=http";
    let mut filter = requests("HTTP1", routes);
    let config = &mut filter["typed_config"];
    // For x-forwarded-for, and x-forwarded-proto.
    config["use_remote_address"] = true.into();
    config["route_config"]["request_headers_to_add"] =
        json!([header("forwarded", peers), header("x-forwarded-client-cert", IDENTITIES)]);
    filter
}

fn bytes() -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": "http"
        }
    })
}

fn cluster(name: &str, setting: &Setting<'_>, port: u16, protocol: &str) -> Value {
    let wide = 1_000_000_000;
    let threshold = json!({
        "max_connections": wide, "max_pending_requests": wide, "max_requests": wide, "max_retries": wide
    });
    json!({
        "name": name,
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [threshold]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(setting.server, port)}}]}]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {protocol: {}}
            }
        }
    })
}

fn address(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}
