//! `wabe lab`: every data path side by side.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use wabe_lab::{arm::Arm, flood, hold, list, report, run, scenario::Scenario, world};

use crate::{
    cli::{
        Output,
        lab::{self as words, Lab, Measuring, Technology},
    },
    failure::{Failure, require_root},
    screen::{json, line},
};

pub(crate) mod load;

pub(crate) fn run(lab: &Lab) -> Result<ExitCode, Failure> {
    match lab {
        Lab::List(arguments) => show_list(arguments.output),
        Lab::Run(arguments) => {
            let scenarios = arguments.scenarios.iter().map(|it| scenario(it)).collect::<Result<_, _>>()?;
            let default = if arguments.measuring.quick { run::QUICK.to_vec() } else { run::THESIS.to_vec() };
            measure(scenarios, default, &arguments.measuring)
        }
        Lab::Thesis(arguments) => {
            let quick = arguments.measuring.quick;
            let default = if quick { run::QUICK.to_vec() } else { run::THESIS.to_vec() };
            measure(run::thesis(quick), default, &arguments.measuring)
        }
        Lab::Report { folder } => {
            for path in report::write(folder).map_err(chain)? {
                line(&path.display().to_string())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Lab::Compare(arguments) => compare(arguments),
        Lab::Flood(arguments) => show_flood(arguments),
        Lab::Load(arguments) => load::run(arguments),
        Lab::Echo { at } => world::echo(*at).map(|()| ExitCode::SUCCESS).map_err(chain),
        Lab::Hold { url, count } => {
            let address = hold::address(url).map_err(chain)?;
            hold::hold(address, *count).map(|()| ExitCode::SUCCESS).map_err(chain)
        }
    }
}

fn measure(scenarios: Vec<Scenario>, default: Vec<Arm>, measuring: &Measuring) -> Result<ExitCode, Failure> {
    let arms = match measuring.arms.as_slice() {
        [] => default,
        names => names.iter().map(|it| arm(it)).collect::<Result<_, _>>()?,
    };
    require_root()?;
    let wabe = own_program()?;
    let wish = run::Wish {
        wabe,
        scenarios,
        arms,
        quick: measuring.quick,
        rounds: measuring.repeat.unwrap_or(if measuring.quick { 3 } else { 6 }),
        out: measuring.out.clone().unwrap_or_else(new_folder),
        command: std::iter::once("wabe".to_owned()).chain(std::env::args().skip(1)).collect(),
        seed: measuring.seed,
    };
    run::prepare(&wish.out).map_err(chain)?;
    let measured = run::run(&wish).map_err(chain);
    // Also of what was measured until Ctrl-C.
    if wish.out.join(run::RESULTS).exists() {
        let written = report::write(&wish.out).map_err(chain)?;
        for path in written {
            line(&path.display().to_string())?;
        }
    }
    for sentence in run::summary(&measured?) {
        line(&sentence)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_list(output: Output) -> Result<ExitCode, Failure> {
    let list = list::list();
    if output == Output::Json {
        json(&list)?;
        return Ok(ExitCode::SUCCESS);
    }
    line("scenarios")?;
    for (name, title) in &list.scenarios {
        line(&format!("  {name:<12} {title}"))?;
    }
    line("data paths (arms)")?;
    for (name, title, missing) in &list.arms {
        line(&format!("  {name:<24} {title}"))?;
        if let Some(missing) = missing {
            line(&format!("  {:<24} not here: {missing}", ""))?;
        }
    }
    line("programs (Envoy is installed when it is needed)")?;
    for (name, found) in &list.tools {
        match found {
            Ok(version) if version.is_empty() => line(&format!("  {name:<16} it is here"))?,
            Ok(version) => line(&format!("  {name:<16} {version}"))?,
            Err(missing) => line(&format!("  {name:<16} {missing}"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(arguments: &words::Compare) -> Result<ExitCode, Failure> {
    let compared = wabe_lab::compare::compare(&arguments.old, &arguments.new).map_err(chain)?;
    match arguments.plain.output {
        Output::Json => json(&compared)?,
        Output::Text | Output::Yaml => line(compared.text().trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show_flood(arguments: &words::Flood) -> Result<ExitCode, Failure> {
    require_root()?;
    let arm = match arguments.tech {
        Technology::Iptables => Arm::KubeProxyIptables,
        Technology::IptablesNft => Arm::KubeProxyIptablesNft,
        Technology::Nftables => Arm::KubeProxyNftables,
        Technology::Ipvs => Arm::KubeProxyIpvs,
        Technology::Ebpf => Arm::WabeDirect,
    };
    let size = world::kube::Flood { services: arguments.services, endpoints: arguments.pods };
    let facts = flood::flood(&own_program()?, arm, size).map_err(chain)?;
    if arguments.plain.output == Output::Json {
        json(&facts)?;
        return Ok(ExitCode::SUCCESS);
    }
    line(&format!(
        "{}: {} services of {} pods: {} rules",
        facts.technology, facts.services, facts.endpoints, facts.count
    ))?;
    line(&format!("all in force after {:.3} s", facts.programmed))?;
    if let Some(changed) = facts.changed {
        line(&format!("one changed endpoint in force after {:.4} s", changed))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn scenario(name: &str) -> Result<Scenario, Failure> {
    Scenario::of(name).ok_or_else(|| {
        let all: Vec<&str> = Scenario::ALL.into_iter().map(Scenario::name).collect();
        Failure::usage(format!("`{name}` is no scenario; they are {}", all.join(", ")))
    })
}

fn arm(name: &str) -> Result<Arm, Failure> {
    Arm::of(name).ok_or_else(|| {
        let all: Vec<&str> = Arm::ALL.into_iter().map(Arm::name).collect();
        Failure::usage(format!("`{name}` is no data path; they are {}", all.join(", ")))
    })
}

fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::environment(format!("finding `wabe` itself: {error}")))
}

/// A folder here that no other run has.
fn new_folder() -> PathBuf {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs());
    Path::new(&format!("wabe-lab-{seconds}")).to_path_buf()
}

/// An error with what led to it.
fn chain(error: impl Into<Chain>) -> Failure {
    Failure::environment(error.into().0)
}

/// The lab's errors are made for people; only their words are needed here.
struct Chain(String);

impl<E: std::fmt::Debug + std::fmt::Display> From<E> for Chain {
    fn from(error: E) -> Self {
        Self(format!("{error:#}"))
    }
}
