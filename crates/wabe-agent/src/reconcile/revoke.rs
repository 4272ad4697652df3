//! Live connections follow policy: those that are no longer allowed are ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wabe_abi::{Connection, STRANGER, Tuple, ticket_flag};
use wabe_verdict::{authorize, unjudged};

use super::{Engine, Later};
use crate::{datapath::Datapath, mirror::Still};

/// When connections are examined once more: one that was being accepted while the tables changed is open by then.
const SECOND_LOOK: Duration = Duration::from_millis(100);

impl<D: Datapath> Engine<D> {
    /// Examines the connections of workloads whose policy or identity changed, now and once more.
    pub(super) fn revoke(&mut self, workloads: BTreeSet<u32>) {
        if workloads.is_empty() {
            return;
        }
        self.examine(&workloads);
        self.timers.add(self.now + SECOND_LOOK, Later::Examine(workloads));
    }

    /// Ends the connections from or to these workloads that the tables in force do not allow.
    pub(super) fn examine(&mut self, workloads: &BTreeSet<u32>) {
        match self.refused_connections(workloads) {
            Ok(refused) => {
                refused.into_iter().for_each(|(workload, connections)| self.end(workload, &connections))
            }
            Err(error) => {
                tracing::error!(%error, "live connections can't be examined; trying again");
                self.timers.add(self.now + SECOND_LOOK, Later::Examine(workloads.clone()));
            }
        }
    }

    fn refused_connections(
        &self,
        workloads: &BTreeSet<u32>,
    ) -> Result<BTreeMap<u32, Vec<(Tuple, Connection)>>, wabe_datapath::Error> {
        let mirror = &self.installed.mirror;
        let tables = Still::of(mirror);
        let mut refused: BTreeMap<u32, Vec<(Tuple, Connection)>> = BTreeMap::new();
        for (tuple, connection) in self.datapath.connections()? {
            let (from, to) = (connection.source_workload, connection.destination_workload);
            if !workloads.contains(&from) && !workloads.contains(&to) {
                continue;
            }
            let Some(destination) = mirror.workloads.get(&to) else { continue };
            let identity = mirror.workloads.get(&from).map_or(STRANGER, |record| record.identity);
            let outcome =
                authorize(&tables, destination.table, identity, &tuple.source, tuple.destination_port);
            // Of those that the proxy made it judges each request by what it reads next.
            let done = (connection.flags & ticket_flag::LAYER7_DONE != 0).then_some(u64::MAX);
            if outcome.refusal.or(unjudged(destination, done)).is_some() {
                refused.entry(to).or_default().push((tuple, connection));
            }
        }
        Ok(refused)
    }

    fn end(&mut self, workload: u32, connections: &[(Tuple, Connection)]) {
        let Some(handles) = self.handles.get(&workload) else {
            tracing::error!(
                workload,
                "connections that are no longer allowed can't be ended: no way into its namespace"
            );
            return;
        };
        match (self.close)(handles, connections) {
            Ok(()) => {
                tracing::info!(
                    workload,
                    count = connections.len(),
                    "ended connections that are no longer allowed"
                )
            }
            Err(error) => {
                tracing::error!(workload, %error, "connections that are no longer allowed can't be ended")
            }
        }
    }
}
