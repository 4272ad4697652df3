//! Where names of meshes show whose folder is gone.

use std::{fs, io, path::Path, process::Command};

use netlink_packet_route::link::LinkAttribute;

use super::{Mesh, find_cgroup2};
use crate::net::rtnl::Rtnl;

/// Names that cgroups, interfaces and tables bear; some may be no names of meshes.
pub(super) fn names() -> Vec<String> {
    [cgroups(), interfaces(), tables()].concat()
}

/// `wabe-NAME` at the top, with cgroups that a mesh makes, some of which may have been removed, and no other.
fn cgroups() -> Vec<String> {
    const OWN: [&str; 6] = ["keeper", "agent", "dns", "proxy", "vend", "w"];
    let Ok(cgroup2) = find_cgroup2() else { return Vec::new() };
    let is_ours = |name: &String| {
        let below = folders(&cgroup2.join(name));
        !below.is_empty() && below.iter().all(|it| OWN.contains(&it.as_str()))
    };
    let ours = folders(&cgroup2).into_iter().filter(|name| name.starts_with("wabe-")).filter(is_ours);
    ours.filter_map(|name| Some(name.strip_prefix("wabe-")?.to_owned())).collect()
}

fn folders(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.filter_map(|it| it.file_name().into_string().ok()).collect()
}

/// Described as `wabe mesh NAME`.
fn interfaces() -> Vec<String> {
    let links = Rtnl::open().and_then(|rtnl| rtnl.links()).unwrap_or_default();
    let attributes = links.into_iter().flat_map(|link| link.attributes);
    let name = |it| if let LinkAttribute::IfAlias(alias) = it { Some(alias) } else { None };
    let aliases = attributes.filter_map(name);
    aliases.filter_map(|alias| Some(alias.strip_prefix("wabe mesh ")?.to_owned())).collect()
}

/// Those of meshes, not what is only called so.
fn tables() -> Vec<String> {
    let Ok(text) = nft(&["list", "tables", "inet"]) else { return Vec::new() };
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("table inet wabe_"));
    let meshes = names.filter_map(|name| Mesh::new(name).ok());
    meshes.filter(|mesh| has_table(mesh).unwrap_or(false)).map(|mesh| mesh.name().to_owned()).collect()
}

/// Whether the mesh's nftables table is in this network namespace. One of that name in which no rule names the mesh's
/// interface is somebody else's.
pub(crate) fn has_table(mesh: &Mesh) -> io::Result<bool> {
    let mark = format!("oifname != \"{}\" masquerade", mesh.host_interface());
    Ok(nft(&["list", "table", "inet", &mesh.nft_table()])?.contains(&mark))
}

/// What nft(8) prints. Nothing where it fails: there is no such table, or the kernel has no nf_tables. Nothing without
/// the program: then nobody could have made a table.
fn nft(arguments: &[&str]) -> io::Result<String> {
    match Command::new("nft").args(arguments).output() {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}
