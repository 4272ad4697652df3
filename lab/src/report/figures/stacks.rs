//! Stacked bars: what processor time consists of.

use super::{
    boxes::interval,
    rows::{Group, Row, THICK, rows},
};
use crate::{
    report::{
        digest::{Cell, Digest, Spread},
        scale::Scale,
        svg::{Canvas, Figure},
        text::{Unit, slug},
    },
    results::{Breakdown, Point, Sample},
    stats::{Measure, mean},
};

/// Its name, the number of its colour and hatch, and a sample's seconds of it for one answer.
type Part = (&'static str, usize, fn(&Sample) -> f64);

/// Who uses the processor.
const PARTS: [Part; 5] = [
    ("client's sidecar", 2, |it| role(it, |it| it == "client-sidecar")),
    ("server's sidecar", 1, |it| role(it, |it| it == "server-sidecar")),
    ("server", 3, |it| role(it, |it| it == "server")),
    ("load generator", 5, |it| {
        it.load.as_ref().map_or(0.0, |it| (it.user + it.system) / it.answered.max(1) as f64)
    }),
    ("others of the arm", 4, |it| {
        role(it, |it| !matches!(it, "client-sidecar" | "server-sidecar" | "server"))
    }),
];
/// The numbers of parts of a breakdown, in order of appearance.
const OTHERS: [usize; 8] = [2, 1, 3, 4, 5, 6, 7, 0];

/// Processor time for one request at the points of a scenario. `None` if nothing was measured there.
pub(crate) fn processor(digest: &Digest<'_>, scenario: &str, points: &[&Point]) -> Option<Figure> {
    let (mut groups, mut all) = (Vec::new(), Vec::new());
    for point in points {
        let (mut rows, mut bars) = (Vec::new(), Vec::new());
        for (arm, cell) in digest.cells_of(point) {
            let Some(whole) = cell.measure(Measure::Processor) else { continue };
            rows.push(Row { label: arm.to_owned(), note: whole.show(Unit::Time) });
            bars.push((parts(cell), whole));
        }
        groups.push(Group { title: point.title.clone(), rows });
        all.push(bars);
    }
    let highest: Vec<f64> = all.iter().flatten().map(|(_, whole)| whole.ends().1).collect();
    if highest.is_empty() {
        return None;
    }
    let legend = PARTS.map(|it| it.0.to_owned());
    Some(Figure {
        id: format!("processor-{}", slug(scenario)),
        title: format!("Processor time for one request in scenario {scenario}"),
        description: "Stacked bars, one for each arm, grouped by point; the sums stand beside them.".into(),
        caption: "Time for which the processes ran, divided by right answers, mean over valid rounds; the dot and its line are \
                  the sum with its 95 % interval. The network's work is in it where a process sets it off."
            .into(),
        draw: Box::new(move |canvas| {
            canvas.legend(&legend, |canvas, (x, y), item| swatch(canvas, (x, y), PARTS[item].1));
            let scale = |ends| Scale::from_zero(highest.iter().copied(), ends);
            let title = ("processor time for one request", Unit::Time);
            rows(canvas, &groups, title, scale, |canvas, scale, (group, place), y| {
                let (parts, whole) = &all[group][place];
                let values = PARTS.iter().zip(parts).map(|(part, value)| (part.1, *value));
                stack(canvas, scale, y, values);
                sum(canvas, scale, y, whole);
            });
        }),
    })
}

/// Nanoseconds for one request, part by part, so that they sum up to the mean of the sums.
fn parts(cell: &Cell<'_>) -> [f64; 5] {
    PARTS.map(|(_, _, of)| {
        let values: Vec<f64> =
            cell.samples.iter().filter(|it| it.processor().is_some()).map(|it| of(it) * 1e9).collect();
        if values.is_empty() { 0.0 } else { mean(&values) }
    })
}

/// Seconds that the processes of some roles ran for one answer.
fn role(sample: &Sample, is: fn(&str) -> bool) -> f64 {
    let answers = sample.load.as_ref().map_or(1, |it| it.answers.max(1));
    sample.processes.iter().filter(|it| is(&it.role)).map(|it| it.running).sum::<f64>() / answers as f64
}

/// Where the time of a request goes at one point, an arm a row.
pub(crate) fn breakdown(point: &str, title: &str, breakdowns: &[&Breakdown]) -> Figure {
    let mut names: Vec<String> = Vec::new();
    for share in breakdowns.iter().flat_map(|it| &it.shares) {
        if !names.contains(&share.what) {
            names.push(share.what.clone());
        }
    }
    let number = |what: &str| names.iter().position(|it| it == what).unwrap_or(0);
    let mut all = Vec::new();
    let mut group = Group { title: title.to_owned(), rows: Vec::new() };
    for it in breakdowns {
        let whole = it.per_request * 1e3;
        group.rows.push(Row { label: it.arm.clone(), note: Unit::Time.show(whole) });
        let mut parts: Vec<(usize, f64)> =
            it.shares.iter().map(|share| (number(&share.what), share.share * whole)).collect();
        // The same order in every bar, so that bars can be compared.
        parts.sort_by_key(|it| it.0);
        all.push(parts);
    }
    let highest: Vec<f64> = breakdowns.iter().map(|it| it.per_request * 1e3).collect();
    Figure {
        id: format!("breakdown-{}", slug(point)),
        title: format!("Where the time of a request goes at {point}"),
        description: "Stacked bars, one for each arm; the table below has the numbers.".into(),
        caption: "Busy time of both cores for one request, divided by what a sampling profiler saw. One profile for each arm, \
                  so without an interval: read it for proportions, not for small differences."
            .into(),
        draw: Box::new(move |canvas| {
            canvas.legend(&names, |canvas, place, item| swatch(canvas, place, colour(item)));
            let scale = |ends| Scale::from_zero(highest.iter().copied(), ends);
            let title = ("busy time of both cores for one request", Unit::Time);
            rows(canvas, std::slice::from_ref(&group), title, scale, |canvas, scale, (_, place), y| {
                stack(canvas, scale, y, all[place].iter().map(|(item, value)| (colour(*item), *value)));
            });
        }),
    }
}

fn colour(item: usize) -> usize {
    OTHERS[item % OTHERS.len()]
}

fn swatch(canvas: &mut Canvas, (x, y): (f64, f64), number: usize) {
    canvas.bar((x - 13.0, y - 6.0), (26.0, 12.0), number);
}

fn stack(canvas: &mut Canvas, scale: &Scale, y: f64, parts: impl Iterator<Item = (usize, f64)>) {
    let mut sum = 0.0;
    for (number, value) in parts {
        let from = scale.at(sum);
        sum += value;
        canvas.bar((from, y - THICK / 2.0), (scale.at(sum) - from, THICK), number);
    }
}

fn sum(canvas: &mut Canvas, scale: &Scale, y: f64, whole: &Spread) {
    let (low, high) = whole.ends();
    interval(canvas, y, [scale.at(low), scale.at(whole.mean), scale.at(high)]);
}
