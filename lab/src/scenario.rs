//! The scenarios: at which points arms are loaded, and how. Pure.

use std::time::Duration;

use crate::{
    arm::Arm,
    results::{Axis, Point},
    world::{Target, kube::Flood},
};

/// The thesis' flood: 500 services of 50 pods.
pub const THESIS: Flood = Flood { services: 500, endpoints: 50 };
/// A tenth of it, for `--quick`.
const SMALL: Flood = Flood { services: 50, endpoints: 50 };

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Open loop at the thesis' rates.
    Latency,
    /// As many requests as go.
    Capacity,
    /// As many new connections as go, each with one request.
    Connections,
    /// From 64 bytes to a mebibyte.
    Sizes,
    /// More and more rules, as the thesis counts them.
    Rules,
    /// More and more services of one endpoint each: longer chains to walk for the same number of rules.
    Services,
    /// Endpoints change while new connections come.
    Churn,
    /// Ten thousand connections that do nothing, besides.
    Idle,
    /// Datagrams there and back.
    Udp,
}

/// A point, and how it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What results say of it.
    pub point: Point,
    /// What is asked for.
    pub target: Target,
    /// Requests a second; `None` for as many as go.
    pub rate: Option<f64>,
    /// Connections or sockets at once.
    pub connections: usize,
    /// A new connection for each request.
    pub fresh: bool,
    /// How often an endpoint changes meanwhile.
    pub change_every: Option<Duration>,
    /// Connections that do nothing.
    pub idle: usize,
}

impl Scenario {
    /// All, in the order in which they run.
    pub const ALL: [Self; 9] = [
        Self::Latency,
        Self::Capacity,
        Self::Connections,
        Self::Sizes,
        Self::Churn,
        Self::Idle,
        Self::Udp,
        Self::Rules,
        Self::Services,
    ];

    /// On the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Capacity => "capacity",
            Self::Connections => "connections",
            Self::Sizes => "sizes",
            Self::Rules => "rules",
            Self::Services => "services",
            Self::Churn => "churn",
            Self::Idle => "idle",
            Self::Udp => "udp",
        }
    }

    /// One line for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Latency => "latency at 200, 1 000 and 1 500 requests/s, connections kept",
            Self::Capacity => "most requests/s on 32 connections",
            Self::Connections => "most new connections/s, each with one request",
            Self::Sizes => "answers of 64 B to 1 MiB, as many as go",
            Self::Rules => "new connections with 0 to 100 000 rules (services of 50 endpoints)",
            Self::Services => "new connections with 0 to 10 000 services (of one endpoint)",
            Self::Churn => "1 000 new connections/s while an endpoint changes every second",
            Self::Idle => "1 000 requests/s beside 10 000 idle connections",
            Self::Udp => "datagrams there and back, one on the way",
        }
    }

    /// By name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Its points for these arms, of which those that can't take part are left out.
    #[must_use]
    pub fn points(self, arms: &[Arm], quick: bool) -> Vec<Spec> {
        let flood = if quick { SMALL } else { THESIS };
        let http = |name: &str, title: &str| self.spec(name, title, flood, arms);
        match self {
            Self::Latency => [200.0, 1_000.0, 1_500.0]
                .into_iter()
                .map(|rate| {
                    let title = format!("{rate} requests/s, 64 B, 32 connections kept");
                    let spec = http(&format!("latency-{rate}"), &title).axis("rate", "requests/s", rate);
                    Spec { rate: Some(rate), connections: 32, ..spec.open() }
                })
                .collect(),
            Self::Capacity => {
                vec![Spec {
                    connections: 32,
                    ..http("capacity", "as many requests as go, 64 B, 32 connections kept")
                }]
            }
            Self::Connections => {
                let title = "as many as go, each with a connection of its own, 64 B, 16 at once";
                vec![Spec { connections: 16, fresh: true, ..http("connections", title) }]
            }
            Self::Sizes => [64, 4 << 10, 64 << 10, 1 << 20]
                .iter()
                .map(|size| {
                    let title = format!("as many as go, {size} B, 8 connections kept");
                    let spec = http(&format!("sizes-{size}"), &title).axis("size", "B", f64::from(*size));
                    Spec { connections: 8, target: Target::Sized(*size), ..spec }
                })
                .collect(),
            Self::Rules => {
                let floods = if quick { &[0, 5, 50][..] } else { &[0, 5, 50, 500] };
                self.growing(arms, floods, 50, "rules", "rules")
            }
            Self::Services => {
                let floods = if quick { &[0, 100, 1_000][..] } else { &[0, 100, 1_000, 10_000] };
                self.growing(arms, floods, 1, "services", "services")
            }
            Self::Churn => {
                let spec = http("churn", "1 000 new connections/s, an endpoint changes every second");
                let every = Some(Duration::from_secs(1));
                vec![Spec {
                    rate: Some(1_000.0),
                    connections: 64,
                    fresh: true,
                    change_every: every,
                    ..spec.open()
                }]
            }
            Self::Idle => {
                let spec = http("idle", "1 000 requests/s beside 10 000 idle connections");
                vec![Spec { rate: Some(1_000.0), connections: 32, idle: 10_000, ..spec.open() }]
            }
            Self::Udp => {
                let able: Vec<Arm> = arms.iter().copied().filter(|it| it.carries_datagrams()).collect();
                let spec = self.spec("udp", "64 B there and back, one on the way", flood, &able);
                vec![Spec { connections: 1, target: Target::Echo, ..spec }]
            }
        }
    }

    /// New connections with more and more services; where there are none, an arm without rules is the floor.
    fn growing(self, arms: &[Arm], services: &[u32], endpoints: u32, axis: &str, unit: &str) -> Vec<Spec> {
        // What eBPF replaces in front of sidecars is inside pods: the node's rules are those of `sidecar-iptables`.
        let apart = [Arm::SidecarEbpf, Arm::SidecarEbpfSockmap, Arm::Sockmap];
        let arms: Vec<Arm> = arms.iter().copied().filter(|it| !apart.contains(it)).collect();
        let point = |&services: &u32| {
            let flood = Flood { services, endpoints };
            // As the thesis counts: four for each endpoint, three for each service.
            let value = if axis == "rules" { services * endpoints * 4 + services * 3 } else { services };
            let title =
                format!("as many new connections as go, 16 at once, {services} services of {endpoints}");
            let spec = self.spec(&format!("{}-{value}", self.name()), &title, flood, &arms);
            Spec { connections: 16, fresh: true, ..spec.axis(axis, unit, f64::from(value)) }
        };
        services.iter().map(point).collect()
    }

    fn spec(self, name: &str, title: &str, flood: Flood, arms: &[Arm]) -> Spec {
        Spec {
            point: Point {
                name: name.to_owned(),
                scenario: self.name().to_owned(),
                title: title.to_owned(),
                axis: None,
                open: false,
                flood: (flood.services, flood.endpoints),
                arms: arms.iter().map(|it| it.name().to_owned()).collect(),
            },
            target: Target::Http,
            rate: None,
            connections: 1,
            fresh: false,
            change_every: None,
            idle: 0,
        }
    }
}

impl Spec {
    /// What its nodes have besides.
    #[must_use]
    pub fn flood(&self) -> Flood {
        Flood { services: self.point.flood.0, endpoints: self.point.flood.1 }
    }

    fn axis(mut self, name: &str, unit: &str, value: f64) -> Self {
        self.point.axis = Some(Axis { name: name.to_owned(), unit: unit.to_owned(), value });
        self
    }

    fn open(mut self) -> Self {
        self.point.open = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn points_have_names_of_their_own() {
        for quick in [false, true] {
            let specs: Vec<Spec> = Scenario::ALL.iter().flat_map(|it| it.points(&Arm::ALL, quick)).collect();
            let names: BTreeSet<&str> = specs.iter().map(|it| it.point.name.as_str()).collect();
            assert_eq!(names.len(), specs.len());
            assert!(specs.iter().all(|it| it.point.open == it.rate.is_some()));
        }
    }

    #[test]
    fn sidecars_take_no_part_where_datagrams_go() {
        let specs = Scenario::Udp.points(&Arm::ALL, false);
        assert!(!specs[0].point.arms.iter().any(|it| it.contains("sidecar") || it == "sockmap"));
    }

    #[test]
    fn the_largest_point_of_rules_is_the_thesis_flood() {
        let specs = Scenario::Rules.points(&Arm::ALL, false);
        let last = specs.last().expect("points");
        assert_eq!((last.flood(), last.point.name.as_str()), (THESIS, "rules-101500"));
    }

    #[test]
    fn every_scenario_is_found_by_its_name() {
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::of(scenario.name()), Some(scenario));
        }
    }
}
