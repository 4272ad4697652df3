//! Two runs against each other: did something become slower on the same host?
//!
//! Rounds of two runs are not pairs: the weather between them may have changed as a whole. So the interval is of the ratio
//! of two independent groups, and whatever makes the runs unlike is said before anything else.

mod alike;
mod student;
mod table;

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::{
    report::read,
    results::{Point, Results},
    stats::{Comparison, Interval, Measure, Verdict, judge, mean, unpaired_ratio},
};

/// A new run in units of an old one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// The old run's directory.
    pub old: String,
    /// The new run's directory.
    pub new: String,
    /// Why differences may come from something else than what changed; to be shown first.
    pub warnings: Vec<String>,
    /// What only one of them has, in words.
    pub left_out: Vec<String>,
    /// How many comparisons had rounds enough for a verdict.
    pub judged: usize,
    /// How many of them would seem to differ by chance if nothing had changed.
    pub false_alarms: f64,
    /// All comparisons, point by point.
    pub changes: Vec<Change>,
}

/// One measure of one arm at one point.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The point's name.
    pub point: String,
    /// The arm's name.
    pub arm: String,
    /// What is compared.
    pub measure: Measure,
    /// Mean over the old run's valid rounds, in the measure's unit.
    pub old: f64,
    /// Mean over the new run's.
    pub new: f64,
    /// Valid rounds of the old run.
    pub old_rounds: usize,
    /// Valid rounds of the new run.
    pub new_rounds: usize,
    /// The new in units of the old.
    pub ratio: Interval,
    /// What may be said of it alone.
    pub verdict: Verdict,
    /// Whether it differs even if all comparisons share one chance of 5 % of a false alarm (Bonferroni).
    pub stands: bool,
    /// The verdict for people.
    pub sentence: String,
}

/// Compares the runs in two directories.
///
/// # Errors
/// If one of the results can't be read or has another format, if one machine was emulated and the other real, or if no arm
/// was measured at the same point in both.
pub fn compare(old: &Path, new: &Path) -> Result<Changes> {
    let (before, after) = (read(old)?, read(new)?);
    alike::both_real_or_emulated((old, &before), (new, &after))?;
    let (points, left_out) = alike::points(&before, &after);
    let mut changes: Vec<Change> = points.into_iter().flat_map(|it| at(it, &before, &after)).collect();
    let (old, new) = (old.display().to_string(), new.display().to_string());
    if changes.is_empty() {
        let remedy = "give two runs of the same scenarios, each with two rounds or more";
        bail!("{old} and {new} have no arm that was measured at the same point in both: {remedy}");
    }
    let judged = changes.iter().filter(|it| it.verdict != Verdict::TooFewRounds).count();
    changes.iter_mut().for_each(|it| it.stands = stands(it, judged));
    let warnings = alike::warnings(&before, &after);
    Ok(Changes { old, new, warnings, left_out, judged, false_alarms: judged as f64 * 0.05, changes })
}

impl Changes {
    /// What became worse, by its own interval.
    pub fn worse(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|it| it.verdict == Verdict::Worse)
    }

    /// For a terminal: warnings, what it rests on, and a table.
    #[must_use]
    pub fn text(&self) -> String {
        table::text(self)
    }
}

/// All comparisons of a point.
fn at(point: &Point, old: &Results, new: &Results) -> Vec<Change> {
    let arms = point.arms.iter();
    let pairs = arms.flat_map(|arm| Measure::of(point).into_iter().map(move |measure| (arm, measure)));
    pairs.filter_map(|(arm, measure)| change(&point.name, arm, measure, old, new)).collect()
}

fn change(point: &str, arm: &str, measure: Measure, old: &Results, new: &Results) -> Option<Change> {
    let values =
        |of: &Results| -> Vec<f64> { of.valid(point, arm).filter_map(|it| measure.value(it)).collect() };
    let (before, after) = (values(old), values(new));
    let ratio = unpaired_ratio(&after, &before, new.run.seed)?;
    let rounds = before.len().min(after.len());
    let verdict = judge(ratio, measure, rounds);
    let comparison = Comparison {
        point: point.to_owned(),
        arm: arm.to_owned(),
        baseline: arm.to_owned(),
        measure,
        value: mean(&after),
        baseline_value: mean(&before),
        ratio,
        effect: None,
        rounds,
        verdict,
    };
    let sentence = comparison.sentence();
    let Comparison { point, arm, value, baseline_value, verdict, .. } = comparison;
    let (old_rounds, new_rounds) = (before.len(), after.len());
    let (old, new) = (baseline_value, value);
    Some(Change {
        point,
        arm,
        measure,
        old,
        new,
        old_rounds,
        new_rounds,
        ratio,
        verdict,
        stands: false,
        sentence,
    })
}

/// Whether the interval still leaves out 1 when it is as much wider as Student's would be for a chance of 5 % over all
/// comparisons together.
fn stands(it: &Change, judged: usize) -> bool {
    match it.verdict {
        Verdict::NoDifference { .. } | Verdict::TooFewRounds => false,
        Verdict::Better | Verdict::Worse => {
            let degrees = it.old_rounds.min(it.new_rounds) - 1;
            let wider =
                student::quantile(degrees, 1.0 - 0.025 / judged as f64) / student::quantile(degrees, 0.975);
            let Interval { estimate, low, high } = it.ratio;
            let (middle, near) = (estimate.ln(), if estimate > 1.0 { low.ln() } else { high.ln() });
            (middle - near).abs() * wider < middle.abs()
        }
    }
}
