//! Meshes whose callers are led to the proxy.

use std::{fs, iter, rc::Rc};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{END_CORE, GRPC_PORT, HTTP2_PORT, PROXY_CORE, Peer, Setting, Way, chain::accepts, route};
use crate::{
    command::run,
    mesh::{Mesh, Wanted, document, service, workload},
    place::{self, Place},
    server,
};

/// A service with the endpoints of `proxied`, whose bytes the proxy passes on without a look at them.
pub(crate) const UNREAD: &str = "unread";

/// A mesh with a service that goes this way, and where that answers. With `routes`, so many by prefix lead to it besides
/// the one for all (of HTTP/1.1). Its proxy polls for `busy_poll` microseconds before it sleeps.
///
/// # Errors
/// `wabe` does not know a kind or a field that this needs, with what it says; or callers are not led to the proxy.
pub(crate) fn up(
    place: &Place,
    name: &str,
    way: Way,
    routes: usize,
    busy_poll: u16,
) -> Result<(Rc<Mesh>, String)> {
    let more = vec![manifests(place, way, routes)];
    let mesh = Mesh::up(place, name, &Wanted { more, busy_poll, ..Wanted::default() }, END_CORE)?;
    let to = mesh.service("proxied", 80)?;
    apart(&mesh)?;
    run(mesh.client(&place.program()).args(["probe", &to]))?;
    // An arm must be what it is called.
    let status = mesh.status()?;
    let lanes = status["lanes"].as_array().context("no lanes in the status")?;
    if !lanes.iter().any(|lane| lane["name"] == "proxy" && lane["count"].as_u64() > Some(0)) {
        bail!("connections to the service are not led to the proxy: {}", status["lanes"]);
    }
    Ok((Rc::new(mesh), to))
}

/// Starts a peer as a workload of the mesh, before the workload that serves (HTTP/1.1 and bytes). Tells where it accepts what is
/// to go that way, and its processes.
///
/// # Errors
/// It is not there, ends, or accepts nothing.
pub(crate) fn add(place: &Place, mesh: &Mesh, peer: Peer, way: Way) -> Result<(String, Vec<u32>)> {
    let server = mesh.workload("server", server::PORT)?;
    let (server, _) = server.rsplit_once(':').context("an address without a port")?;
    let name = format!("{}-{}", mesh.name(), peer.word());
    let scratch = place.scratch();
    let setting = Setting { name: &name, folder: &scratch, server, routes: 0 };
    let command = peer.command(place, &setting)?;
    let words = iter::once(command.get_program()).chain(command.get_args()).map(|it| it.to_string_lossy());
    let port = peer.port(way);
    let spec = json!({
        "command": words.collect::<Vec<_>>(), "readiness": {"tcp": {"port": port}}, "grace": "1s",
    });
    let file =
        place.write(&format!("{}/{}.yaml", mesh.name(), peer.word()), &workload(peer.word(), &spec))?;
    run(mesh.wabe(&["apply", "--wait", "-f"]).arg(file))?;
    let to = mesh.workload(peer.word(), port)?;
    accepts(place, || mesh.client(&place.program()), &to)?;
    Ok((to, place::with_children(mesh.process(peer.word())?)))
}

/// The proxy alone on its core, everything else of the mesh on the other.
fn apart(mesh: &Mesh) -> Result<()> {
    for (process, core) in [("vend", END_CORE), ("agent", END_CORE), ("dns", END_CORE), ("proxy", PROXY_CORE)]
    {
        for pid in place::processes(mesh.name(), process) {
            place::pin(pid, core)?;
        }
    }
    let [proxy] = mesh.proxy()[..] else { bail!("the mesh has no process of the proxy, or two") };
    // Two would take turns on that core, and a request wait for the other's.
    let threads = fs::read_dir(format!("/proc/{proxy}/task"))?.count();
    if threads != 1 {
        bail!("the proxy has {threads} threads instead of the one worker that it was asked for");
    }
    Ok(())
}

fn manifests(place: &Place, way: Way, routes: usize) -> String {
    let http2 = "kubernetes.io/h2c";
    match way {
        Way::Http => {
            let mut text = proxied("server", server::PORT, None) + &http_route("all", None);
            for number in 0..routes {
                text += &http_route(&route(number)[1..], Some(&route(number)));
            }
            text
        }
        Way::Http2 => proxied("server", HTTP2_PORT, Some(http2)) + &http_route("all", None),
        Way::Grpc => {
            let command =
                json!([place.program(), "grpc", format!("0.0.0.0:{GRPC_PORT}"), END_CORE.to_string()]);
            let readiness = json!({"tcp": {"port": GRPC_PORT}});
            workload("grpc", &json!({"command": command, "readiness": readiness, "grace": "1s"}))
                + &proxied("grpc", GRPC_PORT, Some(http2))
                + &attached("v1", "GRPCRoute", "all", &json!({}))
        }
        Way::Tcp => {
            proxied("server", server::PORT, Some("tcp"))
                + &attached("v1alpha2", "TCPRoute", "all", &json!({}))
        }
    }
}

/// The services `proxied` and [`UNREAD`].
fn proxied(app: &str, target: u16, protocol: Option<&str>) -> String {
    let mut port = json!({"name": "bench", "port": 80, "targetPort": target});
    let mut unread = port.clone();
    unread["appProtocol"] = "tcp".into();
    if let Some(protocol) = protocol {
        port["appProtocol"] = protocol.into();
    }
    let to_all = attached_to(UNREAD, "v1alpha2", "TCPRoute", "unread", &json!({}));
    service("proxied", app, &json!([port])) + &service(UNREAD, app, &json!([unread])) + &to_all
}

fn http_route(name: &str, prefix: Option<&str>) -> String {
    let rule = match prefix {
        None => json!({}),
        Some(prefix) => json!({"matches": [{"path": {"type": "PathPrefix", "value": prefix}}]}),
    };
    attached("v1", "HTTPRoute", name, &rule)
}

/// A route of the service `proxied` with one rule, which leads to the service itself.
fn attached(version: &str, kind: &str, name: &str, rule: &Value) -> String {
    attached_to("proxied", version, kind, name, rule)
}

fn attached_to(service: &str, version: &str, kind: &str, name: &str, rule: &Value) -> String {
    let mut rule = rule.clone();
    rule["backendRefs"] = json!([{"name": service, "port": 80}]);
    let parent = json!({"group": "", "kind": "Service", "name": service, "port": 80});
    let metadata = json!({"name": name, "namespace": "bench"});
    let spec = json!({"parentRefs": [parent], "rules": [rule]});
    document(&format!("gateway.networking.k8s.io/{version}"), kind, &metadata, &spec)
}
