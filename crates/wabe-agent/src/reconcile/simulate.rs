//! What is simulated comes and goes in parts, so that real changes never wait long behind it.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

use super::{Engine, Later};
use crate::{
    api::{Changed, Reply, Simulate},
    datapath::Datapath,
    plan::Plan,
    reconcile::install::InstallError,
    simulation::Simulation,
};

/// Services of one part.
const PART: u32 = 2000;

/// After the inputs that are waiting.
const SOON: Duration = Duration::from_micros(1);

/// Loading or clearing under way.
#[derive(Debug)]
pub(super) struct Simulating {
    /// Clear what there is first, then load this, if anything.
    load: Option<(u32, u32)>,
    clearing: bool,
    began: Instant,
    replies: Sender<Reply>,
}

impl<D: Datapath> Engine<D> {
    pub(super) fn simulate(&mut self, request: Simulate, replies: Sender<Reply>) {
        let refused = |message: String| Reply::Refused { message };
        if self.simulating.is_some() {
            let _ = replies.send(refused("a simulated load is just coming or going; try again".into()));
            return;
        }
        let load = match request {
            Simulate::Change { number } => {
                let reply = self.simulate_change(number).unwrap_or_else(|error| refused(error.to_string()));
                let _ = replies.send(reply);
                return;
            }
            Simulate::Load { services, endpoints } => Some((services, endpoints)),
            Simulate::Clear => None,
        };
        if let Err(message) = load.map_or(Ok(()), check) {
            let _ = replies.send(refused(message));
            return;
        }
        self.simulating = Some(Simulating { load, clearing: true, began: Instant::now(), replies });
        self.timers.add(self.now + SOON, Later::Simulate);
    }

    /// One more part.
    pub(super) fn simulate_more(&mut self) {
        let Some(mut under_way) = self.simulating.take() else { return };
        match self.simulate_part(&mut under_way) {
            Ok(true) => {
                let changed = Changed {
                    generation: self.generation(),
                    microseconds: under_way.began.elapsed().as_micros() as u64,
                    ..Changed::default()
                };
                let _ = under_way.replies.send(Reply::Changed(changed));
            }
            Ok(false) => {
                self.simulating = Some(under_way);
                self.timers.add(self.now + SOON, Later::Simulate);
            }
            Err(message) => {
                let _ = under_way.replies.send(Reply::Refused { message });
            }
        }
    }

    /// `true` if that was the last one.
    fn simulate_part(&mut self, under_way: &mut Simulating) -> Result<bool, String> {
        let (config, last) = (self.installed.mirror.config, self.installed.last);
        if under_way.clearing {
            let plan = self.simulation.unload(PART, &config, last);
            self.put_simulated(plan).map_err(|error| error.to_string())?;
            if self.simulation.loaded() > 0 {
                return Ok(false);
            }
            under_way.clearing = false;
            let Some((services, endpoints)) = under_way.load else { return Ok(true) };
            let taken: BTreeSet<Ipv4Addr> =
                self.installed.mirror.services.keys().filter_map(|key| v4(&key.address)).collect();
            let range = self.node.ranges.services_v4;
            let next = Simulation::begin(services, endpoints, range, |it| taken.contains(&it))?;
            // Rows of the last one that are still to be removed need their room too.
            let rows = self.simulation.rows() + next.rows_in_all() + self.installed.mirror.count();
            self.make_room(rows).map_err(|error| error.to_string())?;
            self.simulation.replace(next);
        }
        let (config, last) = (self.installed.mirror.config, self.installed.last);
        let plan = self.simulation.load(PART, &config, last);
        self.put_simulated(plan).map_err(|error| error.to_string())?;
        Ok(self.simulation.loaded() == self.simulation.services())
    }

    fn simulate_change(&mut self, number: u32) -> Result<Reply, InstallError> {
        let began = Instant::now();
        let (config, last) = (self.installed.mirror.config, self.installed.last);
        let plan = self.simulation.change(number, &config, last);
        self.put_simulated(plan)?;
        let microseconds = began.elapsed().as_micros() as u64;
        Ok(Reply::Changed(Changed { generation: self.generation(), microseconds, ..Changed::default() }))
    }

    /// Executes a plan of what is simulated, and remembers it. No file changes: nobody but the kernel knows these.
    fn put_simulated(&mut self, mut plan: Plan) -> Result<(), InstallError> {
        if plan.writes.is_empty() {
            return Ok(());
        }
        self.make_room(plan.rows + self.installed.mirror.count())?;
        self.execute(&plan.writes)?;
        let later = std::mem::take(&mut plan.later);
        if let Some(wabe_datapath::Write::Config(config)) = plan.writes.last() {
            self.installed.mirror.config = **config;
        }
        self.simulation.commit(plan);
        self.installed.last = self.simulation.last();
        self.remove_later(later);
        Ok(())
    }

    /// Forgets what is simulated; the next plan of everything removes its rows, which are among the real ones by now.
    pub(super) fn end_simulation(&mut self, why: &'static str) {
        if self.simulation.services() > 0 {
            tracing::warn!(why, "what was simulated ends");
            self.simulation = Simulation::default();
            self.changed = true;
        }
        if let Some(under_way) = self.simulating.take() {
            let _ = under_way.replies.send(Reply::Refused { message: why.into() });
        }
    }
}

fn check((services, endpoints): (u32, u32)) -> Result<(), String> {
    if services == 0 || services > 1 << 19 {
        return Err(format!("{services} services can't be simulated: 1 to {} can", 1 << 19));
    }
    if endpoints < services || endpoints > 1 << 21 {
        return Err(format!(
            "{endpoints} endpoints can't be spread over {services} services: {services} to {} can, so that each has one",
            1 << 21
        ));
    }
    Ok(())
}

fn v4(address: &wabe_abi::Ip) -> Option<Ipv4Addr> {
    match std::net::IpAddr::from(*address) {
        std::net::IpAddr::V4(v4) => Some(v4),
        std::net::IpAddr::V6(_) => None,
    }
}
