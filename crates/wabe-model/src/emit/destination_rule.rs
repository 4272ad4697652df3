//! `DestinationRule`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::balance_word;
use crate::{
    Balance, ConnectionPool, DestinationRule, HashKey, OutlierDetection,
    manifest::{BALANCE, SUCCESS_RATE, scalar::duration_text},
};

/// What Istio has no field for.
pub(super) fn destination_rule_annotations(rule: &DestinationRule) -> Option<Value> {
    let mut annotations = Map::new();
    if let Some(balance) = rule.balance
        && simple(balance).is_none()
    {
        annotations.insert(BALANCE.into(), json!(balance_word(balance)));
    }
    if let Some(deviations) = rule.outliers.as_ref().and_then(|it| it.deviations) {
        let text = format!("{}.{:03}", deviations / 1000, deviations % 1000);
        annotations.insert(SUCCESS_RATE.into(), json!(text));
    }
    (!annotations.is_empty()).then_some(Value::Object(annotations))
}

pub(super) fn destination_rule_spec(rule: &DestinationRule) -> Value {
    let mut balancer = Map::new();
    if let Some(simple) = rule.balance.and_then(simple) {
        balancer.insert("simple".into(), json!(simple));
    }
    if let Some(key) = &rule.hash {
        balancer.insert("consistentHash".into(), hash(key));
    }
    if let Some(near) = rule.near {
        let mut setting = json!({ "enabled": near });
        if !rule.failover.is_empty() {
            let next = rule.failover.iter().map(|(from, to)| json!({ "from": from, "to": to }));
            setting["failover"] = next.collect();
        }
        balancer.insert("localityLbSetting".into(), setting);
    }
    if let Some(warmup) = rule.warmup {
        balancer.insert("warmup".into(), json!({ "duration": duration_text(warmup) }));
    }
    let mut policy = Map::new();
    if !balancer.is_empty() {
        policy.insert("loadBalancer".into(), Value::Object(balancer));
    }
    let pool = connection_pool(&rule.pool);
    if !pool.is_empty() {
        policy.insert("connectionPool".into(), Value::Object(pool));
    }
    if let Some(budget) = rule.pool.retry_budget {
        let value = json!({ "percent": budget.percent, "minRetryConcurrency": budget.least });
        policy.insert("retryBudget".into(), value);
    }
    if let Some(outliers) = &rule.outliers {
        policy.insert("outlierDetection".into(), outlier_detection(outliers));
    }
    let host = format!("{}.{}.svc.cluster.local", rule.service.name, rule.service.namespace);
    let mut spec = json!({ "host": host });
    if !policy.is_empty() {
        spec["trafficPolicy"] = Value::Object(policy);
    }
    spec
}

/// Istio's word, if it has one.
fn simple(balance: Balance) -> Option<&'static str> {
    match balance {
        Balance::TwoChoices => Some("LEAST_REQUEST"),
        Balance::Random => Some("RANDOM"),
        Balance::RoundRobin => Some("ROUND_ROBIN"),
        Balance::PeakEwma => None,
    }
}

fn hash(key: &HashKey) -> Value {
    match key {
        HashKey::Source => json!({ "useSourceIp": true }),
        HashKey::Header(name) => json!({ "httpHeaderName": name }),
        HashKey::Query(name) => json!({ "httpQueryParameterName": name }),
        HashKey::Cookie(cookie) => {
            let mut value = json!({ "name": cookie.name });
            if let Some(path) = &cookie.path {
                value["path"] = json!(path);
            }
            if let Some(lifetime) = cookie.lifetime {
                value["ttl"] = json!(duration_text(lifetime));
            }
            json!({ "httpCookie": value })
        }
    }
}

fn connection_pool(pool: &ConnectionPool) -> Map<String, Value> {
    let time = |it: Option<Duration>| it.map(|it| json!(duration_text(it)));
    let number = |it: Option<u32>| it.map(|it| json!(it));
    let written = |fields: Vec<(&str, Option<Value>)>| -> Map<String, Value> {
        fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    };
    let tcp = written(vec![
        ("maxConnections", number(pool.connections)),
        ("connectTimeout", time(pool.connect_timeout)),
        ("idleTimeout", time(pool.stream_idle)),
    ]);
    let http = written(vec![
        ("http1MaxPendingRequests", number(pool.pending)),
        ("http2MaxRequests", number(pool.requests)),
        ("maxRequestsPerConnection", number(pool.requests_per_connection)),
        ("maxRetries", number(pool.retries)),
        ("idleTimeout", time(pool.idle)),
        ("h2UpgradePolicy", pool.http2.then(|| json!("UPGRADE"))),
    ]);
    let parts = [("tcp", tcp), ("http", http)].into_iter().filter(|(_, it)| !it.is_empty());
    parts.map(|(key, it)| (key.to_owned(), Value::Object(it))).collect()
}

fn outlier_detection(outliers: &OutlierDetection) -> Value {
    let mut value = json!({
        "consecutiveLocalOriginFailures": outliers.failures,
        "consecutive5xxErrors": outliers.server_errors,
        "consecutiveGatewayErrors": outliers.gateway_errors,
        "interval": duration_text(outliers.interval),
        "baseEjectionTime": duration_text(outliers.base_ejection),
        "maxEjectionPercent": outliers.max_percent,
        "minHealthPercent": outliers.min_health_percent,
    });
    if outliers.split {
        value["splitExternalLocalOriginErrors"] = json!(true);
    }
    value
}
