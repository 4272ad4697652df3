//! What a destination on the command line means: an address, a name as applications write it, or `namespace/name`.

use std::net::{IpAddr, SocketAddr};

use wabe_agent::{Published, PublishedService, PublishedWorkload};
use wabe_dns::{Names, ServiceNames};

use crate::failure::Failure;

/// A destination as it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// `TO[:PORT]`.
    pub(super) text: &'a str,
    /// The caller's namespace, in which a plain name is looked for first.
    pub(super) namespace: &'a str,
    /// By its IPv6 address.
    pub(super) ipv6: bool,
    /// A datagram.
    pub(super) udp: bool,
}

/// The address and the port.
pub(super) fn resolve(
    asked: &Asked<'_>,
    names: &Published,
    dns: Option<&Names>,
) -> Result<(IpAddr, u16), Failure> {
    let (host, port) = split(asked.text)?;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((
            address,
            port.or_else(|| only_port_at(names, address, asked)).ok_or_else(|| no_port(asked, &[]))?,
        ));
    }
    for full in full_names(host, asked.namespace) {
        if let Some(service) = names.services.values().find(|it| *it.name == *full) {
            return of_service(asked, port, service, dns);
        }
        let mut replicas: Vec<&PublishedWorkload> =
            names.workloads.values().filter(|it| *it.name == *full).collect();
        replicas.sort_by_key(|it| (!it.ready, it.replica));
        if let Some(workload) = replicas.first() {
            let address = of_family(&workload.addresses, asked)?;
            return Ok((address, port.ok_or_else(|| no_port(asked, &[]))?));
        }
    }
    let known: Vec<&str> = names.services.values().map(|it| &*it.name).collect();
    Err(Failure::refused(format!(
        "{host} is no address, service or workload of this mesh; services are {}",
        if known.is_empty() { "none".into() } else { known.join(", ") }
    )))
}

/// An address and a port as people write them.
pub(super) fn show(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

fn of_service(
    asked: &Asked<'_>,
    port: Option<u16>,
    service: &PublishedService,
    dns: Option<&Names>,
) -> Result<(IpAddr, u16), Failure> {
    let headless = dns.and_then(|names| names.services.iter().find(|it| is_headless(it, &service.name)));
    let addresses = headless.map_or(&service.addresses, |it| &it.addresses);
    if addresses.is_empty() {
        return Err(Failure::refused(format!(
            "service {} is headless and none of its workloads is ready",
            service.name
        )));
    }
    let ports: Vec<u16> = match headless {
        Some(it) => it.ports.iter().map(|it| it.port).collect(),
        None => ports_of(service, asked),
    };
    let port = match (port, ports.as_slice()) {
        (Some(port), _) => port,
        (None, [one]) => *one,
        (None, several) => return Err(no_port(asked, several)),
    };
    Ok((of_family(addresses, asked)?, port))
}

fn is_headless(service: &ServiceNames, full: &str) -> bool {
    service.headless && format!("{}/{}", service.namespace, service.name) == full
}

fn ports_of(service: &PublishedService, asked: &Asked<'_>) -> Vec<u16> {
    let protocol = if asked.udp { "udp" } else { "tcp" };
    service.ports.iter().filter(|(_, its)| its == protocol).map(|(port, _)| *port).collect()
}

fn only_port_at(names: &Published, address: IpAddr, asked: &Asked<'_>) -> Option<u16> {
    let service = names.services.values().find(|it| it.addresses.contains(&address))?;
    match ports_of(service, asked).as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

fn of_family(addresses: &[IpAddr], asked: &Asked<'_>) -> Result<IpAddr, Failure> {
    let wanted = addresses.iter().find(|it| it.is_ipv6() == asked.ipv6);
    let other = if asked.ipv6 { None } else { addresses.first() };
    let none = || Failure::refused(format!("{} has no address of that family", asked.text));
    wanted.or(other).copied().ok_or_else(none)
}

fn no_port(asked: &Asked<'_>, known: &[u16]) -> Failure {
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    let known =
        if known.is_empty() { String::new() } else { format!("; the service has {}", known.join(", ")) };
    Failure::usage(format!("write a port: {}:PORT{known}", asked.text))
}

/// `namespace/name` in the order in which a resolver would try: with the caller's namespace, as `name.namespace`, and
/// as the full name.
fn full_names(host: &str, namespace: &str) -> Vec<String> {
    if host.contains('/') {
        return vec![host.to_owned()];
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let short = host.strip_suffix(".svc.cluster.local").or_else(|| host.strip_suffix(".svc")).unwrap_or(host);
    let mut full = vec![format!("{namespace}/{short}")];
    full.extend(short.rsplit_once('.').map(|(name, namespace)| format!("{namespace}/{name}")));
    full
}

/// The host as clients name it in requests to what was written so: without the port of HTTP, and `namespace/name` as a name.
pub(super) fn host_of(text: &str, port: u16) -> String {
    let host = split(text).map_or(text, |(host, _)| host);
    let host = match host.split_once('/') {
        Some((namespace, name)) => format!("{name}.{namespace}"),
        None if host.contains(':') => format!("[{host}]"),
        None => host.to_owned(),
    };
    if port == 80 { host } else { format!("{host}:{port}") }
}

/// Host and port of `host`, `host:port`, `[v6]:port`, or a bare IPv6 address.
fn split(text: &str) -> Result<(&str, Option<u16>), Failure> {
    let bad = || Failure::usage(format!("{text} ends in no port: ports are 1 to 65535"));
    let parse = |port: &str| port.parse().ok().filter(|port| *port > 0).ok_or_else(bad);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| Failure::usage(format!("{text} lacks a ]")))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(parse(port)?))),
            None => Ok((host, None)),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, Some(parse(port)?))),
        None => Ok((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh() -> Published {
        let ip = |text: &str| text.parse().expect("an address");
        let mut names = Published::default();
        let service = |name: &str, v4: &str, ports: &[u16]| PublishedService {
            name: name.into(),
            addresses: vec![ip(v4), ip("fd09::1")],
            ports: ports.iter().map(|port| (*port, "tcp".into())).collect(),
        };
        names.services.insert(1, service("shop/payment", "10.9.0.1", &[80]));
        names.services.insert(2, service("bank/ledger", "10.9.0.2", &[80, 443]));
        let workload = |replica, ready, v4: &str| PublishedWorkload {
            name: "shop/frontend".into(),
            replica,
            addresses: vec![ip(v4), ip("fd08::1")],
            ready,
        };
        names.workloads.insert(1, workload(0, false, "10.8.1.1"));
        names.workloads.insert(2, workload(1, true, "10.8.1.2"));
        names
    }

    fn ask(text: &str, ipv6: bool) -> Result<String, String> {
        let asked = Asked { text, namespace: "shop", ipv6, udp: false };
        resolve(&asked, &mesh(), None)
            .map(|(address, port)| show(address, port))
            .map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn every_way_to_write_a_destination() {
        for (text, ipv6, expected) in [
            ("payment", false, "10.9.0.1:80"),
            ("payment:81", false, "10.9.0.1:81"),
            ("payment.shop:80", false, "10.9.0.1:80"),
            ("payment.shop.svc.cluster.local.", false, "10.9.0.1:80"),
            ("shop/payment", true, "[fd09::1]:80"),
            ("ledger.bank.svc:443", false, "10.9.0.2:443"),
            ("bank/ledger:80", false, "10.9.0.2:80"),
            ("10.9.0.1", false, "10.9.0.1:80"),
            ("192.0.2.1:7", false, "192.0.2.1:7"),
            ("[2001:db8::1]:7", false, "[2001:db8::1]:7"),
            ("frontend:80", false, "10.8.1.2:80"),
        ] {
            assert_eq!(ask(text, ipv6).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        for (text, part) in [
            ("ledger", "is no address, service or workload"),
            ("bank/ledger", "the service has 80, 443"),
            ("payment:0", "ports are 1 to 65535"),
            ("payment:x", "ports are 1 to 65535"),
            ("192.0.2.1", "write a port"),
            ("frontend", "write a port"),
            ("[fd09::1", "lacks a ]"),
        ] {
            let error = ask(text, false).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
