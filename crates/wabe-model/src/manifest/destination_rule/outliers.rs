//! `trafficPolicy.outlierDetection`, and the annotation that goes with it.

use std::time::Duration;

use super::HOUR;
use crate::{
    OutlierDetection,
    manifest::{
        field::{Field, Shape},
        names::duration,
        scalar::shown,
    },
};

const OUTLIERS: Shape = Shape {
    known: &[
        "consecutiveLocalOriginFailures",
        "consecutive5xxErrors",
        "consecutiveGatewayErrors",
        "splitExternalLocalOriginErrors",
        "interval",
        "baseEjectionTime",
        "maxEjectionPercent",
        "minHealthPercent",
    ],
    ignored: &[],
    refused: &[("consecutiveErrors", "is an old field of Istio's", "write `consecutive5xxErrors`")],
};

pub(super) fn outlier_detection(field: &Field<'_>) -> Option<OutlierDetection> {
    let fields = field.fields(&OUTLIERS)?;
    let default = OutlierDetection::default();
    let count = |key| {
        fields.or(key, None, |it| Some(u32::try_from(it.integer("a number of failures", 0..=1000)?).ok()))
    };
    let (local, gateway, server) = (
        count("consecutiveLocalOriginFailures"),
        count("consecutiveGatewayErrors"),
        count("consecutive5xxErrors"),
    );
    let split = fields.or("splitExternalLocalOriginErrors", default.split, Field::boolean);
    let percent = |key, default: u32| {
        fields.or(key, default, |it| u32::try_from(it.integer("a percentage", 0..=100)?).ok())
    };
    let max_percent = percent("maxEjectionPercent", default.max_percent);
    let min_health_percent = percent("minHealthPercent", default.min_health_percent);
    let time = |key, default| fields.or(key, default, |it| duration(it, Duration::from_millis(100), HOUR));
    let interval = time("interval", default.interval);
    let base_ejection = time("baseEjectionTime", default.base_ejection);
    let (local, gateway, server, split) = (local?, gateway?, server?, split?);
    // Unless told apart, a failed connection is a 5xx to Istio; a 0 of gateways' errors, which is its default, says nothing of that.
    let of_answers = if split { None } else { gateway.filter(|it| *it > 0).or(server) };
    Some(OutlierDetection {
        failures: local.or(of_answers).unwrap_or(default.failures),
        server_errors: server.unwrap_or(default.server_errors),
        gateway_errors: gateway.unwrap_or(default.gateway_errors),
        split,
        deviations: None,
        interval: interval?,
        base_ejection: base_ejection?,
        max_percent: max_percent?,
        min_health_percent: min_health_percent?,
    })
}

/// A number such as `1.9`, in thousandths.
pub(super) fn deviations(field: &Field<'_>) -> Option<u32> {
    let text = field.text()?;
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number =
        |it: &str| !it.is_empty() && it.len() <= 3 && it.bytes().all(|byte| byte.is_ascii_digit());
    let number = (is_number(whole) && is_number(part))
        .then(|| format!("{whole}{part:0<3}").parse::<u32>().ok())
        .flatten();
    match number {
        Some(thousandths @ 100..=10_000) => Some(thousandths),
        Some(_) | None => field.error(
            format!("{} is no number of standard deviations", shown(text)),
            "write a number from 0.1 to 10 in quotes, as \"1.9\", with at most three digits behind the point",
        ),
    }
}
