//! Compiled policies, kept from one snapshot to the next: compiling is the slow part and policies seldom change.

use std::{collections::BTreeMap, sync::Arc};

use wabe_model::{AuthorizationPolicy, Identity, ObjectName, Objects, Workload};
use wabe_policy::{CompileError, CompiledPolicy, ROW_LIMIT, RuleRef, applicable, compile};

use crate::state::Ids;

/// Compiles policies and remembers the results as long as snapshots use them.
#[derive(Debug, Default)]
pub struct Compiler {
    /// Every identity of the mesh by number: a table has a class for each.
    identities: BTreeMap<u32, Identity>,
    known: BTreeMap<Vec<ObjectName>, Compiled>,
}

#[derive(Debug)]
struct Compiled {
    from: Vec<AuthorizationPolicy>,
    policy: Arc<CompiledPolicy>,
    used: bool,
}

impl Compiler {
    /// Begins a snapshot in which these identities exist.
    pub(super) fn begin(&mut self, identities: impl Iterator<Item = Identity>, ids: &mut Ids) {
        let identities: BTreeMap<u32, Identity> =
            identities.map(|identity| (ids.identity(&identity), identity)).collect();
        if identities != self.identities {
            self.identities = identities;
            self.known.clear();
        }
        self.known.values_mut().for_each(|compiled| compiled.used = false);
    }

    /// Ends a snapshot: forgets what it did not use.
    pub(super) fn end(&mut self) {
        self.known.retain(|_, compiled| compiled.used);
    }

    /// The policy of a workload; `None` if nothing selects it.
    pub(super) fn policy_of(
        &mut self,
        objects: &Objects,
        root_namespace: &str,
        workload: &Workload,
        ids: &mut Ids,
    ) -> Result<Option<Arc<CompiledPolicy>>, CompileError> {
        let policies =
            applicable(objects.policies(), root_namespace, &workload.name.namespace, &workload.labels);
        if policies.is_empty() {
            return Ok(None);
        }
        let key: Vec<ObjectName> = policies.iter().map(|policy| policy.name.clone()).collect();
        if let Some(compiled) = self.known.get_mut(&key)
            && compiled.from.iter().eq(policies.iter().copied())
        {
            compiled.used = true;
            return Ok(Some(Arc::clone(&compiled.policy)));
        }
        let mut rule_id = |rule: &RuleRef| ids.rule(&rule.to_string());
        let policy = Arc::new(compile(&policies, &self.identities, &mut rule_id, ROW_LIMIT)?);
        let from = policies.into_iter().cloned().collect();
        self.known.insert(key, Compiled { from, policy: Arc::clone(&policy), used: true });
        Ok(Some(policy))
    }
}
