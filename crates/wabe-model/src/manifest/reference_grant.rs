//! `ReferenceGrant`.

use crate::{
    GrantFrom, GrantTo, ReferenceGrant,
    manifest::{
        field::{Field, Fields, Shape},
        metadata::Metadata,
        names::{label_name, subdomain_name},
        route::list,
    },
};

const SPEC: Shape = Shape { known: &["from", "to"], ignored: &[], refused: &[] };
const FROM: Shape = Shape { known: &["group", "kind", "namespace"], ignored: &[], refused: &[] };
const TO: Shape = Shape { known: &["group", "kind", "name"], ignored: &[], refused: &[] };
/// The standard's own limit.
const MOST: usize = 16;

pub(crate) fn reference_grant(metadata: Option<Metadata<'_>>, spec: &Field<'_>) -> Option<ReferenceGrant> {
    let fields = spec.fields(&SPEC)?;
    let from = fields
        .require("from", "write who may refer, as `group`, `kind` and `namespace`")
        .and_then(|it| list(&it, "referrers", MOST, from));
    let to = fields
        .require("to", "write what may be referred to, as `group: \"\"` and `kind: Service`")
        .and_then(|it| list(&it, "referents", MOST, to));
    Some(ReferenceGrant { name: metadata?.name, from: from?, to: to? })
}

fn from(field: &Field<'_>) -> Option<GrantFrom> {
    let fields = field.fields(&FROM)?;
    let (group, kind) = group_and_kind(&fields);
    let namespace = fields.require("namespace", "write a namespace").and_then(|it| label_name(&it));
    Some(GrantFrom { group: group?, kind: kind?, namespace: namespace? })
}

fn to(field: &Field<'_>) -> Option<GrantTo> {
    let fields = field.fields(&TO)?;
    let (group, kind) = group_and_kind(&fields);
    let name = fields.or("name", None, |it| subdomain_name(it).map(Some));
    Some(GrantTo { group: group?, kind: kind?, name: name? })
}

/// Each `None` if it is wrong. Other kinds than Wabe's may stand there: they are others' business.
fn group_and_kind(fields: &Fields<'_>) -> (Option<String>, Option<String>) {
    let text = |it: Field<'_>| it.text().map(str::to_owned);
    let group = fields.require("group", "write the kind's API group, `\"\"` for a Service").and_then(text);
    (group, fields.require("kind", "write the kind").and_then(text))
}
