//! Axes: from values to pixels, and the values worth a line. Pure.

use super::{svg::length, text::Unit};

/// Room between the words of two ticks, pixels.
const GAP: f64 = 10.0;

/// How values are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Equal steps are equal differences.
    Linear,
    /// Equal steps are equal ratios. Zero, if it is there, has a place of its own, one decade before the smallest value.
    Log,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    /// Where zero stands on a logarithmic axis.
    zero: f64,
}

impl Scale {
    /// From zero, a little beyond the largest value, to the next tick.
    pub(crate) fn from_zero(values: impl IntoIterator<Item = f64>, pixels: (f64, f64)) -> Self {
        let high = values.into_iter().filter(|it| it.is_finite()).fold(0.0, f64::max);
        let high = if high > 0.0 { high } else { 1.0 };
        let step = nice(high / 5.0);
        let high = (high / step - 1e-9).ceil() * step;
        Self { kind: Kind::Linear, low: 0.0, high, from: pixels.0, to: pixels.1, zero: 0.0 }
    }

    /// Logarithmic, over all values above zero and with a place for zero if it is among them.
    pub(crate) fn log(values: impl IntoIterator<Item = f64>, pixels: (f64, f64)) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|it| it.is_finite() && *it >= 0.0).collect();
        let some = values.iter().copied().filter(|it| *it > 0.0);
        let (low, high) = some.fold((f64::INFINITY, 0.0), |(low, high), it| (it.min(low), it.max(high)));
        let (low, high) = if low.is_finite() { (low, high) } else { (1.0, 10.0) };
        let (low, high) = if low < high { (low, high) } else { (low / 2.0, high * 2.0) };
        let zero = low / 10.0;
        let low = if values.contains(&0.0) { zero } else { low };
        Self { kind: Kind::Log, low, high, from: pixels.0, to: pixels.1, zero }
    }

    /// Logarithmic if the largest value is more than `times` the smallest above zero, otherwise linear from zero.
    pub(crate) fn either(values: &[f64], times: f64, pixels: (f64, f64)) -> Self {
        let some = values.iter().copied().filter(|it| *it > 0.0);
        let (low, high) = some.fold((f64::INFINITY, 0.0), |(low, high), it| (it.min(low), it.max(high)));
        if high > low * times {
            Self::log(values.iter().copied(), pixels)
        } else {
            Self::from_zero(values.iter().copied(), pixels)
        }
    }

    /// Moves the ends of a logarithmic axis outwards to round numbers.
    pub(crate) fn rounded(mut self) -> Self {
        if self.kind == Kind::Log {
            // Whole decades would leave too much empty.
            let rounds = around(self.low, self.high, &[1.0, 2.0, 5.0]);
            let below = rounds.iter().rev().find(|it| **it <= self.low * (1.0 + 1e-9));
            let above = rounds.iter().find(|it| **it >= self.high * (1.0 - 1e-9));
            (self.low, self.high) = (*below.unwrap_or(&self.low), *above.unwrap_or(&self.high));
        }
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Where a value stands; values beyond the ends stand at the ends.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Log if value <= 0.0 => (self.zero / self.low).ln() / (self.high / self.low).ln(),
            Kind::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values within the ends with their words.
    pub(crate) fn ticks(&self, unit: Unit) -> Vec<(f64, String)> {
        match self.kind {
            Kind::Linear => {
                let step = nice((self.high - self.low) / 5.0);
                let (size, name) = unit.step(self.high);
                let decimals = (-(step / size).log10() - 1e-9).ceil().clamp(0.0, 6.0) as usize;
                let count = (self.high / step + 1e-9).floor() as u32;
                let words = |value: f64| {
                    let number = super::text::fixed(value / size, decimals);
                    if name.is_empty() || value == 0.0 { number } else { format!("{number}\u{a0}{name}") }
                };
                (0..=count).map(|it| f64::from(it) * step).map(|it| (it, words(it))).collect()
            }
            Kind::Log => self.rounds().into_iter().map(|it| (it, exact(unit, it))).collect(),
        }
    }

    fn rounds(&self) -> Vec<f64> {
        let within = |it: &f64| *it >= self.low * (1.0 - 1e-9) && *it <= self.high * (1.0 + 1e-9);
        around(self.low, self.high, &[1.0]).into_iter().filter(within).collect()
    }

    /// Those of the ticks whose words, centred, fit beside each other and between two ends.
    pub(crate) fn fitting(&self, ticks: Vec<(f64, String)>, ends: (f64, f64)) -> Vec<(f64, String)> {
        let mut taken: Vec<(f64, f64)> = Vec::new();
        // The first and the last matter most.
        let mut order: Vec<usize> = (0..ticks.len()).collect();
        order.sort_by_key(|it| usize::from(*it != 0 && *it + 1 != ticks.len()));
        let mut kept: Vec<usize> = Vec::new();
        for place in order {
            let (value, words) = &ticks[place];
            let (middle, half) = (self.at(*value), length(words) / 2.0);
            let (left, right) = (middle - half, middle + half);
            let free = taken.iter().all(|(from, to)| right + GAP <= *from || left >= *to + GAP);
            if free && left >= ends.0 && right <= ends.1 {
                taken.push((left, right));
                kept.push(place);
            }
        }
        kept.sort_unstable();
        kept.into_iter().map(|it| ticks[it].clone()).collect()
    }
}

/// Round values from below `low` to above `high`: 1, 2 and 5 times powers of ten; over more than three decades those that
/// are given, over half a decade or less finer ones.
fn around(low: f64, high: f64, long: &[f64]) -> Vec<f64> {
    let steps = match (high / low).log10() {
        it if it > 3.0 => long,
        it if it > 0.5 => &[1.0, 2.0, 5.0],
        _ => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
    };
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (first..=last).flat_map(|power| steps.iter().map(move |it| it * 10_f64.powi(power))).collect()
}

/// A round value without needless decimals: `500 µs`, `1.5 ms`.
fn exact(unit: Unit, value: f64) -> String {
    let (size, name) = unit.step(value);
    let number = value / size;
    let whole = |decimals: usize| {
        let times = 10_f64.powi(decimals as i32);
        ((number * times).round() / times - number).abs() < number * 1e-6
    };
    let decimals = (0..9).find(|it| whole(*it)).unwrap_or(9);
    let number = super::text::fixed(number, decimals);
    if name.is_empty() { number } else { format!("{number}\u{a0}{name}") }
}

/// The next larger of 1, 2, 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|it| it * power >= step * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scale: &Scale, unit: Unit) -> String {
        let ticks = scale.ticks(unit).into_iter().map(|(_, words)| words.replace('\u{a0}', " "));
        ticks.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn ticks_are_round_and_share_a_unit_on_a_linear_axis() {
        let scale = Scale::from_zero([1_300_000.0, 7_300_000.0], (0.0, 300.0));
        assert_eq!(words(&scale, Unit::Time), "0, 2 ms, 4 ms, 6 ms, 8 ms");
        assert_eq!((scale.at(0.0), scale.at(4e6), scale.at(8e6)), (0.0, 150.0, 300.0));
        let small = Scale::from_zero([0.657], (0.0, 1.0));
        assert_eq!(words(&small, Unit::Share), "0, 20 %, 40 %, 60 %, 80 %");
        assert_eq!(words(&Scale::from_zero([], (0.0, 1.0)), Unit::Count), "0.0, 0.2, 0.4, 0.6, 0.8, 1.0");
    }

    #[test]
    fn ticks_are_powers_of_ten_on_a_long_logarithmic_axis_and_finer_on_a_short_one() {
        let long = Scale::log([20_000.0, 150e6], (0.0, 1.0)).rounded();
        assert_eq!(words(&long, Unit::Time), "100 µs, 1 ms, 10 ms, 100 ms");
        let short = Scale::log([400e3, 1.1e6], (0.0, 1.0)).rounded();
        assert_eq!(words(&short, Unit::Time), "400 µs, 500 µs, 600 µs, 700 µs, 800 µs, 900 µs, 1 ms, 1.2 ms");
        let middle = Scale::log([300e3, 1.1e6], (0.0, 1.0)).rounded();
        assert_eq!(words(&middle, Unit::Time), "200 µs, 500 µs, 1 ms, 2 ms");
    }

    #[test]
    fn zero_has_a_place_on_a_logarithmic_axis() {
        let scale = Scale::log([0.0, 1_000.0, 10_000.0, 100_000.0], (0.0, 300.0));
        let places = [0.0, 1_000.0, 10_000.0, 100_000.0].map(|it| scale.at(it).round());
        assert_eq!(places, [0.0, 100.0, 200.0, 300.0]);
    }

    #[test]
    fn words_of_ticks_never_touch() {
        for pixels in [60.0, 120.0, 300.0] {
            let scale = Scale::log([1.0, 1e12], (40.0, 40.0 + pixels));
            let kept = scale.fitting(scale.ticks(Unit::Time), (0.0, pixels + 80.0));
            assert!(!kept.is_empty());
            for pair in kept.windows(2) {
                let ((a, left), (b, right)) = (&pair[0], &pair[1]);
                assert!(scale.at(*b) - scale.at(*a) >= (length(left) + length(right)) / 2.0 + GAP - 1e-9);
            }
        }
    }

    #[test]
    fn the_axis_is_logarithmic_only_if_values_are_far_apart() {
        assert_eq!(Scale::either(&[1.0, 5.0], 10.0, (0.0, 1.0)).kind(), Kind::Linear);
        assert_eq!(Scale::either(&[1.0, 50.0], 10.0, (0.0, 1.0)).kind(), Kind::Log);
        assert_eq!(Scale::either(&[], 10.0, (0.0, 1.0)).kind(), Kind::Linear);
    }
}
