//! `MeshConfig`.

use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    AccessLog, MeshConfig,
    manifest::{
        field::{Field, Shape},
        metadata::Metadata,
        names::label_name,
        scalar::shown,
    },
};

const SPEC: Shape = Shape {
    known: &[
        "trustDomain",
        "rootNamespace",
        "addressRanges",
        "shortCut",
        "accessLog",
        "proxyWorkers",
        "proxyBusyPollMicroseconds",
    ],
    ignored: &[],
    refused: &[],
};
const RANGES: Shape = Shape { known: &["workloads", "services"], ignored: &[], refused: &[] };

/// As they are written.
pub(crate) const ACCESS_LOGS: [(&str, AccessLog); 3] =
    [("all", AccessLog::All), ("failures", AccessLog::Failures), ("none", AccessLog::None)];

/// Of one family each.
type Ranges = (Option<Ipv4Net>, Option<Ipv6Net>);

pub(crate) fn mesh_config(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<MeshConfig> {
    let default = MeshConfig::default();
    let fields = spec.fields(&SPEC)?;
    let trust_domain = fields.or("trustDomain", default.trust_domain, trust_domain);
    let root_namespace = fields.or("rootNamespace", default.root_namespace, label_name);
    let ranges = fields.or("addressRanges", ((None, None), (None, None)), |field| {
        let fields = field.fields(&RANGES)?;
        let workloads = fields.or("workloads", (None, None), ranges);
        let services = fields.or("services", (None, None), ranges);
        let (workloads, services) = (workloads?, services?);
        apart(field, workloads, services).then_some((workloads, services))
    });
    let short_cut = fields.or("shortCut", default.short_cut, Field::boolean);
    let access_log = fields.or("accessLog", default.access_log, |field| field.choice(&ACCESS_LOGS));
    let proxy_workers = fields.or("proxyWorkers", None, |field| {
        let number = field.integer("a number of workers", 1..=64)?;
        Some(u8::try_from(number).ok())
    });
    let proxy_busy_poll = fields.or("proxyBusyPollMicroseconds", default.proxy_busy_poll, |field| {
        let number = field.integer("a number of microseconds", 0..=1000)?;
        Some(Duration::from_micros(u64::try_from(number).ok()?))
    });
    metadata?;
    let ((workload_range_v4, workload_range_v6), (service_range_v4, service_range_v6)) = ranges?;
    Some(MeshConfig {
        trust_domain: trust_domain?,
        root_namespace: root_namespace?,
        workload_range_v4,
        service_range_v4,
        workload_range_v6,
        service_range_v6,
        short_cut: short_cut?,
        access_log: access_log?,
        proxy_workers: proxy_workers?,
        proxy_busy_poll: proxy_busy_poll?,
    })
}

/// As SPIFFE has it.
fn trust_domain(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
    if !text.is_empty() && text.len() <= 255 && text.bytes().all(allowed) {
        return Some(text.to_owned());
    }
    field.error(
        format!("{} can't be a trust domain", shown(text)),
        "use at most 255 of a-z, 0-9, ., - and _, as cluster.local",
    )
}

fn ranges(field: &Field<'_>) -> Option<Ranges> {
    let mut found: Ranges = (None, None);
    let mut good = true;
    for item in field.items()? {
        let Some(range) = range(&item) else {
            good = false;
            continue;
        };
        let twice = match range {
            IpNet::V4(it) => found.0.replace(it).is_some(),
            IpNet::V6(it) => found.1.replace(it).is_some(),
        };
        if twice {
            good = false;
            item.error::<()>("a second range of this family", "write one IPv4 and one IPv6 range at most");
        }
    }
    good.then_some(found)
}

fn range(field: &Field<'_>) -> Option<IpNet> {
    let text = field.text()?;
    let Ok(range) = text.parse::<IpNet>() else {
        return field.error(
            format!("{} is not a range of addresses", shown(text)),
            "write 10.101.0.0/16 or fd00:65::/64",
        );
    };
    if range != range.trunc() {
        return field
            .error(format!("{range} has bits behind its prefix"), format!("write {}", range.trunc()));
    }
    let (least, most, reserved): (u8, u8, &[&str]) = match range {
        IpNet::V4(_) => (8, 24, &["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"]),
        IpNet::V6(_) => (48, 112, &["::/16", "fe80::/10", "ff00::/8"]),
    };
    if !(least..=most).contains(&range.prefix_len()) {
        return field.error(
            format!("/{} is out of range for a prefix", range.prefix_len()),
            format!("/{least} to /{most} can be used"),
        );
    }
    let overlaps =
        |block: &&&str| block.parse::<IpNet>().is_ok_and(|it| it.contains(&range) || range.contains(&it));
    if let Some(block) = reserved.iter().find(overlaps) {
        return field.error(
            format!("{range} is in {block}, which hosts can't have addresses of"),
            "use private addresses, as 10.101.0.0/16 or fd00:65::/64",
        );
    }
    Some(range)
}

fn apart(field: &Field<'_>, workloads: Ranges, services: Ranges) -> bool {
    let overlap_v4 = workloads.0.zip(services.0).is_some_and(|(a, b)| a.contains(&b) || b.contains(&a));
    let overlap_v6 = workloads.1.zip(services.1).is_some_and(|(a, b)| a.contains(&b) || b.contains(&a));
    if overlap_v4 || overlap_v6 {
        field.error::<()>("the ranges of workloads and of services overlap", "make them apart");
    }
    !(overlap_v4 || overlap_v6)
}
