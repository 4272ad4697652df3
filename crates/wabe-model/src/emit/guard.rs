//! `RequestLimit` and `FaultInjection`.

use serde_json::{Value, json};

use crate::{FaultInjection, LimitScope, RequestLimit, Share, manifest::scalar::duration_text};

pub(super) fn request_limit_spec(limit: &RequestLimit) -> Value {
    let each = match limit.each {
        LimitScope::Route => "Route",
        LimitScope::Caller => "Caller",
    };
    json!({
        "requests": limit.requests,
        "per": duration_text(limit.per),
        "burst": limit.burst,
        "each": each,
    })
}

pub(super) fn fault_injection_spec(fault: &FaultInjection) -> Value {
    let mut spec = json!({});
    if let Some(delay) = fault.delay {
        spec["delay"] = with_share(json!({ "time": duration_text(delay.time) }), delay.share);
    }
    if let Some(abort) = fault.abort {
        spec["abort"] = with_share(json!({ "status": abort.status }), abort.share);
    }
    spec
}

fn with_share(mut value: Value, Share { numerator, denominator }: Share) -> Value {
    match (numerator, denominator) {
        (100, 100) => {}
        (percent, 100) => value["percent"] = json!(percent),
        _ => value["fraction"] = json!({ "numerator": numerator, "denominator": denominator }),
    }
    value
}
