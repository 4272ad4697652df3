//! Compiled policies, kept from one snapshot to the next: compiling is the slow part and policies seldom change.

use std::{collections::BTreeMap, sync::Arc};

use wabe_model::{AuthorizationPolicy, Identity, ObjectName, Objects, Workload};
use wabe_policy::{
    CompileError, CompiledPolicy, ROW_LIMIT, RuleRef, Traffic, applicable, compile, requests::RequestPolicy,
};

use crate::state::Ids;

/// Compiles policies and remembers the results as long as snapshots use them.
#[derive(Debug, Default)]
pub struct Compiler {
    /// Every identity of the mesh by number: a table has a class for each.
    identities: BTreeMap<u32, Identity>,
    known: BTreeMap<Vec<ObjectName>, Compiled>,
}

/// The policies of a workload, compiled for whoever goes by them.
#[derive(Clone, Debug, PartialEq)]
pub struct Policies {
    /// For the kernel, of connections.
    pub connections: Arc<CompiledPolicy>,
    /// For the kernel, of datagrams: the same, unless a rule looks at requests.
    pub datagrams: Arc<CompiledPolicy>,
    /// For the proxy; `None` if no policy in force looks at requests.
    pub requests: Option<Arc<RequestPolicy>>,
}

#[derive(Debug)]
struct Compiled {
    from: Vec<AuthorizationPolicy>,
    policies: Policies,
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

    /// The policies of a workload; `None` if nothing selects it.
    pub(super) fn policies_of(
        &mut self,
        objects: &Objects,
        root_namespace: &str,
        workload: &Workload,
        ids: &mut Ids,
    ) -> Result<Option<Policies>, CompileError> {
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
            return Ok(Some(compiled.policies.clone()));
        }
        let mut rule_id = |rule: &RuleRef| ids.rule(&rule.to_string());
        let mut compile =
            |traffic| compile(&policies, traffic, &self.identities, &mut rule_id, ROW_LIMIT).map(Arc::new);
        let connections = compile(Traffic::Connections)?;
        let mut rules = policies.iter().flat_map(|policy| &policy.rules);
        let datagrams = if rules.any(|rule| rule.looks_at_requests()) {
            compile(Traffic::Datagrams)?
        } else {
            Arc::clone(&connections)
        };
        let requests = RequestPolicy::of(&policies).map(Arc::new);
        let compiled = Policies { connections, datagrams, requests };
        let from = policies.into_iter().cloned().collect();
        self.known.insert(key, Compiled { from, policies: compiled.clone(), used: true });
        Ok(Some(compiled))
    }
}
