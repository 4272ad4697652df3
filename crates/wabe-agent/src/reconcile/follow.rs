//! Connected UDP sockets follow their service: those whose endpoint left it are moved to another, as unconnected ones are
//! with their next datagram.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wabe_abi::{Exchange, Tuple, UDP};

use super::{Engine, Later};
use crate::{datapath::Datapath, plan::Installed};

/// When exchanges are looked at once more: one whose first datagram was on its way is open by then.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// An endpoint of a service's: the service's id and the workload's. Service 0: the workload, dialled by its own address.
pub(super) type Receiving = (u32, u32);

/// The endpoints of services' UDP ports, and all workloads.
fn receivers(installed: &Installed) -> BTreeSet<Receiving> {
    let services = installed.sets.iter().filter(|(key, _)| key.protocol == UDP);
    let of_services = services.flat_map(|(key, (_, _, endpoints))| {
        let service = installed.mirror.services.get(key).map_or(0, |record| record.service);
        endpoints.iter().map(move |endpoint| (service, endpoint.workload))
    });
    of_services.chain(installed.mirror.workloads.keys().map(|id| (0, *id))).collect()
}

impl<D: Datapath> Engine<D> {
    /// Sees to the exchanges of endpoints that were lost, now and once more a little later.
    pub(super) fn follow(&mut self) {
        let now = receivers(&self.installed);
        let before = self.receivers.replace(now);
        let now = self.receivers.as_ref();
        if before.is_some_and(|before| now.is_some_and(|now| before.is_subset(now))) {
            return;
        }
        self.follow_once();
        self.timers.add(self.now + SECOND_LOOK, Later::Follow);
    }

    pub(super) fn follow_once(&mut self) {
        let Some(receivers) = &self.receivers else { return };
        let exchanges = match self.datapath.exchanges() {
            Ok(exchanges) => exchanges,
            Err(error) => {
                tracing::error!(%error, "exchanges of datagrams can't be examined; their sockets stay where they are");
                return;
            }
        };
        let mut of_caller: BTreeMap<u32, Vec<(Tuple, Exchange)>> = BTreeMap::new();
        for (tuple, exchange) in exchanges {
            let is_lost = !receivers.contains(&(exchange.service, exchange.destination_workload));
            if is_lost && exchange.destination_workload != 0 {
                of_caller.entry(exchange.source_workload).or_default().push((tuple, exchange));
            }
        }
        for (workload, exchanges) in of_caller {
            // Without handles it is gone, and its sockets with it.
            let Some(handles) = self.handles.get(&workload) else { continue };
            if let Err(error) = (self.follow)(workload, handles, exchanges) {
                tracing::error!(workload, %error, "UDP sockets of a lost receiver can't be moved");
            }
        }
    }
}
