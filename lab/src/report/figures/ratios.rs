//! Ratios with their intervals: what one arm is in units of another, point by point.

use super::{
    boxes::interval,
    rows::{Group, Row, rows},
};
use crate::{
    report::{
        scale::Scale,
        svg::Figure,
        text::{Unit, slug},
    },
    stats::{Comparison, Measure},
};

/// What is shown, in order.
const SHOWN: [Measure; 4] = [Measure::P50, Measure::P99, Measure::Rate, Measure::Processor];
/// Beyond, ratios stand at the end: one very wide interval must not flatten all others.
const LIMIT: f64 = 20.0;

/// An arm against a baseline. `None` if they were never compared.
pub(crate) fn ratios(comparisons: &[Comparison], arm: &str, baseline: &str) -> Option<Figure> {
    let pair: Vec<&Comparison> =
        comparisons.iter().filter(|it| it.arm == arm && it.baseline == baseline).collect();
    let (mut groups, mut all) = (Vec::new(), Vec::new());
    for measure in SHOWN {
        let these: Vec<&Comparison> = pair.iter().copied().filter(|it| it.measure == measure).collect();
        if these.is_empty() {
            continue;
        }
        let better = if measure.more_is_better() { "more is better" } else { "less is better" };
        groups.push(Group {
            title: format!("{}, {better}", measure.title()),
            rows: these.iter().map(|it| row(it)).collect(),
        });
        all.push(these.iter().map(|it| it.ratio).collect::<Vec<_>>());
    }
    let limited = |it: f64| it.clamp(1.0 / LIMIT, LIMIT);
    let values: Vec<f64> =
        all.iter().flatten().flat_map(|it| [limited(it.low), limited(it.high), 1.0]).collect();
    if values.is_empty() {
        return None;
    }
    Some(Figure {
        id: format!("ratio-{}-{}", slug(arm), slug(baseline)),
        title: format!("{arm} in units of {baseline}"),
        description:
            "One row for each point: the ratio and its 95 % interval. The verdict tables have the numbers."
                .into(),
        caption: format!(
            "Ratio of {arm} to {baseline} in pairs of one round, with its 95 % interval; the broken line is \"the same\". \
             An interval that crosses it shows no difference."
        ),
        draw: Box::new(move |canvas| {
            let scale = |ends| Scale::log(values.iter().copied(), ends).rounded();
            let title = ("ratio, logarithmic axis", Unit::Times);
            rows(canvas, &groups, title, scale, |canvas, scale, (group, place), y| {
                let one = scale.at(1.0);
                canvas.line((one, y - 10.0), (one, y + 10.0), "one");
                let ratio = all[group][place];
                interval(canvas, y, [ratio.low, ratio.estimate, ratio.high].map(|it| scale.at(limited(it))));
            });
        }),
    })
}

fn row(it: &Comparison) -> Row {
    let [estimate, low, high] = [it.ratio.estimate, it.ratio.low, it.ratio.high].map(|it| format!("{it:.2}"));
    Row { label: it.point.clone(), note: format!("{estimate} [{low}, {high}]") }
}
