//! The demo: a mesh of real programs with traffic, and what to look at.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    setup,
    shell::{self, execute, output, root},
};

const WABE: &str = "target/release/wabe";
const SHOP: &str = "examples/shop/bin/shop";
const CANARY: &str = "examples/shop-canary";
/// Who gets version 2 of the catalogue while [`CANARY`] is there: who asks for it, and a group of an A/B test.
const CHOSEN: [&str; 2] = ["x-canary: yes", "cookie: group=b"];

/// When the demo ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// When Ctrl-C is pressed.
    OnInterrupt,
    /// Once everything was shown.
    ByItself,
}

/// Builds, starts the shop, shows it, and takes it down again whatever happens.
pub(crate) fn run(ending: Ending) -> Result<()> {
    setup::run()?;
    shell::run("cargo build --release --quiet --package wabe --package shop")?;
    fs::create_dir_all(root().join("examples/shop/bin"))?;
    // Renamed into place: a program that runs can't be overwritten.
    let (fresh, place) = (root().join("examples/shop/bin/.shop"), root().join(SHOP));
    fs::copy(root().join("target/release/shop"), &fresh).context("copying the shop's program")?;
    fs::rename(&fresh, &place)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let outcome =
        shell::run(&format!("{WABE} up -f examples/shop")).and_then(|()| show(ending, &interrupted));
    println!();
    let stopped = shell::run(&format!("{WABE} down"));
    outcome.and(stopped)
}

fn show(ending: Ending, interrupted: &AtomicBool) -> Result<()> {
    wait(Duration::from_secs(3), interrupted);
    step("Who runs, and how the calls to the catalogue are shared out");
    shell::run(&format!("{WABE} status"))?;
    step("The front end, asked from this machine: a stranger to the mesh, admitted by its address");
    let page = output("curl", &["-sS", "-m", "5", &format!("http://{}/catalogue", front_end()?)]);
    println!("{}", page.context("the front end does not answer")?);
    step("Why the front end may call the payment service");
    shell::run(&format!("{WABE} explain shop/frontend payment.shop:80"))?;
    step("Why the thief may not");
    let _ = shell::run(&format!("{WABE} explain shop/thief payment.shop:80"));
    step("What the thief sees");
    shell::run(&format!("{WABE} logs shop/thief"))?;
    canary()?;
    if ending == Ending::ByItself {
        step("The latest connections");
        return shell::run(&format!("{WABE} flows"));
    }
    step(
        "Connections as they come; Ctrl-C stops the mesh. In another terminal try `target/release/wabe --help`",
    );
    let mut flows =
        Command::new(root().join(WABE)).args(["flows", "--follow"]).current_dir(root()).spawn()?;
    while !interrupted.load(Ordering::Relaxed) && flows.try_wait()?.is_none() {
        wait(Duration::from_millis(200), interrupted);
    }
    let _ = flows.kill();
    flows.wait()?;
    Ok(())
}

/// Layer 7: a route chooses by request.
fn canary() -> Result<()> {
    step(
        "A canary: version 2 of the catalogue by header, for a group by its cookie, and for a twentieth of all others",
    );
    shell::run(&format!("{WABE} apply -f {CANARY}"))?;
    for header in CHOSEN {
        let url = "http://catalogue/catalogue";
        let asked = ["exec", "shop/frontend", "--", "curl", "-sS", "-m", "5", "-H", header, url];
        println!("+ {WABE} exec shop/frontend -- curl -H '{header}' {url}");
        let goods =
            output(WABE, &asked).with_context(|| format!("the catalogue does not answer {header:?}"))?;
        println!("{goods}");
        ensure!(goods.contains(r#""version":"v2""#), "{header:?} leads to another version");
    }
    step("Why");
    let request = ["--http", "GET /catalogue", "-H", CHOSEN[0]];
    println!("+ {WABE} explain shop/frontend catalogue.shop:80 --http 'GET /catalogue' -H '{}'", CHOSEN[0]);
    execute(
        Command::new(root().join(WABE)).args(["explain", "shop/frontend", "catalogue.shop:80"]).args(request),
    )?;
    shell::run(&format!("{WABE} delete -f {CANARY}"))
}

/// The address of the front end's workload.
fn front_end() -> Result<String> {
    let status = output(WABE, &["status", "-o", "json"]).context("the mesh does not tell its status")?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let workloads = status["workloads"].as_array().context("no workloads in the status")?;
    let front_end = workloads.iter().find(|it| it["name"] == "shop/frontend").context("no front end")?;
    Ok(front_end["instances"][0]["addresses"][0].as_str().context("the front end has no address")?.to_owned())
}

fn step(title: &str) {
    println!("\n\x1b[1m# {title}\x1b[0m");
}

fn wait(time: Duration, interrupted: &AtomicBool) {
    let end = Instant::now() + time;
    while Instant::now() < end && !interrupted.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(50));
    }
}
