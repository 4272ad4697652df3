//! What the running kernel offers.

use std::path::Path;

use aya::sys::{is_map_supported, is_program_supported};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::{
    attach::clsact,
    features::{KERNEL_FEATURES, KernelFeature, Otherwise, Test},
    sys,
};

/// One thing that the mesh needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What it is.
    pub name: &'static str,
    /// Whether the kernel has it.
    pub present: bool,
    /// Those of [`crate::LANES`] that can't do without it.
    pub lanes: &'static [&'static str],
    /// What to do if not.
    pub remedy: &'static str,
}

/// Tries what the mesh can't do without, by loading trifles; nothing stays behind.
pub fn probe() -> Vec<Feature> {
    let feature = |it: &KernelFeature| match it.otherwise {
        Otherwise::Refuses(remedy) => {
            Some(Feature { name: it.name, present: is_present(it), lanes: it.lanes, remedy })
        }
        Otherwise::Instead(_) | Otherwise::Weaker(_) => None,
    };
    KERNEL_FEATURES.iter().filter_map(feature).collect()
}

/// What the kernel lacks and the mesh does without, for the current network namespace and user.
pub fn lacking() -> Vec<&'static KernelFeature> {
    let optional = |it: &&KernelFeature| !matches!(it.otherwise, Otherwise::Refuses(_));
    KERNEL_FEATURES.iter().filter(optional).filter(|it| !is_present(it)).collect()
}

impl KernelFeature {
    /// For people: that the kernel lacks it, and what then.
    pub fn lack(&self) -> String {
        let Self { name, since, otherwise, .. } = self;
        let (Otherwise::Refuses(what) | Otherwise::Instead(what) | Otherwise::Weaker(what)) = otherwise;
        format!("this kernel lacks {name} (Linux {since}): {what}")
    }
}

fn is_present(feature: &KernelFeature) -> bool {
    match feature.test {
        Test::Btf => Path::new("/sys/kernel/btf/vmlinux").exists(),
        Test::Program(kind) => is_program_supported(kind).unwrap_or(false),
        Test::Map(kind) => is_map_supported(kind).unwrap_or(false),
        Test::Tcx => !clsact::is_needed(),
        Test::DatagramSockets => lists_datagram_sockets().unwrap_or(false),
        Test::Landlock(version) => sys::landlock_version() >= version,
        Test::Unseen => true,
    }
}

/// Asks for the UDP sockets in no state at all: where nobody could list them that is an error.
fn lists_datagram_sockets() -> rustix::io::Result<bool> {
    /// `SOCK_DIAG_BY_FAMILY` and `NLM_F_REQUEST | NLM_F_DUMP`.
    const KIND: u16 = 20;
    const FLAGS: u16 = 0x301;
    const DONE: u16 = 3;
    let (inet, udp) = (2, 17);
    // `struct nlmsghdr`, then `struct inet_diag_req_v2`.
    let mut request = [0_u8; 16 + 56];
    request[..4].copy_from_slice(&(16_u32 + 56).to_ne_bytes());
    request[4..6].copy_from_slice(&KIND.to_ne_bytes());
    request[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
    request[16..18].copy_from_slice(&[inet, udp]);
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(rustix::net::netlink::SOCK_DIAG),
    )?;
    send(&socket, &request, SendFlags::empty())?;
    let mut answer = [0_u8; 4096];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let kind = answer[..length].get(4..6).and_then(|it| it.try_into().ok()).map(u16::from_ne_bytes);
    Ok(kind == Some(DONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_names_the_feature_the_kernel_that_has_it_and_what_then() {
        for feature in &KERNEL_FEATURES {
            let text = feature.lack();
            assert!(text.contains(feature.name) && text.contains(feature.since), "{text}");
        }
    }

    /// Debian's kernels and those that Wabe is developed on do.
    #[test]
    fn this_kernel_lists_udp_sockets() {
        assert_eq!(lists_datagram_sockets(), Ok(true));
    }

    #[test]
    fn every_feature_is_either_needed_or_done_without() {
        let needed = probe();
        for feature in lacking() {
            assert!(needed.iter().all(|it| it.name != feature.name), "{}", feature.name);
        }
    }
}
