//! Whether a load says something of the path at all. Pure.

use crate::results::Load;

/// Share of the schedule that must have been sent.
const SENT: f64 = 0.99;
/// Share of its core above which the generator has no time left.
const BUSY: f64 = 0.9;
/// Lateness of the generator itself that would hide what is measured, nanoseconds.
const LATE: u64 = 1_000_000;

/// Why a load says nothing of the path, in words; empty if it does.
#[must_use]
pub fn faults(load: &Load) -> Vec<String> {
    let Some(rate) = load.intended_rate else { return Vec::new() };
    let busy = (load.user + load.system) / load.seconds;
    let sent = load.sent as f64 / load.seconds;
    let late = load.lateness.as_ref().map_or(0, |it| it.p50);
    let mut all = Vec::new();
    // Poisson's count differs from its mean by chance: four standard deviations.
    let enough = (SENT * rate * load.seconds).min(rate * load.seconds - 4.0 * (rate * load.seconds).sqrt());
    if (load.sent as f64) < enough || late > LATE {
        let what = format!(
            "{sent:.0} of {rate:.0} requests/s were sent, half of them {:.1} ms late or more",
            late as f64 / 1e6
        );
        all.push(if busy > BUSY {
            format!("{what}: the generator used {:.0} % of its core and could not keep the schedule, so its latencies say \
                     nothing of the path", busy * 100.0)
        } else {
            format!("{what}: all connections were waiting for answers, so the path is overloaded, or has too few connections")
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hdrhistogram::Histogram;

    use super::*;
    use crate::results::Latency;

    fn load(sent: u64, busy: f64, late: u64) -> Load {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("bounds");
        histogram.saturating_record(late);
        let latency = Latency::of(&histogram);
        Load {
            intended_rate: Some(1_000.0),
            sent,
            answered: sent,
            answers: sent,
            failed: BTreeMap::new(),
            seconds: 10.0,
            bytes: 0,
            lateness: Some(latency.clone()),
            latency,
            set_up: None,
            user: busy * 10.0,
            system: 0.0,
        }
    }

    #[test]
    fn who_could_not_keep_the_schedule_is_told() {
        assert_eq!(faults(&load(10_000, 0.2, 50_000)), Vec::<String>::new());
        assert_eq!(faults(&load(9_800, 0.2, 50_000)), Vec::<String>::new(), "by chance");
        for (load, expected) in [
            (load(5_000, 1.0, 50_000), "could not keep the schedule"),
            (load(10_000, 0.95, 2_000_000), "could not keep the schedule"),
            (load(5_000, 0.1, 50_000), "the path is overloaded"),
            (load(10_000, 0.1, 2_000_000), "the path is overloaded"),
        ] {
            let faults = faults(&load);
            assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?}");
        }
    }

    #[test]
    fn without_a_schedule_none_can_be_missed() {
        assert!(faults(&Load { intended_rate: None, ..load(1, 1.0, 1) }).is_empty());
    }
}
