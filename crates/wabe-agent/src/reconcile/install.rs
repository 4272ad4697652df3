//! Brings the kernel's tables and the files for others up to date with the state.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use wabe_datapath::Write;

use super::{Engine, GRACE, Later};
use crate::{
    datapath::Datapath,
    judged::Judged,
    layer7,
    names::names,
    plan::{Plan, plan},
    published::Published,
    sizes::{NoRoom, Rows, sizes_for},
    snapshot::{SnapshotError, desired},
    state::{StateError, write},
};

/// Why the tables could not be brought up to date. What was in force before is still.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The objects do not fit.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The change does not fit.
    #[error(transparent)]
    Room(#[from] NoRoom),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] wabe_datapath::Error),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] StateError),
}

/// What a plan did.
pub(super) struct Executed {
    /// What users should look at.
    pub(super) warnings: BTreeSet<String>,
    /// How long it took until it was in force in the kernel.
    pub(super) in_force: Duration,
}

impl<D: Datapath> Engine<D> {
    /// Computes the plan and executes it.
    pub(super) fn install(&mut self) -> Result<Executed, InstallError> {
        let began = Instant::now();
        let instances = self.state.instances.values();
        let mut desired =
            desired(&self.node, &self.state.objects, instances, &mut self.state.ids, &mut self.compiler)?;
        self.shape(&mut desired);
        let next = self.installed.next_generation();
        let judged = self.judged.next(&mut desired, next);
        let mut plan = plan(&self.installed, &desired);
        // First: whoever is led to the proxy should find that it knows the way, and goes by the policies that will hold.
        self.brief_proxy(&judged, next)?;
        let computed = began.elapsed();
        if let Err(error) = self.enforce(&plan) {
            // The proxy may have read of policies of this generation: those of the next attempt are another's.
            self.installed.last.generation = self.installed.last.generation.max(self.briefed_generation);
            return Err(error);
        }
        self.judged = judged;
        let in_force = began.elapsed();
        let writes = plan.writes.len();
        self.remove_later(std::mem::take(&mut plan.later));
        let examine = std::mem::take(&mut plan.examine);
        self.installed.commit(plan);
        // What the proxy was told has this number, whether or not the kernel was: no other snapshot may have it.
        self.installed.last.generation = self.installed.last.generation.max(self.briefed_generation);
        self.state.last = self.installed.last;
        self.revoke(examine);
        self.follow();
        self.forget_gone();
        self.keep_sweeping();
        self.warnings = desired.warnings.clone();
        let revoked = began.elapsed();
        self.publish()?;
        tracing::debug!(writes, ?computed, ?in_force, ?revoked, published = ?began.elapsed(), "planned and executed");
        Ok(Executed { warnings: desired.warnings, in_force })
    }

    fn enforce(&mut self, plan: &Plan) -> Result<(), InstallError> {
        self.make_room(plan.rows + self.simulation.rows())?;
        if plan.writes.is_empty() { Ok(()) } else { self.execute(&plan.writes) }
    }

    /// Makes the tables larger if so many rows do not fit.
    pub(super) fn make_room(&mut self, rows: Rows) -> Result<(), InstallError> {
        let now = self.datapath.sizes();
        let Some(sizes) = sizes_for(&rows, &now)? else { return Ok(()) };
        let began = Instant::now();
        self.datapath.resize(&sizes)?;
        tracing::info!(?rows, before = ?now, ?sizes, took = ?began.elapsed(), "made the tables larger");
        Ok(())
    }

    pub(super) fn remove_later(&mut self, writes: Vec<Write>) {
        if !writes.is_empty() {
            self.timers.add(self.now + GRACE, Later::Remove(writes));
        }
    }

    /// Writes; if that fails halfway, finds out how things are. Nothing that a record names is ever half written, so
    /// until the next plan the old state is in force, or the new one for some services and workloads.
    pub(super) fn execute(&mut self, writes: &[Write]) -> Result<(), InstallError> {
        let Err(error) = self.datapath.write(writes) else { return Ok(()) };
        // What is simulated is not told apart from the rest then, and goes with the next plan.
        let found = self.datapath.contents()?;
        self.installed = self.installed.found_again(&found);
        self.end_simulation("a change of the kernel's tables failed");
        Err(error.into())
    }

    /// Removes rows that nobody names any more.
    pub(super) fn remove_rows(&mut self, writes: &[Write]) {
        if let Err(error) = self.datapath.write(writes) {
            // They only take room; the next plan lists them again.
            tracing::warn!(%error, "rows that are not used any more could not be removed");
            return;
        }
        for write in writes {
            self.installed.mirror.apply(write);
            self.simulation.removed(write);
        }
    }

    /// Numbers of services and rules that are gone become free, or are forgotten.
    fn forget_gone(&mut self) {
        let services: BTreeSet<String> =
            self.state.objects.services().map(|service| service.name.to_string()).collect();
        let policies: BTreeSet<String> =
            self.state.objects.policies().map(|policy| format!("{} rule ", policy.name)).collect();
        let of_known_policy = |rule: &str| {
            let digits = rule.trim_end_matches(|it: char| it.is_ascii_digit());
            policies.contains(digits)
        };
        self.state.ids.retain(|name| services.contains(name), of_known_policy);
    }

    /// Writes what `proxy` reads.
    fn brief_proxy(&mut self, judged: &Judged, generation: u64) -> Result<(), StateError> {
        let Self { node, state, .. } = self;
        let instances = state.instances.values();
        let snapshot = layer7::snapshot(node, &state.objects, instances, &state.ids, judged, generation);
        // Written at every change of a mesh with a thousand workloads it would be a burden; most say the same.
        let news = wabe_proxy::Snapshot { generation: 0, ..snapshot.clone() };
        if self.briefed.as_ref() == Some(&news) {
            return Ok(());
        }
        self.briefed_generation = generation;
        write(&self.proxy_file, &snapshot)?;
        self.briefed = Some(news);
        Ok(())
    }

    /// Writes what `dns`, `explain` and the next agent read.
    fn publish(&mut self) -> Result<(), StateError> {
        let generation = self.generation();
        let instances = self.state.instances.values();
        let names = names(&self.node, &self.state.objects, instances.clone(), &self.state.ids, generation);
        write(&self.names_file, &names)?;
        let published =
            Published::of(&self.node, &self.state.objects, instances, &mut self.state.ids, generation);
        published.write(&self.directory)?;
        self.share_names(published);
        self.state.save(&self.directory)
    }
}
