//! Figures as SVG, written by hand. A figure is drawn for a width in pixels and never scaled, so that its words keep
//! their size on a phone; the page shows the one that fits.

use std::fmt::Write as _;

use super::{
    style,
    text::{escape, fixed},
};

/// Size of all letters, pixels.
pub(crate) const LETTERS: f64 = 12.0;
/// From one line to the next.
pub(crate) const LINE: f64 = 17.0;
/// Widths a figure is drawn in: for a phone of 360 pixels, and for everything from 768 on.
pub(crate) const WIDTHS: [(&str, f64); 2] = [("narrow", 328.0), ("wide", 720.0)];

/// A figure that can be drawn in any width.
pub(crate) struct Figure {
    /// A file's name, and unique.
    pub(crate) id: String,
    pub(crate) title: String,
    /// What it shows, for those who can't see it.
    pub(crate) description: String,
    /// How to read it.
    pub(crate) caption: String,
    pub(crate) draw: Box<dyn Fn(&mut Canvas)>,
}

/// Where words stand with regard to their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// What is drawn so far.
pub(crate) struct Canvas {
    pub(crate) width: f64,
    /// Grows with what is drawn from top to bottom.
    pub(crate) height: f64,
    id: String,
    body: String,
    /// Hatches in use, by number.
    hatches: std::collections::BTreeSet<usize>,
}

impl Figure {
    /// As an element of a page.
    pub(crate) fn inline(&self, class: &str, width: f64) -> String {
        self.element(&format!("{}-{class}", self.id), &format!("chart {class}"), width, "")
    }

    /// As a file of its own, in the width of a page.
    pub(crate) fn alone(&self) -> String {
        let style = format!("<style>{}</style>", style::alone());
        let body = self.element(&self.id, "chart", WIDTHS[1].1, &style);
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}\n")
    }

    fn element(&self, id: &str, class: &str, width: f64, style: &str) -> String {
        let mut canvas = Canvas::new(id, width);
        (self.draw)(&mut canvas);
        let (title, description) = (escape(&self.title), escape(&self.description));
        let (height, body, defs) = (fixed(canvas.height.ceil(), 0), &canvas.body, canvas.defs());
        let height = height.replace('\u{a0}', "");
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" fill=\"currentColor\" \
             font-family=\"system-ui, 'DejaVu Sans', Arial, sans-serif\" font-size=\"{LETTERS}\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{description}</desc>{style}{defs}{body}</svg>"
        )
    }
}

impl Canvas {
    pub(crate) fn new(id: &str, width: f64) -> Self {
        Self { width, height: 0.0, id: id.into(), body: String::new(), hatches: Default::default() }
    }

    /// Whether names stand above what they name instead of beside it.
    pub(crate) fn narrow(&self) -> bool {
        self.width < 500.0
    }

    /// A line of words with its base line at `y`.
    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let words = escape(words);
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{words}</text>"
        ));
    }

    /// Words over as many lines as they need, from the canvas' lower end on.
    pub(crate) fn lines(&mut self, x: f64, class: &str, words: &str) {
        for line in wrapped(words, self.width - x) {
            self.height += LINE;
            let y = self.height - 4.0;
            self.text(x, y, Anchor::Start, class, &line);
        }
    }

    /// A straight line of a class of the style sheet.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    /// A rectangle in the colour and hatch of a number.
    pub(crate) fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), number: usize) {
        let (colour, hatch) = (style::colour(number), number % style::KINDS);
        let place =
            format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"", width.max(0.0));
        self.push(format_args!("<rect {place} class=\"f{colour}\"/>"));
        if hatch > 0 {
            self.hatches.insert(hatch);
            let id = self.id.clone();
            self.push(format_args!("<rect {place} fill=\"url(#{id}-h{hatch})\"/>"));
        }
        self.push(format_args!("<rect {place} class=\"edge\"/>"));
    }

    /// A pale rectangle with an edge in the colour of a number: a box of a box plot.
    pub(crate) fn pale(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), number: usize) {
        let (colour, width) = (style::colour(number), width.max(1.0));
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"pale f{colour} s{colour}\"/>"
        ));
    }

    /// A line through points, in the colour and dashes of a number.
    pub(crate) fn path(&mut self, points: &[(f64, f64)], number: usize) {
        let mut data = String::new();
        for (place, (x, y)) in points.iter().enumerate() {
            let _never_fails = write!(data, "{}{x:.1} {y:.1}", if place == 0 { "M" } else { "L" });
        }
        let (colour, dash) = (style::colour(number), style::dash(number));
        self.push(format_args!("<path d=\"{data}\" class=\"way s{colour}\"{dash}/>"));
    }

    /// The mark of a number.
    pub(crate) fn mark(&mut self, (x, y): (f64, f64), number: usize) {
        let shape = style::mark(number);
        let colour = style::colour(number);
        self.push(format_args!(
            "<path transform=\"translate({x:.1} {y:.1})\" d=\"{shape}\" class=\"mark f{colour} s{colour}\"/>"
        ));
    }

    /// A disc with a rim, for means: black on white, white on black.
    pub(crate) fn dot(&mut self, (x, y): (f64, f64)) {
        self.push(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" class=\"dot\"/>"));
    }

    /// A legend over as many lines as it needs, from the canvas' lower end on. `sample` draws 26 by 12 pixels around a
    /// place.
    pub(crate) fn legend(&mut self, items: &[String], sample: impl Fn(&mut Self, (f64, f64), usize)) {
        let (mut x, mut y) = (0.0, self.height + LINE - 4.0);
        for (item, words) in items.iter().enumerate() {
            let words = fitted(words, self.width - 34.0);
            let width = 34.0 + length(&words);
            if x > 0.0 && x + width > self.width {
                (x, y) = (0.0, y + LINE + 2.0);
            }
            self.push(format_args!("<g class=\"legend\">"));
            sample(self, (x + 13.0, y - 4.0), item);
            self.text(x + 32.0, y, Anchor::Start, "", &words);
            self.push(format_args!("</g>"));
            x += width + 16.0;
        }
        self.height = y + 10.0;
    }

    pub(crate) fn push(&mut self, element: std::fmt::Arguments<'_>) {
        let _never_fails = self.body.write_fmt(element);
    }

    fn defs(&self) -> String {
        if self.hatches.is_empty() {
            return String::new();
        }
        let hatches: String = self.hatches.iter().map(|it| style::hatch(&self.id, *it)).collect();
        format!("<defs>{hatches}</defs>")
    }
}

/// How many pixels words take at most. The widths are those of DejaVu Sans, which is wider than what others use.
pub(crate) fn length(words: &str) -> f64 {
    let of = |letter: char| match letter {
        'i' | 'j' | 'l' | '\'' => 0.29,
        ' ' | '\u{a0}' | '.' | ',' | ':' | ';' | '!' | '|' | 'I' => 0.34,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' => 0.42,
        'm' | 'M' | 'W' | '%' | '@' | '…' => 1.0,
        'w' | '+' | '=' | '<' | '>' | '±' => 0.84,
        'A'..='Z' => 0.79,
        it if it.is_ascii() || matches!(it, 'µ') => 0.64,
        // Others may be as wide as they are high.
        _ => 1.0,
    };
    words.chars().map(of).sum::<f64>() * LETTERS
}

/// Words that take at most so many pixels: shortened if they must be.
pub(crate) fn fitted(words: &str, width: f64) -> String {
    if length(words) <= width {
        return words.to_owned();
    }
    let mut out = String::new();
    for letter in words.chars() {
        if length(&out) + length(&letter.to_string()) + LETTERS > width {
            break;
        }
        out.push(letter);
    }
    out + "…"
}

/// Words in lines that take at most so many pixels.
pub(crate) fn wrapped(words: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ').filter(|it| !it.is_empty()) {
        let word = fitted(word, width);
        match lines.last_mut() {
            Some(line) if length(line) + length(" ") + length(&word) <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_never_longer_than_asked() {
        let words = "one two three four five six seven eight nine averyverylongwordthatfitsnowhereatall";
        let lines = wrapped(words, 90.0);
        assert!(lines.len() > 4 && lines.iter().all(|line| length(line) <= 90.0), "{lines:?}");
        assert!(lines.last().is_some_and(|line| line.ends_with('…')));
        assert_eq!(fitted("short", 90.0), "short");
    }

    #[test]
    fn a_legend_breaks_where_the_figure_ends() {
        let items: Vec<String> = (0..6).map(|it| format!("sidecar-iptables-{it}")).collect();
        let height = |width| {
            let mut canvas = Canvas::new("x", width);
            canvas.legend(&items, |canvas, place, item| canvas.mark(place, item));
            canvas.height
        };
        assert!(height(328.0) > height(720.0));
    }
}
