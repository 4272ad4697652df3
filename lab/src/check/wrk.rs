//! What `wrk` prints. Pure.

use anyhow::{Context as _, Result, bail, ensure};

/// Requests per second, if all answers were right ones.
pub(super) fn parse(text: &str) -> Result<f64> {
    let value = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    for trouble in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        if let Some(what) = value(trouble) {
            bail!("wrk reports {trouble} {what}");
        }
    }
    let rate = value("Requests/sec:").context("wrk prints no Requests/sec")?;
    let rate: f64 = rate.parse().with_context(|| format!("wrk's {rate:?} is no number"))?;
    ensure!(rate.is_finite() && rate > 0.0, "wrk had no answer");
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As wrk 4.1.0 printed it.
    const RIGHT: &str = "Running 3s test @ http://127.0.0.1:38080/get
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.07ms    1.82ms  12.19ms   84.84%
    Req/Sec    42.36k     7.04k   53.81k    63.33%
  127400 requests in 3.02s, 25.76MB read
Requests/sec:  42147.78
Transfer/sec:      8.52MB
";

    #[test]
    fn the_rate_is_read() {
        assert_eq!(parse(RIGHT).expect("right answers"), 42147.78);
    }

    #[test]
    fn what_is_not_a_right_result_is_an_error() {
        let with = |line: &str| RIGHT.replace("Requests/sec:", &format!("{line}\nRequests/sec:"));
        for (text, error) in [
            (with("  Non-2xx or 3xx responses: 161915"), "wrk reports Non-2xx or 3xx responses: 161915"),
            (
                with("  Socket errors: connect 0, read 12, write 0, timeout 3"),
                "wrk reports Socket errors: connect 0, read 12, write 0, timeout 3",
            ),
            (RIGHT.replace("42147.78", "0.00"), "wrk had no answer"),
            (RIGHT.replace("42147.78", "nan"), "wrk had no answer"),
            (RIGHT.replace("42147.78", "42k"), "wrk's \"42k\" is no number"),
            (RIGHT.replace("Requests/sec", "Rate"), "wrk prints no Requests/sec"),
            (String::new(), "wrk prints no Requests/sec"),
        ] {
            assert_eq!(parse(&text).expect_err(error).to_string(), error);
        }
    }
}
