//! Figures whose arms are rows: names at the left, or above on a narrow figure; a horizontal axis; words at the right.

use crate::report::{
    scale::Scale,
    svg::{Anchor, Canvas, LINE, fitted, length},
    text::Unit,
};

/// Height of what is drawn in a row.
pub(crate) const THICK: f64 = 15.0;

/// Rows that belong together.
pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

/// A row.
pub(crate) struct Row {
    pub(crate) label: String,
    /// Its numbers in words, at the right.
    pub(crate) note: String,
}

/// Draws groups of rows below each other, with an axis below the last. `scale` makes the scale for the pixels that it may
/// use; `draw` draws a row around its middle.
pub(crate) fn rows(
    canvas: &mut Canvas,
    groups: &[Group],
    (title, unit): (&str, Unit),
    scale: impl Fn((f64, f64)) -> Scale,
    draw: impl Fn(&mut Canvas, &Scale, (usize, usize), f64),
) {
    let all = || groups.iter().flat_map(|it| &it.rows);
    let widest = |of: fn(&Row) -> &str| all().map(|it| length(of(it))).fold(0.0, f64::max);
    let (names, notes) = (widest(|it| &it.label).min(190.0), widest(|it| &it.note));
    let narrow = canvas.narrow();
    // The words of the first tick and of the last stand half outside.
    let (left, right) = if narrow { (14.0, 18.0) } else { (names + 16.0, notes + 22.0) };
    let ends = (left, canvas.width - right);
    let scale = scale(ends);
    let ticks = scale.fitting(scale.ticks(unit), (0.0, canvas.width));
    let top = canvas.height + 4.0;
    let places = places(canvas, groups);
    for (value, _) in &ticks {
        let x = scale.at(*value);
        // Lines lie below the rows, so they come first; each stretch of rows has its own, and words stand clear.
        for stretch in &places {
            let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
            if narrow {
                stretch.iter().for_each(|y| canvas.line((x, y - 9.0), (x, y + 9.0), "grid"));
            } else {
                canvas.line((x, first - 11.0), (x, last + 11.0), "grid");
            }
        }
    }
    canvas.height = top;
    for (number, group) in groups.iter().enumerate() {
        heading(canvas, &group.title);
        for (place, row) in group.rows.iter().enumerate() {
            let y = places[number][place];
            words(canvas, row, y, names);
            draw(canvas, &scale, (number, place), y);
            canvas.height = y + if narrow { 13.0 } else { 11.0 };
        }
    }
    axis(canvas, &scale, &ticks, ends, title);
}

/// Where the middles of the rows come to lie.
fn places(canvas: &Canvas, groups: &[Group]) -> Vec<Vec<f64>> {
    let mut y = canvas.height + 4.0;
    let narrow = canvas.narrow();
    let mut all = Vec::new();
    for group in groups {
        y += heading_height(canvas, &group.title);
        let mut places = Vec::new();
        for row in &group.rows {
            let above = if !narrow {
                11.0
            } else if beside(canvas, row) {
                LINE + 10.0
            } else {
                2.0 * LINE + 10.0
            };
            y += above;
            places.push(y);
            y += if narrow { 13.0 } else { 11.0 };
        }
        all.push(places);
    }
    all
}

/// Whether a narrow row's name and note share a line.
fn beside(canvas: &Canvas, row: &Row) -> bool {
    row.note.is_empty() || length(&row.label) + length(&row.note) + 12.0 <= canvas.width
}

fn heading_height(canvas: &Canvas, title: &str) -> f64 {
    if title.is_empty() {
        return 4.0;
    }
    // Strong letters are wider.
    10.0 + LINE * crate::report::svg::wrapped(title, canvas.width / 1.12).len() as f64
}

fn heading(canvas: &mut Canvas, title: &str) {
    if title.is_empty() {
        canvas.height += 4.0;
        return;
    }
    canvas.height += 6.0;
    for line in crate::report::svg::wrapped(title, canvas.width / 1.12) {
        canvas.height += LINE;
        let y = canvas.height - 3.0;
        canvas.text(0.0, y, Anchor::Start, "strong", &line);
    }
    canvas.height += 4.0;
}

fn words(canvas: &mut Canvas, row: &Row, y: f64, names: f64) {
    let width = canvas.width;
    if canvas.narrow() {
        let line = y - 14.0;
        let label = fitted(&row.label, width);
        if beside(canvas, row) {
            canvas.text(0.0, line, Anchor::Start, "", &label);
        } else {
            canvas.text(0.0, line - LINE, Anchor::Start, "", &label);
        }
        if !row.note.is_empty() {
            canvas.text(width, line, Anchor::End, "faint", &fitted(&row.note, width));
        }
    } else {
        canvas.text(names + 4.0, y + 4.0, Anchor::End, "", &fitted(&row.label, names + 1.0));
        if !row.note.is_empty() {
            canvas.text(width, y + 4.0, Anchor::End, "faint", &row.note);
        }
    }
}

/// A horizontal axis with its ticks and its title, at the canvas' lower end.
pub(crate) fn axis(
    canvas: &mut Canvas,
    scale: &Scale,
    ticks: &[(f64, String)],
    (from, to): (f64, f64),
    title: &str,
) {
    let y = canvas.height + 6.0;
    canvas.line((from, y), (to, y), "axis");
    for (value, words) in ticks {
        let x = scale.at(*value);
        canvas.line((x, y), (x, y + 4.0), "axis");
        canvas.text(x, y + 17.0, Anchor::Middle, "", words);
    }
    canvas.height = y + 22.0;
    let width = canvas.width;
    for line in crate::report::svg::wrapped(title, width) {
        canvas.height += LINE;
        let y = canvas.height - 3.0;
        // On a wide figure below the axis, on a narrow one below everything.
        let middle = ((from + to) / 2.0)
            .clamp(length(&line) / 2.0, (width - length(&line) / 2.0).max(length(&line) / 2.0));
        canvas.text(middle, y, Anchor::Middle, "faint", &line);
    }
    canvas.height += 4.0;
}
