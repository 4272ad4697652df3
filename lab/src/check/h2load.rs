//! What `h2load` prints. Pure.

use anyhow::{Context as _, Result, bail, ensure};

/// Requests per second, if all answers were right ones.
///
/// h2load ends with 0 even if every request failed, or none could be sent, so that its words decide.
pub(super) fn parse(text: &str) -> Result<f64> {
    let line = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let requests = counts(line("requests:").context("h2load prints no line of requests")?)?;
    let codes = counts(line("status codes:").context("h2load prints no line of status codes")?)?;
    let of = |counts: &[(u64, &str)], name: &str| {
        let count = counts.iter().find(|(_, it)| *it == name).map(|(count, _)| *count);
        count.with_context(|| format!("h2load tells no number of {name}"))
    };
    let (done, right, good) = (of(&requests, "done")?, of(&requests, "succeeded")?, of(&codes, "2xx")?);
    let bad = of(&codes, "3xx")? + of(&codes, "4xx")? + of(&codes, "5xx")?;
    for trouble in ["failed", "errored", "timeout"] {
        let count = of(&requests, trouble)?;
        ensure!(count == 0, "h2load reports {count} {trouble}");
    }
    ensure!(done > 0, "h2load had no answer");
    // An answer that was under way at the end has its status counted already, if its head was there.
    let known = done..=of(&requests, "started")?.max(done);
    ensure!(
        right == done && known.contains(&good) && bad == 0,
        "h2load reports {right} succeeded and {good} 2xx of {done}"
    );
    let finished = line("finished in").context("h2load prints no line that it finished")?;
    let Some(rate) = finished.split(", ").find_map(|part| part.strip_suffix(" req/s")) else {
        bail!("h2load prints no req/s");
    };
    let rate: f64 = rate.parse().with_context(|| format!("h2load's {rate:?} is no number"))?;
    ensure!(rate.is_finite() && rate > 0.0, "h2load had no answer");
    Ok(rate)
}

/// `110246 total, 110254 started`.
fn counts(line: &str) -> Result<Vec<(u64, &str)>> {
    line.split(", ")
        .map(|part| {
            let (count, name) = part.split_once(' ').with_context(|| format!("h2load's {part:?}"))?;
            Ok((count.parse().with_context(|| format!("h2load's {part:?}"))?, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As h2load 1.52.0 printed it, without its progress.
    const RIGHT: &str = "Application protocol: h2c
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 2.00s, 55123.00 req/s, 6.89MB/s
requests: 110246 total, 110254 started, 110246 done, 110246 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 110246 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 13.77MB (14442618) total, 5.15MB (5402054) headers (space savings 50.51%), 6.73MB (7055744) data
                     min         max         mean         sd        +/- sd
time for request:       57us      1.11ms        82us        20us    92.33%
time for connect:       60us       167us       117us        38us    50.00%
time to 1st byte:      382us       632us       508us        89us    62.50%
req/s           :    6878.96     6901.86     6889.60        8.05    75.00%
";

    #[test]
    fn the_rate_of_all_connections_is_read() {
        assert_eq!(parse(RIGHT).expect("right answers"), 55123.0);
    }

    #[test]
    fn an_answer_may_be_under_way_at_the_end() {
        let more = |codes: &str| parse(&RIGHT.replace("110246 2xx, 0 3xx, 0 4xx, 0 5xx", codes));
        more("110254 2xx, 0 3xx, 0 4xx, 0 5xx").expect("as many as were started");
        more("110255 2xx, 0 3xx, 0 4xx, 0 5xx").expect_err("one more");
        more("110246 2xx, 0 3xx, 0 4xx, 1 5xx").expect_err("a failure");
    }

    #[test]
    fn what_is_not_a_right_result_is_an_error() {
        for (from, to, error) in [
            ("110246 succeeded, 0 failed", "0 succeeded, 110246 failed", "h2load reports 110246 failed"),
            ("0 errored", "3 errored", "h2load reports 3 errored"),
            ("0 timeout", "4 timeout", "h2load reports 4 timeout"),
            ("110246 2xx, 0 3xx", "0 2xx, 110246 3xx", "h2load reports 110246 succeeded and 0 2xx of 110246"),
            ("110246 done", "0 done", "h2load had no answer"),
            ("55123.00 req/s", "0.00 req/s", "h2load had no answer"),
            ("55123.00 req/s", "55k req/s", "h2load's \"55k\" is no number"),
            ("55123.00 req/s, ", "", "h2load prints no req/s"),
            ("finished in", "ended in", "h2load prints no line that it finished"),
            ("requests:", "calls:", "h2load prints no line of requests"),
            ("status codes:", "codes:", "h2load prints no line of status codes"),
            ("110246 total", "many total", "h2load's \"many total\""),
            ("0 errored, ", "", "h2load tells no number of errored"),
        ] {
            assert_eq!(parse(&RIGHT.replace(from, to)).expect_err(error).to_string(), error);
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_an_error() {
        let none = "finished in 1.00s, 0.00 req/s, 0B/s
requests: 0 total, 0 started, 0 done, 0 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx
";
        assert_eq!(parse(none).expect_err("nothing").to_string(), "h2load had no answer");
    }
}
