//! OpenMetrics 1.0 text: what a scrape looks like on the wire. Written here because a scrape is one snapshot that is
//! thrown away; libraries for it keep registries of counters that the kernel has already.

use std::fmt::{self, Write as _};

/// What a family counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something was of which size, by upper ends.
    Histogram,
    /// Says something in its labels.
    Info,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A scrape that is being written.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    family: &'static str,
}

impl Text {
    /// Begins a family; its rows follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.family = name;
        let _ = writeln!(self.text, "# TYPE {name} {}\n# HELP {name} {help}", kind.name());
    }

    /// A row of the family; `suffix` is `_total` for counters, `_info` for infos, `_bucket`, `_count` and `_sum` for histograms.
    pub(super) fn row(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped(value));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
    }

    /// The whole.
    pub(super) fn end(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.family("a", Kind::Gauge, "h");
        text.row("", &[("l", "x\"y\\z\n")], 1);
        assert_eq!(text.end(), "# TYPE a gauge\n# HELP a h\na{l=\"x\\\"y\\\\z\\n\"} 1\n# EOF\n");
    }
}
