//! The report in a real browser: at three widths and in both colour schemes no label stands on another, and the page
//! never scrolls sideways. The script that looks is in a copy of the page; the report itself has none.

#[path = "report/fixture.rs"]
mod fixture;

use std::{fs, path::Path, process::Command};

use serde::Deserialize;
use wabe_lab::report;

const WIDTHS: [u32; 3] = [360, 768, 1280];

/// What the script tells of one width.
#[derive(Debug, Deserialize)]
struct Seen {
    width: u32,
    dark: bool,
    paper: String,
    figures: usize,
    labels: usize,
    wrong: Vec<String>,
}

#[test]
fn no_label_stands_on_another_and_the_page_never_scrolls_sideways() {
    // It stays there, for people to look at.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report-browser");
    fs::create_dir_all(&dir).expect("a folder");
    fixture::save(&dir, &fixture::results(6));
    report::write(&dir).expect("a report");
    let page = fs::read_to_string(dir.join("report.html")).expect("a page");
    let script = include_str!("report/check.js");
    let checked = page.replace("</body>", &format!("<script>{script}</script></body>"));
    fs::write(dir.join("checked.html"), checked).expect("written");
    // A browser's window can't be as narrow as a phone; a frame in it can.
    let frames =
        WIDTHS.map(|it| format!("<iframe src=\"checked.html\" width=\"{it}\" height=\"900\"></iframe>"));
    let listen = "<script>const seen = [];\
                  addEventListener('message', (it) => { seen.push(it.data); \
                  document.getElementById('seen').textContent = JSON.stringify(seen); });</script>";
    let around = format!(
        "<!DOCTYPE html>{listen}<style>iframe{{border:0}}</style><pre id=\"seen\">[]</pre>{}",
        frames.concat()
    );
    fs::write(dir.join("around.html"), around).expect("written");
    for (dark, paper) in [(false, "rgb(255, 255, 255)"), (true, "rgb(21, 23, 27)")] {
        let seen = look(&dir, dark);
        let mut widths: Vec<u32> = seen.iter().map(|it| it.width).collect();
        widths.sort_unstable();
        assert_eq!(widths, WIDTHS, "{seen:?}");
        for it in seen {
            assert_eq!((it.dark, it.paper.as_str()), (dark, paper), "the colour scheme at {}", it.width);
            assert!(it.figures > 30 && it.labels > 1_000, "{} figures, {} labels", it.figures, it.labels);
            assert!(it.wrong.is_empty(), "at {} pixels:\n{}", it.width, it.wrong.join("\n"));
        }
    }
}

/// Loads the page and returns what its frames tell.
fn look(dir: &Path, dark: bool) -> Vec<Seen> {
    let profile = tempfile::tempdir().expect("a folder");
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args([
            "--disable-dev-shm-usage",
            "--virtual-time-budget=60000",
            "--window-size=1400,1000",
            "--dump-dom",
        ])
        .arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}/around.html", dir.display()))
        .output()
        .expect("chromium is missing: apt-get install -y --no-install-recommends chromium fonts-dejavu-core");
    let dom = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let told = dom.split("<pre id=\"seen\">").nth(1).and_then(|it| it.split("</pre>").next());
    let told = told.unwrap_or_else(|| panic!("chromium showed nothing: {errors}"));
    let told =
        told.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u{a0}").replace("&amp;", "&");
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}
