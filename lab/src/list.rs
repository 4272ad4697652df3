//! What the lab can do, and what of it this machine can't.

use serde::Serialize;

use crate::{arm::Arm, available, scenario::Scenario, tools};

/// Programs that take part besides Envoy, which is installed on demand.
const TOOLS: [&str; 10] =
    ["nginx", "ip", "iptables-legacy", "iptables-nft", "nft", "ipvsadm", "ipset", "wrk", "h2load", "perf"];

/// What there is.
#[derive(Clone, Debug, Serialize)]
pub struct List {
    /// Scenarios: name, one line.
    pub scenarios: Vec<(String, String)>,
    /// Arms: name, one line, and why it can't be measured here.
    pub arms: Vec<(String, String, Option<String>)>,
    /// Other programs: name, and its version, or what helps.
    pub tools: Vec<(String, Result<String, String>)>,
}

/// Looks at this machine.
#[must_use]
pub fn list() -> List {
    let scenario = |it: Scenario| (it.name().to_owned(), it.title().to_owned());
    let arm = |it: Arm| (it.name().to_owned(), it.title().to_owned(), available::missing(it));
    let tool = |it: &str| {
        let found = tools::find(it).map(|it| it.version).map_err(|it| it.to_string());
        (it.to_owned(), found)
    };
    List {
        scenarios: Scenario::ALL.into_iter().map(scenario).collect(),
        arms: Arm::ALL.into_iter().map(arm).collect(),
        tools: TOOLS.into_iter().map(tool).collect(),
    }
}
