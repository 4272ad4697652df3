//! `DestinationRule`.

use serde_json::{Map, Value, json};

use crate::{Balance, DestinationRule, OutlierDetection, manifest::scalar::duration_text};

pub(super) fn destination_rule_spec(rule: &DestinationRule) -> Value {
    let mut balancer = Map::new();
    let simple = rule.balance.map(|balance| match balance {
        Balance::TwoChoices => "LEAST_REQUEST",
        Balance::Random => "RANDOM",
        Balance::RoundRobin => "ROUND_ROBIN",
        Balance::PeakEwma => "PEAK_EWMA",
    });
    if let Some(simple) = simple {
        balancer.insert("simple".into(), json!(simple));
    }
    if rule.hash.is_some() {
        balancer.insert("consistentHash".into(), json!({ "useSourceIp": true }));
    }
    if let Some(near) = rule.near {
        balancer.insert("localityLbSetting".into(), json!({ "enabled": near }));
    }
    if let Some(warmup) = rule.warmup {
        balancer.insert("warmup".into(), json!({ "duration": duration_text(warmup) }));
    }
    let mut policy = Map::new();
    if !balancer.is_empty() {
        policy.insert("loadBalancer".into(), Value::Object(balancer));
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

fn outlier_detection(outliers: &OutlierDetection) -> Value {
    json!({
        "consecutiveLocalOriginFailures": outliers.failures,
        "interval": duration_text(outliers.interval),
        "baseEjectionTime": duration_text(outliers.base_ejection),
        "maxEjectionPercent": outliers.max_percent,
        "minHealthPercent": outliers.min_health_percent,
    })
}
