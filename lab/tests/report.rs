//! The report from a made-up run: what is in it, that nothing foreign breaks it, and what it says of damaged files.

#[path = "report/fixture.rs"]
mod fixture;

use std::{fs, path::Path, sync::LazyLock};

use wabe_lab::{report, results::Results};

/// A whole run's report, written once.
static WHOLE: LazyLock<Whole> = LazyLock::new(|| {
    let (dir, page) = written(&fixture::results(6));
    let text = fs::read_to_string(dir.path().join("report.md")).expect("markdown");
    let verdicts = fs::read_to_string(dir.path().join("verdicts.json")).expect("verdicts");
    Whole { drawings: drawings(dir.path(), &page), page, text, verdicts }
});

/// What is written into the folder of a report, which is gone.
struct Whole {
    page: String,
    text: String,
    verdicts: String,
    /// By name.
    drawings: Vec<(String, String)>,
}

/// A run of three points: of latencies, of rules, of capacity.
fn small(rounds: u32) -> Results {
    let mut results = fixture::results(rounds);
    results
        .points
        .retain(|it| ["latency-200", "latency-1000", "rules-0", "capacity"].contains(&it.name.as_str()));
    results.samples.retain(|it| results.points.iter().any(|point| point.name == it.point));
    results
}

/// Writes the report of a run; the folder goes with the first of the pair.
fn written(results: &Results) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    fixture::save(dir.path(), results);
    report::write(dir.path()).expect("a report");
    let page = fs::read_to_string(dir.path().join("report.html")).expect("a page");
    (dir, page)
}

/// Every SVG of a page and of the folder of figures, by name.
fn drawings(dir: &Path, page: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = page
        .split("<svg ")
        .skip(1)
        .map(|it| {
            ("in the page".to_owned(), format!("<svg {}</svg>", it.split("</svg>").next().expect("an end")))
        })
        .collect();
    for entry in fs::read_dir(dir.join("figures")).expect("figures") {
        let path = entry.expect("a file").path();
        all.push((path.display().to_string(), fs::read_to_string(path).expect("text")));
    }
    all
}

#[test]
fn sections_come_in_the_order_in_which_people_ask() {
    let page = &WHOLE.page;
    let sections = [
        "Summary",
        "The data paths",
        "The thesis&#39; figures from our data",
        "Distributions of latency",
        "What the number of rules costs",
        "Along rates, sizes and connections",
        "Processor time for one request",
        "The verdicts",
        "The numbers, scenario by scenario",
        "Where the time goes",
        "The rules",
        "Is the load generator right?",
        "What it breaks",
        "Memory and context switches",
        "The environment",
        "The limits",
        "How to run it again",
    ];
    let places: Vec<usize> = sections
        .iter()
        .map(|it| page.find(&format!("\">{it}</h2>")).unwrap_or_else(|| panic!("no section {it}")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_page_stands_by_itself() {
    let page = &WHOLE.page;
    for outside in ["<script", "<link", "src=", "@import", "url(http", "https://", "<img", "onclick"] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    // The one address is SVG's name for itself.
    assert_eq!(page.matches("http://").count(), page.matches("http://www.w3.org/2000/svg").count());
    assert!(page.matches("<th scope=").count() > 100 && !page.contains("<th>"));
}

#[test]
fn every_drawing_is_well_formed_and_says_what_it_shows() {
    let all = &WHOLE.drawings;
    assert!(all.len() > 60, "{} drawings", all.len());
    for (name, text) in all {
        let document =
            roxmltree::Document::parse(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        let root = document.root_element();
        assert_eq!(root.attribute("role"), Some("img"), "{name}");
        let text_of =
            |tag: &str| root.children().find(|it| it.has_tag_name(("http://www.w3.org/2000/svg", tag)));
        for tag in ["title", "desc"] {
            assert!(
                text_of(tag).and_then(|it| it.text()).is_some_and(|it| !it.is_empty()),
                "{name} has no {tag}"
            );
        }
        for it in document.descendants().filter(|it| it.is_element()) {
            for attribute in it.attributes() {
                assert!(
                    !attribute.value().contains("NaN") && !attribute.value().contains("inf"),
                    "{name}: {it:?}"
                );
            }
        }
    }
}

#[test]
fn ids_are_unique() {
    let page = &WHOLE.page;
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn the_summary_tells_who_wins_where_with_intervals() {
    for page in [&WHOLE.page, &WHOLE.text] {
        for words in [
            "sidecar-ebpf-sockmap against sidecar-iptables:",
            "Median latency: faster at ",
            " points (latency-200 by ",
            "kube-proxy-ipvs",
            "this kernel has no IPVS",
            "the rate was not reached: 171 of 200 requests/s",
            "agrees with wrk within 10 %",
            "our generator reaches 1.67 of hey",
            "redirection by eBPF in place of iptables could save",
            "wabe lab thesis --out &#39;my results&#39;",
        ] {
            let words = if page.starts_with('<') {
                // A line does not begin with the sign.
                words.replace(" %", "\u{a0}%")
            } else {
                words.replace("&#39;", "'")
            };
            assert!(page.contains(&words), "no {words:?}");
        }
    }
    assert!(!WHOLE.page.contains("none: Of "), "an arm without proxies redirects nothing");
    let verdicts: serde_json::Value = serde_json::from_str(&WHOLE.verdicts).expect("json");
    assert!(verdicts.as_array().is_some_and(|it| it.len() > 300 && it[0]["ratio"]["low"].is_number()));
}

#[test]
fn what_makes_a_run_worth_less_is_said_at_the_top() {
    let mut results = small(3);
    results.run.complete = false;
    results.run.ended = Some("Ctrl-C".into());
    results.environment.emulated = true;
    results.environment.optimised = false;
    let (_dir, page) = written(&results);
    let top = page.split("<h2").next().expect("a top");
    for words in
        ["quick run of 3 rounds", "not complete (Ctrl-C)", "emulated", "without optimisation", "1 of "]
    {
        assert!(top.contains(words), "no {words:?} in {top}");
    }
    assert!(page.contains("too few rounds for a verdict at"));
    assert!(page.contains("side by side, on an emulated machine</title>"), "the title does not tell");
    let limits = page.split("The limits</h2>").nth(1).expect("limits");
    assert!(limits.contains("Software emulated the machine"), "{limits}");
    let page = &WHOLE.page;
    assert!(!page.split("<h2").next().expect("a top").contains("quick"));
}

#[test]
fn foreign_words_stay_words() {
    let mut results = small(6);
    let evil = "</title><script>alert('1')</script>\"'&|`\u{0}\u{1b}]";
    let arm = results.arms[1].name.clone();
    for it in &mut results.arms {
        it.title = evil.into();
    }
    for it in &mut results.points {
        it.title = evil.into();
        it.axis.iter_mut().for_each(|it| it.unit = evil.into());
        it.arms.iter_mut().filter(|it| **it == arm).for_each(|it| *it = evil.into());
    }
    results.samples.iter_mut().filter(|it| it.arm == arm).for_each(|it| it.arm = evil.into());
    results.samples[0].invalid = vec![evil.into()];
    results.arms[1].name = evil.into();
    results.run.command = vec![evil.into()];
    results.environment.kernel = evil.into();
    results.canaries[0].seen = evil.into();
    results.breakdowns[0].arm = evil.into();
    results.breakdowns[0].shares[0].what = evil.into();
    let (dir, page) = written(&results);
    assert!(!page.contains("<script") && !page.contains('\u{0}') && !page.contains('\u{1b}'));
    for (name, text) in drawings(dir.path(), &page) {
        roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let text = fs::read_to_string(dir.path().join("report.md")).expect("markdown");
    let row = text.lines().find(|it| it.starts_with("| kernel")).expect("the kernel");
    assert!(row.replace("\\|", "").matches('|').count() == 3 && !row.contains('<'), "{row}");
}

#[test]
fn a_run_without_anything_is_a_report_that_says_so() {
    let mut results = small(6);
    results.samples.clear();
    results.cross_checks.clear();
    results.breakdowns.clear();
    results.canaries.clear();
    let (_dir, page) = written(&results);
    assert!(page.contains("No two arms can be compared"));
    results.points.clear();
    results.arms.clear();
    written(&results);
}

#[test]
fn a_second_report_leaves_no_figure_of_the_first() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut results = small(6);
    fixture::save(dir.path(), &results);
    let first = report::write(dir.path()).expect("a report").len();
    results.points.truncate(1);
    fixture::save(dir.path(), &results);
    let second = report::write(dir.path()).expect("a report");
    let figures = fs::read_dir(dir.path().join("figures")).expect("figures").count();
    assert!(second.len() < first && figures == second.len() - 3, "{figures} figures");
}

#[test]
fn damaged_results_are_one_clear_error_with_a_remedy() {
    let good = serde_json::to_string(&small(2)).expect("json");
    let cut = &good[..good.len() / 2];
    let other = good.replacen("\"format\":1", "\"format\":99", 1);
    let place = good.find("\"histogram\":\"").expect("a histogram") + 13;
    let spoilt = format!("{}!{}", &good[..place], &good[place + 1..]);
    let dir = tempfile::tempdir().expect("a folder");
    let error = |text: Option<&str>| {
        if let Some(text) = text {
            fs::write(dir.path().join("results.json"), text).expect("written");
        }
        format!("{:#}", report::write(dir.path()).expect_err("an error"))
    };
    for (text, words) in [
        (None, "does not exist: give the directory"),
        (Some(""), "ends too early"),
        (Some(cut), "it was cut off; copy it again"),
        (Some("<html>"), "is not JSON"),
        (Some("{}"), "is not a result of the lab (missing field `format`"),
        (Some("{\"format\":1}"), "is not a result of the lab (missing field `run`"),
        (
            Some(&other),
            "has format 99, and this `wabe` reads format 1: read it with the `wabe` that wrote it",
        ),
        (Some(&spoilt), "can't be decoded"),
    ] {
        let error = error(text);
        assert!(error.contains("results.json") && error.contains(words), "{words:?}: {error}");
    }
    let left = fs::read_dir(dir.path()).expect("a folder").count();
    assert_eq!(left, 1, "an error leaves no report");
}
