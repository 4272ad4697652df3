//! What all parts of the report need of a run: for every point and arm the values of its valid rounds with their
//! intervals, and all of its latencies in one histogram.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use super::text::{Unit, unit_of};
use crate::{
    results::{Point, Results, Sample},
    stats::{Comparison, Interval, Measure, comparisons, interval_of_mean, mean},
};

/// All measures, in the order of the tables.
const MEASURES: [Measure; 7] = [
    Measure::Rate,
    Measure::P50,
    Measure::P90,
    Measure::P99,
    Measure::Mean,
    Measure::SetUp,
    Measure::Processor,
];

/// A run, digested.
pub(crate) struct Digest<'a> {
    pub(crate) results: &'a Results,
    pub(crate) comparisons: Vec<Comparison>,
    /// By point, then by arm.
    cells: BTreeMap<&'a str, BTreeMap<&'a str, Cell<'a>>>,
}

/// One arm at one point: only what is valid.
pub(crate) struct Cell<'a> {
    pub(crate) samples: Vec<&'a Sample>,
    /// All latencies of all rounds, nanoseconds.
    pub(crate) latency: Histogram<u64>,
    measures: BTreeMap<Measure, Spread>,
}

/// A mean, and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// `None` of a single round.
    pub(crate) interval: Option<Interval>,
}

impl<'a> Digest<'a> {
    /// # Errors
    /// If a histogram can't be decoded.
    pub(crate) fn new(results: &'a Results) -> Result<Self> {
        let mut cells: BTreeMap<&str, BTreeMap<&str, Cell<'_>>> = BTreeMap::new();
        for point in &results.points {
            for arm in &point.arms {
                let samples: Vec<&Sample> = results.valid(&point.name, arm).collect();
                if !samples.is_empty() {
                    let cell = Cell::new(samples, results.run.seed)?;
                    cells.entry(&point.name).or_default().insert(arm, cell);
                }
            }
        }
        Ok(Self { results, comparisons: comparisons(results), cells })
    }

    /// `None` if there is no valid sample.
    pub(crate) fn cell(&self, point: &str, arm: &str) -> Option<&Cell<'a>> {
        self.cells.get(point)?.get(arm)
    }

    /// The arms of a point that have something valid.
    pub(crate) fn cells_of(&self, point: &'a Point) -> impl Iterator<Item = (&'a str, &Cell<'a>)> {
        point.arms.iter().filter_map(|arm| Some((arm.as_str(), self.cell(&point.name, arm)?)))
    }

    /// The arm's place in the table of arms, which decides how it is drawn.
    pub(crate) fn place(&self, arm: &str) -> usize {
        self.results.arms.iter().position(|it| it.name == arm).unwrap_or(self.results.arms.len())
    }

    /// The scenarios, each with its points, in order.
    pub(crate) fn scenarios(&self) -> Vec<(&'a str, Vec<&'a Point>)> {
        let mut all: Vec<(&str, Vec<&Point>)> = Vec::new();
        for point in &self.results.points {
            match all.iter_mut().find(|(name, _)| *name == point.scenario) {
                Some((_, points)) => points.push(point),
                None => all.push((&point.scenario, vec![point])),
            }
        }
        all
    }
}

impl<'a> Cell<'a> {
    fn new(samples: Vec<&'a Sample>, seed: u64) -> Result<Self> {
        let mut latency = Histogram::new(3).context("invariant: three digits are allowed")?;
        for sample in &samples {
            let Some(load) = &sample.load else { continue };
            let one = load.latency.decode().with_context(|| {
                let Sample { point, arm, round, .. } = sample;
                format!(
                    "the latencies of arm \"{arm}\" at point \"{point}\", round {round}, can't be decoded"
                )
            })?;
            latency.add(&one).context("latencies of rounds can't be added up")?;
        }
        let measures = MEASURES
            .into_iter()
            .filter_map(|measure| Some((measure, spread(samples.iter().map(|it| measure.value(it)), seed)?)))
            .collect();
        Ok(Self { samples, latency, measures })
    }

    /// A measure's mean over the rounds, in [`super::text::unit_of`].
    pub(crate) fn measure(&self, measure: Measure) -> Option<Spread> {
        let factor = unit_of(measure).1;
        self.measures.get(&measure).map(|it| it.times(factor))
    }

    /// Something else of its samples.
    pub(crate) fn of(&self, value: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        spread(self.samples.iter().map(|it| value(it)), 1)
    }

    /// The largest of something of its samples.
    pub(crate) fn largest(&self, value: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        self.samples.iter().filter_map(|it| value(it)).reduce(f64::max)
    }
}

impl Spread {
    fn times(self, factor: f64) -> Self {
        let interval = self.interval.map(|it| Interval {
            estimate: it.estimate * factor,
            low: it.low * factor,
            high: it.high * factor,
        });
        Self { mean: self.mean * factor, interval }
    }

    /// With its interval, or saying that there is none.
    pub(crate) fn show(&self, unit: Unit) -> String {
        match &self.interval {
            Some(interval) => unit.with_interval(interval),
            None => format!("{} (1 round, no spread)", unit.show(self.mean)),
        }
    }

    /// Lower and upper end; the mean itself if there is no interval.
    pub(crate) fn ends(&self) -> (f64, f64) {
        self.interval.map_or((self.mean, self.mean), |it| (it.low, it.high))
    }
}

fn spread(values: impl Iterator<Item = Option<f64>>, seed: u64) -> Option<Spread> {
    let values: Vec<f64> = values.flatten().filter(|it| it.is_finite()).collect();
    (!values.is_empty()).then(|| Spread { mean: mean(&values), interval: interval_of_mean(&values, seed) })
}
