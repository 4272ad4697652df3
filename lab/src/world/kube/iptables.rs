//! The iptables mode: a chain of services walked in order, a chain each service, a chain each endpoint.

use super::{PODS, Service, letters, line};

/// Everything, for `iptables-restore`.
pub(crate) fn chains(services: &[Service]) -> String {
    let mut text = String::from(
        "*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED \
         -j ACCEPT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
",
    );
    for service in services {
        line(&mut text, format_args!(":{} - [0:0]", chain(service)));
        for endpoint in 0..service.endpoints.len() {
            line(&mut text, format_args!(":{} - [0:0]", endpoint_chain(service, endpoint)));
        }
    }
    text += "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
";
    for service in services {
        let Service { name, address, protocol, port, .. } = service;
        line(
            &mut text,
            format_args!(
                "-A KUBE-SERVICES -d {address}/32 -p {protocol} -m comment --comment \"{name} cluster IP\" -m {protocol} \
                 --dport {port} -j {}",
                chain(service)
            ),
        );
    }
    // The last, as kube-proxy has it.
    text += "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this \
             chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n";
    for service in services {
        rules(&mut text, service);
    }
    text + "COMMIT\n"
}

/// What kube-proxy restores with `--noflush` when endpoints of one service changed: its chain, and its endpoints'. `old` is
/// the service as it was.
pub(crate) fn one_change(old: &Service, new: &Service) -> String {
    let mut text = String::from("*nat\n");
    let chains = |service: &Service| -> Vec<String> {
        (0..service.endpoints.len()).map(|it| endpoint_chain(service, it)).collect()
    };
    let (old_chains, new_chains) = (chains(old), chains(new));
    let gone = old_chains.iter().filter(|it| !new_chains.contains(it));
    line(&mut text, format_args!(":{} - [0:0]", chain(new)));
    for chain in new_chains.iter().chain(gone.clone()) {
        line(&mut text, format_args!(":{chain} - [0:0]"));
    }
    rules(&mut text, new);
    for chain in gone {
        line(&mut text, format_args!("-X {chain}"));
    }
    text + "COMMIT\n"
}

/// A service's own chain and its endpoints'.
fn rules(text: &mut String, service: &Service) {
    let Service { name, address, protocol, port, endpoints } = service;
    let own = chain(service);
    line(
        text,
        format_args!(
            "-A {own} ! -s {PODS} -d {address}/32 -p {protocol} -m comment --comment \"{name} cluster IP\" -m {protocol} \
             --dport {port} -j KUBE-MARK-MASQ"
        ),
    );
    for (index, (to, to_port)) in endpoints.iter().enumerate() {
        let left = endpoints.len() - index;
        // Each of those left with the same probability; the last takes what comes.
        let chance = if left > 1 {
            format!(" -m statistic --mode random --probability {:.10}", 1.0 / left as f64)
        } else {
            String::new()
        };
        let its = endpoint_chain(service, index);
        line(
            text,
            format_args!("-A {own} -m comment --comment \"{name} -> {to}:{to_port}\"{chance} -j {its}"),
        );
        line(text, format_args!("-A {its} -s {to}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ"));
        line(
            text,
            format_args!(
                "-A {its} -p {protocol} -m comment --comment \"{name}\" -m {protocol} -j DNAT --to-destination \
                 {to}:{to_port}"
            ),
        );
    }
}

fn chain(service: &Service) -> String {
    format!("KUBE-SVC-{}", letters(&[&service.name, service.protocol]))
}

fn endpoint_chain(service: &Service, index: usize) -> String {
    let (address, port) = service.endpoints[index];
    format!("KUBE-SEP-{}", letters(&[&service.name, service.protocol, &format!("{address}:{port}")]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::kube::{Flood, all, changed, flood};

    /// Rules and chains, as the thesis counts the lines of `iptables-save`.
    fn count(text: &str) -> usize {
        text.lines().filter(|line| line.starts_with(':') || line.starts_with("-A")).count()
    }

    #[test]
    fn the_thesis_flood_gives_the_thesis_number_of_rules() {
        let services = all(&[], Flood { services: 500, endpoints: 50 });
        // The thesis counted 101 806 with the rules of its cluster besides: 4 for each endpoint and 3 for each service.
        assert_eq!(count(&chains(&services)) - count(&chains(&[])), 500 * 50 * 4 + 500 * 3);
    }

    #[test]
    fn every_endpoint_has_the_same_chance() {
        let services: Vec<Service> = flood(Flood { services: 1, endpoints: 3 }).collect();
        let text = chains(&services);
        let chances: Vec<&str> = text
            .lines()
            .filter_map(|it| it.split_once("--probability "))
            .filter_map(|it| it.1.split(' ').next())
            .collect();
        assert_eq!(chances, ["0.3333333333", "0.5000000000"]);
    }

    #[test]
    fn a_change_names_new_chains_and_removes_the_old_one() {
        let size = Flood { services: 2, endpoints: 2 };
        let old = flood(size).next().expect("a flood");
        let new = changed(size, 1).expect("a flood");
        let text = one_change(&old, &new);
        assert_eq!(text.matches("\n-X KUBE-SEP-").count(), 1, "{text}");
        assert_eq!(text.matches("-j DNAT").count(), 2, "{text}");
        assert!(text.contains("--to-destination 10.254.0.1:8080"), "{text}");
    }
}
