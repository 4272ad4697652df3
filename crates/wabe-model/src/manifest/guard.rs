//! `RequestLimit` and `FaultInjection`.

use std::time::Duration;

use crate::{
    Abort, Delay, FaultInjection, LimitScope, RequestLimit, Share,
    manifest::{
        field::{Field, Fields, Shape},
        metadata::Metadata,
        names::duration,
    },
};

const LIMIT: Shape = Shape { known: &["requests", "per", "burst", "each"], ignored: &[], refused: &[] };
const FAULT: Shape = Shape { known: &["delay", "abort"], ignored: &[], refused: &[] };
const DELAY: Shape = Shape {
    known: &["time", "percent", "fraction"],
    ignored: &[],
    refused: &[
        ("fixedDelay", "is Istio's word", "write `time`"),
        ("percentage", "is Istio's word", "write `percent`, or a `fraction`"),
    ],
};
const ABORT: Shape = Shape {
    known: &["status", "percent", "fraction"],
    ignored: &[],
    refused: &[
        ("httpStatus", "is Istio's word", "write `status`"),
        ("grpcStatus", "is Istio's word", "write `status`; callers of gRPC are told what corresponds to it"),
        ("percentage", "is Istio's word", "write `percent`, or a `fraction`"),
    ],
};
const FRACTION: Shape = Shape { known: &["numerator", "denominator"], ignored: &[], refused: &[] };
const MOST: i64 = 1_000_000;
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn request_limit(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<RequestLimit> {
    let fields = spec.fields(&LIMIT)?;
    let number = |it: &Field<'_>| u32::try_from(it.integer("a number of requests", 1..=MOST)?).ok();
    let requests = fields.require("requests", "write how many pass").and_then(|it| number(&it));
    let burst = fields.or("burst", None, |it| number(it).map(Some));
    let second = Duration::from_secs(1);
    let per = fields.or("per", second, |it| duration(it, second, HOUR));
    let each = fields.or("each", LimitScope::default(), |it| {
        it.choice(&[("Route", LimitScope::Route), ("Caller", LimitScope::Caller)])
    });
    let (requests, burst) = (requests?, burst?);
    Some(RequestLimit {
        name: metadata?.name,
        requests,
        per: per?,
        burst: burst.unwrap_or(requests),
        each: each?,
    })
}

pub(crate) fn fault_injection(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<FaultInjection> {
    let fields = spec.fields(&FAULT)?;
    let delay = fields.or("delay", None, |it| {
        let fields = it.fields(&DELAY)?;
        let time = fields.require("time", "write how long requests wait, as 2s");
        let time = time.and_then(|it| duration(&it, Duration::from_millis(1), HOUR));
        let share = share(&fields);
        Some(Some(Delay { time: time?, share: share? }))
    });
    let abort = fields.or("abort", None, |it| {
        let fields = it.fields(&ABORT)?;
        let status = fields.require("status", "write the answer's status, as 503");
        let status = status.and_then(|it| u16::try_from(it.integer("an error's status", 400..=599)?).ok());
        let share = share(&fields);
        Some(Some(Abort { status: status?, share: share? }))
    });
    let (delay, abort) = (delay?, abort?);
    if delay.is_none() && abort.is_none() {
        return spec.error("nothing goes wrong", "write `delay`, `abort`, or both");
    }
    Some(FaultInjection { name: metadata?.name, delay, abort })
}

fn share(fields: &Fields<'_>) -> Option<Share> {
    let percent = fields.or("percent", None, |it| {
        let numerator = u32::try_from(it.integer("a percentage", 0..=100)?).ok()?;
        Some(Some(Share { numerator, denominator: 100 }))
    });
    let fraction = fields.or("fraction", None, |it| fraction(it).map(Some));
    match (percent?, fraction?) {
        (Some(_), Some(_)) => {
            fields.whole().error("has a percentage and a fraction", "leave one of them out")
        }
        (percent, fraction) => Some(percent.or(fraction).unwrap_or_default()),
    }
}

fn fraction(field: &Field<'_>) -> Option<Share> {
    let fields = field.fields(&FRACTION)?;
    let denominator = fields.or("denominator", 100, |it| it.integer("a denominator", 1..=MOST));
    let numerator = fields.require("numerator", "write how many of the denominator's");
    let denominator = denominator?;
    let numerator = numerator?.integer("a numerator", 0..=denominator)?;
    let (numerator, denominator) = (u32::try_from(numerator).ok()?, u32::try_from(denominator).ok()?);
    Some(Share { numerator, denominator })
}
