//! What may be said of two arms.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ENOUGH, Interval, effect, mean, paired_ratio};
use crate::results::{Load, Point, Results, Sample};

/// Pairs that are compared besides each arm with the floor: the arm, and what it would take the place of.
const PAIRS: [(&str, &str); 12] = [
    ("kube-proxy-iptables-nft", "kube-proxy-iptables"),
    ("kube-proxy-nftables", "kube-proxy-iptables"),
    ("kube-proxy-ipvs", "kube-proxy-iptables"),
    ("kube-proxy-ipvs", "kube-proxy-nftables"),
    ("sidecar-ebpf", "sidecar-iptables"),
    ("sidecar-ebpf-sockmap", "sidecar-iptables"),
    ("sidecar-ebpf-sockmap", "sidecar-ebpf"),
    ("wabe-direct", "kube-proxy-iptables"),
    ("wabe-direct", "sidecar-iptables"),
    ("wabe-direct", "sidecar-ebpf"),
    ("wabe-proxy", "sidecar-iptables"),
    ("wabe-proxy", "wabe-direct"),
];
/// What every arm is compared with.
const FLOOR: &str = "none";

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Answers per second.
    Rate,
    /// Mean latency, nanoseconds.
    Mean,
    /// Median latency, nanoseconds.
    P50,
    /// 90th percentile, nanoseconds.
    P90,
    /// 99th percentile, nanoseconds.
    P99,
    /// Median time of `connect()`, nanoseconds.
    SetUp,
    /// Processor time for one answer, the generator's included, microseconds.
    Processor,
}

/// What may be said.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Verdict {
    /// The interval is on the better side of 1.
    Better,
    /// The interval is on the worse side of 1.
    Worse,
    /// The interval holds 1. A difference of `smallest` (0.1 is 10 %) or more would have been seen.
    NoDifference {
        /// Half the width of the interval.
        smallest: f64,
    },
    /// Too few rounds to tell.
    TooFewRounds,
}

/// Two arms at one point.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The point's name.
    pub point: String,
    /// The arm.
    pub arm: String,
    /// What it is compared with.
    pub baseline: String,
    /// What is compared.
    pub measure: Measure,
    /// The arm's mean over the rounds that both have.
    pub value: f64,
    /// The baseline's.
    pub baseline_value: f64,
    /// The arm's in units of the baseline's, round by round.
    pub ratio: Interval,
    /// Cohen's d of the rounds' logarithms; `None` without spread.
    pub effect: Option<f64>,
    /// Rounds that both have.
    pub rounds: usize,
    /// What may be said.
    pub verdict: Verdict,
}

impl Measure {
    /// Those that make sense at a point.
    #[must_use]
    pub fn of(point: &Point) -> Vec<Self> {
        if point.open {
            vec![Self::P50, Self::P90, Self::P99, Self::Mean, Self::Processor]
        } else {
            vec![Self::Rate, Self::P50, Self::P99, Self::SetUp, Self::Processor]
        }
    }

    /// Whether more of it is better.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Rate)
    }

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Rate => "answers per second",
            Self::Mean => "mean latency",
            Self::P50 => "median latency",
            Self::P90 => "90th percentile of latency",
            Self::P99 => "99th percentile of latency",
            Self::SetUp => "median time of connect()",
            Self::Processor => "processor time for one request",
        }
    }

    /// Of a sample; `None` if it has none.
    #[must_use]
    pub fn value(self, sample: &Sample) -> Option<f64> {
        let load = sample.load.as_ref()?;
        Some(match self {
            Self::Rate => rate(load),
            Self::Mean => load.latency.mean,
            Self::P50 => load.latency.p50 as f64,
            Self::P90 => load.latency.p90 as f64,
            Self::P99 => load.latency.p99 as f64,
            Self::SetUp => load.set_up.as_ref()?.p50 as f64,
            Self::Processor => sample.processor()? * 1e6,
        })
    }
}

fn rate(load: &Load) -> f64 {
    load.answered as f64 / load.seconds
}

impl Comparison {
    /// The sentence for people: `faster by 12.0 % [9.1, 15.2]`.
    #[must_use]
    pub fn sentence(&self) -> String {
        // Of what is better if it is more: 1.12 is 12 % more. Of times: 0.89 is 11 % less.
        let percent =
            |ratio: f64| if self.measure.more_is_better() { ratio - 1.0 } else { 1.0 - ratio } * 100.0;
        let (a, b) = (percent(self.ratio.low), percent(self.ratio.high));
        let (low, high) = (a.min(b), a.max(b));
        let estimate = percent(self.ratio.estimate);
        let (better, worse) =
            if self.measure == Measure::Processor { ("cheaper", "dearer") } else { ("faster", "slower") };
        match self.verdict {
            Verdict::Better => format!("{better} by {estimate:.1} % [{low:.1}, {high:.1}]"),
            Verdict::Worse => format!("{worse} by {:.1} % [{:.1}, {:.1}]", -estimate, -high, -low),
            Verdict::NoDifference { smallest } => {
                format!("no difference found; {:.1} % or more would have been seen", smallest * 100.0)
            }
            Verdict::TooFewRounds => {
                format!(
                    "{} rounds are too few for a verdict; {estimate:+.1} % [{low:.1}, {high:.1}]",
                    self.rounds
                )
            }
        }
    }
}

/// All comparisons of a run, point by point.
#[must_use]
pub fn comparisons(results: &Results) -> Vec<Comparison> {
    let mut all = Vec::new();
    for point in &results.points {
        for (arm, baseline) in pairs(&point.arms) {
            for measure in Measure::of(point) {
                all.extend(compare(results, point, arm, baseline, measure));
            }
        }
    }
    all
}

/// Who is compared with whom.
fn pairs(arms: &[String]) -> Vec<(&str, &str)> {
    let has = |name: &str| arms.iter().any(|it| it == name);
    let with_floor = arms.iter().filter(|it| *it != FLOOR && has(FLOOR)).map(|it| (it.as_str(), FLOOR));
    with_floor.chain(PAIRS.into_iter().filter(|(arm, baseline)| has(arm) && has(baseline))).collect()
}

fn compare(
    results: &Results,
    point: &Point,
    arm: &str,
    baseline: &str,
    measure: Measure,
) -> Option<Comparison> {
    let by_round = |arm: &str| -> BTreeMap<u32, f64> {
        results.valid(&point.name, arm).filter_map(|it| Some((it.round, measure.value(it)?))).collect()
    };
    let (ours, theirs) = (by_round(arm), by_round(baseline));
    let (ours, theirs): (Vec<f64>, Vec<f64>) =
        ours.iter().filter_map(|(round, value)| Some((*value, *theirs.get(round)?))).unzip();
    let ratio = paired_ratio(&ours, &theirs, results.run.seed)?;
    Some(Comparison {
        point: point.name.clone(),
        arm: arm.to_owned(),
        baseline: baseline.to_owned(),
        measure,
        value: mean(&ours),
        baseline_value: mean(&theirs),
        ratio,
        effect: effect(&ours, &theirs),
        rounds: ours.len(),
        verdict: judge(ratio, measure, ours.len()),
    })
}

/// The verdict of an interval of a ratio.
pub(crate) fn judge(ratio: Interval, measure: Measure, rounds: usize) -> Verdict {
    if rounds < ENOUGH {
        Verdict::TooFewRounds
    } else if ratio.low > 1.0 {
        if measure.more_is_better() { Verdict::Better } else { Verdict::Worse }
    } else if ratio.high < 1.0 {
        if measure.more_is_better() { Verdict::Worse } else { Verdict::Better }
    } else {
        Verdict::NoDifference { smallest: (ratio.high / ratio.low).sqrt() - 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(low: f64, estimate: f64, high: f64, measure: Measure, rounds: usize) -> Comparison {
        let ratio = Interval { estimate, low, high };
        Comparison {
            point: "p".into(),
            arm: "a".into(),
            baseline: "b".into(),
            measure,
            value: 1.0,
            baseline_value: 1.0,
            ratio,
            effect: None,
            rounds,
            verdict: judge(ratio, measure, rounds),
        }
    }

    #[test]
    fn a_verdict_says_how_much_with_its_interval_and_never_more_than_was_seen() {
        for (low, estimate, high, measure, rounds, sentence) in [
            (0.8, 0.9, 0.95, Measure::P50, 6, "faster by 10.0 % [5.0, 20.0]"),
            (1.1, 1.2, 1.3, Measure::P99, 6, "slower by 20.0 % [10.0, 30.0]"),
            (1.1, 1.2, 1.3, Measure::Rate, 6, "faster by 20.0 % [10.0, 30.0]"),
            (0.5, 0.6, 0.7, Measure::Rate, 6, "slower by 40.0 % [30.0, 50.0]"),
            (0.5, 0.6, 0.7, Measure::Processor, 6, "cheaper by 40.0 % [30.0, 50.0]"),
            (
                1.0 / 1.1,
                1.0,
                1.1,
                Measure::P50,
                6,
                "no difference found; 10.0 % or more would have been seen",
            ),
            (0.5, 0.6, 0.7, Measure::P50, 3, "3 rounds are too few for a verdict; +40.0 % [30.0, 50.0]"),
        ] {
            assert_eq!(comparison(low, estimate, high, measure, rounds).sentence(), sentence);
        }
    }

    #[test]
    fn each_arm_is_compared_with_the_floor_and_with_what_it_replaces() {
        let arms = ["none", "sidecar-iptables", "sidecar-ebpf"].map(str::to_owned);
        let expected =
            [("sidecar-iptables", "none"), ("sidecar-ebpf", "none"), ("sidecar-ebpf", "sidecar-iptables")];
        assert_eq!(pairs(&arms), expected);
        assert_eq!(pairs(&arms[1..]), expected[2..]);
    }
}
