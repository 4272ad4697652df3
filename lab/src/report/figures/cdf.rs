//! Distributions of latencies: how many requests were answered within a time, with the tail drawn large.

use crate::{
    report::{
        digest::Digest,
        figures::rows::axis,
        scale::Scale,
        svg::{Anchor, Canvas, Figure, LINE},
        text::{Unit, slug},
    },
    results::Point,
};

/// Lines and their words. Each further nine is as far as the one before.
const NINES: [(f64, &str); 6] =
    [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
/// Where marks stand on a line.
const MARKED: [f64; 5] = [0.25, 0.75, 0.95, 0.99, 0.999];
/// Points of a line for each nine.
const STEPS: usize = 14;

struct Curve {
    number: usize,
    /// Latency, and how many nines.
    points: Vec<(f64, f64)>,
    marks: Vec<(f64, f64)>,
}

/// All latencies of a point. `None` if nothing was measured there.
pub(crate) fn cdf(digest: &Digest<'_>, point: &Point) -> Option<Figure> {
    let (mut curves, mut names) = (Vec::new(), Vec::new());
    for (arm, cell) in digest.cells_of(point) {
        let latency = &cell.latency;
        // Of a thousand requests the last is the 99.9th percentile; beyond, a line would be made up.
        let end = nines(1.0 - 1.0 / latency.len().max(1) as f64).min(4.0);
        let at = |it: f64| (latency.value_at_quantile(1.0 - 10_f64.powf(-it)).max(1) as f64, it);
        let points =
            (0..=(end * STEPS as f64) as usize).map(|it| at(it as f64 / STEPS as f64)).chain([at(end)]);
        let marks = MARKED.map(nines).into_iter().filter(|it| *it <= end).map(at).collect();
        curves.push(Curve { number: digest.place(arm), points: points.collect(), marks });
        names.push(arm.to_owned());
    }
    if curves.is_empty() {
        return None;
    }
    Some(Figure {
        id: format!("cdf-{}", slug(&point.name)),
        title: format!("Distribution of latency: {}", point.title),
        description: "One line for each arm: the share of requests that were answered within a time. The table of the scenario \
                      has the quantiles."
            .into(),
        caption: "Share of requests that were answered within a time. Both axes are logarithmic, the vertical one so that each \
                  further nine has as much room as the one before: further left is faster, and the upper part is the tail. \
                  A line ends where its requests do, at the latest at 99.99 %."
            .into(),
        draw: Box::new(move |canvas| draw(canvas, &curves, &names)),
    })
}

/// 0 for none, 1 for 90 %, 2 for 99 %.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-12).log10()
}

fn draw(canvas: &mut Canvas, curves: &[Curve], names: &[String]) {
    canvas.legend(names, |canvas, (x, y), item| {
        let number = curves[item].number;
        canvas.path(&[(x - 13.0, y), (x + 13.0, y)], number);
        canvas.mark((x, y), number);
    });
    canvas.lines(0.0, "faint", "share of requests answered within");
    let (left, right, tall) = (58.0, canvas.width - 22.0, if canvas.narrow() { 260.0 } else { 320.0 });
    let top = canvas.height + 10.0;
    let y = |nines: f64| top + tall * (1.0 - nines / 4.0);
    let scale = Scale::log(curves.iter().flat_map(|it| &it.points).map(|it| it.0), (left, right)).rounded();
    for (share, words) in NINES {
        let y = y(nines(share));
        canvas.line((left, y), (right, y), "grid");
        canvas.text(left - 6.0, y + 4.0, Anchor::End, "", words);
    }
    let ticks = scale.fitting(scale.ticks(Unit::Time), (left - 26.0, canvas.width));
    for (value, _) in &ticks {
        canvas.line((scale.at(*value), top), (scale.at(*value), top + tall), "grid");
    }
    for curve in curves {
        let place = |(value, nines): &(f64, f64)| (scale.at(*value), y(*nines));
        canvas.path(&curve.points.iter().map(place).collect::<Vec<_>>(), curve.number);
        curve.marks.iter().for_each(|it| canvas.mark(place(it), curve.number));
    }
    // A little below the lowest line, whose words would stand on those of the axis otherwise.
    canvas.height = top + tall - 1.0;
    axis(canvas, &scale, &ticks, (left, right), "latency, logarithmic axis");
    canvas.height += LINE - 12.0;
}
