//! `explain` against reality: many random connections under many random policies, explained and then made.

use std::{collections::BTreeMap, env, net::IpAddr};

use serde_json::Value;
use wabe_abi::DropReason;
use wabe_tests::{eventually, status::named, testkit::TestMesh};

use super::{
    explain,
    generate::{PORTS, Random, SERVICES, WORKLOADS, mesh, policies},
};

const SETS: u64 = 50;
/// For each set and workload; altogether 50 x 8 x 5.
const DESTINATIONS: usize = 5;

#[test]
fn agrees_with_two_thousand_random_connections() {
    let seed = env::var("WABE_TEST_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    let mesh = TestMesh::up(&mesh());
    let world = World::of(&mesh);
    world.until_all_listen(&mesh);
    let mut tally = Tally::default();
    for set in 0..SETS {
        let mut random = Random::new(seed * SETS + set);
        let policies = policies(&mut random, &world.workload_addresses());
        let applied = mesh.apply(&policies);
        assert!(applied.status.success(), "seed {seed}, set {set}: {applied}\n{policies}");
        for workload in WORKLOADS {
            let targets: Vec<String> =
                (0..DESTINATIONS).map(|_| world.target(&mut random, workload)).collect();
            let explained: Vec<_> = targets.iter().map(|target| explain(&mesh, workload, target)).collect();
            let words: Vec<&str> =
                ["connect-each"].into_iter().chain(targets.iter().map(String::as_str)).collect();
            let made = mesh.testbox(workload, &words).success().json_lines();
            assert_eq!(made.len(), targets.len());
            for (explained, made) in explained.iter().zip(&made) {
                if let Err(difference) = tally.compare(&world, workload, explained, made) {
                    let place = format!("seed {seed}, set {set}: {workload} -> {}", made["target"]);
                    tally
                        .differences
                        .push(format!("{place}: {difference}\n{explained:#}\n{made}\n{policies}"));
                }
            }
        }
    }
    eprintln!("explained and made: {:?}", tally.counts);
    let differences = &tally.differences;
    assert!(differences.is_empty(), "{} differences; the first: {}", differences.len(), differences[0]);
    // That it was worth it: every kind of outcome occurred.
    for kind in ["answered", "EPERM", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "depends"] {
        assert!(tally.counts.get(kind).is_some_and(|it| *it >= 10), "{kind}: {:?}", tally.counts);
    }
    mesh.down();
}

/// What there is to connect to.
struct World {
    /// Addresses by workload, IPv4 first.
    workloads: BTreeMap<&'static str, Vec<String>>,
    /// Virtual addresses by service.
    services: Vec<Vec<String>>,
}

impl World {
    fn of(mesh: &TestMesh) -> Self {
        let status = mesh.json(&["status"]);
        let texts = |list: &Value| -> Vec<String> {
            list.as_array()
                .expect("a list")
                .iter()
                .map(|it| it.as_str().expect("an address").into())
                .collect()
        };
        let workload = |name| {
            let workload = named(&status["workloads"], name);
            (name, texts(&workload["instances"][0]["addresses"]))
        };
        Self {
            workloads: WORKLOADS.into_iter().map(workload).collect(),
            services: SERVICES.map(|(name, _)| texts(&named(&status["services"], name)["addresses"])).into(),
        }
    }

    fn workload_addresses(&self) -> Vec<String> {
        self.workloads.values().flatten().cloned().collect()
    }

    /// Readiness looks at one of two ports only.
    fn until_all_listen(&self, mesh: &TestMesh) {
        for workload in WORKLOADS {
            eventually(&format!("{workload} listens"), || {
                let said =
                    mesh.testbox(workload, &["connect-each", "127.0.0.1:8080", "127.0.0.1:9090"]).success();
                said.json_lines().iter().all(|it| it["first"].is_string()).then_some(())
            });
        }
    }

    /// A random destination for this workload: mostly services and other workloads, by IPv4, IPv6 or IPv4 as IPv6.
    fn target(&self, random: &mut Random, workload: &str) -> String {
        let (address, ports): (String, &[u16]) = match random.number(20) {
            0..=7 => {
                let service = random.one(&self.services).clone();
                (random.one(&service).clone(), if random.chance(90) { &[80, 90] } else { &[81, 8080] })
            }
            8..=15 => {
                let other = *random.one(&WORKLOADS);
                (random.one(&self.workloads[other]).clone(), &PORTS)
            }
            16 => (random.one(&self.workloads[workload]).clone(), &PORTS),
            17 => ((*random.one(&["127.0.0.1", "::1"])).into(), &PORTS),
            18 => (self.nobodys(random), &[8080]),
            _ => ((*random.one(&["192.0.2.1", "2001:db8::1", "224.0.0.9"])).into(), &[80]),
        };
        let port = *random.one(ports);
        match address.parse().expect("an address") {
            IpAddr::V4(v4) if random.chance(25) => format!("[{}]:{port}", v4.to_ipv6_mapped()),
            address @ (IpAddr::V4(_) | IpAddr::V6(_)) => std::net::SocketAddr::new(address, port).to_string(),
        }
    }

    /// An address of the mesh that belongs to nobody: far behind those in use.
    fn nobodys(&self, random: &mut Random) -> String {
        let lists: Vec<&Vec<String>> = self.workloads.values().chain(&self.services).collect();
        match random.one(random_list(&lists)).parse().expect("an address") {
            IpAddr::V4(v4) => {
                let [a, b, _, _] = v4.octets();
                format!("{a}.{b}.15.201")
            }
            IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6) | 0xffff).to_string(),
        }
    }

    fn owner(&self, address: IpAddr) -> Option<&'static str> {
        let has = |list: &[String]| list.iter().any(|it| it.parse() == Ok(address.to_canonical()));
        self.workloads.iter().find(|(_, list)| has(list)).map(|(name, _)| *name)
    }
}

fn random_list<'a>(lists: &'a [&'a Vec<String>]) -> &'a [String] {
    lists.first().map_or(&[], |it| it.as_slice())
}

#[derive(Default)]
struct Tally {
    counts: BTreeMap<String, usize>,
    differences: Vec<String>,
}

impl Tally {
    /// Whether what was explained is what was met; if not, why not.
    fn compare(
        &mut self,
        world: &World,
        caller: &str,
        explained: &Value,
        made: &Value,
    ) -> Result<(), String> {
        let verdict = explained["verdict"].as_str().ok_or("no verdict")?;
        let errno = made["errno"].as_str();
        let outcome = errno.unwrap_or("answered");
        *self.counts.entry(outcome.into()).or_default() += 1;
        match verdict {
            "refused" => {
                let number = explained["errno"].as_i64().ok_or("no errno")?;
                let reason = reason(&explained["reason"])?;
                if i64::from(reason.errno()) != number {
                    return Err(format!("reason and errno differ: {reason:?}, {number}"));
                }
                same_error(reason, errno)
            }
            "allowed" => Self::reached(world, caller, explained, made),
            "depends" => {
                *self.counts.entry("depends".into()).or_default() += 1;
                let endpoints = explained["candidates"].as_array().ok_or("no candidates")?;
                if errno.is_none() {
                    return Self::reached(world, caller, explained, made);
                }
                let refusing = endpoints.iter().filter(|it| it["verdict"] == "refused");
                let mut reasons = refusing.map(|it| reason(&it["reason"]));
                match reasons.any(|it| it.is_ok_and(|reason| same_error(reason, errno).is_ok())) {
                    true => Ok(()),
                    false => Err(format!("{errno:?} fits no endpoint that refuses")),
                }
            }
            other => Err(format!("unknown verdict {other}")),
        }
    }

    /// The connection was let through: somebody answered who might have, or nobody listens there.
    fn reached(world: &World, caller: &str, explained: &Value, made: &Value) -> Result<(), String> {
        let address: IpAddr = text(&explained["dialled"])?.parse().map_err(|_| "no address")?;
        let port = explained["port"].as_u64().ok_or("no port")?;
        let direct = match (explained["lane"].as_str(), world.owner(address)) {
            (_, Some(owner)) => vec![(owner.to_owned(), port)],
            (Some("local"), None) => vec![(caller.to_owned(), port)],
            _ => Vec::new(),
        };
        let endpoint = |it: &Value| -> Option<(String, u64)> {
            let allowed = it["verdict"] == "allowed";
            let owner = world.owner(it["address"].as_str()?.parse().ok()?)?;
            allowed.then_some((owner.to_owned(), it["port"].as_u64()?))
        };
        let mut places: Vec<_> =
            explained["candidates"].as_array().ok_or("no candidates")?.iter().filter_map(endpoint).collect();
        places.extend(direct);
        let listens = |port: &u64| *port == 8080 || *port == 9090;
        match (made["first"].as_str(), made["errno"].as_str()) {
            (Some(first), _) => {
                let expected = |(owner, port): &(String, u64)| {
                    listens(port)
                        && Some(first) == owner.split('/').nth(1).map(|it| format!("{it}/0")).as_deref()
                };
                if places.iter().any(expected) {
                    Ok(())
                } else {
                    Err(format!("{first} answered, not {places:?}"))
                }
            }
            (None, Some("ECONNREFUSED")) if places.iter().any(|(_, port)| !listens(port)) => Ok(()),
            (None, errno) => Err(format!("{errno:?} instead of an answer from {places:?}")),
        }
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("{value} is no text"))
}

fn reason(name: &Value) -> Result<DropReason, String> {
    let name = text(name)?;
    DropReason::ALL
        .iter()
        .copied()
        .find(|it| it.name() == name)
        .ok_or_else(|| format!("unknown reason {name}"))
}

fn same_error(reason: DropReason, errno: Option<&str>) -> Result<(), String> {
    let expected = match reason.errno() {
        1 => "EPERM",
        11 => "EAGAIN",
        93 => "EPROTONOSUPPORT",
        101 => "ENETUNREACH",
        111 => "ECONNREFUSED",
        113 => "EHOSTUNREACH",
        other => return Err(format!("{reason:?} has the unknown error number {other}")),
    };
    if errno == Some(expected) {
        Ok(())
    } else {
        Err(format!("{errno:?} instead of {expected} for {reason:?}"))
    }
}
