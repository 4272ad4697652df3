//! The lab, as people use it: a quick run from end to end, and everything that goes wrong while one lasts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use wabe_testkit::Machine;

#[path = "lab/faults.rs"]
mod faults;
#[path = "lab/quick.rs"]
mod quick;
#[path = "lab/words.rs"]
mod words;

/// One lab runs at a time, and what it leaves is counted: one test after the other, alone on the machine.
fn alone() -> Machine {
    Machine::alone()
}

fn wabe_lab(words: &[&str]) -> Command {
    let mut command = Command::new(wabe_testkit::wabe());
    command.arg("lab").args(words).stdin(Stdio::null());
    command
}

fn finish(mut command: Command) -> Output {
    command.output().expect("wabe runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A folder for results; the one inside is not there yet.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    (folder, out)
}

fn results(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("results.json")).expect("results.json is there");
    serde_json::from_str(&text).expect("results.json is JSON")
}

/// Starts a long run of two arms.
fn long_run(out: &Path) -> Child {
    let out = out.to_str().expect("a path in UTF-8");
    let mut command =
        wabe_lab(&["run", "capacity", "--quick", "--arms", "none,kube-proxy-nftables", "--repeat", "100"]);
    command.args(["--out", out]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("wabe runs")
}

/// Waits until a run has written its first round.
fn until_measured(child: &mut Child, out: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !out.join("results.json").exists() {
        assert!(Instant::now() < deadline, "no round in two minutes");
        if let Some(status) = child.try_wait().expect("a child") {
            let mut said = String::new();
            let stderr = child.stderr.take().expect("a pipe");
            let _ = std::io::Read::read_to_string(&mut { stderr }, &mut said);
            panic!("the run ended with {status}: {said}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Namespaces, cgroups, meshes and files of the lab.
fn left() -> Vec<String> {
    let named = |folder: &str, prefix: &str| -> Vec<String> {
        let names =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path().display().to_string());
        names.filter(|it| it.rsplit('/').next().is_some_and(|it| it.starts_with(prefix))).collect()
    };
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let cgroups = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1).filter(|_| line.contains(" cgroup2 ")))
        .flat_map(|it| [named(it, "wabe-lab"), named(it, "wabe-lab-")].concat());
    let mut all: Vec<String> = cgroups.collect();
    all.extend(named("/run/netns", "wabe-lab-"));
    all.extend(named("/run/wabe", "lab-"));
    all.extend(Path::new("/var/lib/wabe-lab").exists().then(|| "/var/lib/wabe-lab".to_owned()));
    all
}
