//! Where the time of a request goes, arm by arm.

use std::{fs, process::Child, time::Duration};

use anyhow::{Context, Result};

use crate::{
    machine::Reading,
    place::Place,
    results::{Load, Results},
    rounds::{WARM_UP, finish, load_command, start},
    run::Wish,
    scenario::{Scenario, Spec},
    tools::{self, Tool},
    why::{self, Role, Roles, Used},
    world::{CLIENT_CORE, SERVER_CORE, World},
};

/// The rate at which arms are looked into: the thesis' middle one.
const POINT: &str = "latency-1000";

/// Looks into each arm that is up. `envoy` is the sidecars', whose TLS can then be told apart.
///
/// # Errors
/// Ctrl-C. Anything else is told on stderr: the rounds are worth more than this.
pub(super) fn measure(
    wish: &Wish,
    place: &Place,
    worlds: &[World],
    envoy: Option<&Tool>,
    results: &mut Results,
) -> Result<()> {
    let perf = match tools::find("perf") {
        Ok(perf) => perf,
        Err(missing) => {
            eprintln!("no breakdown: {missing}");
            return Ok(());
        }
    };
    results.environment.tools.push((&perf).into());
    let arms: Vec<_> = worlds.iter().map(|it| it.arm).collect();
    let spec = Scenario::Latency.points(&arms, wish.quick).into_iter().find(|it| it.point.name == POINT);
    let spec = spec.context("invariant: the scenario has that point")?;
    let time = Duration::from_secs(if wish.quick { 2 } else { 8 });
    for world in worlds {
        place.check()?;
        eprintln!("{}: where the time goes", world.arm.name());
        let look = Look { place, world, spec: &spec, perf: &perf, envoy, time };
        match look.look() {
            Ok(breakdown) => results.breakdowns.push(breakdown),
            Err(error) => {
                place.check()?;
                eprintln!("{}: no breakdown: {error:#}", world.arm.name());
            }
        }
    }
    Ok(())
}

struct Look<'a> {
    place: &'a Place,
    world: &'a World,
    spec: &'a Spec,
    perf: &'a Tool,
    envoy: Option<&'a Tool>,
    time: Duration,
}

impl Look<'_> {
    /// The profiler looks while one load counts, and calls are counted while another one does: that would cost the first time.
    fn look(&self) -> Result<crate::results::Breakdown> {
        let served = self.world.processes()?;
        let child = self.load()?;
        let roles = self.roles(&served)?;
        let before = Reading::take(&served)?;
        let looks = why::profile(self.perf, self.window(), &[CLIENT_CORE, SERVER_CORE], self.place.folder());
        let after = Reading::take(&served)?;
        let (machine, processes) = after.since(&before, 0.0);
        let used =
            Used { processes: processes.iter().map(|it| it.running).sum(), switches: machine.switches };
        let load = finish(self.place, child, self.time)?;
        let rate = load.answered as f64 / load.seconds;
        let window = after.seconds_since(&before);
        let part = window / load.seconds;
        let within = Load {
            answered: (rate * window).round() as u64,
            seconds: window,
            user: load.user * part,
            system: load.system * part,
            ..load
        };
        let mut breakdown =
            why::breakdown(self.world.arm.name(), &self.spec.point.name, &looks?, &roles, &within, &used)?;
        let child = self.load()?;
        let calls = why::calls(self.perf, &self.roles(&served)?, self.window());
        finish(self.place, child, self.time)?;
        breakdown.calls = calls.ok().map(|it| it / rate);
        Ok(breakdown)
    }

    /// Starts a load, and returns once it counts.
    fn load(&self) -> Result<Child> {
        let command = load_command(self.place, self.spec, self.world, self.time, 1)?;
        let child = start(&mut self.world.client(&command)?)?;
        std::thread::sleep(WARM_UP);
        Ok(child)
    }

    /// Less than the load lasts.
    fn window(&self) -> Duration {
        self.time.mul_f64(0.7)
    }

    fn roles(&self, served: &[(&'static str, Vec<u32>)]) -> Result<Roles> {
        let mut all: Vec<(u32, Role)> = Vec::new();
        for (name, pids) in served {
            all.extend(Role::named(name).into_iter().flat_map(|role| pids.iter().map(move |it| (*it, role))));
        }
        all.extend(self.generators().into_iter().map(|it| (it, Role::Generator)));
        let mut roles = Roles::with_children(&all);
        if let Some(envoy) = self.envoy {
            roles.know_envoy(envoy);
        }
        Ok(roles)
    }

    /// Those who run the lab's copy of `wabe` as `lab load`: in a mesh they are no children of ours.
    fn generators(&self) -> Vec<u32> {
        let is_one = |pid: &u32| {
            let runs = fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|it| it == self.place.program());
            runs && fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|it| it.split(|it| *it == 0).skip(1).take(2).eq([&b"lab"[..], b"load"]))
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|it| it.file_name().to_str()?.parse().ok()).filter(is_one).collect()
    }
}
