//! What a run leaves: `results.json`. Everything that the report, `wabe lab compare` and other people's tools know of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The number of this format; a reader refuses another.
pub const FORMAT: u32 = 1;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// What was asked for, and how it went.
    pub run: Run,
    /// On what machine.
    pub environment: Environment,
    /// The data paths that were asked for, in the order of the table in the lab's guide; also those that can't be had here.
    pub arms: Vec<Arm>,
    /// The points at which they were measured, in order.
    pub points: Vec<Point>,
    /// Every attempt to measure one arm at one point in one round, valid or not, in the order of time.
    pub samples: Vec<Sample>,
    /// The load generator against others.
    pub cross_checks: Vec<CrossCheck>,
    /// Where the time of a request goes.
    pub breakdowns: Vec<Breakdown>,
    /// What socket to socket redirection breaks.
    pub canaries: Vec<Canary>,
}

/// What was asked for, and how it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The command line, to run it again.
    pub command: Vec<String>,
    /// When it began, seconds since 1970.
    pub started: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Whether it was `--quick`: fewer arms and rounds, so wide intervals.
    pub quick: bool,
    /// Whether all rounds of all points are there; not so after Ctrl-C or an error.
    pub complete: bool,
    /// Why it is not complete.
    pub ended: Option<String>,
    /// What the orders of arms were drawn from.
    pub seed: u64,
    /// Rounds that were asked for.
    pub rounds: u32,
    /// Seconds that one arm is loaded in one round at one point.
    pub slice: f64,
}

/// On what machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// As `uname -r` tells it.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// Cores that are online.
    pub cores: u32,
    /// Bytes.
    pub memory: u64,
    /// Whether the machine is a guest of another, and of which kind.
    pub virtualised: Option<String>,
    /// Whether the whole machine is emulated: its times are not those of any machine.
    pub emulated: bool,
    /// Other programs that took part.
    pub tools: Vec<Tool>,
    /// Which core the client and its sidecar had.
    pub client_core: u32,
    /// Which core the server and its sidecar had.
    pub server_core: u32,
    /// Whether `wabe` was built with optimisation.
    pub optimised: bool,
}

/// Another program that took part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// `envoy`.
    pub name: String,
    /// As it tells it.
    pub version: String,
    /// Of the program's file, hexadecimal.
    pub sha256: Option<String>,
}

/// A data path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arm {
    /// `sidecar-iptables`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Why it could not be measured here, with the command that helps if there is one; `None` if it was.
    pub missing: Option<String>,
    /// The rules or table entries of its node, counted when they were there; one for each number that the run asked for.
    pub rules: Vec<Rules>,
}

/// The rules of an arm's node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// `iptables-legacy 1.8.9`.
    pub technology: String,
    /// Services and endpoints of each, as asked for.
    pub services: u32,
    /// Endpoints of each service.
    pub endpoints: u32,
    /// How many there are, by the technology's own listing.
    pub count: u64,
    /// Seconds until all were in force; 0 if that was less than the technology tells.
    pub programmed: f64,
    /// Seconds until one changed endpoint was in force, by the way in which this technology is changed.
    pub changed: Option<f64>,
}

/// A point at which arms are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// `latency-1000`; there is no other of that name.
    pub name: String,
    /// `latency`.
    pub scenario: String,
    /// One line for people: `1 000 requests/s, 64 B, connections kept`.
    pub title: String,
    /// What its scenario varies, if anything.
    pub axis: Option<Axis>,
    /// Whether the generator sends at a given rate; otherwise as fast as answers come.
    pub open: bool,
    /// The [`Rules::services`] and [`Rules::endpoints`] of its nodes.
    pub flood: (u32, u32),
    /// The arms that are compared here.
    pub arms: Vec<String>,
}

/// What a scenario varies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Axis {
    /// `rate`.
    pub name: String,
    /// `requests/s`.
    pub unit: String,
    /// This point's.
    pub value: f64,
}

/// One arm at one point in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The point's name.
    pub point: String,
    /// The arm's name.
    pub arm: String,
    /// Counted from 0. Samples of one point and round are pairs: they saw the same weather.
    pub round: u32,
    /// Which in the round's order, from 0.
    pub place: u32,
    /// 0, or how many samples before were disturbed and are repeated by this.
    pub attempt: u32,
    /// Why it must not be used: the rate was not reached, the server died. Empty if it is valid.
    pub invalid: Vec<String>,
    /// What disturbed it: steal, a foreign load. A disturbed sample is repeated a few times; the last stays valid.
    pub disturbed: Vec<String>,
    /// Whether another one took its place.
    pub replaced: bool,
    /// What the generator tells; `None` if it failed.
    pub load: Option<Load>,
    /// What the machine did meanwhile.
    pub machine: Machine,
    /// What the arm's processes did meanwhile.
    pub processes: Vec<Process>,
}

/// What the load generator tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Requests per second by the schedule; `None` if it sent as fast as answers came.
    pub intended_rate: Option<f64>,
    /// Requests that were sent while it counted.
    pub sent: u64,
    /// Right answers to them.
    pub answered: u64,
    /// All right answers, also before and after it counted: what the processor time of others is divided by.
    pub answers: u64,
    /// What else happened to them, and how often: `refused`, `status 503`, `reset`, `timeout`.
    pub failed: BTreeMap<String, u64>,
    /// How long it counted, seconds.
    pub seconds: f64,
    /// Bytes of bodies received.
    pub bytes: u64,
    /// Time from when a request ought to have been sent to the end of its answer.
    pub latency: Latency,
    /// Time from when a request ought to have been sent until it was: the generator's own lateness, and the queue in front of
    /// it. `None` if it sent as fast as answers came.
    pub lateness: Option<Latency>,
    /// Time of `connect()`, if each request had a connection of its own.
    pub set_up: Option<Latency>,
    /// The generator's own time in user space, seconds.
    pub user: f64,
    /// The generator's own time in the kernel, seconds.
    pub system: f64,
}

/// A distribution of times, nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Smallest.
    pub min: u64,
    /// 5th percentile.
    pub p5: u64,
    /// 25th percentile.
    pub p25: u64,
    /// Median.
    pub p50: u64,
    /// 75th percentile.
    pub p75: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
    /// All of it: an HdrHistogram, three digits, V2 with DEFLATE or V2 plain, in standard base64.
    pub histogram: String,
}

/// What the machine did while a sample was taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The client's core.
    pub client: Core,
    /// The server's core.
    pub server: Core,
    /// Context switches of the whole machine.
    pub switches: u64,
    /// Share of the time in which some task waited for a processor (PSI, `some`), 0 to 1; `None` without PSI.
    pub pressure: Option<f64>,
    /// Time of processes that are none of the arm's or the lab's, seconds.
    pub foreign: f64,
    /// Received packets that were processed in softirq (`NET_RX` of /proc/softirqs counts runs).
    pub net_rx: u64,
}

/// A core's time, seconds, by /proc/stat. Most kernels sample it at each tick, so what is woken by a timer and sleeps before
/// the next one is hardly seen: [`Process::running`] is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Core {
    /// In user space, `nice` included.
    pub user: f64,
    /// In the kernel for a process.
    pub system: f64,
    /// In softirq: most of the network's work.
    pub softirq: f64,
    /// In interrupts.
    pub irq: f64,
    /// Taken by the host.
    pub steal: f64,
    /// Idle or waiting for a disk.
    pub idle: f64,
}

impl Core {
    /// Seconds in which it worked for us.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.user + self.system + self.softirq + self.irq
    }

    /// Seconds in all.
    #[must_use]
    pub fn all(&self) -> f64 {
        self.busy() + self.steal + self.idle
    }
}

/// What the processes of one role did while a sample was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// `client-sidecar`, `server-sidecar`, `server`, `agent`.
    pub role: String,
    /// Seconds that they ran, to the nanosecond (/proc/PID/task/*/schedstat). The network's work that they set off is in it,
    /// as the kernel does most of it before a system call returns.
    pub running: f64,
    /// Seconds in user space.
    pub user: f64,
    /// Seconds in the kernel.
    pub system: f64,
    /// Most memory that it ever had, bytes.
    pub peak_memory: u64,
    /// Context switches, by its own will or not.
    pub switches: u64,
}

/// The load generator against another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CrossCheck {
    /// `wrk`.
    pub peer: String,
    /// What was measured: `HTTP/1.1, 32 connections, requests/s`.
    pub what: String,
    /// Our figures, one a round.
    pub ours: Vec<f64>,
    /// The peer's, one a round.
    pub theirs: Vec<f64>,
    /// Why it could not be had.
    pub missing: Option<String>,
}

/// Where the time of a request goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breakdown {
    /// The arm.
    pub arm: String,
    /// The point whose load it was.
    pub point: String,
    /// Answers per second meanwhile.
    pub rate: f64,
    /// Busy time of both cores for one request, microseconds.
    pub per_request: f64,
    /// What it consists of: shares, 0 to 1, that sum up to 1, largest first.
    pub shares: Vec<Share>,
    /// How many times a profiler looked.
    pub looks: u64,
    /// Context switches for one request.
    pub switches: f64,
    /// System calls for one request, if they could be counted.
    pub calls: Option<f64>,
}

/// A part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// `netfilter`, `network stack`, `wake-ups and scheduling`, `proxy in user space`, `TLS`, `eBPF`, `client`, `server`.
    pub what: String,
    /// 0 to 1.
    pub share: f64,
}

/// Something that plain TCP does and socket to socket redirection may break.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// `splice`, `MSG_WAITALL`, `reset`, `receive window`, `order`.
    pub name: String,
    /// What an application expects.
    pub expected: String,
    /// The arm.
    pub arm: String,
    /// Whether it holds there.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

impl Results {
    /// The samples to use: valid, and not replaced by another.
    pub fn valid<'a>(&'a self, point: &'a str, arm: &'a str) -> impl Iterator<Item = &'a Sample> + 'a {
        self.samples.iter().filter(move |it| {
            it.point == point && it.arm == arm && it.invalid.is_empty() && !it.replaced && it.load.is_some()
        })
    }
}

impl Sample {
    /// Processor time for one answer, seconds: the generator's and the arm's processes'. `None` without answers.
    #[must_use]
    pub fn processor(&self) -> Option<f64> {
        let load = self.load.as_ref().filter(|it| it.answered > 0 && it.answers > 0)?;
        let own = (load.user + load.system) / load.answered as f64;
        let others: f64 = self.processes.iter().map(|it| it.running).sum();
        Some(own + others / load.answers as f64)
    }

    /// Which share of both cores generator and arm used while the load lasted, 0 to 1.
    #[must_use]
    pub fn busy(&self) -> Option<f64> {
        let load = self.load.as_ref()?;
        Some(self.processor()? * load.answered as f64 / load.seconds / 2.0)
    }
}
