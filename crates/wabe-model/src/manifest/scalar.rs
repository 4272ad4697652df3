//! Scalars: what YAML takes an unquoted word for, and how words are shown in messages.

use std::time::Duration;

use crate::manifest::tree::Value;

/// What an unquoted scalar means to Kubernetes, whose YAML is 1.1: `yes` is a boolean there. Where 1.1 and 1.2 differ
/// the word is never text, so that a manifest can't mean two things.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Value::Bool(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Value::Bool(false)
        }
        _ => number(text).unwrap_or_else(|| Value::Text(text.to_owned())),
    }
}

/// Whether an unquoted word is text.
pub(crate) fn is_text(word: &str) -> bool {
    matches!(resolve(word), Value::Text(_))
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let canonical = digits.bytes().all(|c| c.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
        && !text.starts_with('+');
    if canonical && let Ok(number) = text.parse() {
        return Some(Value::Integer(number));
    }
    let bare = digits.replace('_', "");
    let radix = |prefix: &str, radix| {
        bare.strip_prefix(prefix).is_some_and(|it| !it.is_empty() && it.chars().all(|c| c.is_digit(radix)))
    };
    let named = matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN");
    (named || radix("0x", 16) || radix("0o", 8) || radix("0b", 2) || is_decimal(&bare))
        .then(|| Value::Number(text.to_owned()))
}

/// `12`, `1.5`, `.5`, `1.`, each with an exponent or without.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let all_digits = |it: &str| it.bytes().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|it| {
        let digits = it.strip_prefix(['+', '-']).unwrap_or(it);
        !digits.is_empty() && all_digits(digits)
    });
    all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

/// `500ms`, `2s`, `1m30s`, `1h`: whole numbers with units, largest unit first.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text;
    let mut total = 0_u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[..letters];
        // `find` goes on where it stopped: units come in order, each once.
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*milliseconds)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// The shortest text that [`duration`] reads as this; parts of a millisecond are lost.
pub(crate) fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, milliseconds) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= milliseconds {
            text.push_str(&format!("{}{unit}", rest / milliseconds));
            rest %= milliseconds;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A word in a message: no control characters (they could write on a terminal), not longer than a line.
pub(crate) fn shown(text: &str) -> String {
    format!("`{}`", clipped(text))
}

/// As [`shown`], without quotes.
pub(crate) fn clipped(text: &str) -> String {
    const MOST: usize = 60;
    let visible = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut clipped = String::new();
    for c in text.chars().take(MOST) {
        if visible(c) { clipped.push(c) } else { clipped.extend(c.escape_default()) }
    }
    if text.chars().nth(MOST).is_some() {
        clipped.push('…');
    }
    clipped
}

/// The one of `known` that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = word.chars().count().min(40) / 3 + 1;
    known
        .into_iter()
        .map(|candidate| (distance(&clipped(word).to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove or replace (Wagner and Fischer, 1974).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquoted_words_mean_what_they_mean_to_kubernetes() {
        for (text, value) in [
            ("8080", Value::Integer(8080)),
            ("-1", Value::Integer(-1)),
            ("0", Value::Integer(0)),
            ("010", Value::Number("010".into())),
            ("+1", Value::Number("+1".into())),
            ("1_000", Value::Number("1_000".into())),
            ("0x1F", Value::Number("0x1F".into())),
            ("12e7", Value::Number("12e7".into())),
            ("1.10", Value::Number("1.10".into())),
            (".5", Value::Number(".5".into())),
            (".inf", Value::Number(".inf".into())),
            ("99999999999999999999", Value::Number("99999999999999999999".into())),
            ("1.2.3", Value::Text("1.2.3".into())),
            ("10.0.0.1", Value::Text("10.0.0.1".into())),
            (".", Value::Text(".".into())),
            ("12ef", Value::Text("12ef".into())),
            ("-", Value::Text("-".into())),
            ("yes", Value::Bool(true)),
            ("Off", Value::Bool(false)),
            ("~", Value::Null),
            ("nil", Value::Text("nil".into())),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }

    #[test]
    fn durations_have_units_in_order() {
        for (text, milliseconds) in
            [("500ms", 500), ("2s", 2000), ("1m30s", 90_000), ("1h1ms", 3_600_001), ("0s", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(duration_text(Duration::from_millis(milliseconds)), text);
        }
        for text in [
            "",
            "2",
            "s",
            "-1s",
            "1.5s",
            "30s1m",
            "1s1s",
            "1d",
            "1 s",
            "99999999999999999999h",
            "9999999999999999h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_word_is_one_that_is_near() {
        let known = ["selector", "ports", "clusterIP"];
        assert_eq!(nearest("slector", known), Some("selector"));
        assert_eq!(nearest("clusterIp", known), Some("clusterIP"));
        assert_eq!(nearest("port", known), Some("ports"));
        assert_eq!(nearest("template", known), None);
    }

    #[test]
    fn words_in_messages_can_not_write_on_a_terminal() {
        assert_eq!(shown("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\n`");
        assert!(shown(&"x".repeat(1000)).chars().count() < 70);
    }
}
