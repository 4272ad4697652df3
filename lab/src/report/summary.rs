//! The first page in words: what to beware of, and who wins where.

use super::{
    digest::Digest,
    document::Block,
    text::{capital, counted, listed},
};
use crate::stats::{Comparison, ENOUGH, Measure, Verdict};

/// What every arm is compared with; it comes last.
const FLOOR: &str = "none";
/// What the summary tells of; all else is in the tables.
const TOLD: [Measure; 4] = [Measure::P50, Measure::P99, Measure::Rate, Measure::Processor];
/// Points that are named at length, if there are more of a kind.
const NAMED: usize = 3;

/// Title, warnings, verdicts.
pub(crate) fn blocks(digest: &Digest<'_>) -> Vec<Block> {
    let mut all = Vec::new();
    let warnings = warnings(digest);
    if !warnings.is_empty() {
        all.push(Block::Notice(warnings));
    }
    all.push(Block::Heading(2, "Summary".into()));
    let pairs = pairs(&digest.comparisons);
    if pairs.is_empty() {
        all.push(Block::paragraph("No two arms can be compared: there are not two rounds that both have."));
        return all;
    }
    let of = |floor: bool| pairs.iter().copied().filter(move |(_, baseline)| (*baseline == FLOOR) == floor);
    for (floor, title) in
        [(false, "One data path in the place of another:"), (true, "What each costs above the bare network:")]
    {
        let short: Vec<String> = of(floor).map(|it| short(&digest.comparisons, it)).collect();
        if !short.is_empty() {
            all.extend([Block::paragraph(title), Block::List(short)]);
        }
    }
    all.push(Block::paragraph(scope(digest)));
    let mut long = Vec::new();
    for pair in of(false).chain(of(true)) {
        let sentences = TOLD.into_iter().filter_map(|it| sentence(&digest.comparisons, pair, it, NAMED));
        long.push(Block::paragraph(format!("{} against {}:", pair.0, pair.1)));
        long.push(Block::List(sentences.collect()));
    }
    all.push(Block::Details("The same at more length, with tails and rates".into(), long));
    all
}

/// A pair in a sentence or two: what people feel, and what it costs.
fn short(comparisons: &[Comparison], pair: (&str, &str)) -> String {
    let sentences = [Measure::P50, Measure::Processor].into_iter();
    let sentences: Vec<String> = sentences.filter_map(|it| sentence(comparisons, pair, it, 1)).collect();
    format!("{} against {} - {}", pair.0, pair.1, sentences.join(" "))
}

/// What makes this run worth less than a full one on a real machine.
fn warnings(digest: &Digest<'_>) -> Vec<String> {
    let results = digest.results;
    let (run, environment) = (&results.run, &results.environment);
    let mut all = Vec::new();
    let mut warn = |when: bool, words: String| all.extend(when.then_some(words));
    let rounds = counted(run.rounds as usize, "round", "rounds");
    let wide = if run.rounds < ENOUGH as u32 {
        "few rounds, so intervals are wide and most verdicts are missing"
    } else {
        "short loads and a tenth of the rules, so intervals are wide"
    };
    warn(run.quick, format!("This was a quick run of {rounds}: {wide}."));
    let ended = run.ended.as_deref().unwrap_or("no reason is recorded");
    warn(!run.complete, format!("This run is not complete ({ended}): some rounds or points are missing."));
    warn(environment.emulated, "The whole machine was emulated: its times are those of no real machine, and only large ratios mean anything.".into());
    warn(
        !environment.optimised,
        "wabe was built without optimisation: nothing here shows how fast it is.".into(),
    );
    let count = |of: fn(&crate::results::Sample) -> bool| results.samples.iter().filter(|it| of(it)).count();
    let invalid = count(|it| !it.invalid.is_empty());
    let samples = counted(results.samples.len(), "sample", "samples");
    warn(
        invalid > 0,
        format!(
            "{invalid} of {samples} are invalid and were left out; the section on limits lists them with their reasons."
        ),
    );
    let disturbed = count(|it| it.invalid.is_empty() && !it.disturbed.is_empty() && !it.replaced);
    warn(
        disturbed > 0,
        format!(
            "{disturbed} of {samples} were disturbed by something else on the machine and are used all the same, because repeating did not help."
        ),
    );
    let empty: Vec<String> = results
        .points
        .iter()
        .flat_map(|point| point.arms.iter().map(move |arm| (point, arm)))
        .filter(|(point, arm)| digest.cell(&point.name, arm).is_none())
        .map(|(point, arm)| format!("{arm} at {}", point.name))
        .collect();
    warn(!empty.is_empty(), format!("No valid sample at all: {}.", listed(&empty)));
    all
}

/// What the sentences rest on.
fn scope(digest: &Digest<'_>) -> String {
    let all = &digest.comparisons;
    let count = |of: fn(&Verdict) -> bool| all.iter().filter(|it| of(&it.verdict)).count();
    let judged = all.len() - count(|it| matches!(it, Verdict::TooFewRounds));
    let (better, worse) =
        (count(|it| matches!(it, Verdict::Better)), count(|it| matches!(it, Verdict::Worse)));
    let rest = judged - better - worse;
    let chance = judged as f64 * 0.05;
    format!(
        "{} of two arms were made, all in pairs of one round; {judged} had rounds enough for a verdict: {better} better, \
         {worse} worse, {rest} without a difference. Numbers in square brackets are 95 % intervals. Among so many about {chance:.0} \
         would seem to differ by chance alone, so that a single verdict near its limit proves little; look for what holds at \
         most points.",
        counted(all.len(), "comparison", "comparisons")
    )
}

/// Who is compared with whom, in order.
fn pairs(comparisons: &[Comparison]) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for it in comparisons {
        let pair = (it.arm.as_str(), it.baseline.as_str());
        if !all.contains(&pair) {
            all.push(pair);
        }
    }
    all
}

/// `Median latency: faster at 3 points (latency-200 by 12.0 % [9.1, 15.2], ...), slower at 1 ...`.
fn sentence(
    comparisons: &[Comparison],
    (arm, baseline): (&str, &str),
    measure: Measure,
    most: usize,
) -> Option<String> {
    let these: Vec<&Comparison> = comparisons
        .iter()
        .filter(|it| it.arm == arm && it.baseline == baseline && it.measure == measure)
        .collect();
    if these.is_empty() {
        return None;
    }
    let of = |wanted: fn(&Verdict) -> bool| -> Vec<&Comparison> {
        these.iter().copied().filter(|it| wanted(&it.verdict)).collect()
    };
    let (better, worse) = (of(|it| *it == Verdict::Better), of(|it| *it == Verdict::Worse));
    let same = of(|it| matches!(it, Verdict::NoDifference { .. }));
    let few = of(|it| *it == Verdict::TooFewRounds);
    let points = |some: usize| format!("{some} of {}", counted(these.len(), "point", "points"));
    let (good, bad) =
        if measure == Measure::Processor { ("cheaper", "dearer") } else { ("faster", "slower") };
    let mut parts = Vec::new();
    for (word, these) in [(good, better), (bad, worse)] {
        if !these.is_empty() {
            parts.push(format!("{word} at {} ({})", points(these.len()), named(&these, most)));
        }
    }
    if !same.is_empty() {
        parts.push(format!("no difference found at {} ({})", points(same.len()), resolution(&same)));
    }
    if !few.is_empty() {
        parts.push(format!("too few rounds for a verdict at {} ({})", points(few.len()), named(&few, most)));
    }
    let title = capital(measure.title());
    Some(format!("{title}: {}.", parts.join("; ")))
}

/// The first few by name, with their intervals; of the others how far they reach.
fn named(these: &[&Comparison], most: usize) -> String {
    let percent = |it: &Comparison| (it.ratio.estimate - 1.0).abs() * 100.0;
    let words = |it: &Comparison| {
        let sentence = it.sentence();
        // After "faster at" the word need not come again; of too few rounds the numbers are at the end.
        match (sentence.split_once(" by "), sentence.split_once("; ")) {
            (Some((_, numbers)), _) => format!("{} by {numbers}", it.point),
            (None, Some((_, numbers))) => format!("{} {numbers}", it.point),
            (None, None) => format!("{} {sentence}", it.point),
        }
    };
    let (shown, others) = these.split_at(these.len().min(most));
    let mut words: Vec<String> = shown.iter().map(|it| words(it)).collect();
    let ends = others
        .iter()
        .map(|it| percent(it))
        .fold((f64::INFINITY, 0.0_f64), |(low, high), it| (low.min(it), high.max(it)));
    match others.len() {
        0 => {}
        1 => words.push(format!("1 more by {:.1} %", ends.1)),
        more => words.push(format!("{more} more by {:.1} % to {:.1} %", ends.0, ends.1)),
    }
    words.join("; ")
}

/// What would have been seen.
fn resolution(these: &[&Comparison]) -> String {
    let smallest = these.iter().filter_map(|it| match it.verdict {
        Verdict::NoDifference { smallest } => Some(smallest * 100.0),
        Verdict::Better | Verdict::Worse | Verdict::TooFewRounds => None,
    });
    let (low, high) = smallest.fold((f64::INFINITY, 0.0_f64), |(low, high), it| (low.min(it), high.max(it)));
    if these.len() == 1 {
        format!("{low:.1} % or more would have been seen")
    } else {
        format!("between {low:.1} % and {high:.1} % or more would have been seen, by point")
    }
}
