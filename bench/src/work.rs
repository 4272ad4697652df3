//! What an arm is loaded with, by which generator, and which number of it is compared.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    arm::From,
    command::run,
    grpc, h2load,
    load::{Kind, Sample},
    place::Place,
};

/// What is done to an arm.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// By a generator of ours.
    Own(Kind, Figure),
    /// Requests of HTTP/1.1 by `wrk`, on kept connections.
    Wrk,
    /// Requests of HTTP/2 by `h2load`: so many connections, each with so many streams.
    Http2(u32, u32),
    /// The same with unary calls of gRPC.
    Grpc(u32, u32),
    /// One request at a time, by `wabe lab load`; the median of its times.
    OneByOne,
    /// One after the other on each connection, by the same: how many a second.
    Closed,
    /// So many requests a second by schedule, by `wabe lab load`; the 99th percentile, counted from when a request ought
    /// to have been sent.
    Scheduled(u64),
}

/// Which number of a sample of ours is compared. More is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Answers a second.
    Rate,
    /// Set-ups a second if one followed the other: 1 / median time of `connect()`.
    SetUps,
    /// Of what was counted, which are bytes.
    Megabytes,
}

/// How much load, and from which core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    pub(crate) core: usize,
}

/// What `wrk` needs at least.
const SECOND: Duration = Duration::from_secs(1);
/// How long a scheduled request may take. If more than a hundredth fails, this is the percentile, as it is at least that.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Work {
    /// Of its values. What is a time or a size is better if it is less.
    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Own(_, Figure::SetUps) => "1/median s",
            Self::Own(_, Figure::Megabytes) => "MB/s",
            Self::Own(_, Figure::Rate) | Self::Wrk | Self::Http2(..) | Self::Grpc(..) | Self::Closed => "1/s",
            Self::OneByOne | Self::Scheduled(_) => "us",
        }
    }

    /// What shows whether an arm answers at all.
    pub(crate) fn trial(&self) -> Self {
        match self {
            // By schedule an overloaded one does not.
            Self::Scheduled(_) => Self::OneByOne,
            // Which takes less than `wrk`'s second.
            Self::Wrk => Self::Closed,
            Self::Own(..) | Self::Http2(..) | Self::Grpc(..) | Self::OneByOne | Self::Closed => self.clone(),
        }
    }

    /// How many requests such a rate means; `None` if it is none of requests.
    pub(crate) fn requests(&self, rate: f64, load: Load) -> Option<f64> {
        match self {
            Self::Wrk => Some(rate * load.time.max(SECOND).as_secs_f64()),
            Self::Http2(connections, streams) | Self::Grpc(connections, streams) => Some(
                h2load::few(load.time, *connections, *streams)
                    .map_or_else(|| rate * load.time.as_secs_f64(), |few| few as f64),
            ),
            Self::Closed => Some(rate * load.time.as_secs_f64()),
            Self::Own(..) | Self::OneByOne | Self::Scheduled(_) => None,
        }
    }

    /// Loads an arm once, and tells the number that is compared.
    ///
    /// # Errors
    /// A generator can't be run, or an answer was not what it ought to be.
    pub(crate) fn sample(&self, place: &Place, from: &From, to: &str, load: Load) -> Result<f64> {
        match self {
            Self::Own(kind, figure) => own(*kind, place, from, to, load).map(|sample| figure.of(sample)),
            Self::Wrk => wrk(from, to, load),
            Self::Http2(connections, streams) => h2load::rate(
                pinned(from, "h2load", load.core),
                to,
                (*connections, *streams),
                load.time,
                &[],
                64,
            ),
            Self::Grpc(connections, streams) => {
                let body = place.folder().join(grpc::FILE);
                let words = [
                    "-d",
                    &body.to_string_lossy(),
                    "-H",
                    "content-type: application/grpc",
                    "-H",
                    "te: trailers",
                ];
                let command = pinned(from, "h2load", load.core);
                h2load::rate(command, to, (*connections, *streams), load.time, &words, grpc::BYTES as u64)
            }
            Self::OneByOne => {
                let told = lab_load(place, from, to, load, &["--closed", "--connections", "1"])?;
                percentile(&told, "p50")
            }
            Self::Closed => {
                let words = ["--closed", "--connections", &load.connections.to_string()];
                answers(&lab_load(place, from, to, load, &words)?)
            }
            Self::Scheduled(rate) => {
                let words = ["--rate", &rate.to_string(), "--connections", &load.connections.to_string()];
                let told = lab_load(place, from, to, load, &words)?;
                // That the path answers at all was seen before: it is overloaded.
                let none =
                    told["error"].as_str().is_some_and(|error| error.contains("never gave a right answer"));
                if none { Ok(TIMEOUT.as_micros() as f64) } else { scheduled(&told) }
            }
        }
    }
}

impl Figure {
    fn of(self, sample: Sample) -> f64 {
        match self {
            Self::Rate => sample.count as f64 / sample.seconds,
            Self::SetUps => sample.set_up.map_or(0.0, |microseconds| 1e6 / microseconds),
            Self::Megabytes => sample.count as f64 / sample.seconds / 1e6,
        }
    }
}

fn own(kind: Kind, place: &Place, from: &From, to: &str, load: Load) -> Result<Sample> {
    let numbers = [load.connections.to_string(), load.time.as_millis().to_string(), load.core.to_string()];
    let mut command = from.client(&place.program());
    let printed = run(command.args(["load", kind.word(), to]).args(numbers))?;
    serde_json::from_str(&printed).with_context(|| format!("the generator printed {printed:?}"))
}

fn wrk(from: &From, to: &str, load: Load) -> Result<f64> {
    let tool = wabe_lab::tools::find("wrk")?;
    let client = from.client("taskset".as_ref());
    let prefix: Vec<_> = std::iter::once(client.get_program()).chain(client.get_args()).collect();
    let prefix: Vec<_> = prefix.iter().map(|word| word.to_string_lossy()).collect();
    // The last word is the program, which `wrk` puts there itself.
    let prefix: Vec<&str> = prefix.iter().take(prefix.len() - 1).map(AsRef::as_ref).collect();
    let url = url(to);
    wabe_lab::check::wrk(
        &prefix,
        &tool,
        &url,
        load.connections as u32,
        load.time.max(SECOND),
        load.core as u32,
    )
}

fn lab_load(place: &Place, from: &From, to: &str, load: Load, words: &[&str]) -> Result<Value> {
    let mut command = from.client(&place.lab());
    command.args(["lab", "load", "-o", "json", "--warm-up", "100ms", "--core", &load.core.to_string()]);
    command.args(["--timeout", &format!("{}s", TIMEOUT.as_secs())]);
    command.args(["--duration", &format!("{}ms", load.time.as_millis())]).args(words).arg(url(to));
    // It fails if the schedule was not kept, and tells all the same: what came late is in the latencies.
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?} could not be run"))?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "`wabe lab load` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )
    })
}

/// A second.
fn answers(told: &Value) -> Result<f64> {
    let failed = told["failed"].as_object().context("`wabe lab load` tells no failures")?;
    ensure!(failed.is_empty(), "requests failed: {}", told["failed"]);
    let (answered, seconds) = (told["answered"].as_f64(), told["seconds"].as_f64());
    let rate = answered.zip(seconds).map(|(answered, seconds)| answered / seconds);
    rate.context("`wabe lab load` does not tell how many were answered in which time")
}

/// Microseconds.
fn percentile(told: &Value, name: &str) -> Result<f64> {
    let failed = told["failed"].as_object().context("`wabe lab load` tells no failures")?;
    ensure!(failed.is_empty(), "requests failed: {}", told["failed"]);
    let nanoseconds = told["latency"][name].as_f64();
    nanoseconds.map(|it| it / 1e3).with_context(|| format!("`wabe lab load` tells no {name}"))
}

/// The 99th percentile of all that the schedule had, those that failed or were never sent included.
fn scheduled(told: &Value) -> Result<f64> {
    let failed = told["failed"].as_object().context("`wabe lab load` tells no failures")?;
    let failed: u64 = failed.values().filter_map(Value::as_u64).sum();
    let answered = told["answered"].as_u64().context("`wabe lab load` tells no answers")?;
    if failed * 100 > answered + failed {
        return Ok(TIMEOUT.as_micros() as f64);
    }
    let nanoseconds = told["latency"]["p99"].as_f64().context("`wabe lab load` tells no p99")?;
    Ok(nanoseconds / 1e3)
}

fn pinned(from: &From, program: &str, core: usize) -> Command {
    let mut command = from.client("taskset".as_ref());
    command.args(["-c", &core.to_string(), program]);
    command
}

/// Of an address with a port, and maybe a path.
pub(crate) fn url(to: &str) -> String {
    if to.contains('/') { format!("http://{to}") } else { format!("http://{to}/") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_without_a_path_is_asked_for_the_root() {
        assert_eq!(url("192.0.2.1:80"), "http://192.0.2.1:80/");
        assert_eq!(url("192.0.2.1:80/route-1"), "http://192.0.2.1:80/route-1");
    }

    #[test]
    fn a_median_of_answers_of_which_some_failed_is_no_figure() {
        let told = |failed| json!({"failed": failed, "latency": {"p50": 190_000}});
        assert_eq!(percentile(&told(json!({})), "p50").expect("all answered"), 190.0);
        assert!(percentile(&told(json!({"status 500": 1})), "p50").is_err());
    }

    #[test]
    fn a_path_that_can_not_bear_the_rate_has_the_timeout_as_its_tail() {
        let told = |answered, failed: u64| json!({"answered": answered, "failed": {"never sent": failed}, "latency": {"p99": 700_000}});
        assert_eq!(scheduled(&told(1000, 0)).expect("all answered"), 700.0);
        assert_eq!(scheduled(&told(990, 10)).expect("nearly all answered"), 700.0);
        assert_eq!(scheduled(&told(989, 11)).expect("too few answered"), 2e6);
        assert!(scheduled(&json!({"error": "connecting"})).is_err());
    }
}
