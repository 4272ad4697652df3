//! The report, section by section, in the order in which people ask.

mod measured;
mod setting;
mod verdicts;
mod why;

use super::{digest::Digest, document::Block, summary};
use crate::results::Environment;

/// The page's name, which tells of emulation wherever it is shown.
pub(crate) fn title(environment: &Environment) -> String {
    let emulated = if environment.emulated { ", on an emulated machine" } else { "" };
    format!("The lab's report: data paths of a service mesh side by side{emulated}")
}

/// The whole report.
pub(crate) fn all(digest: &Digest<'_>) -> Vec<Block> {
    let mut all = vec![Block::Heading(1, title(&digest.results.environment))];
    all.extend(summary::blocks(digest));
    all.extend(setting::arms(digest));
    all.extend(measured::thesis(digest));
    all.extend(measured::distributions(digest));
    all.extend(measured::curves_by_axis(digest));
    all.extend(measured::processor_time(digest));
    all.extend(verdicts::blocks(digest));
    all.extend(measured::tables(digest));
    all.extend(why::breakdowns(digest));
    all.extend(why::rules(digest));
    all.extend(why::cross_checks(digest));
    all.extend(why::canaries(digest));
    all.extend(why::processes(digest));
    all.extend(setting::environment(digest));
    all.extend(setting::limits(digest));
    all.extend(setting::again(digest));
    all
}

/// A section, or nothing if nothing is in it.
fn section(title: &str, intro: &str, blocks: Vec<Block>) -> Vec<Block> {
    if blocks.is_empty() {
        return Vec::new();
    }
    let mut all = vec![Block::Heading(2, title.into())];
    if !intro.is_empty() {
        all.push(Block::paragraph(intro));
    }
    all.extend(blocks);
    all
}
