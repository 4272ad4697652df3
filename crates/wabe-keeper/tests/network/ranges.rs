//! Finding ranges on a host with routes.

use wabe_keeper::ranges::{self, Wanted};

use super::world::{file, ip, mesh, on_a_host};

#[test]
fn routes_addresses_and_meshes_are_avoided() {
    on_a_host(|| {
        ip("link add here type veth peer name there");
        ip("link set here up");
        ip("route add default dev here");
        ip("route add 0.0.0.0/1 dev here");
        // The file's ranges are 10.128 and 10.129.
        ip("address add 10.130.3.4/24 dev there");
        ip("route add 10.131.7.0/24 dev here table 77");
        ip("route add blackhole 10.132.0.0/15");
        ip("-6 address add fd77:6162:6502::5/80 dev there nodad");
        let ranges = ranges::find(&[file(&mesh())], &Wanted::default()).unwrap();
        assert_eq!(ranges.workloads_v4.to_string(), "10.134.0.0/16");
        assert_eq!(ranges.services_v4.to_string(), "10.136.0.0/15");
        assert_eq!(ranges.workloads_v6.to_string(), "fd77:6162:6503::/64");
        assert_eq!(ranges.services_v6.to_string(), "fd77:6162:6504::/64");
    });
}

#[test]
fn a_wanted_range_in_use_names_who_uses_it() {
    on_a_host(|| {
        ip("link add tun9 type veth peer name there");
        ip("link set tun9 up");
        ip("route add 10.60.0.0/14 dev tun9");
        let wanted = Wanted { workloads_v4: Some("10.61.0.0/16".parse().unwrap()), ..Wanted::default() };
        let error = ranges::find(&[], &wanted).unwrap_err().to_string();
        assert!(error.contains("10.60.0.0/14") && error.contains("route by tun9"), "{error}");
        let mesh = file(&mesh());
        let wanted = Wanted { services_v4: Some("10.128.0.0/17".parse().unwrap()), ..Wanted::default() };
        let error = ranges::find(std::slice::from_ref(&mesh), &wanted).unwrap_err().to_string();
        assert!(error.contains(&format!("the mesh `{}`", mesh.name)), "{error}");
    });
}
