//! Every arm for real: does what is asked for arrive, by the path that the arm is named after? Needs root.

use super::*;
use crate::{place::command::run, tests::place, tools};

const SMALL: Flood = Flood { services: 5, endpoints: 4 };

fn curl(world: &World, words: &[&str], url: &str) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code} %{size_download}"])
        .args(words)
        .arg(url);
    run(&mut world.client(&curl)?)
}

fn up(place: &Place, arm: Arm) -> World {
    let envoy = arm.has_sidecars().then(|| tools::envoy(Place::peers()).expect("Envoy").path);
    World::up(place, arm, SMALL, envoy.as_deref()).expect("an arm")
}

#[test]
fn every_arm_answers_with_what_was_asked_for() {
    let place = place();
    for arm in crate::available::built() {
        let mut world = up(&place, arm);
        let at = |world: &World, target| world.url(target).expect("an address");
        assert_eq!(curl(&world, &[], &at(&world, Target::Http)).expect("curl"), "200 64", "{}", arm.name());
        let big = curl(&world, &[], &at(&world, Target::Sized(1_048_576))).expect("curl");
        assert_eq!(big, "200 1048576", "{}", arm.name());
        if !arm.has_sidecars() {
            let http2 = curl(&world, &["--http2-prior-knowledge"], &at(&world, Target::Http2)).expect("curl");
            assert_eq!(http2, "200 64", "{}", arm.name());
        }
        let counters = world.counters().expect("counters").unwrap_or_default();
        let [redirected, moved] = [counters.redirected, counters.moved].map(|it| it > 0);
        let by_ebpf = matches!(arm, Arm::SidecarEbpf | Arm::SidecarEbpfSockmap);
        let by_sockets = matches!(arm, Arm::SidecarEbpfSockmap | Arm::Sockmap);
        assert_eq!((redirected, moved), (by_ebpf, by_sockets), "{}: {counters:?}", arm.name());
        if by_ebpf {
            assert!(counters.steered > 0 && counters.answered >= 2 && counters.refused == 0, "{counters:?}");
        }
        let changed = world.change().expect("a change");
        assert_eq!(changed.is_some(), arm.has_rules(), "{}", arm.name());
        assert_eq!(
            curl(&world, &[], &at(&world, Target::Http)).expect("curl"),
            "200 64",
            "after a change: {}",
            arm.name()
        );
        if let Some(facts) = &world.facts {
            assert!(facts.count > 20 && facts.programmed >= 0.0, "{facts:?}");
        }
        world.alive().expect("everyone is alive");
    }
}

#[test]
#[ignore = "few kernels have IPVS: `cargo xtask kernel61` runs it on one that does"]
fn ipvs_leads_from_the_service_address_to_the_server() {
    let place = place();
    let mut world = up(&place, Arm::KubeProxyIpvs);
    let led = |world: &World| world.led_by_ipvs().expect("statistics").expect("IPVS counts");
    assert_eq!(led(&world), 0, "nobody has called yet");
    let url = world.url(Target::Http).expect("an address");
    assert!(url.contains(&pods::SERVICE.to_string()), "{url} is not the service's address");
    for change in [false, true] {
        if change {
            world.change().expect("a change").expect("something to change");
        }
        let before = led(&world);
        let words = ["lab", "load", &url, "--closed", "--duration", "200ms", "-o", "json"];
        let load = run(&mut world.client(Command::new(place.program()).args(words)).expect("a client"));
        let load: serde_json::Value = serde_json::from_str(&load.expect("a load")).expect("JSON");
        assert!(load["answered"].as_u64() > Some(0) && load["failed"] == serde_json::json!({}), "{load}");
        let packets = led(&world) - before;
        assert!(
            packets >= load["answered"].as_u64().expect("a number"),
            "IPVS saw {packets} packets: {load}"
        );
    }
    let facts = world.facts.as_ref().expect("facts");
    // A virtual server for each service, the three measured ones too, a real one for each endpoint.
    let servers = 5 + 3 + 5 * 4 + 3;
    assert!(facts.count > servers && facts.changed.is_some(), "{facts:?}");
    world.alive().expect("everyone is alive");
}

#[test]
fn sidecars_let_nothing_through_but_the_clients_get_on_one_path() {
    let place = place();
    for arm in crate::available::built().into_iter().filter(|it| it.has_sidecars()) {
        let world = up(&place, arm);
        let url = world.url(Target::Http).expect("an address");
        let elsewhere = url.replace("/get", "/bytes-64");
        for (words, url, expected) in
            [(&["-X", "DELETE"][..], &url, "403"), (&[], &elsewhere, "403"), (&[], &url, "200")]
        {
            let told = curl(&world, words, url).expect("curl");
            assert!(told.starts_with(expected), "{}: {words:?} {url}: {told}", arm.name());
        }
        // Without a certificate, from the node: not even a connection for plain text.
        let Inside::Pods { pods, .. } = &world.inside else { unreachable!("sidecars are in pods") };
        let direct = format!("http://{}:{}/get", pods::SERVER, server::HTTP);
        let told = pods.run_in(End::Node, &["curl", "-s", "-m", "5", &direct], None);
        assert!(told.is_err(), "{}: plain text got through: {told:?}", arm.name());
    }
}

#[test]
fn nothing_is_left_when_an_arm_is_gone() {
    let place = place();
    let namespaces = || {
        let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|it| it.file_name());
        names.filter(|it| it.to_string_lossy().starts_with("wabe-lab-")).count()
    };
    let world = up(&place, Arm::KubeProxyNftables);
    assert_eq!(namespaces(), 3);
    let Inside::Pods { pods, .. } = &world.inside else { unreachable!("kube-proxy is in pods") };
    let cgroup = pods.all().path().to_owned();
    assert!(cgroup.exists());
    drop(world);
    assert_eq!((namespaces(), cgroup.exists()), (0, false));
}
