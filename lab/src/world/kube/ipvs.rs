//! The IPVS mode: a virtual server for each service with a real server for each endpoint, the addresses of all services on
//! an interface of the node, and a fixed number of rules that look addresses up in sets (Kubernetes 1.31,
//! pkg/proxy/ipvs/proxier.go). Pure.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{PODS, Service, line};

/// The interface with the addresses, down as kube-proxy leaves it: the kernel takes them for its own all the same.
const INTERFACE: &str = "kube-ipvs0";

/// What kube-proxy sets, below /proc/sys/net/ipv4/vs: connections of IPVS are tracked by conntrack too, and those to an
/// endpoint that went end with it.
pub(crate) const SETTINGS: [&str; 3] = ["conntrack", "expire_nodest_conn", "expire_quiescent_template"];

/// The pods of this node: calls of theirs that come back to themselves need an address in between.
const LOCAL: [u8; 3] = [10, 255, 0];

/// For `ip -batch -`: the interface and its addresses.
pub(crate) fn addresses(services: &[Service]) -> String {
    let mut text = format!("link add {INTERFACE} type dummy\n");
    for address in distinct(services) {
        line(&mut text, format_args!("address add {address}/32 dev {INTERFACE}"));
    }
    text
}

/// For `ipvsadm --restore`: all services, each endpoint in turn, by NAT.
pub(crate) fn servers(services: &[Service]) -> String {
    let mut text = String::new();
    for service in services {
        line(&mut text, format_args!("-A {} -s rr", server(service)));
        for endpoint in &service.endpoints {
            add(&mut text, service, *endpoint);
        }
    }
    text
}

/// What kube-proxy does when endpoints of one service changed, for `ipvsadm --restore`. `old` is the service as it was. One
/// that goes without an open connection goes at once.
pub(crate) fn one_change(old: &Service, new: &Service) -> String {
    let mut text = String::new();
    for endpoint in new.endpoints.iter().filter(|it| !old.endpoints.contains(it)) {
        add(&mut text, new, *endpoint);
    }
    for (to, port) in old.endpoints.iter().filter(|it| !new.endpoints.contains(it)) {
        line(&mut text, format_args!("-d {} -r {to}:{port}", server(new)));
    }
    text
}

/// For `ipset restore`: what the rules look up. Those of features that the lab's services lack are there and empty, as
/// packets pass them.
pub(crate) fn sets(services: &[Service]) -> String {
    let mut text = String::from(
        "create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536
create KUBE-LOAD-BALANCER hash:ip,port family inet hashsize 1024 maxelem 65536
create KUBE-EXTERNAL-IP hash:ip,port family inet hashsize 1024 maxelem 65536
create KUBE-EXTERNAL-IP-LOCAL hash:ip,port family inet hashsize 1024 maxelem 65536
create KUBE-HEALTH-CHECK-NODE-PORT bitmap:port range 0-65535
",
    );
    // Larger than kube-proxy's 65536, which a flood of as many services and the measured ones would overflow.
    let most = services.len().max(65_536);
    line(
        &mut text,
        format_args!("create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem {most}"),
    );
    line(&mut text, format_args!("create KUBE-IPVS-IPS hash:ip family inet hashsize 1024 maxelem {most}"));
    for Service { address, protocol, port, endpoints, .. } in services {
        line(&mut text, format_args!("add KUBE-CLUSTER-IP {address},{protocol}:{port}"));
        for (to, to_port) in endpoints.iter().filter(|(to, _)| to.octets()[..3] == LOCAL) {
            line(&mut text, format_args!("add KUBE-LOOP-BACK {to},{protocol}:{to_port},{to}"));
        }
    }
    for address in distinct(services) {
        line(&mut text, format_args!("add KUBE-IPVS-IPS {address}"));
    }
    text
}

/// For `iptables-restore`: kube-proxy's chains, empty, and the jumps to them.
pub(crate) const JUMPS: &str = "*filter
:KUBE-FORWARD - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-IPVS-OUT-FILTER - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m comment --comment \"kubernetes ipvs access filter\" -j KUBE-IPVS-FILTER
-A INPUT -m comment --comment \"kube-proxy firewall rules\" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment \"kubernetes health check rules\" -j KUBE-NODE-PORT
-A FORWARD -m comment --comment \"kube-proxy firewall rules\" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A OUTPUT -m comment --comment \"kubernetes ipvs access filter\" -j KUBE-IPVS-OUT-FILTER
COMMIT
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
COMMIT
";

/// For `iptables-restore --noflush`, after [`JUMPS`] and at every change, as kube-proxy does: the same number of rules for any
/// number of services.
pub(crate) fn rules() -> String {
    format!(
        "*filter
:KUBE-FORWARD - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-NODE-PORT - [0:0]
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED \
         -j ACCEPT
-A KUBE-NODE-PORT -m comment --comment \"Kubernetes health check node port\" -m set --match-set \
         KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT
-A KUBE-IPVS-FILTER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j RETURN
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT
COMMIT
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES -m comment --comment \"Kubernetes service cluster ip + port for masquerade purpose\" -m set --match-set \
         KUBE-CLUSTER-IP dst,dst ! -s {PODS} -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-POSTROUTING -m comment --comment \"Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose\" -m set \
         --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
COMMIT
"
    )
}

/// Packets that came in by any virtual server of a namespace, as its /proc/net/ip_vs_stats_percpu tells: under two lines of
/// titles a line for each processor, numbers in hexadecimal: the processor, connections, these packets, and more. A sum that
/// follows is up to two seconds old. `None` if it reads otherwise.
pub(crate) fn packets(stats: &str) -> Option<u64> {
    let lines = stats.lines().skip(2).take_while(|it| !it.trim_start().starts_with('~'));
    let mut packets = lines.map(|it| u64::from_str_radix(it.split_whitespace().nth(2)?, 16).ok());
    let first = packets.next()??;
    packets.try_fold(first, |sum, it| Some(sum + it?))
}

fn add(text: &mut String, service: &Service, (to, port): (Ipv4Addr, u16)) {
    line(text, format_args!("-a {} -r {to}:{port} -m -w 1", server(service)));
}

/// A virtual server in the words of ipvsadm(8).
fn server(service: &Service) -> String {
    let Service { address, protocol, port, .. } = service;
    let option = if *protocol == "udp" { "-u" } else { "-t" };
    format!("{option} {address}:{port}")
}

fn distinct(services: &[Service]) -> BTreeSet<Ipv4Addr> {
    services.iter().map(|it| it.address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::kube::{Flood, all, changed, flood};

    fn two_ports() -> Vec<Service> {
        let service = |protocol, port, endpoint| Service {
            name: "lab/server".to_owned(),
            address: Ipv4Addr::new(10, 96, 0, 10),
            protocol,
            port,
            endpoints: vec![(Ipv4Addr::new(10, 255, 0, 3), endpoint)],
        };
        vec![service("tcp", 80, 8080), service("udp", 9000, 9001)]
    }

    #[test]
    fn every_endpoint_is_a_real_server_of_its_service_in_turn_by_nat() {
        let text = servers(&all(&two_ports(), Flood { services: 2, endpoints: 3 }));
        assert_eq!(text.lines().filter(|it| it.starts_with("-A ") && it.ends_with(" -s rr")).count(), 4);
        assert_eq!(text.lines().filter(|it| it.starts_with("-a ") && it.ends_with(" -m -w 1")).count(), 8);
        assert!(text.contains("-A -t 10.96.0.10:80 -s rr\n-a -t 10.96.0.10:80 -r 10.255.0.3:8080 -m -w 1\n"));
        assert!(text.contains("-a -u 10.96.0.10:9000 -r 10.255.0.3:9001 -m -w 1\n"), "{text}");
    }

    #[test]
    fn services_of_one_address_share_its_place_on_the_interface() {
        let text = addresses(&two_ports());
        assert_eq!(text, "link add kube-ipvs0 type dummy\naddress add 10.96.0.10/32 dev kube-ipvs0\n");
        assert_eq!(sets(&two_ports()).matches("add KUBE-IPVS-IPS").count(), 1);
    }

    #[test]
    fn only_endpoints_on_this_node_can_come_back_to_themselves() {
        let text = sets(&all(&two_ports(), Flood { services: 3, endpoints: 2 }));
        assert_eq!(text.matches("add KUBE-CLUSTER-IP ").count(), 5, "{text}");
        assert_eq!(text.matches("add KUBE-LOOP-BACK ").count(), 2, "{text}");
        assert!(text.contains("add KUBE-LOOP-BACK 10.255.0.3,tcp:8080,10.255.0.3\n"), "{text}");
    }

    #[test]
    fn rules_and_sets_name_each_other() {
        let (sets, rules) = (sets(&[]), rules());
        let words = |text: &str, before: &str| -> BTreeSet<String> {
            let behind = text.split(before).skip(1).filter_map(|it| it.split_whitespace().next());
            behind.map(str::to_owned).collect()
        };
        assert_eq!(words(&rules, "--match-set "), words(&sets, "create "));
    }

    #[test]
    fn every_chain_that_rules_fill_is_jumped_to_and_none_is_missing() {
        let rules = rules();
        let chains: BTreeSet<&str> =
            rules.lines().filter_map(|it| it.strip_prefix(':')?.split(' ').next()).collect();
        for chain in chains {
            let jumped = format!("-j {chain}\n");
            assert!(JUMPS.contains(&jumped) || rules.contains(&jumped), "nothing leads to {chain}");
            assert!(JUMPS.contains(&format!(":{chain} ")), "{chain} is not made before it is jumped to");
        }
    }

    #[test]
    fn a_change_adds_one_real_server_and_removes_one() {
        let size = Flood { services: 2, endpoints: 2 };
        let text = one_change(&flood(size).next().expect("a flood"), &changed(size, 1).expect("a flood"));
        assert_eq!(
            text,
            "-a -t 10.100.0.0:80 -r 10.254.0.1:8080 -m -w 1\n-d -t 10.100.0.0:80 -r 10.128.0.0:8080\n"
        );
    }

    #[test]
    fn packets_are_summed_over_processors_and_what_follows_is_left_out() {
        let stats = "       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0        3       1F        0              20F                0
  1        0        1        0               20                0
  ~        2       10        0              100                0

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        0        0                0                0
";
        assert_eq!(packets(stats), Some(32));
        assert_eq!(packets("nothing of the kind"), None);
    }
}
