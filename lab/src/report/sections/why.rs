//! Why it is so: where the time goes, what rules cost to make, and what holds the numbers.

use super::section;
use crate::{
    check::agreement,
    report::{
        digest::Digest,
        document::Block,
        figures,
        text::{Unit, amount, fixed, whole},
    },
    results::{Breakdown, Sample},
    stats::{interval_of_mean, mean},
    why::{Class, could_be_saved},
};

/// Where the time goes, point by point.
pub(super) fn breakdowns(digest: &Digest<'_>) -> Vec<Block> {
    let all = &digest.results.breakdowns;
    let mut points: Vec<&str> = Vec::new();
    for it in all {
        if !points.contains(&it.point.as_str()) {
            points.push(&it.point);
        }
    }
    let mut blocks = Vec::new();
    for point in points {
        let these: Vec<&Breakdown> = all.iter().filter(|it| it.point == point).collect();
        let title = digest.results.points.iter().find(|it| it.name == point).map_or(point, |it| &it.title);
        blocks.push(Block::Figure(figures::breakdown(point, title, &these)));
        let savings: Vec<String> = these.iter().filter_map(|it| saving(it)).collect();
        blocks.extend((!savings.is_empty()).then_some(Block::List(savings)));
        let head = ["arm", "answers/s", "time for one request", "parts", "switches", "system calls", "looks"];
        let rows = these.iter().map(|it| row(it)).collect();
        blocks.push(Block::table(&format!("The profile of each arm at {point}"), &head, rows));
    }
    let intro = "If redirection saves little, this is why: it can at best take away the share of the rules and of the way \
                 between a workload and its own proxy. What the proxies themselves and TLS take stays.";
    section("Where the time goes", intro, blocks)
}

/// What redirection could have saved at all, in a sentence. `None` of an arm without proxies: nothing is redirected there.
fn saving(it: &Breakdown) -> Option<String> {
    let proxies = it.shares.iter().any(|share| share.what == Class::Proxy.title() && share.share > 0.0);
    proxies.then(|| format!("{}: {}", it.arm, could_be_saved(it).sentence))
}

fn row(it: &Breakdown) -> Vec<String> {
    let parts = it.shares.iter().map(|share| format!("{} {} %", share.what, fixed(share.share * 100.0, 1)));
    vec![
        it.arm.clone(),
        amount(it.rate),
        Unit::Time.show(it.per_request * 1e3),
        parts.collect::<Vec<_>>().join(", "),
        amount(it.switches),
        it.calls.map_or("not counted".into(), amount),
        whole(it.looks),
    ]
}

/// What the rules are and what it takes to change them.
pub(super) fn rules(digest: &Digest<'_>) -> Vec<Block> {
    // Wabe tells whole milliseconds.
    let seconds = |it: f64| if it > 0.0 { Unit::Time.show(it * 1e9) } else { "less than 1 ms".to_owned() };
    let rows: Vec<Vec<String>> = digest
        .results
        .arms
        .iter()
        .flat_map(|arm| arm.rules.iter().map(move |it| (arm, it)))
        .map(|(arm, it)| {
            vec![
                arm.name.clone(),
                it.technology.clone(),
                format!("{} x {}", whole(it.services.into()), whole(it.endpoints.into())),
                whole(it.count),
                seconds(it.programmed),
                it.changed.map_or("not measured".into(), seconds),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let head = [
        "arm",
        "technology",
        "services x endpoints",
        "rules or entries",
        "until all in force",
        "one endpoint changed",
    ];
    let caption =
        "Rules as the technology's own listing counts them; each time was taken once, so without an interval";
    section("The rules", "", vec![Block::table(caption, &head, rows)])
}

/// The generator against others.
pub(super) fn cross_checks(digest: &Digest<'_>) -> Vec<Block> {
    let seed = digest.results.run.seed;
    let all = &digest.results.cross_checks;
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|it| {
            let shown = |values: &[f64]| match interval_of_mean(values, seed) {
                Some(interval) => Unit::Count.with_interval(&interval),
                None if values.is_empty() => "-".into(),
                None => format!("{} (1 round, no spread)", amount(mean(values))),
            };
            let agreement = agreement(&it.peer, &it.ours, &it.theirs, seed);
            let ratio = agreement.ratio.map_or("-".into(), |it| Unit::Times.with_interval(&it));
            let words = it.missing.as_ref().map_or(agreement.sentence, |it| format!("not available: {it}"));
            vec![it.peer.clone(), it.what.clone(), shown(&it.ours), shown(&it.theirs), ratio, words]
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let head = ["peer", "what", "ours", "theirs", "ratio", "verdict"];
    let caption = "The lab's load generator against others on the floor arm, with 95 % intervals";
    section("Is the load generator right?", "", vec![Block::table(caption, &head, rows)])
}

/// What redirection breaks.
pub(super) fn canaries(digest: &Digest<'_>) -> Vec<Block> {
    let rows: Vec<Vec<String>> = digest
        .results
        .canaries
        .iter()
        .map(|it| {
            let holds = if it.holds { "holds" } else { "broken" };
            vec![it.name.clone(), it.arm.clone(), it.expected.clone(), holds.into(), it.seen.clone()]
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let head = ["canary", "arm", "what applications expect", "verdict", "what was seen"];
    let caption = "Things that plain TCP does and socket to socket redirection may break";
    section("What it breaks", "", vec![Block::table(caption, &head, rows)])
}

/// Memory and context switches.
pub(super) fn processes(digest: &Digest<'_>) -> Vec<Block> {
    let mut rows = Vec::new();
    for point in &digest.results.points {
        for (arm, cell) in digest.cells_of(point) {
            let peak = cell.largest(|it| (!it.processes.is_empty()).then(|| memory(it)));
            let switches = cell.of(|it| per_answer(it, it.machine.switches as f64));
            let received = cell.of(|it| per_answer(it, it.machine.net_rx as f64));
            let shown =
                |it: Option<super::super::digest::Spread>| it.map_or("-".into(), |it| it.show(Unit::Count));
            rows.push(vec![
                format!("{arm} at {}", point.name),
                peak.map_or("-".into(), |it| Unit::Bytes.show(it)),
                shown(switches),
                shown(received),
            ]);
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let head = ["arm and point", "peak memory", "context switches per request", "NET_RX runs per request"];
    let caption = "Peak memory is the largest sum of VmHWM over the arm's processes in any round; switches are those of the \
                   whole machine, with 95 % intervals";
    let table = vec![Block::table(caption, &head, rows)];
    section("Memory and context switches", "", vec![Block::Details("The table, arm by arm".into(), table)])
}

fn memory(sample: &Sample) -> f64 {
    sample.processes.iter().map(|it| it.peak_memory as f64).sum()
}

fn per_answer(sample: &Sample, count: f64) -> Option<f64> {
    let answered = sample.load.as_ref()?.answered;
    (answered > 0).then(|| count / answered as f64)
}
