//! What a destination's policy says of a caller.

use wabe_abi::{
    Action, Be16, ClassKey, DropReason, Ip, NO_POLICY, PortKey, PrefixKey, STRANGER, VerdictKey,
    WorkloadRecord,
};

use crate::Tables;

/// Bits of a full [`PrefixKey`]: 32 of the table, 128 of the address.
const ALL_BITS: u32 = 160;

/// The outcome of a policy.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Why the caller is refused; `None` if it is admitted.
    pub refusal: Option<DropReason>,
    /// The rule that decided; 0 if none did.
    pub rule: u32,
    /// The AUDIT rule that matched; 0 if none did.
    pub audit_rule: u32,
    /// The rule that would decide with dry-run policies in force.
    pub dry_run_rule: u32,
    /// What dry-run policies would make of it, an [`Action`]; 0 if the workload has none.
    pub dry_run_action: u8,
}

impl Authorization {
    #[inline(always)]
    const fn of(refusal: Option<DropReason>) -> Self {
        Self { refusal, rule: 0, audit_rule: 0, dry_run_rule: 0, dry_run_action: 0 }
    }
}

/// Judges a caller by the policy table of a destination: at most four look-ups.
///
/// `source` is the caller's address as the receiver sees it, `port` the port that the receiver listens on. What the
/// tables do not know is refused ([`DropReason::PolicyUnknown`]).
#[inline(always)]
pub fn authorize<T: Tables>(tables: &T, table: u32, identity: u32, source: &Ip, port: Be16) -> Authorization {
    if table == NO_POLICY {
        return Authorization::of(if identity == STRANGER { Some(DropReason::Stranger) } else { None });
    }
    let Some(identity_class) = tables.identity_class(&ClassKey { table, identity }) else {
        return Authorization::of(Some(DropReason::PolicyUnknown));
    };
    let port_class = tables.port_class(&PortKey { table, port, reserved: 0 }).unwrap_or(0);
    let prefix_class =
        tables.prefix_class(&PrefixKey { bits: ALL_BITS, table, address: *source }).unwrap_or(0);
    let key = VerdictKey {
        table,
        identity_class: identity_class as u16,
        port_class: port_class as u16,
        prefix_class: prefix_class as u16,
        reserved: 0,
    };
    let Some(verdict) = tables.verdict(&key) else {
        return Authorization::of(Some(DropReason::PolicyUnknown));
    };
    Authorization {
        refusal: refusal(verdict.action),
        rule: verdict.rule,
        audit_rule: verdict.audit_rule,
        dry_run_rule: verdict.dry_run_rule,
        dry_run_action: verdict.dry_run_action,
    }
}

/// Why a workload that has policies of layer 7 does not take a connection, whatever its tables say: the node's proxy judges what
/// one carries, by the policies of generation `done`. `None` if it takes it, or has no such policies.
#[inline(always)]
pub fn unjudged(record: &WorkloadRecord, done: Option<u64>) -> Option<DropReason> {
    if record.layer7_generation == 0 {
        return None;
    }
    match done {
        None => Some(DropReason::NotByProxy),
        Some(generation) if generation < record.layer7_generation => Some(DropReason::PolicyNewer),
        Some(_) => None,
    }
}

#[inline(always)]
fn refusal(action: u8) -> Option<DropReason> {
    match Action::from_number(action) {
        Some(Action::Allow) => None,
        Some(Action::Deny) => Some(DropReason::PolicyDeny),
        Some(Action::NoMatch) => Some(DropReason::PolicyNoMatch),
        Some(Action::Stranger) => Some(DropReason::Stranger),
        None => Some(DropReason::PolicyUnknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, ip};

    const PORT: Be16 = Be16::new(80);

    #[test]
    fn without_policy_the_mesh_is_admitted_and_strangers_are_not() {
        let tables = Fake::default();
        let source = ip("10.1.1.1");
        assert_eq!(authorize(&tables, NO_POLICY, 5, &source, PORT).refusal, None);
        let stranger = authorize(&tables, NO_POLICY, STRANGER, &source, PORT);
        assert_eq!(stranger.refusal, Some(DropReason::Stranger));
    }

    #[test]
    fn what_the_tables_do_not_know_is_refused() {
        let mut tables = Fake::default();
        let source = ip("10.1.1.1");
        let unknown = Some(DropReason::PolicyUnknown);
        assert_eq!(authorize(&tables, 3, 5, &source, PORT).refusal, unknown, "no identity class");
        tables.identity_classes.insert(ClassKey { table: 3, identity: 5 }, 1);
        assert_eq!(authorize(&tables, 3, 5, &source, PORT).refusal, unknown, "no verdict");
        tables.admit(3, 1, 0, 0, 0);
        assert_eq!(authorize(&tables, 3, 5, &source, PORT).refusal, unknown, "no such action");
    }

    #[test]
    fn only_a_proxy_that_goes_by_the_policies_in_force_may_judge_for_them() {
        let record = |layer7_generation| WorkloadRecord { layer7_generation, ..WorkloadRecord::default() };
        for (since, done, refusal) in [
            (0, None, None),
            (0, Some(0), None),
            (7, None, Some(DropReason::NotByProxy)),
            (7, Some(0), Some(DropReason::PolicyNewer)),
            (7, Some(6), Some(DropReason::PolicyNewer)),
            (7, Some(7), None),
            (7, Some(8), None),
        ] {
            assert_eq!(unjudged(&record(since), done), refusal, "{since} {done:?}");
        }
    }

    #[test]
    fn classes_lead_to_the_verdict_and_its_rule() {
        let mut tables = Fake::default();
        tables.identity_classes.insert(ClassKey { table: 3, identity: 5 }, 1);
        tables.port_classes.insert(PortKey { table: 3, port: PORT, reserved: 0 }, 2);
        tables.prefixes.push((wabe_abi::Prefix::new("10.1.0.0".parse().expect("address"), 16), 3, 4));
        for (action, refusal) in [
            (Action::Allow, None),
            (Action::Deny, Some(DropReason::PolicyDeny)),
            (Action::NoMatch, Some(DropReason::PolicyNoMatch)),
            (Action::Stranger, Some(DropReason::Stranger)),
        ] {
            tables.admit(3, 1, 2, 4, action as u8);
            let outcome = authorize(&tables, 3, 5, &ip("10.1.1.1"), PORT);
            assert_eq!((outcome.refusal, outcome.rule), (refusal, 77));
        }
        let other = authorize(&tables, 3, 5, &ip("10.2.1.1"), PORT);
        assert_eq!(other.refusal, Some(DropReason::PolicyUnknown));
    }
}
