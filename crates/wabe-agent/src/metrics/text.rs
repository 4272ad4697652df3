//! What a scrape looks like on the wire: OpenMetrics 1.0 text, or Prometheus' own of before. Written here because a scrape is
//! one snapshot that is thrown away; libraries for it keep registries of counters that the kernel has already.

use std::fmt::{self, Write as _};

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4: no infos, counters are families with their suffix, and no end is marked.
    Prometheus,
}

impl Format {
    /// What a client asks for that says `accept`: whoever does not name OpenMetrics may not understand it. A name with `q=0` is
    /// one that is not wanted (RFC 9110, section 12.4.2).
    pub(super) fn wanted(accept: &str) -> Self {
        let names = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let named =
                parts.next().is_some_and(|it| it.eq_ignore_ascii_case("application/openmetrics-text"));
            let refused = |it: &str| {
                let weight = it.split_once('=').filter(|it| it.0.trim_end().eq_ignore_ascii_case("q"));
                weight.and_then(|it| it.1.trim().parse::<f64>().ok()).is_some_and(|it| it <= 0.0)
            };
            named && !parts.any(refused)
        };
        if accept.split(',').any(names) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// As `content-type` has it.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

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
    fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Counter, _) => "counter",
            (Self::Gauge, _) | (Self::Info, Format::Prometheus) => "gauge",
            (Self::Histogram, _) => "histogram",
            (Self::Info, Format::OpenMetrics) => "info",
        }
    }

    /// What the older format has in the family's name already.
    fn suffix(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Counter, Format::Prometheus) => "_total",
            (Self::Info, Format::Prometheus) => "_info",
            (Self::Gauge | Self::Histogram, _) | (Self::Counter | Self::Info, Format::OpenMetrics) => "",
        }
    }
}

/// A scrape that is being written.
#[derive(Debug)]
pub(super) struct Text {
    format: Format,
    text: String,
    family: &'static str,
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::new(), family: "" }
    }

    /// Begins a family; its rows follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.family = name;
        let (kind, suffix) = (kind.name(self.format), kind.suffix(self.format));
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {kind}\n# HELP {name}{suffix} {help}");
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
        match self.format {
            Format::OpenMetrics => self.text.push_str("# EOF\n"),
            Format::Prometheus => {}
        }
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
        let mut text = Text::new(Format::OpenMetrics);
        text.family("a", Kind::Gauge, "h");
        text.row("", &[("l", "x\"y\\z\n")], 1);
        assert_eq!(text.end(), "# TYPE a gauge\n# HELP a h\na{l=\"x\\\"y\\\\z\\n\"} 1\n# EOF\n");
    }

    #[test]
    fn who_names_openmetrics_gets_it_and_all_others_the_older_format() {
        for (accept, format) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "text/plain;version=0.0.4;q=0.3, Application/OpenMetrics-Text; version=1.0.0; q=0.5",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;version=1.0.0;q=0, text/plain", Format::Prometheus),
            ("application/openmetrics-texts", Format::Prometheus),
        ] {
            assert_eq!(Format::wanted(accept), format, "{accept}");
        }
    }

    #[test]
    fn the_older_format_has_only_what_it_knows() {
        let written = |format| {
            let mut text = Text::new(format);
            text.family("a", Kind::Info, "h");
            text.row("_info", &[("version", "1")], 1);
            text.family("b", Kind::Counter, "h");
            text.row("_total", &[], 2);
            text.family("c", Kind::Histogram, "h");
            text.row("_count", &[], 3);
            text.end()
        };
        assert_eq!(
            written(Format::Prometheus),
            "# TYPE a_info gauge\n# HELP a_info h\na_info{version=\"1\"} 1\n\
             # TYPE b_total counter\n# HELP b_total h\nb_total 2\n\
             # TYPE c histogram\n# HELP c h\nc_count 3\n"
        );
        assert_eq!(
            written(Format::OpenMetrics),
            "# TYPE a info\n# HELP a h\na_info{version=\"1\"} 1\n\
             # TYPE b counter\n# HELP b h\nb_total 2\n\
             # TYPE c histogram\n# HELP c h\nc_count 3\n# EOF\n"
        );
    }
}
