//! A small mesh for tests.

use std::net::IpAddr;

use crate::{EndpointNames, Names, Port, ServiceNames, Transport};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

pub(crate) fn names() -> Names {
    Names {
        domain: "cluster.local".into(),
        generation: 7,
        resolver: vec![ip("10.1.255.1")],
        services: vec![
            service("shop", "catalogue", &["10.96.0.1", "fd00::1"], false, &["10.1.0.2", "10.1.0.3"]),
            service("shop", "payment", &["10.96.0.2"], false, &[]),
            service("shop", "six", &["fd00::6"], false, &[]),
            service("shop", "store", &["10.1.0.4", "fd01::4", "10.1.0.5"], true, &["10.1.0.4", "10.1.0.5"]),
            service("shop", "nobody", &[], true, &[]),
            service("bank", "payment", &["10.96.1.2"], false, &[]),
        ],
        clients: [("10.1.0.9", "shop"), ("fd01::9", "shop"), ("10.1.1.9", "bank")]
            .map(|(address, namespace)| (ip(address), namespace.to_owned()))
            .into(),
    }
}

fn service(
    namespace: &str,
    name: &str,
    addresses: &[&str],
    headless: bool,
    endpoints: &[&str],
) -> ServiceNames {
    let port = |name: Option<&str>, port, transport| Port { name: name.map(str::to_owned), port, transport };
    ServiceNames {
        namespace: namespace.into(),
        name: name.into(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        headless,
        ports: vec![port(Some("http"), 80, Transport::Tcp), port(None, 99, Transport::Udp)],
        endpoints: (0..)
            .zip(endpoints)
            .map(|(n, address)| EndpointNames {
                hostname: format!("{name}-v1-{n}"),
                addresses: vec![ip(address)],
            })
            .collect(),
    }
}
