//! What makes two runs unlike, so that a difference may come from there.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::results::{Environment, Point, Results};

/// Refuses a run on a real machine beside one on an emulated machine: any difference would be of the machines.
pub(super) fn both_real_or_emulated(old: (&Path, &Results), new: (&Path, &Results)) -> Result<()> {
    let kind = |it: &Results| if it.environment.emulated { "an emulated machine" } else { "a real machine" };
    let ((old, before), (new, after)) = (old, new);
    ensure!(
        before.environment.emulated == after.environment.emulated,
        "{} is from {} and {} from {}: times of the two can't be compared; give two runs of one machine",
        old.display(),
        kind(before),
        new.display(),
        kind(after)
    );
    Ok(())
}

/// The points that both have and that mean the same in both, as the new run has them; and in words what is left out.
pub(super) fn points<'a>(old: &Results, new: &'a Results) -> (Vec<&'a Point>, Vec<String>) {
    let (mut both, mut left_out) = (Vec::new(), Vec::new());
    for point in &new.points {
        match old.points.iter().find(|it| it.name == point.name) {
            None => left_out.push(format!("point {} is only in the new run", point.name)),
            Some(other) if !same(other, point) => {
                left_out.push(format!("point {} is another load in each run", point.name));
            }
            Some(other) => {
                let only = |these: &Point, those: &Point, which: &str| -> Vec<String> {
                    let missing = these.arms.iter().filter(|it| !those.arms.contains(it));
                    missing
                        .map(|arm| format!("arm {arm} at {} is only in the {which} run", these.name))
                        .collect()
                };
                left_out.extend(only(point, other, "new"));
                left_out.extend(only(other, point, "old"));
                both.push(point);
            }
        }
    }
    let gone = old.points.iter().filter(|it| !new.points.iter().any(|new| new.name == it.name));
    left_out.extend(gone.map(|it| format!("point {} is only in the old run", it.name)));
    (both, left_out)
}

/// Whether two points of one name are one load.
fn same(old: &Point, new: &Point) -> bool {
    old.scenario == new.scenario && old.axis == new.axis && old.open == new.open && old.flood == new.flood
}

/// In words, the gravest first.
pub(super) fn warnings(old: &Results, new: &Results) -> Vec<String> {
    let mut all = Vec::new();
    for (name, before, after) in facts(&old.environment, &new.environment) {
        if before != after {
            all.push(format!("NOT THE SAME HOST: {name} was \"{before}\" and is \"{after}\"; differences may come from that alone"));
        }
    }
    for tool in &new.environment.tools {
        let before = old.environment.tools.iter().find(|it| it.name == tool.name);
        if let Some(before) = before.filter(|it| *it != tool) {
            let change = format!("from {} to {}", before.version, tool.version);
            all.push(format!("{} is another program than before ({change})", tool.name));
        }
    }
    for (which, run) in [("old", old), ("new", new)] {
        let mut warn = |when: bool, words: &str| all.extend(when.then(|| format!("the {which} run {words}")));
        warn(!run.run.complete, "is not complete");
        warn(run.run.quick, "was a quick one: few rounds");
        warn(run.environment.emulated, "was on an emulated machine: its times are not real");
        warn(!run.environment.optimised, "was made by a wabe without optimisation");
    }
    if (old.run.slice - new.run.slice).abs() > 1e-9 {
        let (before, after) = (old.run.slice, new.run.slice);
        all.push(format!(
            "an arm was loaded for {before} s a round in the old run and for {after} s in the new one"
        ));
    }
    all
}

/// What makes a host, and what of it a run used.
fn facts(old: &Environment, new: &Environment) -> [(&'static str, String, String); 8] {
    let both = |of: &dyn Fn(&Environment) -> String| (of(old), of(new));
    let fact = |name, (old, new): (String, String)| (name, old, new);
    let gigabytes = |it: &Environment| format!("{:.1} GiB", it.memory as f64 / f64::from(1 << 30));
    [
        fact("the kernel", both(&|it| it.kernel.clone())),
        fact("the processor", both(&|it| it.processor.clone())),
        fact("the number of cores", both(&|it| it.cores.to_string())),
        fact("the memory", both(&gigabytes)),
        fact("the virtual machine", both(&|it| it.virtualised.clone().unwrap_or_else(|| "none".into()))),
        fact("optimisation", both(&|it| it.optimised.to_string())),
        fact("the client's core", both(&|it| it.client_core.to_string())),
        fact("the server's core", both(&|it| it.server_core.to_string())),
    ]
}
