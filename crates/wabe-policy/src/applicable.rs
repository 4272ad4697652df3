//! Which policies hold for a workload.

use std::collections::BTreeMap;

use wabe_model::AuthorizationPolicy;

/// The policies that select a workload: those of its namespace and of the root namespace whose selector's labels it
/// all has. Sorted by name, so that workloads with the same policies get the same table.
#[must_use]
pub fn applicable<'a>(
    policies: impl IntoIterator<Item = &'a AuthorizationPolicy>,
    root_namespace: &str,
    workload_namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Vec<&'a AuthorizationPolicy> {
    let mut selected: Vec<_> = policies
        .into_iter()
        .filter(|policy| [root_namespace, workload_namespace].contains(&policy.name.namespace.as_str()))
        .filter(|policy| policy.selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        .collect();
    selected.sort_by(|a, b| a.name.cmp(&b.name));
    selected
}

#[cfg(test)]
mod tests {
    use wabe_model::{ObjectName, PolicyAction};

    use super::*;

    fn policy(namespace: &str, name: &str, labels: &[(&str, &str)]) -> AuthorizationPolicy {
        AuthorizationPolicy {
            name: ObjectName::new(namespace, name),
            action: PolicyAction::Allow,
            selector: map(labels),
            rules: Vec::new(),
            dry_run: false,
        }
    }

    fn map(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn namespace_root_namespace_and_labels_select() {
        let policies = [
            policy("shop", "z-all", &[]),
            policy("shop", "a-payment", &[("app", "payment")]),
            policy("shop", "payment-v2", &[("app", "payment"), ("version", "v2")]),
            policy("mesh", "root", &[]),
            policy("mesh", "root-front-end", &[("app", "front-end")]),
            policy("bank", "other", &[]),
        ];
        let names = |namespace, labels: &[(&str, &str)]| -> Vec<String> {
            let labels = map(labels);
            applicable(&policies, "mesh", namespace, &labels).iter().map(|it| it.name.to_string()).collect()
        };
        assert_eq!(
            names("shop", &[("app", "payment"), ("x", "y")]),
            ["mesh/root", "shop/a-payment", "shop/z-all"]
        );
        assert_eq!(
            names("shop", &[("app", "payment"), ("version", "v2")]),
            ["mesh/root", "shop/a-payment", "shop/payment-v2", "shop/z-all"]
        );
        assert_eq!(
            names("bank", &[("app", "front-end")]),
            ["bank/other", "mesh/root", "mesh/root-front-end"]
        );
        assert_eq!(names("mesh", &[]), ["mesh/root"]);
    }
}
