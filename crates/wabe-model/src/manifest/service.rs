//! `Service`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    AppProtocol, Balance, ClusterIps, Distribution, Layer7, PortName, Service, ServicePort, TargetPort,
    Transport,
    manifest::{
        field::{Field, Fields, Shape},
        metadata::{BALANCE, BALANCES, LAYER7, Metadata},
        names::{is_dns_label, labels, port, port_name, transport, unicast},
        scalar::{nearest, shown},
    },
    service::DEFAULT_AFFINITY,
};

const NOT_YET: &str = "is not supported yet, and not ignored";
const OUTSIDE: &str =
    "is about traffic from outside of the mesh, which is not supported yet, and not ignored";
const SPEC: Shape = Shape {
    known: &[
        "selector",
        "ports",
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "type",
        "publishNotReadyAddresses",
        "internalTrafficPolicy",
        "sessionAffinity",
        "sessionAffinityConfig",
        "trafficDistribution",
    ],
    ignored: &[],
    refused: &[
        ("externalTrafficPolicy", OUTSIDE, "leave it out; services are reached from inside of the mesh"),
        ("externalIPs", OUTSIDE, "use clusterIP"),
        (
            "externalName",
            OUTSIDE,
            "let the program dial that name itself; its Workload needs `egress: masquerade`",
        ),
        ("loadBalancerIP", OUTSIDE, "use clusterIP"),
        ("loadBalancerClass", OUTSIDE, "leave it out"),
        ("loadBalancerSourceRanges", OUTSIDE, "use an AuthorizationPolicy with ipBlocks"),
        ("allocateLoadBalancerNodePorts", OUTSIDE, "leave it out"),
        ("healthCheckNodePort", OUTSIDE, "leave it out"),
    ],
};
const PORT: Shape = Shape {
    known: &["name", "port", "targetPort", "protocol", "appProtocol"],
    ignored: &[],
    refused: &[
        ("nodePort", OUTSIDE, "leave it out"),
        ("containerPort", "is a field of Pods", "write `targetPort`"),
    ],
};

pub(crate) fn service(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<Service> {
    let balance = metadata.as_ref().map(balance);
    let fields = spec.fields(&SPEC)?;
    let selector = selector(&fields);
    let settings = settings(&fields);
    let cluster_ips = cluster_ips(&fields);
    let ports = ports(&fields, cluster_ips == Some(ClusterIps::Headless));
    let publish_not_ready = fields.or("publishNotReadyAddresses", false, Field::boolean);
    let affinity = affinity(&fields);
    let layer7 = metadata.as_ref().map(Metadata::layer7);
    let distribution = fields.or("trafficDistribution", None, |it| distribution(it).map(Some));
    settings?;
    if cluster_ips == Some(ClusterIps::Headless) && layer7 == Some(Some(Layer7::Always)) {
        return spec.error(
            "a headless service has no address of its own, by which its callers could be led to the proxy",
            format!("leave `clusterIP: None` or the annotation {LAYER7} out"),
        );
    }
    Some(Service {
        name: metadata?.name,
        selector: selector?,
        ports: ports?,
        cluster_ips: cluster_ips?,
        publish_not_ready: publish_not_ready?,
        balance: balance??,
        affinity: affinity?,
        distribution: distribution?,
        layer7: layer7??,
    })
}

fn balance(metadata: &Metadata<'_>) -> Option<Balance> {
    metadata.annotation(BALANCE).map_or(Some(Balance::default()), |field| field.choice(BALANCES))
}

fn selector(fields: &Fields<'_>) -> Option<BTreeMap<String, String>> {
    let remedy = "write the labels of its workloads; a Service without workloads of its own is not supported";
    let field = fields.require("selector", remedy)?;
    let selector = labels(&field)?;
    if selector.is_empty() {
        field.error("an empty selector would select every workload", remedy)
    } else {
        Some(selector)
    }
}

/// Fields that have one supported value, which is what Kubernetes writes if nothing was said.
fn settings(fields: &Fields<'_>) -> Option<()> {
    let one = |key, only: &str, remedy: &str| {
        fields.or(key, (), |field| match field.text()? {
            it if it == only => Some(()),
            it => field.error(format!("{} {NOT_YET}", shown(it)), remedy),
        })
    };
    let of_type = one("type", "ClusterIP", "use ClusterIP; `clusterIP: None` makes it headless");
    let traffic = one("internalTrafficPolicy", "Cluster", "use Cluster; all endpoints are on this node");
    of_type.and(traffic)
}

const AFFINITY_CONFIG: Shape = Shape { known: &["clientIP"], ignored: &[], refused: &[] };
const CLIENT_IP: Shape = Shape { known: &["timeoutSeconds"], ignored: &[], refused: &[] };

/// `sessionAffinity` and what belongs to it.
fn affinity(fields: &Fields<'_>) -> Option<Option<u32>> {
    let stays = fields.or("sessionAffinity", false, |it| it.choice(&[("None", false), ("ClientIP", true)]));
    let timeout = fields.or("sessionAffinityConfig", None, |config| {
        let client = config.fields(&AFFINITY_CONFIG)?.find("clientIP");
        let Some(client) = client.filter(|it| !it.is_null()) else { return Some(None) };
        let within = client.fields(&CLIENT_IP)?;
        within.or("timeoutSeconds", None, |it| it.integer("a time in seconds", 1..=86_400).map(Some))
    });
    let (stays, timeout) = (stays?, timeout?);
    match (stays, timeout) {
        (true, None) => Some(Some(DEFAULT_AFFINITY)),
        (true, Some(timeout)) => Some(Some(u32::try_from(timeout).ok()?)),
        (false, None) => Some(None),
        (false, Some(_)) => fields.whole().error(
            "sessionAffinityConfig has a timeout, but sessionAffinity is None",
            "write `sessionAffinity: ClientIP`, or leave the timeout out",
        ),
    }
}

fn distribution(field: &Field<'_>) -> Option<Distribution> {
    if field.text() == Some("PreferSameNode") {
        return field.error(
            "PreferSameNode says nothing here: all endpoints are on this node",
            "use PreferSameZone, or leave it out",
        );
    }
    field.choice(&[
        ("PreferClose", Distribution::PreferClose),
        ("PreferSameZone", Distribution::PreferSameZone),
    ])
}

/// Whether IPv4 and IPv6 are wanted.
type Families = (bool, bool);

fn cluster_ips(fields: &Fields<'_>) -> Option<ClusterIps> {
    let families = families(fields);
    let written = written_addresses(fields)?;
    let (has_v4, has_v6) = families?;
    let mut v4: Option<Option<Ipv4Addr>> = has_v4.then_some(None);
    let mut v6: Option<Option<Ipv6Addr>> = has_v6.then_some(None);
    let Written::Addresses(written) = written else {
        if !(has_v4 && has_v6) {
            fields.whole().warn(
                "a headless service's names lead to both families' addresses, whatever ipFamilies say",
                "leave ipFamilies and ipFamilyPolicy out",
            );
        }
        return Some(ClusterIps::Headless);
    };
    let single = fields.find("ipFamilyPolicy").is_some_and(|it| it.text() == Some("SingleStack"));
    for (field, address) in &written {
        // One family without saying which: that of the address.
        if single && fields.find("ipFamilies").is_none() {
            (v4, v6) = if address.is_ipv4() { (Some(None), None) } else { (None, Some(None)) };
        }
        let taken = match (address, &mut v4, &mut v6) {
            (IpAddr::V4(it), Some(place), _) => place.replace(*it).is_some(),
            (IpAddr::V6(it), _, Some(place)) => place.replace(*it).is_some(),
            (IpAddr::V4(_), None, _) | (IpAddr::V6(_), _, None) => {
                return field.error(
                    format!("{address} is of a family that ipFamilies or ipFamilyPolicy leave out"),
                    "add the family to ipFamilies, or leave the address out",
                );
            }
        };
        if taken {
            return field.error("two addresses of one family", "a service has one of each family at most");
        }
    }
    if single && written.len() > 1 {
        return fields.whole().error(
            "ipFamilyPolicy is SingleStack, but there are two addresses",
            "leave one out, or write PreferDualStack",
        );
    }
    Some(ClusterIps::Virtual { v4, v6 })
}

/// Both if nothing is said; a list of families without a policy means these; a dual-stack policy means both.
fn families(fields: &Fields<'_>) -> Option<Families> {
    let policy = fields.or("ipFamilyPolicy", None, |field| {
        let choices =
            [("SingleStack", Some(false)), ("PreferDualStack", Some(true)), ("RequireDualStack", Some(true))];
        field.choice(&choices)
    });
    let listed = fields.or("ipFamilies", None, |field| {
        let list = field.all(|it| it.choice(&[("IPv4", true), ("IPv6", false)]))?;
        match list.as_slice() {
            [] => field.error(
                "a service needs an address",
                "list IPv4, IPv6, or both; without the list it has both",
            ),
            [_] => Some(Some(list)),
            [one, two] if one != two => Some(Some(list)),
            _ => field.error("one family is listed twice", "list each once"),
        }
    });
    let (policy, listed) = (policy?, listed?);
    match (policy, listed) {
        (Some(true), _) | (None, None) => Some((true, true)),
        (Some(false), None) => Some((true, false)),
        (_, Some(list)) if policy == Some(false) && list.len() > 1 => fields.whole().error(
            "ipFamilyPolicy is SingleStack, but ipFamilies lists two",
            "leave one out, or write PreferDualStack",
        ),
        (_, Some(list)) => Some((list.contains(&true), list.contains(&false))),
    }
}

enum Written<'a> {
    Headless,
    Addresses(Vec<(Field<'a>, IpAddr)>),
}

/// `clusterIP` and `clusterIPs` together: Kubernetes writes the first address into both.
fn written_addresses<'a>(fields: &Fields<'a>) -> Option<Written<'a>> {
    let single = fields.find("clusterIP");
    let list = fields.or("clusterIPs", Vec::new(), |it| it.items());
    let mut headless = 0;
    let mut addresses = Vec::new();
    let mut good = true;
    let entries: Vec<_> = single.iter().cloned().chain(list.unwrap_or_default()).collect();
    for field in &entries {
        match field.text() {
            // Kubernetes takes the empty text for an address to be chosen.
            Some("") => {}
            Some("None") => headless += 1,
            Some(_) => match unicast(field) {
                Some(address) if addresses.iter().any(|(_, it)| *it == address) => {}
                Some(address) => addresses.push((field.clone(), address)),
                None => good = false,
            },
            None => good = false,
        }
    }
    if headless > 0 && headless != entries.len() {
        return fields.whole().error(
            "clusterIP and clusterIPs contradict each other",
            "write clusterIP alone: None, or an address",
        );
    }
    good.then_some(if headless > 0 { Written::Headless } else { Written::Addresses(addresses) })
}

fn ports(fields: &Fields<'_>, headless: bool) -> Option<Vec<ServicePort>> {
    let remedy = "list at least one: `ports: [{port: 80}]`";
    let field = match (fields.find("ports"), headless) {
        (None, true) => return Some(Vec::new()),
        (None, false) => fields.require("ports", remedy)?,
        (Some(field), _) => field,
    };
    let items = field.items()?;
    let read: Vec<_> = items.iter().map(service_port).collect();
    let ports: Vec<_> = read.into_iter().collect::<Option<_>>()?;
    if ports.is_empty() && !headless {
        return field.error("a service needs a port", remedy);
    }
    let mut good = true;
    for (index, (port, item)) in ports.iter().zip(&items).enumerate() {
        let before = &ports[..index];
        if ports.len() > 1 && port.name.is_none() {
            good = false;
            item.error::<()>("`name` is missing; several ports need names", "give each port a name");
        }
        if port.name.is_some() && before.iter().any(|it| it.name == port.name) {
            good = false;
            item.error::<()>("another port has this name", "names of ports must differ");
        }
        if before.iter().any(|it| (it.port, it.transport) == (port.port, port.transport)) {
            good = false;
            item.error::<()>("another port has this number and protocol", "leave one of them out");
        }
    }
    good.then_some(ports)
}

fn service_port(field: &Field<'_>) -> Option<ServicePort> {
    let fields = field.fields(&PORT)?;
    let name = fields.or("name", None, |it| service_port_name(it).map(Some));
    let number = fields.require("port", "write the number that clients dial").and_then(|it| port(&it));
    let target = fields.or("targetPort", None, |it| target_port(it).map(Some));
    let transport = fields.or("protocol", Transport::Tcp, transport);
    let app_protocol = fields.or("appProtocol", AppProtocol::Detect, app_protocol);
    let (port, transport, app_protocol) = (number?, transport?, app_protocol?);
    if transport == Transport::Udp && app_protocol != AppProtocol::Detect {
        return field.error("appProtocol is about TCP, and this port is for UDP", "leave appProtocol out");
    }
    Some(ServicePort {
        name: name?,
        port,
        target: target?.unwrap_or(TargetPort::Number(port)),
        transport,
        app_protocol,
    })
}

fn app_protocol(field: &Field<'_>) -> Option<AppProtocol> {
    let text = field.text()?;
    // As Istio does: case counts for nothing.
    let word = text.to_ascii_lowercase();
    if let Some((_, protocol)) = AppProtocol::WORDS.into_iter().find(|it| it.0 == word) {
        return Some(protocol);
    }
    let words = AppProtocol::WORDS.map(|it| it.0);
    let hint = nearest(&word, words).map(|it| format!("did you mean `{it}`? ")).unwrap_or_default();
    field.error(
        format!("{} is not known", shown(text)),
        format!("{hint}`tcp` is any protocol that nobody looks into; known: {}", words.join(", ")),
    )
}

/// Names of services' ports may be longer than those of workloads' ports: an RFC 1123 label.
fn service_port_name(field: &Field<'_>) -> Option<PortName> {
    let text = field.text()?;
    if is_dns_label(text) {
        return Some(text.to_owned());
    }
    field.error(
        format!("{} can't be the name of a port", shown(text)),
        "use at most 63 of a-z, 0-9 and -, with a letter or digit first and last",
    )
}

fn target_port(field: &Field<'_>) -> Option<TargetPort> {
    if field.number().is_some() {
        port(field).map(TargetPort::Number)
    } else {
        port_name(field).map(TargetPort::Name)
    }
}
