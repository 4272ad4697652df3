//! Results as Markdown and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    arm::{Ratios, Row, Table, WABE},
    measures::Prepared,
    stats::{Ratio, median, paired_ratio},
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
        tables.push(table(&comparison.table(), seed, &mut text));
        if let Some(added) = comparison.added() {
            tables.push(table(&added, seed, &mut text));
        }
        if let Some(processor) = comparison.processor() {
            tables.push(table(&processor, seed, &mut text));
        }
    }
    for taken in &prepared.tables {
        tables.push(table(taken, seed, &mut text));
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

fn table(of: &Table, seed: u64, text: &mut String) -> Value {
    let column = match of.ratios {
        Ratios::ToFirst => "against the first",
        Ratios::OfWabe => "wabe against it",
    };
    let _ = writeln!(text, "### {}\n", of.title);
    let _ = writeln!(text, "| arm | median, {} | {column} | 95 % interval |", of.unit);
    let _ = writeln!(text, "|---|---:|---:|---|");
    let mut rows = Vec::new();
    for (index, row) in of.rows.iter().enumerate() {
        let middle = median(&row.values).unwrap_or(0.0);
        let (ratio, shown) = ratio(of, index, row, seed);
        let _ = writeln!(text, "| {} | {} | {} | {} |", row.name, digits(middle), shown.0, shown.1);
        let Row { name, to, values } = row;
        rows.push(json!({ "arm": name, "to": to, "median": middle, "ratio": ratio, "rounds": values }));
    }
    text.push('\n');
    json!({ "title": of.title, "unit": of.unit, "ratios": column, "arms": rows })
}

/// A row's ratio, and that with its interval as they are shown.
fn ratio(of: &Table, index: usize, row: &Row, seed: u64) -> (Option<Ratio>, (String, String)) {
    let none = |why: &str| (None, (String::new(), why.to_owned()));
    let (arm, baseline) = match of.ratios {
        Ratios::ToFirst if index == 0 => return (None, ("1".to_owned(), String::new())),
        Ratios::ToFirst => (row, &of.rows[0]),
        Ratios::OfWabe if row.name == WABE => return (None, ("1".to_owned(), String::new())),
        Ratios::OfWabe => match of.rows.iter().find(|it| it.name == WABE) {
            Some(wabe) => (wabe, row),
            None => return none("wabe has no figure"),
        },
    };
    match paired_ratio(&arm.values, &baseline.values, seed) {
        Some(it) => (Some(it), (format!("{:.3}", it.estimate), format!("{:.3} to {:.3}", it.low, it.high))),
        None => none("none: a round of nothing, or one round alone"),
    }
}

/// Three at least, without those that mean nothing.
fn digits(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ratios: Ratios, arms: &[(&str, &[f64])]) -> String {
        let row = |(name, values): &(&str, &[f64])| Row {
            name: (*name).into(),
            to: "192.0.2.1:80".into(),
            values: values.to_vec(),
        };
        let mut text = String::new();
        let rows = arms.iter().map(row).collect();
        table(&Table { title: "title".into(), unit: "1/s", ratios, rows }, 1, &mut text);
        text
    }

    #[test]
    fn the_first_arm_is_what_others_are_compared_with() {
        let text = shown(Ratios::ToFirst, &[("bare", &[100.0, 200.0]), ("mesh", &[50.0, 100.0])]);
        assert!(text.contains("| bare | 150 | 1 |  |"), "{text}");
        assert!(text.contains("| mesh | 75.00 | 0.500 | 0.500 to 0.500 |"), "{text}");
    }

    #[test]
    fn among_peers_it_is_wabe_that_is_compared_with_each() {
        let text = shown(Ratios::OfWabe, &[(WABE, &[100.0, 200.0]), ("nginx", &[50.0, 100.0])]);
        assert!(text.contains("| wabe | 150 | 1 |  |"), "{text}");
        assert!(text.contains("| nginx | 75.00 | 2.000 | 2.000 to 2.000 |"), "{text}");
    }

    #[test]
    fn peers_have_figures_without_wabe_but_no_ratios() {
        let text = shown(Ratios::OfWabe, &[("nginx", &[50.0, 100.0])]);
        assert!(text.contains("| nginx | 75.00 |  | wabe has no figure |"), "{text}");
    }
}
