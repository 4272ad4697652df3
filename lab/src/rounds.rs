//! Rounds: each loads every arm once, in an order drawn anew, so that what the machine does besides hits all alike.

use std::{
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use wabe_lab_datapath::Counters;

use crate::{
    load,
    machine::{self, Reading},
    place::Place,
    results::{Load, Sample},
    scenario::Spec,
    stats::Random,
    world::{CLIENT_CORE, World},
};

/// How often a disturbed or invalid sample is tried again.
const ATTEMPTS: u32 = 2;
/// Load before it counts: connections are opened, caches are filled.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);
/// A sample may take so much longer than it is asked to before it is taken for stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the rounds of a point go.
#[derive(Debug)]
pub(crate) struct Rounds<'a> {
    pub(crate) place: &'a Place,
    pub(crate) spec: &'a Spec,
    pub(crate) slice: Duration,
}

impl Rounds<'_> {
    /// One round over all arms. Samples go to `keep` as they come, so that none is lost by an error.
    ///
    /// # Errors
    /// Ctrl-C, or a program of an arm has ended.
    pub(crate) fn round(
        &self,
        number: u32,
        worlds: &mut [World],
        random: &mut Random,
        keep: &mut Vec<Sample>,
        mut progress: impl FnMut(&str),
    ) -> Result<()> {
        let mut order: Vec<usize> = (0..worlds.len())
            .filter(|it| self.spec.point.arms.iter().any(|arm| arm == worlds[*it].arm.name()))
            .collect();
        random.shuffle(&mut order);
        for (place, index) in order.into_iter().enumerate() {
            let world = &mut worlds[index];
            for attempt in 0..=ATTEMPTS {
                self.place.check()?;
                progress(world.arm.name());
                let mut sample = self.sample(world, random.word())?;
                world.alive().with_context(|| format!("{} at {}", world.arm.name(), self.spec.point.name))?;
                let again = attempt < ATTEMPTS && !(sample.invalid.is_empty() && sample.disturbed.is_empty());
                (sample.round, sample.place, sample.attempt, sample.replaced) =
                    (number, u32::try_from(place)?, attempt, again);
                keep.push(sample);
                if !again {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Loads an arm once.
    fn sample(&self, world: &mut World, seed: u64) -> Result<Sample> {
        let roles = world.processes()?;
        let mut idle = self.idle(world)?;
        let (counted, led) = (world.counters()?, world.led_by_ipvs()?);
        let before = Reading::take(&roles)?;
        let loaded = self.load(world, seed);
        let after = Reading::take(&roles)?;
        let held = idle.as_mut().map(Child::try_wait).transpose()?.flatten();
        if let Some(mut child) = idle {
            let _ = child.kill();
            child.wait()?;
        }
        let own = loaded.as_ref().map_or(0.0, |it| it.user + it.system);
        let (machine, processes) = after.since(&before, own);
        let (load, mut invalid) = match loaded {
            Ok(load) => {
                let faults = faults(&load);
                (Some(load), faults)
            }
            Err(error) => {
                self.place.check()?;
                (None, vec![format!("{error:#}")])
            }
        };
        if let (Some(before), Some(after)) = (counted, world.counters()?) {
            invalid.extend(bypassed(&before, &after));
        }
        if led.is_some() && led == world.led_by_ipvs()? {
            invalid.push("IPVS led no packet: this is not the path that the arm is named after".to_owned());
        }
        if let Some(status) = held {
            invalid.push(format!("the idle connections went ({status})"));
        }
        Ok(Sample {
            point: self.spec.point.name.clone(),
            arm: world.arm.name().to_owned(),
            round: 0,
            place: 0,
            attempt: 0,
            invalid,
            disturbed: machine::disturbances(&machine, (self.slice + WARM_UP).as_secs_f64()),
            replaced: false,
            load,
            machine,
            processes,
        })
    }

    /// Runs the load generator as the arm's client while, if the point says so, endpoints change.
    fn load(&self, world: &mut World, seed: u64) -> Result<Load> {
        let child =
            start(&mut world.client(&load_command(self.place, self.spec, world, self.slice, seed)?)?)?;
        let Some(every) = self.spec.change_every else { return finish(self.place, child, self.slice) };
        let done = AtomicBool::new(false);
        let world = Mutex::new(world);
        std::thread::scope(|scope| {
            let changing = scope.spawn(|| change(&world, every, &done));
            let load = finish(self.place, child, self.slice);
            done.store(true, Ordering::Relaxed);
            changing.join().map_err(|_| anyhow::anyhow!("changing endpoints panicked"))??;
            load
        })
    }

    /// Connections that do nothing, held by a process in the client.
    fn idle(&self, world: &World) -> Result<Option<Child>> {
        if self.spec.idle == 0 {
            return Ok(None);
        }
        let url = world.url(self.spec.target)?;
        let mut command = Command::new(self.place.program());
        command.args(["lab", "hold", &url, &self.spec.idle.to_string()]);
        let mut child = start(&mut world.client(&command)?)?;
        let mut line = String::new();
        let out = child.stdout.take().context("invariant: stdout is a pipe")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        if line.trim() != "held" {
            let _ = child.kill();
            let output = child.wait_with_output()?;
            bail!("{} idle connections: {}", self.spec.idle, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Some(child))
    }
}

/// Why a sample is not one of the lab's own programs, by what they counted before and after.
fn bypassed(before: &Counters, after: &Counters) -> Option<String> {
    let none = |field: fn(&Counters) -> u64| field(before) == field(after);
    if none(|it| it.redirected) && none(|it| it.moved) {
        return Some(
            "the eBPF programs did nothing: this is not the path that the arm is named after".to_owned(),
        );
    }
    let refused = after.refused - before.refused;
    if refused > 0 {
        return Some(format!("{refused} connections found no room in the eBPF programs' tables"));
    }
    let orphaned = after.orphaned - before.orphaned;
    (orphaned > 0).then(|| format!("{orphaned} connections found no listener of the sidecar's"))
}

/// Why a load says nothing of the path: the generator's own faults, and requests that failed.
fn faults(load: &Load) -> Vec<String> {
    let mut all = load::faults(load);
    let failed: u64 = load.failed.values().sum();
    if failed > 0 {
        let kinds: Vec<String> = load.failed.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        all.push(format!("{failed} of {} requests failed ({})", load.sent, kinds.join(", ")));
    }
    all
}

/// The command line of `wabe lab load` for a point.
pub(crate) fn load_command(
    place: &Place,
    spec: &Spec,
    world: &World,
    time: Duration,
    seed: u64,
) -> Result<Command> {
    let mut command = Command::new(place.program());
    command.args(["lab", "load", &world.url(spec.target)?, "-o", "json"]);
    command.args(["--duration", &format!("{}ms", time.as_millis())]);
    command.args(["--warm-up", &format!("{}ms", WARM_UP.as_millis())]);
    command.args(["--connections", &spec.connections.to_string(), "--core", &CLIENT_CORE.to_string()]);
    command.args(["--seed", &seed.to_string()]);
    match spec.rate {
        Some(rate) => command.args(["--rate", &rate.to_string()]),
        None => command.arg("--closed"),
    };
    if spec.fresh {
        command.arg("--new-connections");
    }
    if spec.target == crate::world::Target::Http2 {
        command.arg("--http2");
    }
    Ok(command)
}

/// Starts a program whose output is wanted.
pub(crate) fn start(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("{command:?} could not be run"))
}

/// Waits for a load generator, not longer than is reasonable and not after Ctrl-C.
pub(crate) fn finish(place: &Place, mut child: Child, time: Duration) -> Result<Load> {
    let deadline = Instant::now() + time + WARM_UP + PATIENCE;
    // Its output is larger than a pipe.
    let out = child.stdout.take().context("invariant: stdout is a pipe")?;
    let reader = std::thread::spawn(move || std::io::read_to_string(out));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if place.interrupted() || Instant::now() > deadline {
            let _ = child.kill();
            child.wait()?;
            place.check()?;
            bail!("the load generator did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let printed = reader.join().map_err(|_| anyhow::anyhow!("reading panicked"))??;
    // A load with faults fails, too, but tells; faults are judged by the caller.
    serde_json::from_str(&printed).map_err(|_| {
        let said = child.stderr.take().and_then(|it| std::io::read_to_string(it).ok()).unwrap_or_default();
        anyhow::anyhow!("the load generator ended with {status}: {}", said.trim())
    })
}

fn change(world: &Mutex<&mut World>, every: Duration, done: &AtomicBool) -> Result<()> {
    let mut next = Instant::now();
    while !done.load(Ordering::Relaxed) {
        if Instant::now() >= next {
            next += every;
            world.lock().map_err(|_| anyhow::anyhow!("another thread panicked"))?.change()?;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
