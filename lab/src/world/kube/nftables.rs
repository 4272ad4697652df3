//! The nftables mode: one look-up in a map finds the service's chain, another the endpoint's.

use super::{PODS, Service, letters, line};

/// Everything, for `nft -f`.
pub(crate) fn table(services: &[Service]) -> String {
    let mut text = String::from("table ip kube-proxy {\n");
    for service in services {
        for index in 0..service.endpoints.len() {
            endpoint(&mut text, service, index);
        }
        line(&mut text, format_args!("chain {} {{", chain(service)));
        for rule in rules(service) {
            line(&mut text, format_args!("  {rule}"));
        }
        text += "}\n";
    }
    text += "map service-ips {\n  type ipv4_addr . inet_proto . inet_service : verdict\n";
    if !services.is_empty() {
        text += "  elements = {\n";
        for service in services {
            let Service { address, protocol, port, .. } = service;
            line(&mut text, format_args!("    {address} . {protocol} . {port} : goto {},", chain(service)));
        }
        text += "  }\n";
    }
    text += "}
chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
chain masquerading {
  meta mark & 0x4000 == 0 return
  meta mark set meta mark xor 0x4000
  masquerade fully-random
}
chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
chain nat-output { type nat hook output priority -100; policy accept; jump services; }
chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }
chain filter-forward {
  type filter hook forward priority -110; policy accept;
  ct state invalid drop
  meta mark & 0x4000 == 0x4000 accept
  ct state related,established accept
}
}
";
    text
}

/// What kube-proxy hands to `nft -f` when endpoints of one service changed. `old` is the service as it was.
pub(crate) fn one_change(old: &Service, new: &Service) -> String {
    let mut text = String::new();
    let chains = |service: &Service| -> Vec<String> {
        (0..service.endpoints.len()).map(|it| endpoint_chain(service, it)).collect()
    };
    let (old_chains, new_chains) = (chains(old), chains(new));
    for (index, its) in new_chains.iter().enumerate().filter(|(_, it)| !old_chains.contains(it)) {
        line(&mut text, format_args!("add chain ip kube-proxy {its}"));
        for rule in endpoint_rules(new, index) {
            line(&mut text, format_args!("add rule ip kube-proxy {its} {rule}"));
        }
    }
    line(&mut text, format_args!("flush chain ip kube-proxy {}", chain(new)));
    for rule in rules(new) {
        line(&mut text, format_args!("add rule ip kube-proxy {} {rule}", chain(new)));
    }
    for its in old_chains.iter().filter(|it| !new_chains.contains(it)) {
        line(&mut text, format_args!("flush chain ip kube-proxy {its}"));
        line(&mut text, format_args!("delete chain ip kube-proxy {its}"));
    }
    text
}

fn rules(service: &Service) -> Vec<String> {
    let Service { address, protocol, port, endpoints, .. } = service;
    let choices: Vec<String> =
        (0..endpoints.len()).map(|it| format!("{it} : goto {}", endpoint_chain(service, it))).collect();
    let mut rules = vec![format!(
        "ip daddr {address} {protocol} dport {port} ip saddr != {PODS} jump mark-for-masquerade"
    )];
    if !choices.is_empty() {
        rules.push(format!("numgen random mod {} vmap {{ {} }}", choices.len(), choices.join(", ")));
    }
    rules
}

fn endpoint(text: &mut String, service: &Service, index: usize) {
    line(text, format_args!("chain {} {{", endpoint_chain(service, index)));
    for rule in endpoint_rules(service, index) {
        line(text, format_args!("  {rule}"));
    }
    *text += "}\n";
}

fn endpoint_rules(service: &Service, index: usize) -> [String; 2] {
    let (to, port) = service.endpoints[index];
    [
        format!("ip saddr {to} jump mark-for-masquerade"),
        format!("meta l4proto {} dnat to {to}:{port}", service.protocol),
    ]
}

fn chain(service: &Service) -> String {
    format!("service-{}", letters(&[&service.name, service.protocol]))
}

fn endpoint_chain(service: &Service, index: usize) -> String {
    let (address, port) = service.endpoints[index];
    format!("endpoint-{}", letters(&[&service.name, service.protocol, &format!("{address}:{port}")]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::kube::{Flood, changed, flood};

    #[test]
    fn a_service_is_found_by_one_look_up_and_its_endpoints_by_another() {
        let services: Vec<Service> = flood(Flood { services: 2, endpoints: 3 }).collect();
        let text = table(&services);
        assert_eq!(text.matches(" . tcp . 80 : goto service-").count(), 2, "{text}");
        assert_eq!(text.matches("numgen random mod 3 vmap").count(), 2, "{text}");
        assert_eq!(text.matches("dnat to 10.128.").count(), 6, "{text}");
    }

    #[test]
    fn a_change_adds_one_endpoint_and_removes_one() {
        let size = Flood { services: 2, endpoints: 3 };
        let text = one_change(&flood(size).next().expect("a flood"), &changed(size, 9).expect("a flood"));
        assert_eq!(
            (text.matches("add chain").count(), text.matches("delete chain").count()),
            (1, 1),
            "{text}"
        );
    }
}
