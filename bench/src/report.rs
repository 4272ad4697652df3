//! Results as Markdown and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    measures::Prepared,
    stats::{median, paired_ratio},
};

/// The machine, as a line.
pub(crate) fn environment(of: &Value) -> String {
    let text = |name: &str| of[name].as_str().map_or_else(|| of[name].to_string(), str::to_owned);
    format!(
        "Linux {}, {}, {} cores (client on {}, server on {}), load {}, revision {}{}\n",
        text("kernel"),
        text("cpu"),
        text("cores"),
        text("clientCore"),
        text("serverCore"),
        text("loadavg"),
        text("revision"),
        if of["changed"] == true { " with changes" } else { "" },
    )
}

/// A measure's tables, and the same as JSON. `steal` is in percent; `seed` fixes the intervals.
pub(crate) fn measure(name: &str, prepared: &Prepared, steal: f64, seed: u64) -> (String, Value) {
    let (mut text, mut tables) = (String::new(), Vec::new());
    for comparison in &prepared.comparisons {
        let _ = writeln!(text, "### {}\n", comparison.title);
        let _ = writeln!(
            text,
            "| arm | median, {} | against the first | 95 % interval |",
            comparison.figure.unit()
        );
        let _ = writeln!(text, "|---|---:|---:|---|");
        let baseline = comparison.arms.first().map(|arm| arm.values.borrow().clone()).unwrap_or_default();
        let mut rows = Vec::new();
        for (index, arm) in comparison.arms.iter().enumerate() {
            let values = arm.values.borrow();
            let middle = median(&values).unwrap_or(0.0);
            let ratio = if index == 0 { None } else { paired_ratio(&values, &baseline, seed) };
            let shown = match ratio {
                Some(it) => (format!("{:.3}", it.estimate), format!("{:.3} to {:.3}", it.low, it.high)),
                None if index == 0 => ("1".to_owned(), String::new()),
                None => ("none".to_owned(), "a round without an answer, or one round alone".to_owned()),
            };
            let _ = writeln!(text, "| {} | {middle:.0} | {} | {} |", arm.name, shown.0, shown.1);
            rows.push(
                json!({ "arm": arm.name, "to": arm.to, "median": middle, "ratio": ratio, "rounds": *values }),
            );
        }
        text.push('\n');
        tables.push(json!({ "title": comparison.title, "unit": comparison.figure.unit(), "arms": rows }));
    }
    for (what, value) in &prepared.facts {
        let _ = writeln!(text, "- {what}: {value}");
    }
    for (what, why) in &prepared.missing {
        let _ = writeln!(text, "- not available: {what}: {why}");
    }
    let _ = writeln!(text, "- stolen by the hypervisor meanwhile: {steal:.1} %");
    let pairs = |of: &[(String, String)]| {
        of.iter().map(|(what, it)| json!({ "what": what, "value": it })).collect::<Vec<_>>()
    };
    let value = json!({
        "measure": name,
        "comparisons": tables,
        "facts": pairs(&prepared.facts),
        "notAvailable": pairs(&prepared.missing),
        "stealPercent": steal,
    });
    (text, value)
}
