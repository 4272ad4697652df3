//! Numbers and words as people read them, and the escapes that let foreign words stand in HTML, SVG and Markdown.

use crate::stats::{Interval, Measure};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Time,
    /// Events a second.
    PerSecond,
    /// 0 to 1, shown as per cent.
    Share,
    /// Bytes.
    Bytes,
    /// A number of something.
    Count,
    /// Times something else.
    Times,
}

impl Unit {
    /// What to divide by and the unit's name, for numbers about as large as this one.
    pub(crate) fn step(self, about: f64) -> (f64, &'static str) {
        let pick = |steps: &[(f64, &'static str)]| {
            let fit = steps.iter().rev().find(|(size, _)| about.abs() >= *size * 0.9995);
            fit.or(steps.first()).copied().unwrap_or((1.0, ""))
        };
        match self {
            Self::Time => pick(&[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")]),
            Self::PerSecond => (1.0, "/s"),
            Self::Share => (0.01, "%"),
            Self::Bytes => pick(&[
                (1.0, "B"),
                (1024.0, "KiB"),
                (1024.0 * 1024.0, "MiB"),
                (1024.0 * 1024.0 * 1024.0, "GiB"),
            ]),
            Self::Count => (1.0, ""),
            Self::Times => (1.0, "x"),
        }
    }

    /// With its unit: `2.51 ms`.
    pub(crate) fn show(self, value: f64) -> String {
        let (step, name) = self.step(value);
        joined(&amount(value / step), name)
    }

    /// With its interval, all in one unit: `2.51 ms [2.40, 2.63]`.
    pub(crate) fn with_interval(self, of: &Interval) -> String {
        let (step, name) = self.step(of.estimate);
        let number = joined(&amount(of.estimate / step), name);
        format!("{number} [{}, {}]", amount(of.low / step), amount(of.high / step))
    }
}

/// The unit of a measure, and what its values have to be multiplied with.
pub(crate) fn unit_of(measure: Measure) -> (Unit, f64) {
    match measure {
        Measure::Rate => (Unit::PerSecond, 1.0),
        Measure::Mean | Measure::P50 | Measure::P90 | Measure::P99 | Measure::SetUp => (Unit::Time, 1.0),
        Measure::Processor => (Unit::Time, 1e3),
    }
}

fn joined(number: &str, unit: &str) -> String {
    if unit.is_empty() { number.to_owned() } else { format!("{number}\u{a0}{unit}") }
}

/// Three significant digits, thousands set apart: `0.0123`, `1.50`, `12 300`.
pub(crate) fn amount(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "?".to_owned();
    }
    let decimals = match size {
        0.0 => 0,
        it if it >= 99.95 => 0,
        it if it >= 9.995 => 1,
        it if it >= 0.9995 => 2,
        it => (2.0 - it.log10().floor()).clamp(3.0, 6.0) as usize,
    };
    grouped(&format!("{value:.decimals$}"))
}

/// A whole number with its thousands set apart.
pub(crate) fn whole(value: u64) -> String {
    grouped(&value.to_string())
}

/// A number with so many decimals, thousands set apart.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    grouped(&format!("{value:.decimals$}"))
}

fn grouped(number: &str) -> String {
    let end = number.find('.').unwrap_or(number.len());
    let start = usize::from(number.starts_with('-'));
    let mut text = String::with_capacity(number.len() + 4);
    for (place, letter) in number.char_indices() {
        // Four digits are read at a glance, too, but columns of numbers stand better if all are set apart.
        if place > start && place < end && (end - place).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(letter);
    }
    text
}

/// For HTML and XML, text and attributes. What XML 1.0 can't hold at all becomes U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' | '\r' => out.push(' '),
            it if it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            it => out.push(it),
        }
    }
    out
}

/// For Markdown, in a line or a cell of a table.
pub(crate) fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => out.extend(['\\', letter]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            it if it.is_control() => out.push(' '),
            it => out.push(it),
        }
    }
    out
}

/// A word that is safe as a file's name and as an id: small letters, digits and `-`.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars().take(60) {
        if letter.is_ascii_alphanumeric() {
            out.push(letter.to_ascii_lowercase());
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_matches('-').to_owned()
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// With a capital letter.
pub(crate) fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |it| it.to_uppercase().chain(letters).collect())
}

/// `1 round`, `2 rounds`.
pub(crate) fn counted(number: usize, one: &str, more: &str) -> String {
    format!("{} {}", whole(number as u64), if number == 1 { one } else { more })
}

/// A time since 1970 as `2026-11-24 02:36 UTC` (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub(crate) fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{of_month:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_one_unit() {
        let narrow = |text: String| text.replace('\u{a0}', " ");
        for (unit, value, text) in [
            (Unit::Time, 2_512_345.0, "2.51 ms"),
            (Unit::Time, 999.9, "1.00 µs"),
            (Unit::Time, 84_100.0, "84.1 µs"),
            (Unit::Time, 0.0, "0 ns"),
            (Unit::Share, 0.657, "65.7 %"),
            (Unit::PerSecond, 96_900.0, "96 900 /s"),
            (Unit::Bytes, 1_572_864.0, "1.50 MiB"),
            (Unit::Count, -1_234_567.0, "-1 234 567"),
            (Unit::Count, 0.012_34, "0.0123"),
            (Unit::Times, f64::NAN, "? x"),
        ] {
            assert_eq!(narrow(unit.show(value)), text);
        }
        let interval = Interval { estimate: 1_000_000.0, low: 900_000.0, high: 1_200_000.0 };
        assert_eq!(narrow(Unit::Time.with_interval(&interval)), "1.00 ms [0.900, 1.20]");
    }

    #[test]
    fn nothing_foreign_leaves_its_place() {
        assert_eq!(
            escape("<a href=\"x\">'&\u{0}\u{b}\n"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\u{fffd} "
        );
        assert_eq!(escape_markdown("a|b\n`c` <d> _e_"), "a\\|b \\`c\\` &lt;d&gt; \\_e\\_");
        assert_eq!(slug("../Rules 10 000/<x>"), "rules-10-000-x");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_487_760, "2026-11-24 02:36 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
