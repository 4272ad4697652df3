//! Ratios of paired rounds and their intervals. Pure: numbers in, numbers out.

use serde::Serialize;

/// How many times the rounds are drawn anew.
const DRAWS: usize = 4_000;

/// How much faster an arm is than its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// Geometric mean of the rounds' ratios.
    pub(crate) estimate: f64,
    /// Lower end of the 95 % interval.
    pub(crate) low: f64,
    /// Upper end of the 95 % interval.
    pub(crate) high: f64,
}

/// The ratio of `arm` to `baseline`, round by round: both of one round saw the same weather on the machine. Ratios are
/// averaged as logarithms, where 2 and 1/2 cancel; the interval is the percentile bootstrap's (Efron and Tibshirani, "An
/// Introduction to the Bootstrap", 1993, chapter 13) over whole rounds. `None` with less than two rounds, or
/// if a round has a zero: leaving it out would flatter. `seed` fixes the draws.
#[must_use]
pub(crate) fn paired_ratio(arm: &[f64], baseline: &[f64], seed: u64) -> Option<Ratio> {
    let logs: Vec<f64> = arm.iter().zip(baseline).map(|(arm, baseline)| (arm / baseline).ln()).collect();
    if logs.len() < 2 || logs.iter().any(|log| !log.is_finite()) {
        return None;
    }
    let mut random = Random::new(seed);
    let mut means: Vec<f64> =
        (0..DRAWS).map(|_| mean((0..logs.len()).map(|_| logs[random.below(logs.len())]))).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((means.len() - 1) as f64 * share).round() as usize].exp();
    Some(Ratio { estimate: mean(logs.iter().copied()).exp(), low: at(0.025), high: at(0.975) })
}

/// The middle value; of an even number the mean of the two in the middle. `None` of nothing.
#[must_use]
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to shuffle and to draw, and the same on every machine.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Normal with mean 0 and deviation 1, near enough: twelve uniform numbers (Irwin and Hall).
    fn normal(random: &mut Random) -> f64 {
        (0..12).map(|_| random.next() as f64 / u64::MAX as f64).sum::<f64>() - 6.0
    }

    /// `rounds` pairs whose true ratio is `ratio`, with weather that both share and noise of their own.
    fn pairs(ratio: f64, rounds: usize, noise: f64, random: &mut Random) -> (Vec<f64>, Vec<f64>) {
        (0..rounds)
            .map(|_| {
                let weather = 1_000.0 * (0.5 * normal(random)).exp();
                let own = (noise * normal(random)).exp();
                (weather * ratio * own, weather)
            })
            .unzip()
    }

    #[test]
    fn the_interval_of_exact_pairs_is_the_ratio() {
        let found = paired_ratio(&[2.0, 20.0, 200.0], &[1.0, 10.0, 100.0], 1).expect("three rounds");
        for value in [found.estimate, found.low, found.high] {
            assert!((value - 2.0).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn doubling_and_halving_cancel() {
        let found = paired_ratio(&[2.0, 1.0], &[1.0, 2.0], 1).expect("two rounds");
        assert!((found.estimate - 1.0).abs() < 1e-9, "{found:?}");
        assert!(found.low < 0.51 && found.high > 1.99, "{found:?}");
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        let mut random = Random::new(7);
        let runs = 400;
        let held = (0..runs)
            .filter(|_| {
                let (arm, baseline) = pairs(1.3, 30, 0.2, &mut random);
                let found = paired_ratio(&arm, &baseline, random.next()).expect("thirty rounds");
                found.low <= 1.3 && 1.3 <= found.high
            })
            .count();
        // The percentile bootstrap of 30 is a little narrow: about 94 %.
        assert!((360..=396).contains(&held), "{held} of {runs}");
    }

    #[test]
    fn an_interval_is_as_wide_as_the_noise_makes_it() {
        let mut random = Random::new(9);
        let (arm, baseline) = pairs(1.0, 100, 0.1, &mut random);
        let found = paired_ratio(&arm, &baseline, 3).expect("a hundred rounds");
        let width = found.high.ln() - found.low.ln();
        // 2 * 1.96 * 0.1 / sqrt(100)
        assert!((width - 0.0392).abs() < 0.012, "{width}");
    }

    #[test]
    fn one_round_or_one_without_an_answer_has_no_interval() {
        assert_eq!(paired_ratio(&[1.0], &[1.0], 1), None);
        assert_eq!(paired_ratio(&[1.0, 0.0, 1.0], &[1.0, 1.0, 1.0], 1), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_shuffle_keeps_everything_and_reaches_every_order() {
        let mut random = Random::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut items = [1, 2, 3];
            random.shuffle(&mut items);
            assert_eq!(items.iter().sum::<i32>(), 6);
            seen.insert(items);
        }
        assert_eq!(seen.len(), 6);
    }
}
