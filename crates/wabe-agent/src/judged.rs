//! Since which generation requests to a workload are judged by the policies that it has now. The kernel refuses connections of
//! a proxy that goes by a snapshot of an earlier one.

use std::{collections::BTreeMap, sync::Arc};

use wabe_policy::requests::RequestPolicy;

use crate::snapshot::Desired;

/// Workloads with policies that look at requests. An agent that has just begun knows none, so that all are taken for new: a proxy
/// then reads them anew, which costs no request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged(BTreeMap<u32, (Arc<RequestPolicy>, u64)>);

impl Judged {
    /// What is so once `generation` is in force, which is put into the workloads' records.
    pub(crate) fn next(&self, desired: &mut Desired, generation: u64) -> Self {
        let mut next = BTreeMap::new();
        for (id, workload) in &mut desired.workloads {
            let Some(requests) = workload.policies.as_ref().and_then(|it| it.requests.as_ref()) else {
                continue;
            };
            let since = match self.0.get(id) {
                Some((known, since)) if Arc::ptr_eq(known, requests) || known == requests => *since,
                Some(_) | None => generation,
            };
            workload.record.layer7_generation = since;
            next.insert(*id, (Arc::clone(requests), since));
        }
        Self(next)
    }

    /// All, by the workload's number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Arc<RequestPolicy>, u64)> {
        self.0.iter().map(|(id, (policy, since))| (*id, policy, *since))
    }
}

#[cfg(test)]
impl FromIterator<(u32, (Arc<RequestPolicy>, u64))> for Judged {
    fn from_iter<I: IntoIterator<Item = (u32, (Arc<RequestPolicy>, u64))>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use wabe_abi::WorkloadRecord;
    use wabe_model::{Manifest, Object, parse};
    use wabe_policy::CompiledPolicy;

    use super::*;
    use crate::snapshot::{DesiredWorkload, Policies};

    fn desired(method: Option<&str>) -> Desired {
        let text = |method| {
            format!(
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a}}\nspec: {{rules: [{{to: [{{operation: {{methods: [{method}]}}}}]}}]}}\n"
            )
        };
        let requests = method.map(|method| {
            let parsed = parse(&[Manifest::new("x.yaml", "/", text(method))]);
            let object = parsed.unwrap_or_else(|error| panic!("{error}")).objects.remove(0).object;
            let Object::AuthorizationPolicy(policy) = object else { panic!("a policy") };
            Arc::new(RequestPolicy::of(&[&policy]).expect("looks at requests"))
        });
        let table = Arc::new(CompiledPolicy {
            identity_classes: BTreeMap::new(),
            port_classes: BTreeMap::new(),
            prefix_classes: BTreeMap::new(),
            verdicts: BTreeMap::new(),
        });
        let policies = Policies { connections: Arc::clone(&table), datagrams: table, requests };
        let workload = DesiredWorkload { record: WorkloadRecord::default(), policies: Some(policies) };
        Desired { workloads: BTreeMap::from([(3, workload)]), ..Desired::default() }
    }

    fn since(judged: &Judged, desired: &mut Desired, generation: u64) -> (Judged, u64) {
        let next = judged.next(desired, generation);
        let record = desired.workloads[&3].record.layer7_generation;
        assert_eq!(next.iter().map(|it| it.2).next().unwrap_or(0), record);
        (next, record)
    }

    #[test]
    fn a_policy_is_judged_by_since_it_was_written_or_changed() {
        let (judged, first) = since(&Judged::default(), &mut desired(None), 4);
        assert_eq!(first, 0);
        let (judged, first) = since(&judged, &mut desired(Some("GET")), 5);
        assert_eq!(first, 5);
        let (judged, same) = since(&judged, &mut desired(Some("GET")), 6);
        assert_eq!(same, 5, "what did not change stays");
        let (judged, other) = since(&judged, &mut desired(Some("PUT")), 7);
        assert_eq!(other, 7);
        let (judged, none) = since(&judged, &mut desired(None), 8);
        assert_eq!(none, 0);
        let (_, again) = since(&judged, &mut desired(Some("PUT")), 9);
        assert_eq!(again, 9);
    }
}
