//! Authorization rules in number. Pure: text out.

use serde_json::{Value, json};

use crate::mesh::document;

/// Rules of a policy.
const RULES: usize = 100;
/// Policies of a file, well below its limits of 4 MiB and 200 000 values.
const POLICIES: usize = 50;

/// Manifests with `rules` rules, of which `selecting` select the server: half of those are about `ipBlocks`, the rest
/// about wildcards and `not*`. The last of them admits the client.
pub(crate) fn manifests(rules: usize, selecting: usize) -> Vec<String> {
    let chosen: Vec<Value> = (0..selecting)
        .map(|number| {
            if number + 1 == selecting {
                json!({"from": [{"source": {"namespaces": ["bench"]}}]})
            } else {
                rule(number)
            }
        })
        .collect();
    let others: Vec<Value> = (selecting..rules).map(rule).collect();
    let mut texts: Vec<String> = Vec::new();
    for (app, all) in [("server", &chosen), ("nobody-has-this-label", &others)] {
        for (number, some) in all.chunks(RULES).enumerate() {
            let metadata = json!({"name": format!("{app}-{number}"), "namespace": "bench"});
            let spec = json!({"selector": {"matchLabels": {"app": app}}, "action": "ALLOW", "rules": some});
            texts.push(document("security.istio.io/v1", "AuthorizationPolicy", &metadata, &spec));
        }
    }
    texts.chunks(POLICIES).map(|some| some.concat()).collect()
}

fn rule(number: usize) -> Value {
    let source = match number % 4 {
        0 | 2 => json!({"ipBlocks": [format!("198.18.{}.{}/32", number / 256 % 256, number % 256)]}),
        1 => json!({"principals": [format!("cluster.local/ns/other-{number}/*")]}),
        _ => {
            json!({"namespaces": [format!("other-{number}*")], "notPrincipals": [format!("*/sa/thief-{number}")]})
        }
    };
    json!({"from": [{"source": source}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_rules_are_made_as_were_asked_for() {
        let all = manifests(2_000, 1_000).concat();
        assert_eq!(all.matches("\"source\":").count(), 2_000);
        assert_eq!(all.matches("\"app\":\"server\"").count(), 10);
        assert_eq!(manifests(1_000, 1_000).concat().matches("198.18.").count(), 500);
    }

    #[test]
    fn no_file_is_larger_than_a_manifest_may_be() {
        let longest = manifests(100_000, 1_000).iter().map(String::len).max();
        assert!(longest < Some(4 << 20), "{longest:?}");
    }
}
