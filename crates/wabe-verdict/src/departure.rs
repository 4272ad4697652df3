//! Packets at the node's side of an interface: what may leave a workload and which way, and what may come in from the
//! host.

use wabe_abi::{Config, DropReason, Ip, VethRecord, config_flag};

use crate::Tables;

/// What becomes of a packet that leaves a workload.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Straight to the workload behind this interface.
    ShortCut {
        /// The interface's index in the node's namespace.
        interface: u32,
    },
    /// Through the node's own stack.
    Stack,
    /// Dropped.
    Refuse(DropReason),
}

/// Decides on a packet that leaves a workload through the interface `veth`.
///
/// The short cut needs nothing but the destination: whether the connection may be is decided by `connect` and
/// `sk_lookup`, which packets can't get round. Costs two or three look-ups.
#[inline(always)]
pub fn departure<T: Tables>(
    tables: &T,
    veth: &VethRecord,
    mac: [u8; 6],
    source: &Ip,
    destination: &Ip,
) -> Departure {
    if let Some(reason) = refuse_source(veth, mac, source) {
        return Departure::Refuse(reason);
    }
    match tables.config() {
        Some(config) if config.flags & config_flag::SHORT_CUT != 0 => {}
        Some(_) | None => return Departure::Stack,
    }
    match tables.workload_at(destination).and_then(|id| tables.workload(id)) {
        Some(record) if record.interface != 0 => Departure::ShortCut { interface: record.interface },
        Some(_) | None => Departure::Stack,
    }
}

/// Why a packet with this source may not leave a workload through its interface; `None` if it may.
#[inline(always)]
fn refuse_source(veth: &VethRecord, mac: [u8; 6], source: &Ip) -> Option<DropReason> {
    if *source != veth.v4 && *source != veth.v6 {
        // What a kernel says by itself about multicast groups and routers; nobody forged anything.
        let harmless = source.is_link_scoped() || source.is_unspecified();
        return Some(if harmless { DropReason::LinkScoped } else { DropReason::ForgedSource });
    }
    if mac == veth.mac() { None } else { Some(DropReason::ForgedSource) }
}

/// Why a packet with this source may not come in from the host; `None` if it may. The mesh's own addresses are inside,
/// except the host's.
#[must_use]
#[inline(always)]
pub fn refuse_arrival(config: &Config, source: &Ip) -> Option<DropReason> {
    let inside = config.workloads_v4.contains(source)
        || config.workloads_v6.contains(source)
        || config.services_v4.contains(source)
        || config.services_v6.contains(source);
    let is_host = *source == config.host_v4 || *source == config.host_v6;
    (inside && !is_host).then_some(DropReason::ForgedSource)
}

#[cfg(test)]
mod tests {
    use wabe_abi::Prefix;

    use super::*;
    use crate::fake::{Fake, ip};

    const VETH_1: [u8; 6] = [0x02, 0x77, 10, 8, 1, 1];

    fn veth() -> VethRecord {
        VethRecord { v4: ip("10.8.1.1"), v6: ip("fd08::1"), workload: 1, reserved: 0 }
    }

    fn with_short_cut() -> Fake {
        let mut tables = Fake::two_workloads();
        tables.config.flags |= config_flag::SHORT_CUT;
        tables
    }

    fn goes(tables: &Fake, source: &str, destination: &str) -> Departure {
        departure(tables, &veth(), VETH_1, &ip(source), &ip(destination))
    }

    #[test]
    fn only_its_own_addresses_leave_a_workload() {
        for (source, reason) in [
            ("10.8.1.2", DropReason::ForgedSource),
            ("fd08::2", DropReason::ForgedSource),
            ("0.0.0.0", DropReason::LinkScoped),
            ("::", DropReason::LinkScoped),
            ("fe80::1", DropReason::LinkScoped),
        ] {
            assert_eq!(goes(&with_short_cut(), source, "10.8.1.2"), Departure::Refuse(reason), "{source}");
        }
    }

    #[test]
    fn only_its_own_mac_address_leaves_a_workload() {
        for place in 0..6 {
            let mut mac = VETH_1;
            mac[place] ^= 1;
            let outcome = departure(&with_short_cut(), &veth(), mac, &ip("10.8.1.1"), &ip("10.8.1.2"));
            assert_eq!(outcome, Departure::Refuse(DropReason::ForgedSource), "{mac:x?}");
        }
    }

    #[test]
    fn the_way_of_a_packet() {
        let short = Departure::ShortCut { interface: 102 };
        for (source, destination, expected) in [
            ("10.8.1.1", "10.8.1.2", short),
            ("fd08::1", "fd08::2", short),
            ("10.8.1.1", "10.8.1.77", Departure::Stack),
            ("10.8.1.1", "192.0.2.1", Departure::Stack),
            ("10.8.1.1", "10.8.0.1", Departure::Stack),
        ] {
            assert_eq!(goes(&with_short_cut(), source, destination), expected, "{source} to {destination}");
        }
    }

    #[test]
    fn the_short_cut_can_be_switched_off_and_needs_an_interface() {
        assert_eq!(goes(&Fake::two_workloads(), "10.8.1.1", "10.8.1.2"), Departure::Stack);
        let mut tables = with_short_cut();
        tables.workloads.get_mut(&2).expect("workload").interface = 0;
        assert_eq!(goes(&tables, "10.8.1.1", "10.8.1.2"), Departure::Stack);
    }

    #[test]
    fn nothing_of_the_mesh_comes_in_from_the_host_but_the_host() {
        let range = |text: &str, bits| Prefix::new(text.parse().expect("address"), bits);
        let config = Config {
            host_v4: ip("10.8.0.3"),
            host_v6: ip("fd08::a:3"),
            workloads_v4: range("10.8.0.0", 16),
            workloads_v6: range("fd08::", 64),
            services_v4: range("10.9.0.0", 16),
            services_v6: range("fd09::", 64),
            ..Config::default()
        };
        for (source, reason) in [
            ("10.8.0.3", None),
            ("fd08::a:3", None),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
            ("10.8.1.1", Some(DropReason::ForgedSource)),
            ("10.9.0.1", Some(DropReason::ForgedSource)),
            ("fd08::1", Some(DropReason::ForgedSource)),
            ("fd09::1", Some(DropReason::ForgedSource)),
        ] {
            assert_eq!(refuse_arrival(&config, &ip(source)), reason, "{source}");
        }
    }
}
