//! What was measured: figures, and the numbers behind them.

use super::section;
use crate::{
    report::{
        digest::{Cell, Digest},
        document::Block,
        figures,
        text::{Unit, counted, unit_of, whole},
    },
    results::Point,
    stats::Measure,
};

/// Scenarios that are the thesis' own.
const THESIS: [&str; 2] = ["latency", "thesis"];

/// The thesis' figures 4 to 7.
pub(super) fn thesis(digest: &Digest<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (scenario, points) in digest.scenarios() {
        if THESIS.contains(&scenario) {
            blocks.extend(figures::boxes(digest, scenario, &points).map(Block::Figure));
            blocks.extend(figures::maxima(digest, scenario, &points).map(Block::Figure));
        }
    }
    let intro = "Figures 4 to 7 of the thesis, redrawn from this run: latencies, and the maximum CPU of the node. The thesis \
                 measured on a cluster in a cloud, one data path after the other; here arms take turns in random order, on one \
                 machine.";
    section("The thesis' figures from our data", intro, blocks)
}

/// A figure for each point, the first unfolded.
pub(super) fn distributions(digest: &Digest<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (scenario, points) in digest.scenarios() {
        let mut these: Vec<Block> =
            points.iter().filter_map(|it| figures::cdf(digest, it)).map(Block::Figure).collect();
        if these.is_empty() {
            continue;
        }
        if THESIS.contains(&scenario) {
            blocks.extend(these);
        } else {
            let words =
                format!("Scenario {scenario}: {}", counted(these.len(), "distribution", "distributions"));
            these.insert(0, Block::Heading(3, format!("Distributions of scenario {scenario}")));
            blocks.push(Block::Details(words, these));
        }
    }
    section("Distributions of latency", "", blocks)
}

/// Rules first: that is what the thesis asks for.
pub(super) fn curves_by_axis(digest: &Digest<'_>) -> Vec<Block> {
    let axis = |points: &[&Point]| points.iter().find_map(|it| it.axis.as_ref()).map(|it| it.name.clone());
    let (mut rules, mut others) = (Vec::new(), Vec::new());
    for (scenario, points) in digest.scenarios() {
        let measures = if points.iter().all(|it| it.open) {
            [Measure::P50, Measure::P99, Measure::Processor]
        } else {
            [Measure::Rate, Measure::P50, Measure::Processor]
        };
        let these = measures.into_iter().filter_map(|it| figures::curves(digest, scenario, &points, it));
        let these = these.map(Block::Figure);
        if axis(&points).as_deref() == Some("rules") { rules.extend(these) } else { others.extend(these) }
    }
    let mut all = section("What the number of rules costs", "", rules);
    all.extend(section("Along rates, sizes and connections", "", others));
    all
}

/// Stacked bars for each scenario.
pub(super) fn processor_time(digest: &Digest<'_>) -> Vec<Block> {
    let figures = digest.scenarios().into_iter();
    let blocks =
        figures.filter_map(|(name, points)| figures::processor(digest, name, &points)).map(Block::Figure);
    section("Processor time for one request", "", blocks.collect())
}

/// The numbers.
pub(super) fn tables(digest: &Digest<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (scenario, points) in digest.scenarios() {
        blocks.push(Block::Heading(3, format!("Scenario {scenario}")));
        for point in points {
            blocks.push(table(digest, point));
        }
    }
    let intro = "Means over valid rounds with their 95 % intervals. Only right answers count as answered; all else is a failure.";
    section("The numbers, scenario by scenario", intro, blocks)
}

fn table(digest: &Digest<'_>, point: &Point) -> Block {
    let set_up = digest.cells_of(point).any(|(_, cell)| cell.measure(Measure::SetUp).is_some());
    let mut measures = vec![
        ("answers/s", Measure::Rate),
        ("median", Measure::P50),
        ("90th percentile", Measure::P90),
        ("99th percentile", Measure::P99),
        ("mean", Measure::Mean),
        ("CPU per request", Measure::Processor),
    ];
    if set_up {
        measures.push(("median of connect()", Measure::SetUp));
    }
    let mut head = vec!["arm", "rounds"];
    head.extend(measures.iter().map(|it| it.0));
    head.extend(["failed", "sent late, 99th percentile"]);
    let rows = point.arms.iter().map(|arm| match digest.cell(&point.name, arm) {
        Some(cell) => row(arm, cell, &measures),
        None => [arm.clone(), "0".into()].into_iter().chain(vec!["-".into(); head.len() - 2]).collect(),
    });
    Block::table(&format!("{}: {}", point.name, point.title), &head, rows.collect())
}

fn row(arm: &str, cell: &Cell<'_>, measures: &[(&str, Measure)]) -> Vec<String> {
    let mut row = vec![arm.to_owned(), cell.samples.len().to_string()];
    row.extend(measures.iter().map(|(_, measure)| match cell.measure(*measure) {
        Some(spread) => spread.show(unit_of(*measure).0),
        None => "-".into(),
    }));
    let loads = || cell.samples.iter().filter_map(|it| it.load.as_ref());
    let failed: u64 = loads().flat_map(|it| it.failed.values()).sum();
    let sent: u64 = loads().map(|it| it.sent).sum();
    row.push(format!("{} of {}", whole(failed), whole(sent)));
    let late = cell.of(|it| Some(it.load.as_ref()?.lateness.as_ref()?.p99 as f64));
    row.push(late.map_or("-".into(), |it| it.show(Unit::Time)));
    row
}
