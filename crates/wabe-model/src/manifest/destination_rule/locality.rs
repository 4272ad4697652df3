//! `trafficPolicy.loadBalancer.localityLbSetting`.

use super::NOT_YET;
use crate::{
    Failover,
    manifest::{
        field::{Field, Shape},
        names::is_label_word,
        scalar::shown,
    },
};

const LOCALITY: Shape = Shape {
    known: &["enabled", "failover"],
    ignored: &[],
    refused: &[
        ("distribute", NOT_YET, "write `enabled: true`; the nearest is `weight` of a Workload"),
        (
            "failoverPriority",
            NOT_YET,
            "leave it out; the caller's subzone, zone and region come first, then the region that `failover` names",
        ),
    ],
};
const NEXT: Shape = Shape { known: &["from", "to"], ignored: &[], refused: &[] };
const MOST: usize = 64;

/// Whether near endpoints come first, and who does after them.
#[derive(Default)]
pub(super) struct Near {
    /// `None` if the rule does not say.
    pub(super) enabled: Option<bool>,
    pub(super) failover: Failover,
}

pub(super) fn near(field: &Field<'_>) -> Option<Near> {
    let fields = field.fields(&LOCALITY)?;
    let enabled = fields.or("enabled", true, Field::boolean);
    let failover = fields.or("failover", Failover::new(), failover);
    let (enabled, failover) = (enabled?, failover?);
    if !enabled && !failover.is_empty() {
        return field.error("failover says nothing if `enabled` is false", "leave one of them out");
    }
    Some(Near { enabled: Some(enabled), failover })
}

fn failover(field: &Field<'_>) -> Option<Failover> {
    let items = field.items()?;
    if items.len() > MOST {
        return field.error(format!("{} regions", items.len()), format!("write at most {MOST}"));
    }
    let mut failover = Failover::new();
    for item in items {
        let fields = item.fields(&NEXT)?;
        let from = fields.require("from", "write the callers' region").and_then(|it| region(&it));
        let to = fields.require("to", "write the region that comes next").and_then(|it| region(&it));
        let (from, to) = (from?, to?);
        if from == to {
            return item.error("a region can't come after itself", "write another region in `to`");
        }
        if failover.contains_key(&from) {
            let message = format!("two regions come after {}", shown(&from));
            return item.error(message, "leave one of them out; after it come all others");
        }
        failover.insert(from, to);
    }
    Some(failover)
}

/// As a Workload's `locality` has it.
fn region(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.is_empty() || !is_label_word(text) {
        return field.error(
            format!("{} can't be a region", shown(text)),
            "write what a Workload's `locality` has as `region`, without zones",
        );
    }
    Some(text.to_owned())
}
