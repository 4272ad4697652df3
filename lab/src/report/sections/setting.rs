//! Who took part, on what machine, what limits the result, and how to run it again.

use super::section;
use crate::{
    report::{
        digest::Digest,
        document::Block,
        text::{Unit, counted, date, fixed, whole},
    },
    results::Sample,
};

/// The data paths, and those that could not be had.
pub(super) fn arms(digest: &Digest<'_>) -> Vec<Block> {
    let rows = digest.results.arms.iter().map(|it| {
        let measured = match &it.missing {
            Some(why) => format!("not measured: {why}"),
            None => "measured".into(),
        };
        vec![it.name.clone(), it.title.clone(), measured]
    });
    let table = Block::table("The data paths of this run", &["arm", "what it is", "here"], rows.collect());
    section("The data paths", "", vec![table])
}

/// The machine and the other programs.
pub(super) fn environment(digest: &Digest<'_>) -> Vec<Block> {
    let it = &digest.results.environment;
    let run = &digest.results.run;
    let yes = |it: bool, yes: &str, no: &str| if it { yes.to_owned() } else { no.to_owned() };
    let fact = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        fact("kernel", it.kernel.clone()),
        fact("processor", it.processor.clone()),
        fact("cores", it.cores.to_string()),
        fact("memory", Unit::Bytes.show(it.memory as f64)),
        fact("virtual machine", it.virtualised.clone().unwrap_or_else(|| "no".into())),
        fact("emulated", yes(it.emulated, "yes: times are not real", "no")),
        fact("core of client and its sidecar", it.client_core.to_string()),
        fact("core of server and its sidecar", it.server_core.to_string()),
        fact("wabe built with optimisation", yes(it.optimised, "yes", "no")),
        fact("began", date(run.started)),
        fact("took", Unit::Time.show(run.seconds * 1e9)),
        fact("rounds asked for", run.rounds.to_string()),
        fact("load of one arm in one round", format!("{} s", fixed(run.slice, 1))),
        fact("seed of orders and draws", run.seed.to_string()),
    ];
    for tool in &it.tools {
        let sum = tool.sha256.as_ref().map_or(String::new(), |it| format!(", SHA-256 {it}"));
        rows.push(fact(&tool.name, format!("{}{sum}", tool.version)));
    }
    section("The environment", "", vec![Block::table("Machine, run and tools", &["fact", "value"], rows)])
}

/// What the result does not tell, and every sample that was not taken as it is.
pub(super) fn limits(digest: &Digest<'_>) -> Vec<Block> {
    let results = digest.results;
    let mut limits = vec![
        "One machine: client, server, their sidecars and the load generator share its cores, its caches and its memory. No wire lies \
         between them, so a real network adds the same to every arm and makes ratios smaller."
            .to_owned(),
        "Intervals tell of the spread between rounds of this run on this machine. Another machine, kernel or day may differ by more; \
         run it again there."
            .into(),
        "Processor time is that of the generator and of the arm's processes together: ratios of the data paths alone are larger. What the kernel does in nobody's name (in an interrupt while a core is idle, in ksoftirqd) is not in it.".into(),
    ];
    if results.environment.emulated {
        limits.push(
            "Software emulated the machine, and times are those of no machine that exists. An instruction takes about as long whatever it \
             does: a cache miss, a lock or an interrupt, which cost a real processor much, cost little here. How times grow with the number \
             of rules can be seen; times themselves, and small ratios of them, can't."
                .into(),
        );
    }
    if results.environment.virtualised.is_some() {
        limits.push("The machine is a guest of another: what its host did meanwhile is known only as far as steal tells it.".into());
    }
    let (mut steal, mut all) = (0.0, 0.0);
    for it in results.samples.iter().flat_map(|it| [&it.machine.client, &it.machine.server]) {
        steal += it.steal;
        all += it.all();
    }
    if all > 0.0 {
        limits.push(format!(
            "Over all samples the host took {} of the time of both cores (steal).",
            Unit::Share.show(steal / all)
        ));
    }
    let odd: Vec<Vec<String>> = results.samples.iter().filter_map(odd).collect();
    let mut blocks = vec![Block::List(limits)];
    let total = counted(results.samples.len(), "sample was", "samples were");
    if odd.is_empty() {
        blocks.push(Block::paragraph(format!("{total} taken; none was invalid, disturbed or replaced.")));
    } else {
        blocks.push(Block::paragraph(format!(
            "{total} taken; {} invalid, disturbed or replaced by a repetition:",
            counted(odd.len(), "of them was", "of them were")
        )));
        let head = ["point", "arm", "round", "attempt", "used", "reason"];
        blocks.push(Block::table("Samples that were not simply valid", &head, odd));
    }
    section("The limits", "", blocks)
}

/// A sample that is not simply valid, with its reasons.
fn odd(it: &Sample) -> Option<Vec<String>> {
    if it.invalid.is_empty() && it.disturbed.is_empty() && !it.replaced && it.load.is_some() {
        return None;
    }
    let mut reasons: Vec<String> = it.invalid.iter().map(|it| format!("invalid: {it}")).collect();
    reasons.extend(it.disturbed.iter().map(|it| format!("disturbed: {it}")));
    if it.load.is_none() {
        reasons.push("the load generator failed".into());
    }
    if it.replaced {
        reasons.push("replaced by a later one".into());
    }
    let used = it.invalid.is_empty() && !it.replaced && it.load.is_some();
    Some(vec![
        it.point.clone(),
        it.arm.clone(),
        whole(it.round.into()),
        whole(it.attempt.into()),
        if used { "yes" } else { "no" }.into(),
        reasons.join("; "),
    ])
}

/// The command.
pub(super) fn again(digest: &Digest<'_>) -> Vec<Block> {
    let command: Vec<String> = digest.results.run.command.iter().map(|it| quoted(it)).collect();
    let blocks = vec![
        Block::Code(command.join(" ")),
        Block::paragraph(
            "Every number of this page is in results.json beside it, every verdict in verdicts.json.",
        ),
    ];
    section("How to run it again", "", blocks)
}

/// As a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./=:,+@%".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
