//! Two runs for a terminal.

use super::{Change, Changes};
use crate::{report::shown, stats::Verdict};

pub(super) fn text(all: &Changes) -> String {
    let mut out = String::new();
    let mut say = |line: String| out.push_str(&(line.trim_end().to_owned() + "\n"));
    all.warnings.iter().for_each(|it| say(format!("WARNING: {}", clean(it))));
    all.left_out.iter().for_each(|it| say(format!("left out: {}", clean(it))));
    say(format!("old: {}", clean(&all.old)));
    say(format!("new: {}", clean(&all.new)));
    let count = |wanted: Verdict| all.changes.iter().filter(|it| it.verdict == wanted).count();
    let (better, worse, few) = (count(Verdict::Better), count(Verdict::Worse), count(Verdict::TooFewRounds));
    let same = all.changes.len() - better - worse - few;
    say(format!(
        "{} comparisons: {better} better, {worse} worse, {same} without a difference, {few} with too few rounds",
        all.changes.len()
    ));
    let stand = all.changes.iter().filter(|it| it.stands).count();
    say(format!(
        "if nothing had changed, about {:.1} of {} would still seem to, by chance at 95 %; {stand} stand if all share that chance \
         (Bonferroni, marked *)",
        all.false_alarms, all.judged
    ));
    say(String::new());
    let head = ["", "point", "arm", "measure", "old", "new", "rounds", "ratio", "verdict"].map(str::to_owned);
    let rows: Vec<[String; 9]> = std::iter::once(head).chain(all.changes.iter().map(row)).collect();
    let widths: Vec<usize> =
        (0..9).map(|column| rows.iter().map(|it| it[column].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        say(cells.collect::<Vec<_>>().join("  "));
    }
    out
}

fn row(it: &Change) -> [String; 9] {
    let [estimate, low, high] = [it.ratio.estimate, it.ratio.low, it.ratio.high].map(|it| format!("{it:.3}"));
    [
        if it.stands { "*" } else { "" }.to_owned(),
        clean(&it.point),
        clean(&it.arm),
        it.measure.title().to_owned(),
        shown(it.measure, it.old),
        shown(it.measure, it.new),
        format!("{}, {}", it.old_rounds, it.new_rounds),
        format!("{estimate} [{low}, {high}]"),
        it.sentence.clone(),
    ]
}

/// Foreign words must not steer the terminal.
fn clean(words: &str) -> String {
    words.chars().map(|it| if it.is_control() { '?' } else { it }).collect()
}
