//! The thesis' figures 4 to 7 from our data: boxes of latencies, and the busiest that the node was.

use super::rows::{Group, Row, THICK, rows};
use crate::{
    report::{
        digest::{Cell, Digest},
        scale::{Kind, Scale},
        style,
        svg::{Canvas, Figure},
        text::{Unit, slug},
    },
    results::{Point, Sample},
};

/// What a box shows, nanoseconds.
#[derive(Clone, Copy)]
struct Quantiles {
    number: usize,
    low: f64,
    quarter: f64,
    median: f64,
    mean: f64,
    three: f64,
    high: f64,
}

/// Latencies of the points of a scenario. `None` if nothing was measured there.
pub(crate) fn boxes(digest: &Digest<'_>, scenario: &str, points: &[&Point]) -> Option<Figure> {
    let (mut groups, mut all) = (Vec::new(), Vec::new());
    for point in points {
        let boxes: Vec<(&str, Quantiles)> =
            digest.cells_of(point).map(|(arm, cell)| (arm, of(digest.place(arm), cell))).collect();
        let row = |(arm, it): &(&str, Quantiles)| Row {
            label: (*arm).to_owned(),
            note: format!("mean {}", Unit::Time.show(it.mean)),
        };
        groups.push(Group { title: point.title.clone(), rows: boxes.iter().map(row).collect() });
        all.push(boxes.into_iter().map(|it| it.1).collect::<Vec<_>>());
    }
    let values: Vec<f64> = all.iter().flatten().flat_map(|it| [it.low, it.high]).collect();
    if values.is_empty() {
        return None;
    }
    let log = Scale::either(&values, 12.0, (0.0, 1.0)).kind() == Kind::Log;
    let title = if log { "latency, logarithmic axis" } else { "latency" };
    Some(Figure {
        id: format!("boxes-{}", slug(scenario)),
        title: format!("Latency of scenario {scenario}, arms side by side"),
        description: "Box plots, one row for each arm, grouped by point. The table of the scenario has the numbers.".into(),
        caption: "As the thesis' figures of latency: the box spans the 25th and 75th percentile, the dot is the mean, the \
                  whiskers reach to the 5th and 95th percentile; the line in the box, which the thesis has not, is the \
                  median. All requests of all valid rounds together; a mean over such requests has the box as its spread, \
                  its interval over rounds is in the table."
            .into(),
        draw: Box::new(move |canvas| {
            let scale = |ends| Scale::either(&values, 12.0, ends).rounded();
            rows(canvas, &groups, (title, Unit::Time), scale, |canvas, scale, (group, place), y| {
                draw(canvas, scale, y, all[group][place]);
            });
        }),
    })
}

fn of(number: usize, cell: &Cell<'_>) -> Quantiles {
    let at = |share: f64| cell.latency.value_at_quantile(share) as f64;
    let mean = cell.latency.mean();
    Quantiles {
        number,
        low: at(0.05),
        quarter: at(0.25),
        median: at(0.5),
        mean,
        three: at(0.75),
        high: at(0.95),
    }
}

fn draw(canvas: &mut Canvas, scale: &Scale, y: f64, it: Quantiles) {
    let whisker = format!("whisker s{}", style::colour(it.number));
    let [low, quarter, median, three, high] =
        [it.low, it.quarter, it.median, it.three, it.high].map(|value| scale.at(value));
    let half = THICK / 2.0;
    canvas.line((low, y), (quarter, y), &whisker);
    canvas.line((three, y), (high, y), &whisker);
    for end in [low, high] {
        canvas.line((end, y - 4.0), (end, y + 4.0), &whisker);
    }
    canvas.pale((quarter, y - half), (three - quarter, THICK), it.number);
    canvas.line((median, y - half), (median, y + half), "middle");
    canvas.dot((scale.at(it.mean), y));
}

/// The node's busy share at the points of a scenario: the busiest round, and the mean of rounds. `None` if nothing was
/// measured there.
pub(crate) fn maxima(digest: &Digest<'_>, scenario: &str, points: &[&Point]) -> Option<Figure> {
    let (mut groups, mut all) = (Vec::new(), Vec::new());
    for point in points {
        let mut rows = Vec::new();
        let mut bars = Vec::new();
        for (arm, cell) in digest.cells_of(point) {
            let (Some(largest), Some(spread)) = (cell.largest(Sample::busy), cell.of(Sample::busy)) else {
                continue;
            };
            rows.push(Row {
                label: arm.to_owned(),
                note: format!("max {}, mean {}", Unit::Share.show(largest), spread.show(Unit::Share)),
            });
            bars.push((digest.place(arm), largest, spread));
        }
        groups.push(Group { title: point.title.clone(), rows });
        all.push(bars);
    }
    if all.iter().all(Vec::is_empty) {
        return None;
    }
    let values: Vec<f64> = all.iter().flatten().map(|it| it.1).collect();
    Some(Figure {
        id: format!("maximum-{}", slug(scenario)),
        title: format!("Busiest that the node was in scenario {scenario}"),
        description: "Bars, one for each arm, grouped by point; numbers stand beside them.".into(),
        caption: "As the thesis' figures of maximum CPU of the node: the bar ends at the busiest round, the dot is the mean \
                  of all valid rounds with its 95 % interval as a line. Busy is the time for which the generator and \
                  the arm's processes ran; 100 % is both cores without a pause. The load generator is \
                  in it, the same for every arm."
            .into(),
        draw: Box::new(move |canvas| {
            let scale = |ends| Scale::from_zero(values.iter().copied(), ends);
            let title = ("busy share of both cores", Unit::Share);
            rows(canvas, &groups, title, scale, |canvas, scale, (group, place), y| {
                let (number, largest, spread) = &all[group][place];
                let from = scale.at(0.0);
                canvas.bar((from, y - THICK / 2.0), (scale.at(*largest) - from, THICK), *number);
                let (low, high) = spread.ends();
                interval(canvas, y, [scale.at(low), scale.at(spread.mean), scale.at(high)]);
            });
        }),
    })
}

/// A dot with a line from `low` to `high`.
pub(super) fn interval(canvas: &mut Canvas, y: f64, [low, middle, high]: [f64; 3]) {
    canvas.line((low, y), (high, y), "under");
    canvas.line((low, y), (high, y), "middle");
    for end in [low, high] {
        canvas.line((end, y - 3.5), (end, y + 3.5), "middle");
    }
    canvas.dot((middle, y));
}
