//! Settings of network namespaces. `/proc/sys/net` shows those of the thread that looks.

use std::{fs, io};

use super::NetError;

/// What the node namespace needs: it is a router, and nothing in it configures itself.
pub(super) const NODE: &[(&str, &str)] = &[
    // Forwarding first: setting it resets others.
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    // A workload can't speak with another's IPv4 address even before the agent's own check is attached.
    ("ipv4/conf/all/rp_filter", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv6/conf/all/accept_redirects", "0"),
    ("ipv6/conf/default/accept_redirects", "0"),
    ("ipv4/conf/all/accept_source_route", "0"),
    ("ipv4/conf/default/accept_source_route", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/bindv6only", "0"),
    ("ipv4/ip_unprivileged_port_start", "0"),
];

/// What a workload's namespace needs.
pub(super) const WORKLOAD: &[(&str, &str)] = &[
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    // No link-local address: the mesh has no use for it, and it would be one that the mesh did not give.
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/bindv6only", "0"),
    // The namespace is the workload's own, and so are its ports.
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("ipv4/ping_group_range", "1 0"),
    ("ipv4/ip_local_port_range", "10240 65535"),
    // Answers to a transparent socket keep the mark by which it was found.
    ("ipv4/tcp_fwmark_accept", "1"),
    ("ipv4/tcp_max_syn_backlog", "4096"),
    ("core/somaxconn", "4096"),
];

/// Switched off where the kernel has it: subflows of MPTCP lose the stamp that tells whose they are.
pub(super) const WORKLOAD_IF_PRESENT: &[(&str, &str)] = &[("mptcp/enabled", "0")];

/// Applies settings in the calling thread's namespace.
pub(super) fn apply(settings: &[(&str, &str)]) -> Result<(), NetError> {
    for (name, value) in settings {
        write(name, value).map_err(|source| NetError::Sysctl { name: dotted(name), source })?;
    }
    Ok(())
}

/// Applies settings in the calling thread's namespace, except those that the kernel doesn't know.
pub(super) fn apply_present(settings: &[(&str, &str)]) -> Result<(), NetError> {
    for (name, value) in settings {
        match write(name, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|source| NetError::Sysctl { name: dotted(name), source })?,
        }
    }
    Ok(())
}

/// Whether a setting of the calling thread's namespace is something else than 0. Unknown ones are 0.
pub(super) fn is_set(name: &str) -> bool {
    fs::read_to_string(path(name)).is_ok_and(|value| value.trim() != "0")
}

/// As people write it: `net.ipv4.ip_forward`.
pub(super) fn dotted(name: &str) -> String {
    format!("net.{}", name.replace('/', "."))
}

fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name), value)
}

fn path(name: &str) -> String {
    format!("/proc/sys/net/{name}")
}
