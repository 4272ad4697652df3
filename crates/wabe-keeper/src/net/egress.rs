//! The way out of the mesh, for workloads that asked for it: network address translation, once at the node (the
//! host gets to see one address) and once at the host (the world gets to see the host's).
//!
//! By nftables, in one table in the node namespace and one in the host's, both made when the first such workload
//! comes; the host's goes with the last. Connections inside the mesh are kept away from connection tracking.

use std::{
    io::{self, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    process::{Command, Stdio},
};

use super::{Address, Egress, NetError, NodeNetwork, namespace, sysctl, workload::Families};
use crate::layout::UPLINK;

/// Whether the host lets a workload with this egress out at all, and with which families.
pub(super) fn families(network: &NodeNetwork, egress: Egress) -> Result<Families, NetError> {
    if !egress.is_masquerade() {
        return Ok(Families::of(egress, false));
    }
    let (v4, v6) = namespace::enter(network.host_netns.as_fd(), || {
        (sysctl::is_set("ipv4/ip_forward"), sysctl::is_set("ipv6/conf/all/forwarding"))
    })
    .map_err(NetError::kernel("enter the host's network namespace"))?;
    if v4 { Ok(Families::of(egress, v6)) } else { Err(NetError::NoForwarding) }
}

/// Lets a workload out.
pub(super) fn add(network: &NodeNetwork, address: Address, families: Families) -> Result<(), NetError> {
    if !families.v4 {
        return Ok(());
    }
    let table = network.mesh.nft_table();
    let Address { id, v4, v6, .. } = address;
    nft(network.host_netns.as_fd(), &host_table(network))?;
    let mut script = node_table(network);
    script += &format!("add element inet {table} masquerade4 {{ {v4} }}\n");
    script += &format!("add element inet {table} masquerade6 {{ {v6} }}\n");
    nft(network.netns(), &script)?;
    let kernel = || NetError::kernel(format!("let workload {id} out of the mesh"));
    network.let_out(id, false).map_err(kernel())?;
    if families.v6 {
        network.let_out(id, true).map_err(kernel())?;
    }
    Ok(())
}

/// Lets a workload out no more.
pub(super) fn remove(network: &NodeNetwork, address: Address) -> Result<(), NetError> {
    if !address.egress.is_masquerade() {
        return Ok(());
    }
    let Address { id, v4, v6, .. } = address;
    let kernel = || NetError::kernel(format!("keep workload {id} in the mesh"));
    network.keep_in(id, false).map_err(kernel())?;
    network.keep_in(id, true).map_err(kernel())?;
    let table = network.mesh.nft_table();
    // Added first, since removing what is not there is an error.
    let mut script = node_table(network);
    for (set, element) in [("masquerade4", v4.to_string()), ("masquerade6", v6.to_string())] {
        script += &format!("add element inet {table} {set} {{ {element} }}\n");
        script += &format!("delete element inet {table} {set} {{ {element} }}\n");
    }
    nft(network.netns(), &script)?;
    if has_egress(network) { Ok(()) } else { remove_from_host(network) }
}

/// Removes the table in the host's namespace when the whole network goes, if it is there.
pub(super) fn remove_all(network: &NodeNetwork) -> Result<(), NetError> {
    if has_egress(network) { remove_from_host(network) } else { Ok(()) }
}

fn has_egress(network: &NodeNetwork) -> bool {
    network.places().values().any(|place| place.address.egress.is_masquerade())
}

fn remove_from_host(network: &NodeNetwork) -> Result<(), NetError> {
    nft(network.host_netns.as_fd(), &delete_table(&network.mesh.nft_table()))
}

/// Removes a table; it may not exist.
pub(crate) fn delete_table(table: &str) -> String {
    format!("add table inet {table}\ndelete table inet {table}\n")
}

/// Runs a script of nft(8) inside a network namespace: all of it or nothing.
pub(crate) fn nft(netns: BorrowedFd<'_>, script: &str) -> Result<(), NetError> {
    let output = namespace::enter(netns, || run_nft(script)).and_then(|output| output);
    let output = output.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            NetError::NoNft
        } else {
            NetError::kernel("run nft")(error)
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NetError::Nft { said: said.lines().next().unwrap_or("nothing").to_owned() })
}

fn run_nft(script: &str) -> io::Result<std::process::Output> {
    let pipe = Stdio::piped;
    let mut child =
        Command::new("nft").args(["-f", "-"]).stdin(pipe()).stdout(Stdio::null()).stderr(pipe()).spawn()?;
    // Closed after this, so that it stops reading.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output()?;
    // If it ended early, what it said tells more than the broken pipe.
    if output.status.success() { written.map(|()| output) } else { Ok(output) }
}

/// Packets of the node leave the host with the host's address.
fn host_table(network: &NodeNetwork) -> String {
    let table = network.mesh.nft_table();
    let interface = network.mesh.host_interface();
    let (v4, v6) = (network.file.node_v4, network.file.node_v6);
    format!(
        r#"{}
        table inet {table} {{
            chain postrouting {{
                type nat hook postrouting priority srcnat; policy accept;
                ip saddr {v4} oifname != "{interface}" masquerade
                ip6 saddr {v6} oifname != "{interface}" masquerade
            }}
        }}
        "#,
        delete_table(&table)
    )
}

/// Packets of workloads with egress leave the node with the node's address. Repeating it changes nothing: rules are
/// emptied first, sets are kept.
fn node_table(network: &NodeNetwork) -> String {
    let table = network.mesh.nft_table();
    let (v4, v6) = (network.file.node_v4, network.file.node_v6);
    let ranges = &network.file.ranges;
    let (workloads_v4, services_v4) = (ranges.workloads_v4, ranges.services_v4);
    let (workloads_v6, services_v6) = (ranges.workloads_v6, ranges.services_v6);
    format!(
        r#"
        add table inet {table}
        add chain inet {table} prerouting {{ type filter hook prerouting priority raw; policy accept; }}
        add chain inet {table} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}
        flush chain inet {table} prerouting
        flush chain inet {table} postrouting
        table inet {table} {{
            set masquerade4 {{ type ipv4_addr; }}
            set masquerade6 {{ type ipv6_addr; }}
            chain prerouting {{
                iifname "{UPLINK}" ip daddr {v4} accept
                iifname "{UPLINK}" ip6 daddr {v6} accept
                ip saddr @masquerade4 ip daddr != {{ {workloads_v4}, {services_v4} }} accept
                ip6 saddr @masquerade6 ip6 daddr != {{ {workloads_v6}, {services_v6} }} accept
                notrack
            }}
            chain postrouting {{
                oifname "{UPLINK}" ip saddr @masquerade4 ip daddr != {workloads_v4} snat ip to {v4}
                oifname "{UPLINK}" ip6 saddr @masquerade6 ip6 daddr != {workloads_v6} snat ip6 to {v6}
            }}
        }}
        "#
    )
}
