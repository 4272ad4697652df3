//! A quick run of the thesis' experiment, from end to end. Figures are not looked at, only that they are there.

use std::{collections::BTreeSet, fs, time::Instant};

use serde_json::Value;

use super::{alone, finish, folder, left, results, said, wabe_lab};

const ARMS: [&str; 4] = ["none", "sidecar-iptables", "sidecar-ebpf", "wabe-direct"];

#[test]
fn the_quick_experiment_measures_every_arm_and_reports() {
    let _machine = alone();
    let (_folder, out) = folder();
    let path = out.to_str().expect("a path in UTF-8");
    let began = Instant::now();
    let output = finish(wabe_lab(&["thesis", "--quick", "--out", path]));
    println!("`wabe lab thesis --quick` took {:.0} s", began.elapsed().as_secs_f64());
    assert!(output.status.success(), "{}", said(&output));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let results = results(&out);
    assert_eq!((&results["run"]["complete"], &results["run"]["rounds"]), (&true.into(), &3.into()));
    let list = |name: &str| results[name].as_array().expect("a list").clone();
    let points: Vec<String> =
        list("points").iter().map(|it| it["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(points, ["latency-200", "latency-1000", "latency-1500"]);
    let used: Vec<Value> = list("samples").into_iter().filter(|it| it["replaced"] == false).collect();
    assert_eq!(used.len(), points.len() * ARMS.len() * 3);
    for sample in &used {
        let rate = &sample["load"]["intendedRate"];
        assert!(rate.is_number() && sample["load"]["latency"]["count"].as_u64() > Some(0), "{sample}");
    }
    let arms: BTreeSet<&str> = used.iter().map(|it| it["arm"].as_str().expect("a name")).collect();
    assert_eq!(arms, BTreeSet::from(ARMS));
    for arm in list("arms").iter().filter(|it| it["name"] != "none" && it["name"] != "wabe-direct") {
        assert!(arm["rules"][0]["count"].as_u64() > Some(10_000), "{arm}");
    }
    assert_eq!(list("crossChecks").len(), 2);
    let looked: BTreeSet<String> =
        list("breakdowns").iter().map(|it| it["arm"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(looked, ARMS.map(str::to_owned).into());
    for breakdown in list("breakdowns") {
        let sum: f64 = breakdown["shares"]
            .as_array()
            .expect("shares")
            .iter()
            .filter_map(|it| it["share"].as_f64())
            .sum();
        assert!((sum - 1.0).abs() < 1e-6, "{breakdown}");
    }
    for file in ["report.html", "report.md", "verdicts.json"] {
        let text = fs::read_to_string(out.join(file)).expect("a report");
        assert!(text.len() > 1_000, "{file} is too short to be true");
    }
    assert_eq!(left(), Vec::<String>::new());
}
