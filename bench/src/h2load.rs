//! `h2load`: how it is asked, and what it prints.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{command::run, work::url};

/// So many requests of each stream show that an arm answers.
const FEW: u64 = 20;

/// The number of requests that stand for less than a second.
pub(crate) fn few(time: Duration, connections: u32, streams: u32) -> Option<u64> {
    (time < Duration::from_secs(1)).then(|| u64::from(connections * streams) * FEW)
}

/// Requests per second on `(connections, streams of each)`. Every answer must be 2xx with a body of `bytes`: a failed call of
/// gRPC is a 200 too, but without a body.
///
/// # Errors
/// It can't be run, an answer was not a right one, or what it prints is not understood.
pub(crate) fn rate(
    mut command: Command,
    to: &str,
    (connections, streams): (u32, u32),
    time: Duration,
    words: &[&str],
    bytes: u64,
) -> Result<f64> {
    // It measures time in whole seconds: less than one is asked for by a number of requests.
    let amount = match few(time, connections, streams) {
        Some(number) => ["-n".to_owned(), number.to_string()],
        None => ["-D".to_owned(), time.as_secs().to_string()],
    };
    command.args(["-t1", "-c", &connections.to_string(), "-m", &streams.to_string()]).args(amount);
    let text = run(command.args(words).arg(url(to)))?;
    parse(&text, bytes).with_context(|| format!("h2load at {to}"))
}

/// h2load ends with 0 even if every request failed, so that its words decide.
fn parse(text: &str, bytes: u64) -> Result<f64> {
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(name));
        found.map(str::trim).with_context(|| format!("h2load prints no line {name:?}"))
    };
    let count = |line: &str, name: &str| {
        let mut parts = line.split(", ").filter_map(|part| part.split_once(' '));
        let found = parts.find(|(_, it)| *it == name).and_then(|(number, _)| number.parse::<u64>().ok());
        found.with_context(|| format!("h2load tells no number of {name}"))
    };
    let (requests, codes) = (line("requests:")?, line("status codes:")?);
    let done = count(requests, "done")?;
    ensure!(done > 0, "h2load had no answer");
    let trouble =
        [(requests, "failed"), (requests, "errored"), (codes, "3xx"), (codes, "4xx"), (codes, "5xx")];
    for (line, name) in trouble {
        ensure!(count(line, name)? == 0, "h2load reports {requests}; {codes}");
    }
    // Answers of which the head was there when time was over have a code too.
    let (right, good) = (count(requests, "succeeded")?, count(codes, "2xx")?);
    ensure!(right == done && good >= done, "h2load reports {requests}; {codes}");
    let data = line("traffic:")?.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(") data"));
    let data: u64 = data.context("h2load tells no bytes of data")?.parse()?;
    // Answers that came too late to be counted have brought data too.
    ensure!(data >= done * bytes, "answers have {} bytes of body, not {bytes}", data / done);
    let rate = line("finished in")?.split(", ").find_map(|part| part.strip_suffix(" req/s"));
    rate.context("h2load prints no req/s")?.parse().context("h2load's req/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As h2load 1.52.0 printed it.
    const RIGHT: &str = "finished in 2.00s, 55123.00 req/s, 6.89MB/s
requests: 110246 total, 110254 started, 110246 done, 110246 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 110246 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 13.77MB (14442618) total, 5.15MB (5402054) headers (space savings 50.51%), 6.73MB (7055744) data
";

    #[test]
    fn the_rate_is_read_if_every_answer_is_right() {
        assert_eq!(parse(RIGHT, 64).expect("right answers"), 55123.0);
    }

    #[test]
    fn what_is_not_a_right_result_is_an_error() {
        for (from, to, error) in [
            ("110246 succeeded, 0 failed", "0 succeeded, 110246 failed", "h2load reports"),
            ("110246 2xx, 0 3xx", "0 2xx, 110246 3xx", "h2load reports"),
            ("0 errored", "1 errored", "h2load reports"),
            ("110246 done", "0 done", "h2load had no answer"),
            ("(7055744) data", "(0) data", "answers have 0 bytes of body, not 64"),
            ("traffic:", "bytes:", "h2load prints no line \"traffic:\""),
            ("55123.00 req/s, ", "", "h2load prints no req/s"),
        ] {
            let told = parse(&RIGHT.replace(from, to), 64).expect_err(error).to_string();
            assert!(told.contains(error), "{told}");
        }
    }
}
