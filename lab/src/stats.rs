//! Ratios of paired rounds, their intervals, and what may be said of them. Pure: numbers in, numbers and words out.

mod random;
mod verdict;

pub use random::Random;
pub(crate) use verdict::judge;
pub use verdict::{Comparison, Measure, Verdict, comparisons};

/// How many times the rounds are drawn anew.
const DRAWS: usize = 10_000;
/// With fewer rounds than this there is too little to draw from; no verdict is given, as even a sign test could not.
pub const ENOUGH: usize = 6;

/// Quantiles of Student's t at 0.975, by degrees of freedom from 1; beyond, the normal distribution's is near enough.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// The estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The ratio of `arm` to `baseline`, round by round: both of one round saw the same weather on the machine.
///
/// Ratios are averaged as logarithms, where 2 and 1/2 cancel. The interval is the bootstrap's over whole rounds with
/// expanded percentiles (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 5.3): the plain percentile
/// interval is too narrow for few rounds. With fewer than [`ENOUGH`] it is Student's. `None` with less than two rounds, with
/// lists of unlike length, or if a round has a zero: leaving it out would flatter. `seed` fixes the draws.
#[must_use]
pub fn paired_ratio(arm: &[f64], baseline: &[f64], seed: u64) -> Option<Interval> {
    if arm.len() != baseline.len() {
        return None;
    }
    let logs: Vec<f64> = arm.iter().zip(baseline).map(|(arm, baseline)| (arm / baseline).ln()).collect();
    interval_of_mean(&logs, seed).map(Interval::exp)
}

/// The ratio of the means of two independent groups, as logarithms: for two runs at different times.
#[must_use]
pub fn unpaired_ratio(new: &[f64], old: &[f64], seed: u64) -> Option<Interval> {
    let logs = |values: &[f64]| values.iter().map(|it| it.ln()).collect::<Vec<f64>>();
    let (new, old) = (logs(new), logs(old));
    if new.len() < 2 || old.len() < 2 || new.iter().chain(&old).any(|log| !log.is_finite()) {
        return None;
    }
    let estimate = mean(&new) - mean(&old);
    let degrees = new.len().min(old.len()) - 1;
    if degrees + 1 < ENOUGH {
        let error = (variance(&new) / new.len() as f64 + variance(&old) / old.len() as f64).sqrt();
        let half = student(degrees) * error;
        return Some(Interval { estimate, low: estimate - half, high: estimate + half }.exp());
    }
    let mut random = Random::new(seed);
    let draws = (0..DRAWS).map(|_| drawn_mean(&new, &mut random) - drawn_mean(&old, &mut random)).collect();
    Some(expanded(draws, estimate, degrees + 1).exp())
}

/// Cohen's d of paired rounds: the mean of the logarithms of their ratios in units of their standard deviation. 0.2 is
/// called small, 0.8 large. `None` where there is no spread to compare with.
#[must_use]
pub fn effect(arm: &[f64], baseline: &[f64]) -> Option<f64> {
    let logs: Vec<f64> = arm.iter().zip(baseline).map(|(arm, baseline)| (arm / baseline).ln()).collect();
    let deviation = variance(&logs).sqrt();
    (logs.len() > 1 && deviation > 0.0 && deviation.is_finite()).then(|| mean(&logs) / deviation)
}

/// The mean of some values with its interval; `None` of less than two, or if one is not finite.
#[must_use]
pub fn interval_of_mean(values: &[f64], seed: u64) -> Option<Interval> {
    let count = values.len();
    if count < 2 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let estimate = mean(values);
    if count < ENOUGH {
        let half = student(count - 1) * (variance(values) / count as f64).sqrt();
        return Some(Interval { estimate, low: estimate - half, high: estimate + half });
    }
    let mut random = Random::new(seed);
    Some(expanded((0..DRAWS).map(|_| drawn_mean(values, &mut random)).collect(), estimate, count))
}

/// The middle value; of an even number the mean of the two in the middle. `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Arithmetic mean; not a number of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Interval {
    fn exp(self) -> Self {
        Self { estimate: self.estimate.exp(), low: self.low.exp(), high: self.high.exp() }
    }
}

/// The sample's variance, unbiased.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

fn drawn_mean(values: &[f64], random: &mut Random) -> f64 {
    (0..values.len()).map(|_| values[random.below(values.len())]).sum::<f64>() / values.len() as f64
}

fn student(degrees: usize) -> f64 {
    STUDENT.get(degrees.max(1) - 1).copied().unwrap_or(1.96)
}

/// Percentiles of drawn means, moved outwards as much as Student's interval is wider than the normal one.
fn expanded(mut draws: Vec<f64>, estimate: f64, count: usize) -> Interval {
    draws.sort_by(f64::total_cmp);
    let tail = normal_below(-(count as f64 / (count as f64 - 1.0)).sqrt() * student(count - 1));
    let at = |share: f64| draws[((draws.len() - 1) as f64 * share).round() as usize];
    Interval { estimate, low: at(tail), high: at(1.0 - tail) }
}

/// The normal distribution function; Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.2.17, error below 1e-7.
fn normal_below(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * series;
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_ratio_has_no_spread() {
        let ratio = paired_ratio(&[2.0, 4.0, 6.0, 8.0, 2.0, 2.0], &[1.0, 2.0, 3.0, 4.0, 1.0, 1.0], 1);
        let ratio = ratio.expect("six rounds");
        assert!((ratio.estimate - 2.0).abs() < 1e-9 && ratio.high - ratio.low < 1e-9);
        assert_eq!(effect(&[2.0, 4.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn nothing_is_said_of_one_round_of_zeros_and_of_lists_that_do_not_pair() {
        assert_eq!(paired_ratio(&[1.0], &[1.0], 1), None);
        assert_eq!(paired_ratio(&[0.0, 1.0], &[1.0, 1.0], 1), None);
        assert_eq!(paired_ratio(&[1.0, 1.0, 1.0], &[1.0, 1.0], 1), None);
        assert_eq!(unpaired_ratio(&[1.0], &[1.0, 2.0], 1), None);
    }

    #[test]
    fn few_rounds_get_students_interval() {
        let interval = interval_of_mean(&[1.0, 2.0, 3.0], 1).expect("three");
        // 2 +- 4.303 * 1 / sqrt(3)
        assert!(
            (interval.low + 0.4843).abs() < 1e-3 && (interval.high - 4.4843).abs() < 1e-3,
            "{interval:?}"
        );
    }

    #[test]
    fn intervals_of_six_rounds_hold_the_truth_as_often_as_they_say() {
        let mut random = Random::new(7);
        let mut held = 0;
        for seed in 0..400 {
            // About normal: twelve uniform numbers less their mean.
            let values: Vec<f64> = (0..6)
                .map(|_| (0..12).map(|_| random.below(1_000_000) as f64 / 1e6).sum::<f64>() - 6.0)
                .collect();
            let interval = interval_of_mean(&values, seed).expect("six");
            held += usize::from(interval.low <= 0.0 && 0.0 <= interval.high);
        }
        // 95 % of 400 is 380; the plain percentile interval gives about 350.
        assert!((365..=396).contains(&held), "{held} of 400");
    }

    #[test]
    fn runs_that_do_not_pair_are_compared_by_their_means() {
        let old = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95];
        let new = old.map(|it| it * 1.5);
        let ratio = unpaired_ratio(&new, &old, 3).expect("six each");
        assert!((ratio.estimate - 1.5).abs() < 1e-9 && ratio.low > 1.3 && ratio.high < 1.75, "{ratio:?}");
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_normal_distribution_is_known_at_three_places() {
        for (x, below) in [(0.0, 0.5), (-1.96, 0.025), (2.5758, 0.995)] {
            assert!((normal_below(x) - below).abs() < 1e-5, "{x}");
        }
    }
}
