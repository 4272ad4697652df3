//! Naming a rule.

use std::fmt;

use wabe_model::ObjectName;

/// A rule of a policy. Shown as `shop/payment-callers rule 1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleRef {
    /// The policy.
    pub policy: ObjectName,
    /// The rule's place in it, from 0; shown from 1.
    pub index: usize,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {}", self.policy, self.index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_shown_counted_from_one() {
        let rule = RuleRef { policy: ObjectName::new("shop", "payment-callers"), index: 0 };
        assert_eq!(rule.to_string(), "shop/payment-callers rule 1");
    }
}
