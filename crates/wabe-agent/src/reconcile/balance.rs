//! What balancing needs again and again.

use super::{Engine, Later, SWEEP};
use crate::datapath::Datapath;

impl<D: Datapath> Engine<D> {
    /// Keeps sweeping while a service promises callers their endpoint.
    pub(super) fn keep_sweeping(&mut self) {
        let promised = self.state.objects.services().any(|service| service.affinity.is_some());
        if promised && !self.sweeping {
            self.sweeping = true;
            self.timers.add(self.now + SWEEP, Later::SweepAffinities);
        }
    }

    /// Only makes room: a promise whose time is over binds nobody.
    pub(super) fn sweep_affinities(&mut self) {
        self.sweeping = false;
        if let Err(error) = self.datapath.sweep_affinities() {
            tracing::warn!(%error, "callers whose time at their endpoint is over could not be forgotten");
        }
        self.keep_sweeping();
    }
}
