//! What libFuzzer tells, line by line.

use std::fmt;

/// One target's run.
#[derive(Debug, Default)]
pub(super) struct Report {
    target: &'static str,
    /// As libFuzzer counted them.
    pub(super) executions: u64,
    pub(super) seconds: u64,
    /// Edges that were passed, and all there are.
    covered: u64,
    counters: u64,
    /// Inputs that each cover something else.
    kept: u64,
    /// The file of the input that failed.
    pub(super) finding: Option<String>,
}

impl Report {
    pub(super) fn new(target: &'static str) -> Self {
        Self { target, ..Self::default() }
    }

    /// Takes in a line; returns whether it is worth showing.
    pub(super) fn see(&mut self, line: &str) -> bool {
        if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = number.trim().parse().unwrap_or(0);
        }
        if let Some(counters) = between(line, "(", " inline 8-bit counters)") {
            self.counters = counters;
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.finding = Some(path.trim().to_owned());
        }
        if !line.starts_with('#') {
            // New functions are told without names, and a dictionary is recommended after each run.
            let noise = ["INFO:", "WARNING: Failed to find function", "stat::", "\tNEW_FUNC", "\"", "######"];
            return !noise.iter().any(|it| line.starts_with(it));
        }
        self.covered = between(line, " cov: ", " ").unwrap_or(self.covered);
        self.kept = between(line, " corp: ", "/").unwrap_or(self.kept);
        ["pulse", "INITED", "DONE"].iter().any(|word| line.contains(word))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, executions, seconds, covered, counters, kept, finding: _ } = self;
        write!(f, "{target}: {executions} executions in {seconds} s, no failure; ")?;
        write!(f, "{covered} of {counters} edges covered by {kept} inputs")
    }
}

/// The number between two texts.
fn between(line: &str, before: &str, after: &str) -> Option<u64> {
    line.split_once(before)?.1.split_once(after)?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Report;

    fn seen(lines: &str) -> Report {
        let mut report = Report::new("dns");
        lines.lines().for_each(|line| {
            report.see(line);
        });
        report
    }

    #[test]
    fn executions_are_those_that_libfuzzer_counted() {
        let report = seen(
            "INFO: Loaded 1 modules   (60700 inline 8-bit counters): 60700 [0x5, 0x6),\n\
             #2\tINITED cov: 90 ft: 91 corp: 1/1b exec/s: 0 rss: 31Mb\n\
             #70\tNEW    cov: 812 ft: 2000 corp: 40/3002b lim: 4 exec/s: 0 rss: 32Mb L: 4/4 MS: 1 ChangeBit-\n\
             #500000\tDONE   cov: 2204 ft: 9000 corp: 841/90Kb lim: 2048 exec/s: 9000 rss: 60Mb\n\
             stat::number_of_executed_units: 500000\n",
        );
        assert_eq!(
            report.to_string(),
            "dns: 500000 executions in 0 s, no failure; 2204 of 60700 edges covered by 841 inputs"
        );
    }

    #[test]
    fn a_failing_input_is_named() {
        let report = seen("artifact_prefix='x/'; Test unit written to target/fuzz/findings/dns/crash-0a\n");
        assert_eq!(report.finding.as_deref(), Some("target/fuzz/findings/dns/crash-0a"));
    }
}
