//! `readiness` of a `Workload`.

use std::{path::Path, time::Duration};

use crate::{
    Probe, ProbeAction, Transport, WorkloadPort,
    manifest::{
        field::{Field, Fields, Shape},
        names::{duration, port},
        scalar::{nearest, shown},
        workload::command,
    },
};

const PROBE: Shape = Shape {
    known: &["tcp", "http", "exec", "initialDelay", "period", "timeout", "failureThreshold"],
    ignored: &[],
    refused: &[
        ("tcpSocket", "is a field of Pods", "write `tcp`"),
        ("httpGet", "is a field of Pods", "write `http`"),
        (
            "grpc",
            "layer-7 probes other than `http` are not supported yet, and not ignored",
            "use `tcp` or `exec`",
        ),
        ("initialDelaySeconds", "is a field of Pods", "write `initialDelay`, as 5s"),
        ("periodSeconds", "is a field of Pods", "write `period`, as 1s"),
        ("timeoutSeconds", "is a field of Pods", "write `timeout`, as 1s"),
        ("successThreshold", "is not supported; one success is enough", "leave it out"),
    ],
};
const TCP: Shape = Shape { known: &["port"], ignored: &[], refused: &[] };
const HTTP: Shape = Shape {
    known: &["port", "path"],
    ignored: &[],
    refused: &[
        ("host", "is not supported; probes go over `lo`", "leave it out"),
        ("scheme", "is not supported; probes speak HTTP without TLS", "leave it out, or use `tcp` or `exec`"),
        ("httpHeaders", "is not supported", "leave it out, or use `exec`"),
    ],
};
const EXEC: Shape = Shape { known: &["command"], ignored: &[], refused: &[] };

pub(crate) fn probe(field: &Field<'_>, ports: &[WorkloadPort], folder: &Path) -> Option<Probe> {
    let fields = field.fields(&PROBE)?;
    let action = action(&fields, ports, folder);
    let millisecond = Duration::from_millis(1);
    let second = Duration::from_secs(1);
    let hour = Duration::from_secs(3600);
    let initial_delay = fields.or("initialDelay", Duration::ZERO, |it| duration(it, Duration::ZERO, hour));
    let period = fields.or("period", second, |it| duration(it, Duration::from_millis(100), hour));
    let timeout = fields.or("timeout", second, |it| duration(it, millisecond, hour));
    let failures = fields.or("failureThreshold", 3, |it| it.integer("a threshold", 1..=1000));
    Some(Probe {
        action: action?,
        initial_delay: initial_delay?,
        period: period?,
        timeout: timeout?,
        failure_threshold: u32::try_from(failures?).ok()?,
    })
}

fn action(fields: &Fields<'_>, ports: &[WorkloadPort], folder: &Path) -> Option<ProbeAction> {
    match (fields.find("tcp"), fields.find("http"), fields.find("exec")) {
        (Some(tcp), None, None) => {
            let fields = tcp.fields(&TCP)?;
            let port = fields.require("port", "write the port to connect to")?;
            Some(ProbeAction::Tcp { port: tcp_port(&port, ports)? })
        }
        (None, Some(http), None) => {
            let fields = http.fields(&HTTP)?;
            let port =
                fields.require("port", "write the port to connect to").and_then(|it| tcp_port(&it, ports));
            let path = fields.or("path", "/".to_owned(), http_path);
            Some(ProbeAction::Http { port: port?, path: path? })
        }
        (None, None, Some(exec)) => {
            let fields = exec.fields(&EXEC)?;
            let field = fields.require("command", "write program and arguments")?;
            Some(ProbeAction::Exec { command: command(&field, folder)? })
        }
        (None, None, None) => {
            fields.whole().error("a probe must try something", "write `tcp`, `http` or `exec`")
        }
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            fields.whole().error("a probe tries one thing", "keep one of `tcp`, `http` and `exec`")
        }
    }
}

/// A number, or the name of one of the workload's TCP ports.
fn tcp_port(field: &Field<'_>, ports: &[WorkloadPort]) -> Option<u16> {
    if field.number().is_some() {
        return port(field);
    }
    let name = field.text()?;
    let tcp = ports.iter().filter(|it| it.transport == Transport::Tcp);
    if let Some(found) = tcp.clone().find(|it| it.name == name) {
        return Some(found.port);
    }
    let remedy = if name.parse::<u16>().is_ok() {
        format!("for the number {name}, leave out the quotes")
    } else if let Some(meant) = nearest(name, tcp.map(|it| it.name.as_str())) {
        format!("did you mean `{meant}`?")
    } else {
        "name it in spec.ports, or write its number".to_owned()
    };
    field.error(format!("no TCP port of this workload is called {}", shown(name)), remedy)
}

/// What can stand in a request line.
fn http_path(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.starts_with('/') && text.bytes().all(|c| c.is_ascii_graphic() && c != b'#') {
        return Some(text.to_owned());
    }
    field.error(
        format!("{} can't be the path of a request", shown(text)),
        "begin with / and write other than visible ASCII as %XX",
    )
}
