//! `ReferenceGrant`.

use serde_json::{Value, json};

use crate::{GrantFrom, GrantTo, ReferenceGrant};

pub(super) fn reference_grant_spec(grant: &ReferenceGrant) -> Value {
    let from = |it: &GrantFrom| json!({ "group": it.group, "kind": it.kind, "namespace": it.namespace });
    let to = |it: &GrantTo| {
        let mut value = json!({ "group": it.group, "kind": it.kind });
        if let Some(name) = &it.name {
            value["name"] = json!(name);
        }
        value
    };
    json!({
        "from": grant.from.iter().map(from).collect::<Value>(),
        "to": grant.to.iter().map(to).collect::<Value>(),
    })
}
