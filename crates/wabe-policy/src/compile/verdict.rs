//! Istio's order of decision, on sets of matching rules.

use wabe_abi::{Action, PolicyVerdict};
use wabe_model::{AuthorizationPolicy, PolicyAction};

use super::{Bits, FlatRule};

/// The rules by what they do.
pub(super) struct Judge {
    ids: Vec<u32>,
    in_force: Force,
    audit: Bits,
    /// With dry-run policies; `None` if there are none.
    dry_run: Option<Force>,
}

/// Policies of which some are, or all were, in force.
struct Force {
    deny: Bits,
    allow: Bits,
    /// Whether there is an ALLOW policy: it may have no rule.
    has_allow: bool,
}

impl Judge {
    pub(super) fn new(policies: &[&AuthorizationPolicy], rules: &[FlatRule<'_>]) -> Self {
        let select = |action, with_dry_run| {
            let mut set = Bits::none(rules.len());
            for (number, rule) in rules.iter().enumerate() {
                if rule.action == action && (with_dry_run || !rule.dry_run) {
                    set.insert(number);
                }
            }
            set
        };
        let force = |with_dry_run| Force {
            deny: select(PolicyAction::Deny, with_dry_run),
            allow: select(PolicyAction::Allow, with_dry_run),
            has_allow: policies
                .iter()
                .any(|policy| policy.action == PolicyAction::Allow && (with_dry_run || !policy.dry_run)),
        };
        Self {
            ids: rules.iter().map(|rule| rule.id).collect(),
            in_force: force(false),
            audit: select(PolicyAction::Audit, false),
            dry_run: policies.iter().any(|policy| policy.dry_run).then(|| force(true)),
        }
    }

    /// The verdict where the rules that match caller and address, and those that match the port, are these. For
    /// strangers the former leave out ALLOW rules that name no address.
    pub(super) fn verdict(&self, stranger: bool, sources: &Bits, port: &Bits) -> PolicyVerdict {
        let decide = |force: &Force| {
            let (action, rule) = force.decide(stranger, sources, port);
            (action as u8, rule.map_or(0, |number| self.ids[number]))
        };
        let (action, rule) = decide(&self.in_force);
        let (dry_run_action, dry_run_rule) = self.dry_run.as_ref().map_or((0, 0), decide);
        let audit_rule = self.audit.first_common(sources, port).map_or(0, |number| self.ids[number]);
        PolicyVerdict { rule, audit_rule, dry_run_rule, action, dry_run_action, reserved: [0; 2] }
    }
}

impl Force {
    fn decide(&self, stranger: bool, sources: &Bits, port: &Bits) -> (Action, Option<usize>) {
        if let Some(rule) = self.deny.first_common(sources, port) {
            return (Action::Deny, Some(rule));
        }
        if let Some(rule) = self.allow.first_common(sources, port) {
            return (Action::Allow, Some(rule));
        }
        let action = match (stranger, self.has_allow) {
            (true, _) => Action::Stranger,
            (false, true) => Action::NoMatch,
            (false, false) => Action::Allow,
        };
        (action, None)
    }
}
