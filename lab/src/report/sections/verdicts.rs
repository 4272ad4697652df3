//! Every comparison with its verdict.

use super::section;
use crate::{
    report::{
        digest::Digest,
        document::Block,
        figures,
        text::{Unit, counted, unit_of},
    },
    stats::{Comparison, Interval, Verdict},
};

const HEAD: [&str; 9] =
    ["arm", "against", "measure", "verdict", "ratio", "value", "baseline", "effect size", "rounds"];
/// Against it every arm is compared: one figure would tell little.
const FLOOR: &str = "none";

/// Figures of ratios, then a table for each point.
pub(super) fn blocks(digest: &Digest<'_>) -> Vec<Block> {
    let all = &digest.comparisons;
    let mut blocks = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for it in all.iter().filter(|it| it.baseline != FLOOR) {
        if !seen.contains(&(&it.arm, &it.baseline)) {
            seen.push((&it.arm, &it.baseline));
            blocks.extend(figures::ratios(all, &it.arm, &it.baseline).map(Block::Figure));
        }
    }
    for point in &digest.results.points {
        let these: Vec<&Comparison> = all.iter().filter(|it| it.point == point.name).collect();
        if these.is_empty() {
            continue;
        }
        let rows = these.iter().map(|it| row(digest, it)).collect();
        let caption = format!("{}: {}", point.name, point.title);
        let table = Block::table(&caption, &HEAD, rows);
        blocks.push(Block::Details(format!("{}: {}", point.name, counts(&these)), vec![table]));
    }
    let intro = "Values are means over the rounds that both arms have; the interval behind a value is that of all valid \
                 rounds of its arm. The ratio is that of pairs of one round with its 95 % interval, the effect size is \
                 Cohen's d of the logarithms (0.2 is called small, 0.8 large).";
    section("The verdicts", intro, blocks)
}

fn counts(these: &[&Comparison]) -> String {
    let count = |of: fn(&Verdict) -> bool| these.iter().filter(|it| of(&it.verdict)).count();
    let mut words = format!(
        "{}, of which {} better, {} worse, {} without a difference",
        counted(these.len(), "comparison", "comparisons"),
        count(|it| matches!(it, Verdict::Better)),
        count(|it| matches!(it, Verdict::Worse)),
        count(|it| matches!(it, Verdict::NoDifference { .. })),
    );
    let few = count(|it| matches!(it, Verdict::TooFewRounds));
    if few > 0 {
        words += &format!(", {few} with too few rounds");
    }
    words
}

fn row(digest: &Digest<'_>, it: &Comparison) -> Vec<String> {
    let (unit, factor) = unit_of(it.measure);
    let value =
        |arm: &str, mean: f64| match digest.cell(&it.point, arm).and_then(|cell| cell.measure(it.measure)) {
            Some(spread) => {
                let (low, high) = spread.ends();
                unit.with_interval(&Interval { estimate: mean * factor, low, high })
            }
            None => unit.show(mean * factor),
        };
    let [estimate, low, high] = [it.ratio.estimate, it.ratio.low, it.ratio.high].map(|it| format!("{it:.3}"));
    vec![
        it.arm.clone(),
        it.baseline.clone(),
        it.measure.title().to_owned(),
        it.sentence(),
        format!("{estimate} [{low}, {high}]"),
        value(&it.arm, it.value),
        value(&it.baseline, it.baseline_value),
        it.effect.map_or("no spread".into(), |it| Unit::Count.show(it)),
        it.rounds.to_string(),
    ]
}
