//! Where names of meshes show whose folder is gone.

use std::{fs, process::Command};

use netlink_packet_route::link::LinkAttribute;

use super::find_cgroup2;
use crate::net::rtnl::Rtnl;

/// Names that cgroups, interfaces and tables bear; some may be no names of meshes.
pub(super) fn names() -> Vec<String> {
    [cgroups(), interfaces(), tables()].concat()
}

/// `wabe-NAME` at the top, with a keeper's cgroup and one for workloads in it.
fn cgroups() -> Vec<String> {
    let Ok(cgroup2) = find_cgroup2() else { return Vec::new() };
    let entries = fs::read_dir(cgroup2).into_iter().flatten().flatten();
    let ours = entries.filter(|it| it.path().join("w").is_dir() && it.path().join("keeper").is_dir());
    ours.filter_map(|it| Some(it.file_name().to_str()?.strip_prefix("wabe-")?.to_owned())).collect()
}

/// Described as `wabe mesh NAME`.
fn interfaces() -> Vec<String> {
    let links = Rtnl::open().and_then(|rtnl| rtnl.links()).unwrap_or_default();
    let attributes = links.into_iter().flat_map(|link| link.attributes);
    let name = |it| if let LinkAttribute::IfAlias(alias) = it { Some(alias) } else { None };
    let aliases = attributes.filter_map(name);
    aliases.filter_map(|alias| Some(alias.strip_prefix("wabe mesh ")?.to_owned())).collect()
}

/// `wabe_NAME`, with the rule that is all there is in it.
fn tables() -> Vec<String> {
    // Without nft nobody could have made one.
    let Ok(listed) = Command::new("nft").args(["list", "tables", "inet"]).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("table inet wabe_"));
    names.filter(|name| is_ours(&format!("wabe_{name}"))).map(String::from).collect()
}

fn is_ours(table: &str) -> bool {
    let shown = Command::new("nft").args(["list", "table", "inet", table]).output();
    shown.is_ok_and(|it| {
        let text = String::from_utf8_lossy(&it.stdout).into_owned();
        text.contains("oifname != \"wabe-") && text.contains("masquerade")
    })
}
