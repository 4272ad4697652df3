//! A run as a machine might leave it, made up: several arms, a noisy host, long tails, and a few things that went wrong.

#[path = "beside.rs"]
mod beside;

use std::{collections::BTreeMap, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer, V2Serializer},
};
use wabe_lab::{
    results::{Arm, Axis, Core, FORMAT, Latency, Load, Machine, Point, Process, Results, Rules, Run, Sample},
    stats::Random,
};

/// Name, what it is, median in microseconds, processor time in microseconds for one request, whether rules slow it.
const ARMS: [(&str, &str, f64, f64, bool); 6] = [
    ("none", "two namespaces on a bridge, no mesh, no rules: the floor", 96.0, 31.0, false),
    ("kube-proxy-iptables", "a Service address by kube-proxy's chains, iptables-legacy", 118.0, 38.0, true),
    ("sidecar-iptables", "an Envoy on each side, Istio's redirect chains, mTLS, RBAC", 640.0, 205.0, true),
    ("sidecar-ebpf", "the same Envoys, redirected by eBPF", 622.0, 197.0, false),
    (
        "sidecar-ebpf-sockmap",
        "the same, and socket to socket between workload and sidecar",
        585.0,
        186.0,
        false,
    ),
    ("wabe-direct", "the mesh, layers 3 and 4 in the kernel, no proxy", 88.0, 27.0, false),
];

/// The run; `rounds` of it.
pub fn results(rounds: u32) -> Results {
    let points = points();
    let mut random = Random::new(7);
    let mut samples = Vec::new();
    for point in &points {
        for round in 0..rounds {
            // Rounds have weather that all arms see.
            let weather = 1.0 + random.exponential(0.06);
            for (place, arm) in point.arms.iter().enumerate() {
                samples.push(sample(point, arm, (round, place as u32), weather, &mut random));
            }
        }
    }
    spoil(&mut samples);
    Results {
        format: FORMAT,
        run: Run {
            command: ["wabe", "lab", "thesis", "--out", "my results"].map(str::to_owned).to_vec(),
            started: 1_795_487_760,
            seconds: 2_841.0,
            quick: rounds < 6,
            complete: true,
            ended: None,
            seed: 42,
            rounds,
            slice: 5.0,
        },
        environment: beside::environment(),
        arms: arms(),
        points,
        samples,
        cross_checks: beside::cross_checks(),
        breakdowns: beside::breakdowns(),
        canaries: beside::canaries(),
    }
}

/// Writes it where a run would.
pub fn save(dir: &Path, results: &Results) {
    std::fs::write(dir.join("results.json"), serde_json::to_string(results).expect("json")).expect("written");
}

fn arms() -> Vec<Arm> {
    let rules = |name: &str| match name {
        "kube-proxy-iptables" | "sidecar-iptables" => {
            [(10, 998, 0.08), (100, 10_211, 0.9), (500, 101_806, 14.2)]
                .into_iter()
                .map(|(services, count, programmed)| Rules {
                    technology: "iptables-legacy 1.8.9".into(),
                    services,
                    endpoints: 50,
                    count,
                    programmed,
                    changed: Some(programmed * 0.9),
                })
                .collect()
        }
        "wabe-direct" => vec![Rules {
            technology: "eBPF maps".into(),
            services: 500,
            endpoints: 50,
            count: 25_500,
            programmed: 0.041,
            changed: Some(0.000_3),
        }],
        _ => Vec::new(),
    };
    let arm = |(name, title, ..): (&str, &str, f64, f64, bool)| Arm {
        name: name.into(),
        title: title.into(),
        missing: None,
        rules: rules(name),
    };
    let ipvs = Arm {
        name: "kube-proxy-ipvs".into(),
        title: "a Service address by IPVS".into(),
        missing: Some("this kernel has no IPVS: run it in the virtual machine, `cargo xtask vm lab`".into()),
        rules: Vec::new(),
    };
    ARMS.into_iter().map(arm).chain([ipvs]).collect()
}

fn points() -> Vec<Point> {
    let all: Vec<String> = ARMS.iter().map(|it| it.0.to_owned()).collect();
    let without_sidecars: Vec<String> = all.iter().filter(|it| !it.contains("sidecar")).cloned().collect();
    let point = |scenario: &str,
                 name: String,
                 title: String,
                 axis: (&str, &str, f64),
                 open,
                 flood,
                 arms: &[String]| Point {
        name,
        scenario: scenario.into(),
        title,
        axis: (!axis.0.is_empty()).then(|| Axis { name: axis.0.into(), unit: axis.1.into(), value: axis.2 }),
        open,
        flood,
        arms: arms.to_vec(),
    };
    let mut points = Vec::new();
    for rate in [200, 1_000, 1_500] {
        let title = format!("{rate} requests/s, 64 B, connections kept, 101 806 rules");
        let axis = ("rate", "requests/s", f64::from(rate));
        points.push(point("latency", format!("latency-{rate}"), title, axis, true, (500, 50), &all));
    }
    for rules in [0_u32, 1_000, 10_000, 100_000] {
        let (name, title) =
            (format!("rules-{rules}"), format!("a new connection per request, {rules} rules"));
        let axis = ("rules", "rules", f64::from(rules));
        points.push(point("rules", name, title, axis, true, (rules / 200, 50), &without_sidecars));
    }
    for size in [64_u32, 1_024, 16_384, 262_144, 1_048_576] {
        let (name, title) = (format!("size-{size}"), format!("bodies of {size} B, 32 connections"));
        let axis = ("body size", "B", f64::from(size));
        points.push(point("size", name, title, axis, false, (0, 0), &all));
    }
    let title = "32 connections, 64 B, as fast as answers come".to_owned();
    points.push(point("capacity", "capacity".into(), title, ("", "", 0.0), false, (0, 0), &all));
    points
}

fn sample(point: &Point, arm: &str, (round, place): (u32, u32), weather: f64, random: &mut Random) -> Sample {
    let (_, _, median, cpu, slowed) = *ARMS.iter().find(|it| it.0 == arm).expect("a known arm");
    let value = point.axis.as_ref().map_or(0.0, |it| it.value);
    let rules = if point.scenario == "rules" && slowed { value * 0.004 } else { 0.0 };
    let size = if point.scenario == "size" { value * 0.000_9 } else { 0.0 };
    let noise = 1.0 + (random.below(1000) as f64 / 1000.0 - 0.5) * 0.06;
    let (median, cpu) = ((median + rules + size) * weather * noise, (cpu + rules * 0.9 + size) * noise);
    let seconds = 5.0;
    let rate = if point.open { value.clamp(200.0, 1_500.0) } else { 1.6e6 / cpu };
    let answered = (rate * seconds) as u64;
    let mut times = Histogram::<u64>::new(3).expect("three digits");
    for _ in 0..answered.min(8_000) {
        // A floor, a body and a tail.
        let tail = if random.below(100) == 0 { random.exponential(median * 8.0) } else { 0.0 };
        let time = median * 0.72 + random.exponential(median * 0.4) + tail;
        times.record((time * 1e3) as u64).expect("in range");
    }
    let open = point.open;
    let load = Load {
        intended_rate: open.then_some(rate),
        sent: answered + 1,
        answered,
        answers: answered,
        failed: BTreeMap::from([("timeout".to_owned(), 1)]),
        seconds,
        bytes: answered * 64,
        latency: latency(&times, round % 2 == 0),
        lateness: open.then(|| latency(&times, true)),
        set_up: (point.scenario == "rules").then(|| latency(&times, true)),
        user: 0.4,
        system: 0.5,
    };
    let busy = cpu * 1e-6 * answered as f64;
    let core = |share: f64| Core {
        user: busy * share * 0.46,
        system: busy * share * 0.36,
        softirq: busy * share * 0.16,
        irq: busy * share * 0.02,
        steal: 0.04,
        idle: (seconds - busy * share).max(0.0),
    };
    Sample {
        point: point.name.clone(),
        arm: arm.to_owned(),
        round,
        place,
        attempt: 0,
        invalid: Vec::new(),
        disturbed: Vec::new(),
        replaced: false,
        load: Some(load),
        machine: Machine {
            client: core(0.45),
            server: core(0.55),
            switches: answered * if arm.contains("sidecar") { 9 } else { 4 },
            pressure: Some(0.11),
            foreign: 0.02,
            net_rx: answered * 2,
        },
        processes: processes(arm, busy),
    }
}

fn processes(arm: &str, busy: f64) -> Vec<Process> {
    let process = |role: &str, peak: u64| Process {
        role: role.into(),
        running: busy * 0.3,
        user: 1.0,
        system: 1.0,
        peak_memory: peak << 20,
        switches: 1_000,
    };
    let sidecars = ["client-sidecar", "server-sidecar"].into_iter().map(|it| process(it, 61));
    sidecars.filter(|_| arm.contains("sidecar")).chain([process("server", 9)]).collect()
}

/// A sample with a distribution; of both kinds that HdrHistogram writes.
fn latency(times: &Histogram<u64>, plain: bool) -> Latency {
    let mut bytes = Vec::new();
    if plain {
        V2Serializer::new().serialize(times, &mut bytes).expect("serialised");
    } else {
        V2DeflateSerializer::new().serialize(times, &mut bytes).expect("serialised");
    }
    let at = |share| times.value_at_quantile(share);
    Latency {
        count: times.len(),
        mean: times.mean(),
        deviation: times.stdev(),
        min: times.min(),
        p5: at(0.05),
        p25: at(0.25),
        p50: at(0.5),
        p75: at(0.75),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        max: times.max(),
        histogram: STANDARD.encode(bytes),
    }
}

/// One sample was disturbed and repeated, one did not reach its rate.
fn spoil(samples: &mut Vec<Sample>) {
    let mut again = samples[3].clone();
    again.attempt = 1;
    samples[3].disturbed = vec!["the host took 7.2 % of the client's core (steal)".into()];
    samples[3].replaced = true;
    samples[9].invalid = vec!["the rate was not reached: 171 of 200 requests/s".into()];
    samples.insert(4, again);
}
