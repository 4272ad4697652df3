//! Two made-up runs compared: what is found, what is warned of, and what is refused.

#[path = "report/fixture.rs"]
mod fixture;

use std::{path::Path, sync::LazyLock};

use wabe_lab::{
    compare::{Changes, compare},
    results::Results,
    stats::{Measure, Verdict},
};

/// Eight rounds of one point, made once.
static EIGHT: LazyLock<Results> = LazyLock::new(|| {
    let mut results = fixture::results(8);
    results.points.retain(|it| it.name == "latency-1000");
    results.samples.retain(|it| it.point == "latency-1000");
    results
});

/// The first rounds of them.
fn small(rounds: u32) -> Results {
    let mut results = EIGHT.clone();
    results.samples.retain(|it| it.round < rounds);
    results.run.quick = rounds < 6;
    results
}

/// The same with latencies and processor times of an arm this many times as large.
fn slowed(mut results: Results, arm: &str, times: f64) -> Results {
    for it in results.samples.iter_mut().filter(|it| it.arm == arm) {
        let latency = &mut it.load.as_mut().expect("load").latency;
        for value in [&mut latency.p50, &mut latency.p90, &mut latency.p99] {
            *value = (*value as f64 * times) as u64;
        }
        latency.mean *= times;
    }
    results
}

fn compared(old: &Results, new: &Results) -> anyhow::Result<Changes> {
    let (before, after) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fixture::save(before.path(), old);
    fixture::save(after.path(), new);
    compare(before.path(), after.path())
}

#[test]
fn a_regression_is_found_where_it_is_and_nowhere_else() {
    let changes = compared(&small(8), &slowed(small(8), "wabe-direct", 1.5)).expect("compared");
    assert!(changes.warnings.is_empty() && changes.left_out.is_empty(), "{changes:?}");
    let worse: Vec<(&str, Measure)> = changes.worse().map(|it| (it.arm.as_str(), it.measure)).collect();
    let expected = [Measure::P50, Measure::P90, Measure::P99, Measure::Mean].map(|it| ("wabe-direct", it));
    assert_eq!(worse, expected);
    assert_eq!((changes.judged, changes.changes.len()), (30, 30));
    assert!((changes.false_alarms - 1.5).abs() < 1e-9);
    let median = changes.worse().next().expect("one");
    assert!(median.stands && (median.ratio.estimate - 1.5).abs() < 0.01, "{median:?}");
    let text = changes.text();
    for words in [
        "30 comparisons: 0 better, 4 worse, 26 without a difference, 0 with too few rounds",
        "about 1.5 of 30 would still seem to",
        "slower by 50.0 % [",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let json = serde_json::to_value(&changes).expect("json");
    assert_eq!(json["changes"][25]["verdict"]["kind"], "worse");
}

#[test]
fn a_small_difference_does_not_stand_among_many() {
    let median = |times: f64| {
        let changes = compared(&small(6), &slowed(small(6), "wabe-direct", times)).expect("compared");
        let median =
            changes.changes.into_iter().find(|it| it.arm == "wabe-direct" && it.measure == Measure::P50);
        let median = median.expect("the median");
        (median.verdict == Verdict::Worse, median.stands)
    };
    let seen = [1.01, 1.08, 1.14, 1.5].map(median);
    assert!(seen.contains(&(true, false)), "{seen:?}");
    assert_eq!((seen[0], seen[3]), ((false, false), (true, true)));
}

#[test]
fn another_host_is_said_before_anything_else() {
    let mut other = small(6);
    other.environment.kernel = "6.1.0\u{1b}[2J".into();
    other.environment.cores = 4;
    other.environment.server_core = 3;
    other.environment.optimised = false;
    other.run.slice = 1.0;
    let text = compared(&small(6), &other).expect("compared").text();
    assert!(
        text.starts_with("WARNING: NOT THE SAME HOST: the kernel was \"6.18.0\" and is \"6.1.0?[2J\""),
        "{text}"
    );
    for words in [
        "the number of cores was \"2\" and is \"4\"",
        "the server's core",
        "optimisation",
        "5 s a round in the old run",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn an_emulated_run_is_only_compared_with_another_one() {
    let mut emulated = small(6);
    emulated.environment.emulated = true;
    for (old, new, kinds) in [
        (small(6), emulated.clone(), ["a real machine and", "an emulated machine:"]),
        (emulated.clone(), small(6), ["an emulated machine and", "a real machine:"]),
    ] {
        let error = compared(&old, &new).expect_err("two kinds of machine").to_string();
        assert!(kinds.iter().all(|it| error.contains(it)), "{error}");
    }
    let changes = compared(&emulated, &emulated).expect("two of one kind");
    assert!(changes.warnings.iter().any(|it| it.contains("its times are not real")), "{changes:?}");
}

#[test]
fn few_rounds_give_no_verdict() {
    let changes = compared(&small(3), &slowed(small(3), "none", 9.0)).expect("compared");
    assert!(changes.changes.iter().all(|it| it.verdict == Verdict::TooFewRounds && !it.stands));
    assert!(changes.judged == 0 && changes.warnings.iter().any(|it| it.contains("quick")));
}

#[test]
fn points_of_another_load_are_left_out() {
    let mut other = fixture::results(2);
    other.points.retain(|it| it.name.starts_with("latency"));
    other.samples.retain(|it| it.point.starts_with("latency"));
    let mut old = other.clone();
    old.points[0].flood = (1, 1);
    old.points.remove(1);
    let changes = compared(&old, &other).expect("compared");
    assert!(changes.changes.iter().all(|it| it.point == "latency-1500"));
    let expected =
        ["point latency-200 is another load in each run", "point latency-1000 is only in the new run"];
    assert_eq!(changes.left_out, expected);
}

#[test]
fn runs_that_cannot_be_compared_are_refused() {
    let mut other = small(2);
    other.format = 2;
    let error = compared(&small(2), &other).expect_err("another format").to_string();
    assert!(error.contains("has format 2, and this `wabe` reads format 1"), "{error}");
    let mut other = small(2);
    other.points[0].name = "else".into();
    let error = compared(&small(2), &other).expect_err("nothing in common").to_string();
    assert!(error.contains("no arm that was measured at the same point in both"), "{error}");
    let error = compare(Path::new("/nowhere"), Path::new("/nowhere")).expect_err("nothing").to_string();
    assert!(error.contains("/nowhere/results.json does not exist"), "{error}");
}
