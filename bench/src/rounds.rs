//! Rounds: each runs every arm once, in an order drawn anew, so that what the machine does besides hits all alike.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::{
    Wish,
    arm::{Comparison, Ratios},
    environment::{self, Ticks},
    measures,
    place::{self, Place},
    report,
    stats::Random,
    work::Load,
};

/// Connections of the closed loop.
const CONNECTIONS: usize = 32;
/// Cores of client and server. Each side has one, so neither profits from the other's idle time. Of proxies see
/// [`crate::proxy`].
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// Measures, prints tables as it goes, and writes the JSON at the end, or what there is of it if a measure fails.
pub(crate) fn run(wish: &Wish) -> Result<()> {
    if std::thread::available_parallelism()?.get() < 2 {
        bail!("client and server need a core each; this process may use only one");
    }
    let place = Place::take(&wish.wabe)?;
    let time = Duration::from_millis(if wish.quick { 200 } else { 1_000 });
    let load = Load { connections: CONNECTIONS, time, core: CLIENT };
    let environment = environment::describe((CLIENT, SERVER));
    println!("{}", report::environment(&environment));
    let mut random = Random::new(u64::from(std::process::id()));
    let (mut results, mut failed) = (Vec::new(), Vec::new());
    for name in &wish.measures {
        place.check()?;
        eprintln!("{name}: setting up");
        match measure(name, &place, wish, load, &mut random) {
            Ok((text, result)) => {
                println!("{text}");
                results.push(result);
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                failed.push(name.as_str());
                results.push(json!({ "measure": name, "failed": format!("{error:#}") }));
            }
        }
    }
    if let Some(out) = &wish.out {
        let all = json!({
            "environment": environment,
            "rounds": wish.rounds,
            "secondsOfARun": time.as_secs_f64(),
            "measures": results,
        });
        std::fs::write(out, serde_json::to_string_pretty(&all)? + "\n")
            .with_context(|| format!("writing {}", out.display()))?;
    }
    place.check()?;
    if !failed.is_empty() {
        bail!("no figures of {}", failed.join(", "));
    }
    Ok(())
}

fn measure(
    name: &str,
    place: &Place,
    wish: &Wish,
    load: Load,
    random: &mut Random,
) -> Result<(String, serde_json::Value)> {
    let mut prepared = measures::prepare(name, place, SERVER, wish.quick)?;
    let before = Ticks::now();
    for comparison in &mut prepared.comparisons {
        // An arm that does not answer at all is told, not measured; but what all are compared with must.
        let mut first = comparison.ratios == Ratios::ToFirst;
        let missing = &mut prepared.missing;
        let short = Load { time: load.time.min(Duration::from_millis(100)), ..load };
        let mut broken = None;
        let work = comparison.work.trial();
        comparison.arms.retain(|arm| {
            let tried = work.sample(place, &arm.from, &arm.to, short);
            let baseline = std::mem::take(&mut first);
            match tried {
                Ok(_) => true,
                Err(error) if baseline => {
                    broken = Some(error);
                    true
                }
                Err(error) => {
                    missing.push((arm.name.clone(), format!("{error:#}")));
                    false
                }
            }
        });
        if let Some(error) = broken {
            return Err(error.context("the baseline"));
        }
        for round in 0..wish.rounds {
            eprint!("\r{}: round {} of {}", comparison.title, round + 1, wish.rounds);
            one_round(comparison, place, load, random)?;
        }
        eprintln!();
    }
    let steal = Ticks::now().steal_since(before);
    Ok(report::measure(name, &prepared, steal, random.next()))
}

fn one_round(comparison: &Comparison, place: &Place, load: Load, random: &mut Random) -> Result<()> {
    let mut order: Vec<usize> = (0..comparison.arms.len()).collect();
    random.shuffle(&mut order);
    for index in order {
        place.check()?;
        let arm = &comparison.arms[index];
        let before = place::processor_time(&arm.proxy);
        let value = comparison.work.sample(place, &arm.from, &arm.to, load);
        let value = value.with_context(|| format!("arm \"{}\"", arm.name))?;
        let spent = place::processor_time(&arm.proxy).saturating_sub(before);
        arm.values.borrow_mut().push(value);
        if let (false, Some(requests)) = (arm.proxy.is_empty(), comparison.work.requests(value, load)) {
            arm.processor.borrow_mut().push(spent.as_secs_f64() * 1e6 / requests);
        }
    }
    Ok(())
}
