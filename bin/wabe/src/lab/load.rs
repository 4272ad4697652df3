//! `wabe lab load`: the load generator by itself.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use wabe_lab::{
    load::{self, Arrivals, Plan, Protocol, Url},
    results::{Latency, Load as Done},
};

use super::chain;
use crate::{
    cli::{Output, Plain},
    failure::Failure,
    screen::line,
};

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// http://HOST[:PORT][/PATH], https://..., or udp://HOST:PORT for datagrams that come back.
    pub(crate) url: String,
    /// Requests a second, by schedule; latency counts from when a request ought to have been sent.
    #[arg(long, value_name = "R", required_unless_present = "closed")]
    pub(crate) rate: Option<f64>,
    /// At random gaps, as requests of many independent clients come; at even ones unless given.
    #[arg(long, requires = "rate")]
    pub(crate) poisson: bool,
    /// As fast as answers come, to find what the path can carry.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) closed: bool,
    /// How long it counts: 10s, 500ms, 1m.
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Load before it counts.
    #[arg(long, value_name = "D", value_parser = duration, default_value = "500ms")]
    pub(crate) warm_up: Duration,
    /// How long an answer may take.
    #[arg(long, value_name = "D", value_parser = duration, default_value = "5s")]
    pub(crate) timeout: Duration,
    /// How many connections or sockets at most at once.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(crate) connections: usize,
    /// A new connection for each request.
    #[arg(long)]
    pub(crate) new_connections: bool,
    /// HTTP/2 with prior knowledge; HTTP/1.1 unless given.
    #[arg(long)]
    pub(crate) http2: bool,
    /// Bytes that are sent with each request (POST).
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) body: usize,
    /// Roots of the certificates that are believed, PEM; of https.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    /// Binds the generator to a core.
    #[arg(long)]
    pub(crate) core: Option<u32>,
    /// What random gaps are drawn from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) plain: Plain,
}

pub(crate) fn run(arguments: &Load) -> Result<ExitCode, Failure> {
    let url: Url = arguments.url.parse().map_err(chain)?;
    let arrivals = match arguments.rate {
        None => Arrivals::Closed,
        Some(rate) if arguments.poisson => Arrivals::Poisson(rate),
        Some(rate) => Arrivals::Constant(rate),
    };
    let plan = Plan {
        url,
        arrivals,
        connections: arguments.connections,
        fresh: arguments.new_connections,
        protocol: if arguments.http2 { Protocol::Http2 } else { Protocol::Http1 },
        warm_up: arguments.warm_up,
        time: arguments.duration,
        timeout: arguments.timeout,
        body: arguments.body,
        trust: arguments.trust.clone(),
        seed: arguments.seed,
    };
    if let Some(core) = arguments.core {
        load::pin(core).map_err(chain)?;
    }
    let done = load::run(&plan).map_err(chain)?;
    let faults = load::faults(&done);
    match arguments.plain.output {
        Output::Json => line(&serde_json::to_string(&done).map_err(Failure::environment)?)?,
        Output::Text | Output::Yaml => print(&plan, &done, &faults)?,
    }
    // A load that says nothing of the path is no success; scripts must not take it for one.
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(plan: &Plan, done: &Done, faults: &[String]) -> Result<(), Failure> {
    let answered = done.answered as f64 / done.seconds;
    line(&format!("{}: {} right answers in {} s, {answered:.1}/s", plan.url, done.answered, done.seconds))?;
    if let Some(rate) = done.intended_rate {
        line(&format!("asked for {rate}/s; {:.1}/s were sent", done.sent as f64 / done.seconds))?;
    }
    for (kind, count) in &done.failed {
        line(&format!("failed: {kind}: {count}"))?;
    }
    line(&format!(
        "{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}  microseconds",
        "", "mean", "p50", "p90", "p99", "p99.9", "max"
    ))?;
    quantiles("latency", &done.latency)?;
    if let Some(lateness) = &done.lateness {
        quantiles("sent late", lateness)?;
    }
    if let Some(set_up) = &done.set_up {
        quantiles("connect()", set_up)?;
    }
    let share = |seconds: f64| seconds / done.seconds * 100.0;
    line(&format!(
        "the generator itself used {:.0} % of a core: {:.0} % in user space, {:.0} % in the kernel",
        share(done.user + done.system),
        share(done.user),
        share(done.system)
    ))?;
    for fault in faults {
        line(&format!("invalid: {fault}"))?;
    }
    Ok(())
}

fn quantiles(name: &str, it: &Latency) -> Result<(), Failure> {
    let micro = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    line(&format!(
        "{name:<12}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}",
        it.mean / 1e3,
        micro(it.p50),
        micro(it.p90),
        micro(it.p99),
        micro(it.p999),
        micro(it.max)
    ))
}

/// `10s`, `500ms`, `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|it: char| !(it.is_ascii_digit() || it == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("`{text}` is no duration: write 500ms, 10s or 1m")),
    };
    let number: f64 =
        number.parse().map_err(|_| format!("`{text}` is no duration: write 500ms, 10s or 1m"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("`{text}` is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, milliseconds) in
            [("10s", 10_000), ("500ms", 500), ("1.5s", 1_500), ("2m", 120_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["10", "s", "", "10h", "-1s", "1e400s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
