//! Curves along what a scenario varies: rules, rates, sizes, idle connections.

use crate::{
    report::{
        digest::{Digest, Spread},
        figures::rows::axis,
        scale::{Kind, Scale},
        style,
        svg::{Anchor, Canvas, Figure, LETTERS, length},
        text::{Unit, amount, capital, slug, unit_of, whole},
    },
    results::{Axis, Point},
    stats::Measure,
};

/// An arm's line: its number, and where it was measured.
struct Curve {
    number: usize,
    points: Vec<(f64, Spread)>,
}

/// One measure along the axis of a scenario. `None` if there are not two points of it, or nothing was measured.
pub(crate) fn curves(
    digest: &Digest<'_>,
    scenario: &str,
    points: &[&Point],
    measure: Measure,
) -> Option<Figure> {
    let on_axis: Vec<(&Axis, &Point)> =
        points.iter().filter_map(|it| Some((it.axis.as_ref()?, *it))).collect();
    let first = on_axis.first()?.0;
    if on_axis.len() < 2 || on_axis.iter().any(|it| it.0.name != first.name) {
        return None;
    }
    let (mut curves, mut names) = (Vec::new(), Vec::new());
    for arm in &digest.results.arms {
        let mut points: Vec<(f64, Spread)> = on_axis
            .iter()
            .filter_map(|(axis, point)| {
                Some((axis.value, digest.cell(&point.name, &arm.name)?.measure(measure)?))
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if !points.is_empty() {
            curves.push(Curve { number: digest.place(&arm.name), points });
            names.push(arm.name.clone());
        }
    }
    if curves.is_empty() {
        return None;
    }
    let unit = unit_of(measure).0;
    let along =
        if first.unit == first.name { first.unit.clone() } else { format!("{}, {}", first.name, first.unit) };
    Some(Figure {
        id: format!("curve-{}-{}", slug(scenario), slug(measure.title())),
        title: format!("{} by {}, scenario {scenario}", capital(measure.title()), first.name),
        description: "One line for each arm with intervals. The table of the scenario has the numbers.".into(),
        caption: "Mean over valid rounds with its 95 % interval; marks of arms at the same place are moved apart a little.".into(),
        draw: Box::new(move |canvas| draw(canvas, &curves, &names, &along, (measure.title(), unit))),
    })
}

fn draw(canvas: &mut Canvas, curves: &[Curve], names: &[String], along: &str, (title, unit): (&str, Unit)) {
    canvas.legend(names, |canvas, (x, y), item| {
        canvas.path(&[(x - 13.0, y), (x + 13.0, y)], curves[item].number);
        canvas.mark((x, y), curves[item].number);
    });
    let all = || curves.iter().flat_map(|it| &it.points);
    let spreads: Vec<f64> =
        all().flat_map(|(_, it)| [it.ends().0.max(it.mean / 10.0), it.mean, it.ends().1]).collect();
    let tall = if canvas.narrow() { 220.0 } else { 280.0 };
    let kind = Scale::either(&spreads, 10.0, (0.0, 1.0)).kind();
    let words = if kind == Kind::Log { format!("{title}, logarithmic axis") } else { title.to_owned() };
    canvas.lines(0.0, "faint", &words);
    let top = canvas.height + 10.0;
    let up = Scale::either(&spreads, 10.0, (top + tall, top)).rounded();
    let levels = up.ticks(unit);
    let widest = levels.iter().map(|it| length(&it.1)).fold(0.0, f64::max);
    let values: Vec<f64> = all().map(|it| it.0).collect();
    let places = ticks(&values, along.ends_with(", B"));
    let last = places.last().map_or(0.0, |it| length(&it.1) / 2.0);
    let (left, right) = (widest + 20.0, canvas.width - last.max(20.0) - 2.0);
    for (value, words) in levels {
        let y = up.at(value);
        canvas.line((left - 14.0, y), (right + 14.0, y), "grid");
        canvas.text(left - 18.0, y + 4.0, Anchor::End, "", &words);
    }
    let scale = Scale::either(&values, 15.0, (left, right));
    let ticks = scale.fitting(places, (0.0, canvas.width));
    for (place, curve) in curves.iter().enumerate() {
        let aside = (place as f64 - (curves.len() as f64 - 1.0) / 2.0) * 3.0;
        line(canvas, &scale, &up, curve, aside);
    }
    canvas.height = top + tall - 1.0;
    let logarithmic = if scale.kind() == Kind::Log { ", logarithmic axis" } else { "" };
    let zero = if scale.kind() == Kind::Log && values.contains(&0.0) { " with a place for 0" } else { "" };
    axis(canvas, &scale, &ticks, (left - 14.0, right + 14.0), &format!("{along}{logarithmic}{zero}"));
    canvas.height += LETTERS / 2.0;
}

fn line(canvas: &mut Canvas, scale: &Scale, up: &Scale, curve: &Curve, aside: f64) {
    let x = |value: f64| scale.at(value) + aside;
    let way: Vec<(f64, f64)> = curve.points.iter().map(|(value, it)| (x(*value), up.at(it.mean))).collect();
    canvas.path(&way, curve.number);
    let class = format!("whisker s{}", style::colour(curve.number));
    for ((value, it), (_, y)) in curve.points.iter().zip(way) {
        let (low, high) = it.ends();
        let x = x(*value);
        canvas.line((x, up.at(low)), (x, up.at(high)), &class);
        for end in [low, high] {
            canvas.line((x - 3.0, up.at(end)), (x + 3.0, up.at(end)), &class);
        }
        canvas.mark((x, y), curve.number);
    }
}

/// Exactly where it was measured.
fn ticks(values: &[f64], bytes: bool) -> Vec<(f64, String)> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let words = |it: f64| {
        if bytes {
            return Unit::Bytes.show(it).replace(".00", "").replace(".0\u{a0}", "\u{a0}");
        }
        if it.fract() == 0.0 && (0.0..1e15).contains(&it) { whole(it as u64) } else { amount(it) }
    };
    values.into_iter().map(|it| (it, words(it))).collect()
}
