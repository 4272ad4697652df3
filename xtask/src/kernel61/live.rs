//! Which live tests run on the old kernel, and for each that does not, why.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::shell::root;

use super::{lab, userland::Userland};

/// How much slower than real ones the machine's processors are, roughly, and that others go first: what tests wait for may take so
/// many times as long.
const SLOWNESS: u32 = 6;

/// A test program of wabe-tests.
struct Program {
    name: &'static str,
    /// If not all tests: those with one of these in their names, and why the others do not run.
    only: Option<(&'static [&'static str], &'static str)>,
    /// Tests and steps of tests that are left out, with the reason.
    without: &'static [(&'static str, &'static str)],
}

/// Programs that run, those first in which kernels differ most.
const CHOSEN: [Program; 6] = [
    Program {
        name: "attacks",
        only: None,
        without: &[("an_accepted_socket_that_calls_leaves_nothing_behind", "it needs Python in the machine")],
    },
    Program {
        name: "lifecycle",
        only: Some((
            &["agent::connections_go_on", "egress::is_refused_unless"],
            "they are about processes, files and messages, where kernels do not differ",
        )),
        without: &[],
    },
    Program {
        name: "policy",
        only: None,
        without: &[
            ("live_connections_follow_policy", MANY),
            ("what_both_policies_say_holds_while_they_replace_each_other", MANY),
            ("a_right_that_moves_between_policies_is_never_lost", MANY),
            (
                "every_policy_says_what_istio_says",
                "each of its hundreds of calls starts programs, which takes minutes; other steps refuse and admit, too",
            ),
        ],
    },
    Program { name: "shortcut", only: None, without: &[] },
    Program {
        name: "traffic",
        only: None,
        without: &[
            ("weights_hold_within_two_percent_over_50_000_connections", MANY),
            ("exactly_zero_after_10_000_mixed_connections", MANY),
            ("whatever_is_not_there_is_refused_within_the_call", MANY),
            ("a_slow_endpoint_of_ten_gets_less_than_three_percent", RATE),
            (
                "only_ready_workloads_get_connections",
                "it needs probes every 100 ms to be answered in time, each by a program that starts",
            ),
            (
                "plain_tcp_between_two_workloads",
                "200 MB take a minute and a half; the same over IPv6, which runs, sends less",
            ),
        ],
    },
    Program {
        name: "udp",
        only: None,
        without: &[
            ("a_socket_stays_at_its_endpoint_and_sockets_are_spread", "it starts dozens of programs"),
            ("two_sockets_with_one_port_share_an_exchange", "it needs Python in the machine"),
            ("what_hides_behind_extension_headers_is_refused", "it needs Python in the machine"),
            ("policy_refuses_and_a_change_is_in_force_for_open_sockets", LONG),
            ("sockets_follow_their_service_when_an_endpoint_goes", LONG),
            (
                "quic_connections_over_one_socket_stay_and_move_megabytes",
                "its cryptography takes minutes under emulation, and what it asks of the kernel other steps ask too",
            ),
        ],
    },
];
const LONG: &str = "it starts many programs, which takes two minutes; by itself it passes there";
const MANY: &str = "thousands of connections take minutes under emulation, and no kernel feature is in it that other \
                    steps lack";
const RATE: &str = "it asks for a rate of connections that emulation does not reach";

/// Programs of which nothing runs.
const LEFT_OUT: [(&str, &str); 17] = [
    (
        "doctor",
        "it breaks a mesh by programs that are not in the machine, and what it reads other tests show",
    ),
    ("names", "it needs Python, compilers and other resolvers in the machine"),
    ("explain", "it compares thousands of connections"),
    ("balance", "it compares counts of thousands of connections"),
    ("limits", "it asks for a rate of connections that emulation does not reach"),
    ("metrics", "it is about the agent, where kernels do not differ"),
    ("scale", "it loads thousands of services beside traffic at a rate that emulation does not reach"),
    ("survival", "its load is a rate of connections that emulation does not reach"),
    ("chaos", "the same"),
    (
        "layer7",
        "its load is a rate of requests that emulation does not reach, and curl is not on that machine",
    ),
    ("authorize_http", "nginx and curl are not on that machine"),
    ("conformance", "curl is not on that machine"),
    ("clients", "its clients are not on that machine"),
    ("resilience", "curl, openssl and Python are not on that machine"),
    ("proxy", "its load is a rate of requests that emulation does not reach"),
    ("lab", "it measures, and emulated times are nobody's; its peers are not on that machine"),
    ("leftovers", "it starts a hundred workloads and counts what is left"),
];

/// The lab's own test of its arm with IPVS, which few kernels have: what it is called here, and there.
const IPVS: (&str, &str) = ("lab-ipvs", "world::tests::ipvs_leads_from_the_service_address_to_the_server");

/// What of it runs.
pub(crate) enum Selection {
    /// What takes minutes.
    Usual,
    /// One program, with what is left out otherwise: it may lack something in the machine, or take long.
    One {
        /// Which of [`CHOSEN`].
        name: &'static str,
        /// Steps, or words in their names, separated by commas; all if empty.
        steps: String,
    },
    /// The lab's test alone.
    Ipvs,
}

impl Selection {
    /// What the command line asks for.
    pub(crate) fn of(words: &[&str]) -> Result<Self> {
        let names = || Self::Usual.names().collect::<Vec<_>>().join(", ");
        let (wanted, steps) = match words {
            [] => return Ok(Self::Usual),
            [wanted] if *wanted == IPVS.0 => return Ok(Self::Ipvs),
            [wanted] => (wanted, ""),
            [wanted, steps] => (wanted, *steps),
            _ => bail!("cargo xtask kernel61 [PROGRAM [STEP,...]], one of {}", names()),
        };
        let program = CHOSEN.iter().find(|it| it.name == *wanted);
        let program = program.with_context(|| format!("no program {wanted} runs there, but {}", names()))?;
        Ok(Self::One { name: program.name, steps: steps.to_owned() })
    }

    /// What must succeed.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.programs().chain(self.has_ipvs().then_some(IPVS.0))
    }

    /// The programs of wabe-tests among them.
    fn programs(&self) -> impl Iterator<Item = &'static str> {
        CHOSEN.iter().map(|it| it.name).filter(move |it| match self {
            Self::Usual => true,
            Self::One { name, .. } => name == it,
            Self::Ipvs => false,
        })
    }

    /// Whether the lab's test is among them.
    const fn has_ipvs(&self) -> bool {
        matches!(self, Self::Usual | Self::Ipvs)
    }

    /// Modules that are needed besides the mesh's.
    pub(super) const fn modules(&self) -> &'static [&'static str] {
        if self.has_ipvs() { &lab::MODULES } else { &[] }
    }

    /// How long the machine may run.
    pub(super) const fn patience(&self) -> Duration {
        match self {
            Self::Usual => Duration::from_mins(30),
            Self::One { .. } | Self::Ipvs => Duration::from_hours(1),
        }
    }

    /// Builds the tests and puts them, with what they need, into the machine.
    pub(super) fn put(&self, userland: &mut Userland) -> Result<()> {
        // All of the workspace: of single packages features differ, and cargo would put another `wabe` in the place of the one that
        // live tests are starting beside this.
        let mut programs = executables(&["build", "--workspace"], &[])?;
        let mut put = |name: &str, programs: &[(String, PathBuf)]| {
            let (_, path) = programs
                .iter()
                .find(|(built, _)| built == name)
                .with_context(|| format!("cargo names no executable {name}"))?;
            userland.program(&format!("bin/{name}"), path)
        };
        let tests: Vec<&str> = self.programs().collect();
        if !tests.is_empty() {
            let mut arguments = vec!["test", "--no-run", "-p", "wabe-tests"];
            tests.iter().for_each(|name| arguments.extend(["--test", name]));
            programs.extend(executables(&arguments, &[])?);
        }
        for name in tests.into_iter().chain(["wabe", "wabe-testbox"]) {
            put(name, &programs)?;
        }
        if self.has_ipvs() {
            put("wabe_lab", &executables(&["test", "--no-run", "-p", "wabe-lab", "--lib"], &[])?)?;
            lab::arms(userland)?;
        }
        userland.file(Path::new("tests/list"), 0o644, self.list().as_bytes());
        Ok(())
    }

    /// The programs as the machine's first process wants them. A name that is left out may be a test's or a step's.
    fn list(&self) -> String {
        let ipvs = || {
            let (name, test) = IPVS;
            format!("{name} WABE_BIN=/bin/wabe PATH=/bin /bin/wabe_lab --ignored --exact {test}\n")
        };
        match self {
            Self::Usual => CHOSEN.iter().map(usual).chain([ipvs()]).collect(),
            Self::One { name, steps } => line(name, &format!("WABE_STEP={steps}"), ""),
            Self::Ipvs => ipvs(),
        }
    }

    /// Tells what is not run.
    pub(super) fn tell_left_out(&self) {
        let Self::Usual = self else { return };
        for program in &CHOSEN {
            if let Some((only, why)) = program.only {
                println!("left out: {}: all but {}: {why}", program.name, only.join(", "));
            }
            program
                .without
                .iter()
                .for_each(|(name, why)| println!("left out: {}: {name}: {why}", program.name));
        }
        LEFT_OUT.iter().for_each(|(name, why)| println!("left out: {name}: {why}"));
    }
}

fn usual(program: &Program) -> String {
    let Program { name, only, without } = program;
    let names: Vec<&str> = without.iter().map(|(name, _)| *name).collect();
    let skips: String = names.iter().map(|it| format!(" --skip {it}")).collect();
    let filters: String = only.iter().flat_map(|(filters, _)| *filters).map(|it| format!(" {it}")).collect();
    line(name, &format!("WABE_SKIP_STEPS={}", names.join(",")), &(skips + &filters))
}

fn line(name: &str, steps: &str, options: &str) -> String {
    format!(
        "{name} {steps} WABE_TEST_SLOWNESS={SLOWNESS} WABE_BIN=/bin/wabe WABE_TESTBOX=/bin/wabe-testbox PATH=/bin \
         /bin/{name} --test-threads=1 --nocapture{options}\n"
    )
}

/// Runs cargo and returns the names and paths of the executables that it built; `rest` is for the compiler.
pub(super) fn executables(arguments: &[&str], rest: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(root())
        .args(arguments)
        .args(["--quiet", "--message-format", "json-render-diagnostics"])
        .args(rest)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo could not be run")?;
    if !built.status.success() {
        bail!("cargo {} failed: the compiler's messages are above", arguments.join(" "));
    }
    let messages = String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect();
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::live_programs;

    #[test]
    fn every_program_runs_or_is_left_out_with_a_reason() {
        let known: BTreeSet<String> = Selection::Usual
            .programs()
            .chain(LEFT_OUT.iter().map(|(name, _)| *name))
            .map(String::from)
            .collect();
        assert_eq!(known, live_programs::all().expect("wabe-tests"));
        assert_eq!(known.len(), CHOSEN.len() + LEFT_OUT.len(), "one is in both lists");
    }

    #[test]
    fn what_is_left_out_exists() {
        for program in &CHOSEN {
            let path = root().join(format!("tests/live/{}.rs", program.name));
            let source = fs::read_to_string(path).expect("a test program");
            for (name, _) in program.without {
                assert!(source.contains(name), "{} has no {name}", program.name);
            }
            for filter in program.only.iter().flat_map(|(filters, _)| *filters) {
                let (module, test) = filter.split_once("::").expect("module::test");
                let path = root().join(format!("tests/live/{}/{module}.rs", program.name));
                let source = fs::read_to_string(path).expect("a module of tests");
                assert!(source.contains(&format!("fn {test}")), "{} has no {filter}", program.name);
            }
        }
    }

    #[test]
    fn a_line_leaves_tests_and_steps_out() {
        let line = usual(&Program {
            name: "x",
            only: Some((&["c"], "why")),
            without: &[("a", "why"), ("b", "why")],
        });
        assert!(line.starts_with("x WABE_SKIP_STEPS=a,b "), "{line}");
        assert!(line.ends_with(" /bin/x --test-threads=1 --nocapture --skip a --skip b c\n"), "{line}");
    }

    #[test]
    fn the_labs_test_exists_and_runs_with_the_others_or_alone() {
        let (module, test) = IPVS.1.rsplit_once("::").expect("module::test");
        let path = root().join(format!("lab/src/{}.rs", module.replace("::", "/")));
        let source = fs::read_to_string(path).expect("a module of tests");
        assert!(source.contains(&format!("fn {test}()")), "the lab has no {test}");
        let alone = Selection::of(&[IPVS.0]).expect("it is one of them");
        assert_eq!(alone.names().collect::<Vec<_>>(), [IPVS.0]);
        for selection in [alone, Selection::Usual] {
            assert!(selection.list().contains(&format!(" --exact {}\n", IPVS.1)), "{}", selection.list());
            assert!(selection.modules().contains(&"ip_vs"));
        }
    }

    #[test]
    fn one_program_runs_with_all_of_it_or_some_steps() {
        let selection = Selection::of(&["udp", "host,agent"]).expect("it is one of them");
        assert_eq!(selection.names().collect::<Vec<_>>(), ["udp"]);
        let list = selection.list();
        assert!(list.starts_with("udp WABE_STEP=host,agent ") && !list.contains("SKIP"), "{list}");
        assert!(Selection::of(&["nonsense"]).is_err());
        assert!(Selection::of(&["doctor"]).is_err(), "it is left out as a whole");
    }
}
