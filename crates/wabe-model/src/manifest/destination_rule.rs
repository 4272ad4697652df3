//! `DestinationRule`.

use std::time::Duration;

use crate::{
    ConnectionPool, DestinationRule, ObjectName, OutlierDetection,
    manifest::{
        BALANCE, BALANCES,
        destination_rule::{
            connection_pool::{connection_pool, retry_budget},
            load_balancer::{Balancing, load_balancer},
            outliers::{deviations, outlier_detection},
        },
        field::{Field, Shape},
        metadata::{Metadata, SUCCESS_RATE},
        names::is_dns_label,
        scalar::shown,
    },
};

mod connection_pool;
mod load_balancer;
mod locality;
mod outliers;

const NOT_YET: &str = "is not supported yet, and not ignored";
const SPEC: Shape = Shape {
    known: &["host", "trafficPolicy"],
    ignored: &[],
    refused: &[
        (
            "subsets",
            "is not supported: a route can't name a subset",
            "write a Service for each subset, with its labels in `selector`, and give them weights in an HTTPRoute",
        ),
        ("exportTo", NOT_YET, "leave it out; a rule holds for all callers"),
        ("workloadSelector", NOT_YET, "leave it out; a rule holds for all callers"),
    ],
};
const POLICY: Shape = Shape {
    known: &["loadBalancer", "connectionPool", "outlierDetection", "retryBudget"],
    ignored: &[],
    refused: &[
        ("portLevelSettings", NOT_YET, "write a Service for each port, and its settings for the whole host"),
        ("tls", NOT_YET, "leave it out; the nearest is an AuthorizationPolicy"),
        ("tunnel", NOT_YET, "leave it out"),
        ("proxyProtocol", NOT_YET, "leave it out; servers see the callers' own addresses"),
    ],
};
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn destination_rule(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<DestinationRule> {
    let fields = spec.fields(&SPEC)?;
    let host = fields.require("host", "write the Service's name");
    let policy = fields.or("trafficPolicy", Policy::default(), traffic_policy);
    let metadata = metadata?;
    let annotated = metadata.annotation(BALANCE).map_or(Some(None), |it| it.choice(BALANCES).map(Some));
    let deviations = metadata.annotation(SUCCESS_RATE).map_or(Some(None), |it| deviations(it).map(Some));
    let service = service(&host?, &metadata.name.namespace);
    let Policy { balancing, pool, mut outliers } = policy?;
    if let Some(field) = metadata.annotation(BALANCE)
        && (balancing.simple.is_some() || balancing.hash.is_some())
    {
        return field
            .error("the rule's loadBalancer says how endpoints are chosen, too", "leave one of them out");
    }
    if let Some(deviations) = deviations? {
        match &mut outliers {
            Some(outliers) => outliers.deviations = Some(deviations),
            None => {
                let field = metadata.annotation(SUCCESS_RATE)?;
                return field.error(
                    "the rule has no outlierDetection, whose times and percentages hold",
                    "write `outlierDetection: {}` in spec.trafficPolicy",
                );
            }
        }
    }
    Some(DestinationRule {
        name: metadata.name,
        service: service?,
        balance: annotated?.or(balancing.simple),
        hash: balancing.hash,
        near: balancing.near.enabled,
        failover: balancing.near.failover,
        warmup: balancing.warmup,
        pool,
        outliers,
    })
}

#[derive(Default)]
struct Policy {
    balancing: Balancing,
    pool: ConnectionPool,
    outliers: Option<OutlierDetection>,
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

fn traffic_policy(field: &Field<'_>) -> Option<Policy> {
    let fields = field.fields(&POLICY)?;
    let balancing = fields.or("loadBalancer", Balancing::default(), load_balancer);
    let pool = fields.or("connectionPool", ConnectionPool::default(), connection_pool);
    let outliers = fields.or("outlierDetection", None, |it| outlier_detection(it).map(Some));
    let budget = fields.or("retryBudget", None, |it| retry_budget(it).map(Some));
    let (mut pool, budget) = (pool?, budget?);
    pool.retry_budget = budget;
    Some(Policy { balancing: balancing?, pool, outliers: outliers? })
}
