//! The lab on Debian's 6.1 kernel: that kernel has IPVS, which many others lack. What it measures there is marked as emulated;
//! results that are not are an error.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{Machine, live, userland::Userland};
use crate::{
    setup,
    shell::{execute, root},
};

/// The arms that differ in how a service address is found.
const ARMS: &str = "none,kube-proxy-iptables,kube-proxy-nftables,kube-proxy-ipvs";
/// What is measured unless scenarios are named: what IPVS is for.
const SCENARIOS: [&str; 1] = ["services"];
/// Enough for a verdict.
const ROUNDS: &str = "6";
/// How long the machine may run.
const PATIENCE: Duration = Duration::from_hours(1);
/// Room for what comes out, bytes.
const ROOM: u64 = 256 << 20;

/// Programs that those arms take.
const PROGRAMS: [&str; 13] = [
    "nginx",
    "ss",
    "taskset",
    "tee",
    "iptables-legacy",
    "iptables-legacy-restore",
    "iptables-legacy-save",
    "ipvsadm",
    "ipset",
    "sync",
    "tar",
    "wrk",
    "h2load",
];
/// Extensions that iptables loads by name.
const EXTENSIONS: &str = "/usr/lib/x86_64-linux-gnu/xtables";
/// Modules that those arms take, and the disk.
pub(super) const MODULES: [&str; 28] = [
    "virtio_pci",
    "virtio_blk",
    "bridge",
    "br_netfilter",
    "dummy",
    "iptable_filter",
    "iptable_nat",
    "ipt_REJECT",
    "xt_MASQUERADE",
    "xt_addrtype",
    "xt_comment",
    "xt_conntrack",
    "xt_mark",
    "xt_nat",
    "xt_set",
    "xt_statistic",
    "xt_tcpudp",
    "ip_set_bitmap_port",
    "ip_set_hash_ip",
    "ip_set_hash_ipport",
    "ip_set_hash_ipportip",
    "ip_vs",
    "ip_vs_rr",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "nft_numgen",
];

/// Runs inside: the lab, then everything that it wrote onto the disk, whatever came of it.
const SCRIPT: &str = "\
wabe lab list
wabe lab run \"$@\" --out /tmp/out
status=$?
if [ -e /tmp/out ]; then tar -C /tmp/out -cf /dev/vda . && sync; fi
exit $status
";

/// What to measure, and where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    scenarios: Vec<String>,
    rounds: String,
    out: PathBuf,
}

impl Wish {
    /// From the command line: `[SCENARIO...] [--repeat N] [--out DIR]`.
    pub(crate) fn of(words: &[&str]) -> Result<Self> {
        let mut wish =
            Self { scenarios: Vec::new(), rounds: ROUNDS.to_owned(), out: root().join("wabe-lab61") };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match *word {
                "--out" => wish.out = std::env::current_dir()?.join(value()?),
                "--repeat" => {
                    let rounds = value()?;
                    rounds.parse::<u32>().with_context(|| format!("--repeat {rounds}"))?;
                    wish.rounds = (*rounds).to_owned();
                }
                option if option.starts_with('-') => {
                    bail!(
                        "cargo xtask lab61 [SCENARIO...] [--repeat N] [--out DIR]: there is no option {option}"
                    )
                }
                scenario => wish.scenarios.push(scenario.to_owned()),
            }
        }
        if wish.scenarios.is_empty() {
            wish.scenarios = SCENARIOS.map(String::from).to_vec();
        }
        Ok(wish)
    }

    /// What runs inside, as the machine's first process wants it.
    fn line(&self) -> String {
        let Self { scenarios, rounds, .. } = self;
        format!(
            "lab PATH=/bin /bin/sh /tests/lab.sh {} --quick --repeat {rounds} --arms {ARMS}\n",
            scenarios.join(" ")
        )
    }
}

/// Boots the machine, measures, and leaves results and report in the folder that was asked for.
pub(crate) fn run(wish: &Wish) -> Result<()> {
    fs::create_dir_all(&wish.out).with_context(|| format!("making {}", wish.out.display()))?;
    ensure!(
        !wish.out.join("results.json").exists(),
        "{} has results already: choose another folder by --out",
        wish.out.display()
    );
    setup::run()?;
    let disk = root().join(format!(".tools/lab61-{}.disk", std::process::id()));
    let made = File::create(&disk).and_then(|it| it.set_len(ROOM));
    made.with_context(|| format!("making {}", disk.display()))?;
    let outcome = measure(wish, &disk);
    fs::remove_file(&disk).with_context(|| format!("removing {}", disk.display()))?;
    outcome
}

fn measure(wish: &Wish, disk: &Path) -> Result<()> {
    let machine = Machine::new(PATIENCE)?;
    let begun = Instant::now();
    let console = machine.boot(|userland| put(userland, wish), &MODULES, Some(disk))?;
    // It is brought out even if something failed: an incomplete run says so.
    let brought = execute(Command::new("tar").arg("-C").arg(&wish.out).arg("-xf").arg(disk));
    let result = console.iter().find_map(|line| line.strip_prefix("RESULT "));
    match result {
        Some("ok") => brought?,
        Some(failed) => bail!("{failed}; the machine's console is above"),
        None => bail!("the machine ended without a result; its console is above"),
    }
    let path = wish.out.join("results.json");
    judge(&fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)?;
    println!("measured on {} in {} s: {}", machine.name(), begun.elapsed().as_secs(), wish.out.display());
    Ok(())
}

/// Fails unless a run is complete, was with IPVS, and says that it was emulated.
fn judge(results: &str) -> Result<()> {
    let results: serde_json::Value = serde_json::from_str(results).context("results.json")?;
    ensure!(results["environment"]["emulated"] == true, "the results do not say that they are emulated");
    ensure!(results["run"]["complete"] == true, "the run is not complete: {}", results["run"]["ended"]);
    for arm in results["arms"].as_array().into_iter().flatten() {
        ensure!(arm["missing"].is_null(), "{} was not measured: {}", arm["name"], arm["missing"]);
    }
    Ok(())
}

/// Puts the lab and what it takes into the machine.
fn put(userland: &mut Userland, wish: &Wish) -> Result<()> {
    let built = live::executables(&["build", "--release", "-p", "wabe"], &[])?;
    let wabe =
        built.into_iter().find(|(name, _)| name == "wabe").context("cargo names no executable wabe")?;
    // What debuggers want is nine tenths of it, which the machine would only copy about.
    let bare = root().join(format!("target/lab61-{}", std::process::id()));
    execute(Command::new("strip").arg("-o").arg(&bare).arg(&wabe.1))?;
    let put = userland.program("bin/wabe", &bare);
    fs::remove_file(&bare).with_context(|| format!("removing {}", bare.display()))?;
    put?;
    arms(userland)?;
    userland.file(Path::new("tests/lab.sh"), 0o755, SCRIPT.as_bytes());
    userland.file(Path::new("tests/list"), 0o644, wish.line().as_bytes());
    userland.file(Path::new("tests/alone"), 0o644, b"");
    Ok(())
}

/// Puts programs that arms take into the machine.
pub(super) fn arms(userland: &mut Userland) -> Result<()> {
    userland.programs(&PROGRAMS)?;
    userland.files_of(Path::new(EXTENSIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_and_options_may_come_in_any_order() {
        let wish = Wish::of(&["rules", "--out", "/tmp/x", "udp", "--repeat", "3"]).expect("words");
        assert_eq!(wish.out, Path::new("/tmp/x"));
        assert!(wish.line().contains(" rules udp --quick --repeat 3 --arms none,"), "{}", wish.line());
        assert!(Wish::of(&[]).expect("nothing").line().contains(" services --quick "));
        for wrong in [&["--fast"][..], &["--out"], &["--repeat", "many"]] {
            Wish::of(wrong).expect_err("no such words");
        }
    }

    #[test]
    fn results_that_do_not_say_that_they_are_emulated_are_no_results() {
        let results = |emulated: bool, complete: bool, missing: &str| {
            format!(
                r#"{{"environment": {{"emulated": {emulated}}}, "run": {{"complete": {complete}}},
                    "arms": [{{"name": "kube-proxy-ipvs", "missing": {missing}}}]}}"#
            )
        };
        judge(&results(true, true, "null")).expect("as it should be");
        judge(&results(false, true, "null")).expect_err("it claims to be real");
        judge(&results(true, false, "null")).expect_err("it is not complete");
        judge(&results(true, true, r#""no IPVS""#)).expect_err("an arm is missing");
    }
}
