//! `DestinationRule`.

use std::time::Duration;

use crate::{
    Balance, ConnectionPool, DestinationRule, HashKey, ObjectName, OutlierDetection,
    manifest::{
        field::{Field, Fields, Shape},
        metadata::Metadata,
        names::{duration, is_dns_label},
        scalar::shown,
    },
};

const NOT_YET: &str = "is not supported yet, and not ignored";
const WIDER: &str =
    "leave it out; without endpoints in the caller's subzone, zone or region the next wider is taken";
const SPEC: Shape = Shape {
    known: &["host", "trafficPolicy"],
    ignored: &[],
    refused: &[
        ("subsets", NOT_YET, "write a Service for each subset, with its labels in `selector`"),
        ("exportTo", NOT_YET, "leave it out; a rule holds for all callers"),
        ("workloadSelector", NOT_YET, "leave it out; a rule holds for all callers"),
    ],
};
const POLICY: Shape = Shape {
    known: &["loadBalancer", "outlierDetection"],
    ignored: &[],
    refused: &[
        ("connectionPool", NOT_YET, "leave it out; the nearest is `outlierDetection`"),
        ("portLevelSettings", NOT_YET, "write a Service for each port, and its settings for the whole host"),
        ("tls", NOT_YET, "leave it out; the nearest is an AuthorizationPolicy"),
        ("tunnel", NOT_YET, "leave it out"),
        ("proxyProtocol", NOT_YET, "leave it out; servers see the callers' own addresses"),
        ("retryBudget", "is about layer 7", "leave it out; the nearest is `outlierDetection`"),
    ],
};
const LOAD_BALANCER: Shape = Shape {
    known: &["simple", "consistentHash", "warmup", "warmupDurationSecs", "localityLbSetting"],
    ignored: &[],
    refused: &[],
};
const HASH: Shape = Shape {
    known: &["useSourceIp"],
    ignored: &[],
    refused: &[
        ("httpHeaderName", "is about layer 7", "write `useSourceIp: true`"),
        ("httpCookie", "is about layer 7", "write `useSourceIp: true`"),
        ("httpQueryParameterName", "is about layer 7", "write `useSourceIp: true`"),
        ("ringHash", NOT_YET, "leave it out; the table is Maglev's"),
        ("maglev", NOT_YET, "leave it out; the table is Maglev's, of a size that fits its endpoints"),
        ("minimumRingSize", NOT_YET, "leave it out; the table is Maglev's"),
    ],
};
const WARMUP: Shape = Shape {
    known: &["duration"],
    ignored: &[],
    refused: &[
        ("minimumPercent", NOT_YET, "leave it out; a new endpoint begins with 10 %"),
        ("aggression", NOT_YET, "leave it out; the share grows evenly"),
    ],
};
const LOCALITY: Shape = Shape {
    known: &["enabled"],
    ignored: &[],
    refused: &[
        ("distribute", NOT_YET, "write `enabled: true`; the nearest is `weight` of a Workload"),
        ("failover", NOT_YET, WIDER),
        ("failoverPriority", NOT_YET, WIDER),
    ],
};
const OUTLIERS: Shape = Shape {
    known: &[
        "consecutiveLocalOriginFailures",
        "consecutiveGatewayErrors",
        "interval",
        "baseEjectionTime",
        "maxEjectionPercent",
        "minHealthPercent",
    ],
    ignored: &[],
    refused: &[
        ("consecutive5xxErrors", "is about layer 7", "write `consecutiveLocalOriginFailures`"),
        ("consecutiveErrors", "is an old field of layer 7", "write `consecutiveLocalOriginFailures`"),
        ("splitExternalLocalOriginErrors", "is about layer 7", "leave it out; all failures are connections'"),
    ],
};
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn destination_rule(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<DestinationRule> {
    let fields = spec.fields(&SPEC)?;
    let host = fields.require("host", "write the Service's name");
    let empty = (Balancing::default(), None);
    let policy = fields.or("trafficPolicy", empty, traffic_policy);
    let metadata = metadata?;
    let service = service(&host?, &metadata.name.namespace);
    let (balancing, outliers) = policy?;
    Some(DestinationRule {
        name: metadata.name,
        service: service?,
        balance: balancing.simple,
        hash: balancing.by_source.then_some(HashKey::Source),
        near: balancing.near,
        warmup: balancing.warmup,
        pool: ConnectionPool::default(),
        outliers,
    })
}

/// `web`, `web.shop`, `web.shop.svc` or `web.shop.svc.cluster.local`.
fn service(field: &Field<'_>, namespace: &str) -> Option<ObjectName> {
    let text = field.text()?;
    let short = text.strip_suffix(".svc.cluster.local").or_else(|| text.strip_suffix(".svc")).unwrap_or(text);
    let (name, of) = short.split_once('.').unwrap_or((short, namespace));
    if !is_dns_label(name) || !is_dns_label(of) {
        let remedy = "write a Service's name, as `web` or `web.shop.svc.cluster.local`";
        return field.error(format!("{} is no Service's name", shown(text)), remedy);
    }
    if of != namespace {
        let remedy = format!("put the DestinationRule into namespace {of}");
        return field.error(format!("the rule is in namespace {namespace}, its Service is not"), remedy);
    }
    Some(ObjectName::new(of, name))
}

#[derive(Default)]
struct Balancing {
    simple: Option<Balance>,
    by_source: bool,
    near: Option<bool>,
    warmup: Option<Duration>,
}

fn traffic_policy(field: &Field<'_>) -> Option<(Balancing, Option<OutlierDetection>)> {
    let fields = field.fields(&POLICY)?;
    let balancing = fields.or("loadBalancer", Balancing::default(), load_balancer);
    let outliers = fields.or("outlierDetection", None, |it| outlier_detection(it).map(Some));
    Some((balancing?, outliers?))
}

fn load_balancer(field: &Field<'_>) -> Option<Balancing> {
    let fields = field.fields(&LOAD_BALANCER)?;
    let simple = fields.or("simple", None, |it| {
        it.choice(&[
            ("LEAST_REQUEST", Some(Balance::TwoChoices)),
            ("LEAST_CONN", Some(Balance::TwoChoices)),
            ("RANDOM", Some(Balance::Random)),
            ("ROUND_ROBIN", Some(Balance::RoundRobin)),
            ("UNSPECIFIED", None),
        ])
    });
    let by_source = fields.or("consistentHash", false, |it| {
        let within = it.fields(&HASH)?;
        within.require("useSourceIp", "write `useSourceIp: true`")?.boolean()
    });
    let near = fields.or("localityLbSetting", None, |it| {
        it.fields(&LOCALITY)?.or("enabled", true, Field::boolean).map(Some)
    });
    let warmup = warmup(&fields);
    let (simple, by_source) = (simple?, by_source?);
    if simple.is_some() && by_source {
        return field.error("simple and consistentHash contradict each other", "leave one of them out");
    }
    Some(Balancing { simple, by_source, near: near?, warmup: warmup? })
}

fn warmup(fields: &Fields<'_>) -> Option<Option<Duration>> {
    let time = |it: &Field<'_>| duration(it, Duration::from_secs(1), HOUR).map(Some);
    let new = fields.or("warmup", None, |it| {
        let within = it.fields(&WARMUP)?;
        within.require("duration", "write how long it takes, as 30s").and_then(|it| time(&it))
    });
    let old = fields.or("warmupDurationSecs", None, time);
    let (new, old) = (new?, old?);
    if new.is_some() && old.is_some() {
        return fields.whole().error("warmup is written twice", "leave `warmupDurationSecs` out");
    }
    Some(new.or(old))
}

fn outlier_detection(field: &Field<'_>) -> Option<OutlierDetection> {
    let fields = field.fields(&OUTLIERS)?;
    let default = OutlierDetection::default();
    let count = |key| fields.or(key, None, |it| it.integer("a number of failures", 1..=1000).map(Some));
    let (local, gateway) = (count("consecutiveLocalOriginFailures"), count("consecutiveGatewayErrors"));
    let percent =
        |key, default: u32| fields.or(key, default.into(), |it| it.integer("a percentage", 0..=100));
    let max_percent = percent("maxEjectionPercent", default.max_percent);
    let min_health_percent = percent("minHealthPercent", default.min_health_percent);
    let time = |key, default| fields.or(key, default, |it| duration(it, Duration::from_millis(100), HOUR));
    let interval = time("interval", default.interval);
    let base_ejection = time("baseEjectionTime", default.base_ejection);
    let failures = match (local?, gateway?) {
        (Some(one), Some(other)) if one != other => {
            return field.error(
                "consecutiveLocalOriginFailures and consecutiveGatewayErrors differ",
                "write one of them: both count failed connections",
            );
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => default.failures.into(),
    };
    Some(OutlierDetection {
        failures: u32::try_from(failures).ok()?,
        interval: interval?,
        base_ejection: base_ejection?,
        max_percent: u32::try_from(max_percent?).ok()?,
        min_health_percent: u32::try_from(min_health_percent?).ok()?,
        ..default
    })
}
