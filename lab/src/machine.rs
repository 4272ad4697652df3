//! What the machine and the arm's processes do while a sample is taken, from /proc.

use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use anyhow::{Context, Result};

mod emulation;

use crate::{
    results::{Core, Environment, Machine, Process},
    world::{CLIENT_CORE, SERVER_CORE},
};

/// Ticks of /proc/stat and /proc/PID/stat a second: USER_HZ, which is 100 for user space on every architecture we know.
const TICKS: f64 = 100.0;

/// All that is read before and after a sample.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    at: Instant,
    cores: BTreeMap<u32, Core>,
    switches: u64,
    /// Microseconds in which some task waited for a processor.
    pressure: Option<u64>,
    net_rx: u64,
    processes: Vec<(&'static str, Process)>,
}

impl Reading {
    /// Reads everything. Processes that have ended count as nothing.
    pub(crate) fn take(roles: &[(&'static str, Vec<u32>)]) -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        let softirqs = fs::read_to_string("/proc/softirqs").unwrap_or_default();
        let pressure = fs::read_to_string("/proc/pressure/cpu").ok();
        Ok(Self {
            at: Instant::now(),
            cores: cores(&stat),
            switches: word(&stat, "ctxt").unwrap_or(0),
            pressure: pressure
                .as_deref()
                .and_then(|it| it.split_once("total=")?.1.lines().next()?.parse().ok()),
            net_rx: softirqs
                .lines()
                .find_map(|it| it.trim().strip_prefix("NET_RX:"))
                .map_or(0, |it| it.split_whitespace().filter_map(|it| it.parse::<u64>().ok()).sum()),
            processes: roles.iter().map(|(role, pids)| (*role, sum(role, pids))).collect(),
        })
    }

    /// Seconds since `before`.
    pub(crate) fn seconds_since(&self, before: &Self) -> f64 {
        self.at.duration_since(before.at).as_secs_f64()
    }

    /// What happened since `before`. `own` is the time of the load generator, seconds, which no role has.
    pub(crate) fn since(&self, before: &Self, own: f64) -> (Machine, Vec<Process>) {
        let core = |number: u32| {
            let at = |reading: &Self| reading.cores.get(&number).copied().unwrap_or_default();
            less(at(self), at(before))
        };
        let (client, server) = (core(CLIENT_CORE), core(SERVER_CORE));
        let processes: Vec<Process> = self
            .processes
            .iter()
            .filter_map(|(role, now)| {
                let (_, then) = before.processes.iter().find(|it| it.0 == *role)?;
                Some(Process {
                    role: now.role.clone(),
                    running: (now.running - then.running).max(0.0),
                    user: (now.user - then.user).max(0.0),
                    system: (now.system - then.system).max(0.0),
                    peak_memory: now.peak_memory,
                    switches: now.switches.saturating_sub(then.switches),
                })
            })
            .collect();
        let known: f64 = own + processes.iter().map(|it| it.user + it.system).sum::<f64>();
        let used = client.user + client.system + server.user + server.system;
        let seconds = self.seconds_since(before);
        let machine = Machine {
            client,
            server,
            switches: self.switches.saturating_sub(before.switches),
            pressure: self
                .pressure
                .zip(before.pressure)
                .map(|(now, then)| (now.saturating_sub(then) as f64 / 1e6 / seconds).min(1.0)),
            foreign: (used - known).max(0.0),
            net_rx: self.net_rx.saturating_sub(before.net_rx),
        };
        (machine, processes)
    }
}

/// What disturbed a sample of so many seconds, in words; empty if nothing did.
pub(crate) fn disturbances(machine: &Machine, seconds: f64) -> Vec<String> {
    /// Share of a core's time that the host may take.
    const STEAL: f64 = 0.02;
    /// Share of both cores' time that others may use; ticks are counted at 100 a second, so less would be noise.
    const FOREIGN: f64 = 0.05;
    let mut all = Vec::new();
    for (name, core) in [("client's", machine.client), ("server's", machine.server)] {
        let share = core.steal / core.all().max(f64::MIN_POSITIVE);
        if share > STEAL {
            all.push(format!("the host took {:.1} % of the {name} core", share * 100.0));
        }
    }
    if machine.foreign > FOREIGN * 2.0 * seconds {
        all.push(format!("other processes used {:.2} s of {seconds:.1} s", machine.foreign));
    }
    all
}

/// The facts about this machine that need no measuring.
pub(crate) fn environment() -> Environment {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let field = |name: &str| {
        let found = processor.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        found.map_or_else(String::new, |it| it.1.trim().to_owned())
    };
    let kibibytes = word(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0);
    let guest = field("flags").split(' ').any(|it| it == "hypervisor");
    let vendor = read("/sys/class/dmi/id/sys_vendor").trim().to_owned();
    Environment {
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        emulated: emulation::emulated(&field("model name")),
        processor: field("model name"),
        cores: std::thread::available_parallelism()
            .map_or(0, |it| u32::try_from(it.get()).unwrap_or(u32::MAX)),
        memory: kibibytes * 1024,
        virtualised: guest
            .then(|| if vendor.is_empty() { "a guest of an unknown kind".to_owned() } else { vendor }),
        tools: Vec::new(),
        client_core: CLIENT_CORE,
        server_core: SERVER_CORE,
        optimised: !cfg!(debug_assertions),
    }
}

fn cores(stat: &str) -> BTreeMap<u32, Core> {
    let core = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let ticks: Vec<f64> = words.filter_map(|it| it.parse().ok()).map(|it: f64| it / TICKS).collect();
        // proc_stat(5): user nice system idle iowait irq softirq steal; guests' time is in user and nice already.
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        Some((number, Core { user: user + nice, system, softirq, irq, steal, idle: idle + iowait }))
    };
    stat.lines().filter(|it| !it.starts_with("cpu ")).filter_map(core).collect()
}

fn less(now: Core, then: Core) -> Core {
    Core {
        user: now.user - then.user,
        system: now.system - then.system,
        softirq: now.softirq - then.softirq,
        irq: now.irq - then.irq,
        steal: now.steal - then.steal,
        // The kernel's idle time may go back a little.
        idle: (now.idle - then.idle).max(0.0),
    }
}

fn sum(role: &str, pids: &[u32]) -> Process {
    let mut all =
        Process { role: role.to_owned(), running: 0.0, user: 0.0, system: 0.0, peak_memory: 0, switches: 0 };
    for pid in pids {
        let folder = format!("/proc/{pid}");
        let stat = fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state is field 3, utime 14, stime 15.
        let fields: Vec<f64> = stat
            .rsplit_once(") ")
            .map(|it| it.1.split(' ').filter_map(|it| it.parse().ok()).collect())
            .unwrap_or_default();
        // The state is no number, so field 4 is first.
        all.user += fields.get(10).copied().unwrap_or(0.0) / TICKS;
        all.system += fields.get(11).copied().unwrap_or(0.0) / TICKS;
        let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
        all.peak_memory += word(&status, "VmHWM:").unwrap_or(0) * 1024;
        let (running, switches) = threads(Path::new(&folder));
        (all.running, all.switches) = (all.running + running, all.switches + switches);
    }
    all
}

/// Seconds that all threads ran, and how often they were switched away from.
fn threads(process: &Path) -> (f64, u64) {
    let (mut running, mut switches) = (0, 0);
    for thread in fs::read_dir(process.join("task")).into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        running += read("schedstat").split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        let status = read("status");
        let count = |it| word(&status, it).unwrap_or(0);
        switches += count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:");
    }
    (running as f64 / 1e9, switches)
}

/// The number behind a word at the beginning of a line.
fn word(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cores_time_is_read_column_by_column() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 10 200 5000 50 1 30 7 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nctxt 42\n";
        let core = cores(stat)[&0];
        let expected = Core { user: 1.1, system: 2.0, softirq: 0.3, irq: 0.01, steal: 0.07, idle: 50.5 };
        assert_eq!(core, expected);
        assert_eq!((cores(stat).len(), word(stat, "ctxt")), (2, Some(42)));
    }

    #[test]
    fn steal_and_foreign_loads_are_told_and_little_of_them_is_not() {
        let quiet = Core { user: 1.0, steal: 0.01, idle: 1.0, ..Core::default() };
        let stolen = Core { user: 1.0, steal: 0.5, idle: 0.5, ..Core::default() };
        let machine = Machine { client: quiet, server: quiet, foreign: 0.1, ..Machine::default() };
        assert_eq!(disturbances(&machine, 2.0), Vec::<String>::new());
        let machine = Machine { client: quiet, server: stolen, foreign: 0.5, ..Machine::default() };
        assert_eq!(disturbances(&machine, 2.0).len(), 2);
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let pid = std::process::id();
        let roles = [("test", vec![pid])];
        let before = Reading::take(&roles).expect("/proc");
        // Others may have the processors for a while, so that a fixed time would prove nothing.
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        let processes = loop {
            std::hint::black_box((0..1_000_000).sum::<u64>());
            let (_, processes) = Reading::take(&roles).expect("/proc").since(&before, 0.0);
            if processes[0].running >= 0.05 || Instant::now() > deadline {
                break processes;
            }
        };
        assert!(processes[0].running >= 0.05 && processes[0].peak_memory > 1 << 20);
    }
}
