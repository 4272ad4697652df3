//! What the node's proxy tells of itself, which the agent does not know: it works with the agent dead, too.

use serde::Serialize;
use wabe_agent::{
    api::{EndpointStatus, ServiceStatus},
    figures::Live,
};

use crate::screen::{Colour, paint};

/// Which configuration is in force at layer 7.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ProxyView {
    /// The generation of the snapshot that there is.
    snapshot: Option<u64>,
    /// The proxies that live, the one in charge last; the others drain.
    living: Vec<LiveView>,
}

/// What a proxy says of itself.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct LiveView {
    /// Of the snapshot that it goes by; `None` if it has understood none yet, or is of an earlier version, which does not say.
    generation: Option<u64>,
    /// How long ago it said so, in milliseconds.
    age: u64,
}

impl ProxyView {
    pub(super) fn of(snapshot: Option<u64>, live: &[Live]) -> Self {
        let view = |it: &Live| LiveView {
            generation: Some(it.figures.generation).filter(|it| *it > 0),
            age: age(it),
        };
        Self { snapshot, living: live.iter().map(view).collect() }
    }

    /// In a line; `None` if there is nothing to compare.
    pub(super) fn text(&self) -> Option<String> {
        let snapshot = self.snapshot?;
        let (in_charge, draining) = self.living.split_last()?;
        let says = |it: &LiveView| match it.generation {
            Some(it) if it == snapshot => format!("generation {it}, as the snapshot"),
            // It may have been written since it was looked at.
            Some(it) if it > snapshot => format!("generation {it}"),
            Some(it) => paint(&format!("generation {it}, the snapshot is of {snapshot}"), Colour::Yellow),
            None => {
                paint(&format!("no generation that it tells, the snapshot is of {snapshot}"), Colour::Yellow)
            }
        };
        let old = |it: &LiveView| match it.age {
            0..4_000 => String::new(),
            age => paint(&format!(" (told {} s ago)", age / 1000), Colour::Yellow),
        };
        let mut text = format!("proxy goes by {}{}", says(in_charge), old(in_charge));
        for it in draining {
            text += &format!("; one that drains by {}{}", says(it), old(it));
        }
        Some(text)
    }
}

/// In milliseconds.
fn age(it: &Live) -> u64 {
    u64::try_from(it.age.as_millis()).unwrap_or(u64::MAX)
}

/// Marks endpoints that the proxy in charge sends nothing: the agent knows only of the kernel's balancing.
pub(super) fn mark(services: &mut [ServiceStatus], live: &[Live]) {
    let Some(told) = live.last().filter(|it| it.is_fresh()) else { return };
    let age = age(told);
    for service in services {
        // Of any of its ports.
        let ports = told.figures.backends.iter().filter(|it| it.service.to_string() == service.name);
        let out = ports.flat_map(|it| &it.endpoints).filter(|it| it.ejected_for.is_some_and(|it| it > age));
        let out: Vec<u32> = out.map(|it| it.workload).collect();
        for endpoint in &mut service.endpoints {
            endpoint.proxy_ejected = out.contains(&endpoint.id);
        }
    }
}

/// How many of a service's endpoints are ready, and how many of those get nothing nevertheless.
pub(super) fn ready(endpoints: &[EndpointStatus]) -> String {
    let count = |is: fn(&EndpointStatus) -> bool| endpoints.iter().filter(|it| is(it)).count();
    let mut text = format!("{}/{}", count(|it| it.ready), endpoints.len());
    for (count, by) in [(count(|it| it.ejected), ""), (count(|it| it.proxy_ejected), " by the proxy")] {
        if count > 0 {
            text += &format!(", {count} ejected{by}");
        }
    }
    text
}

/// An endpoint and its open connections.
pub(super) fn endpoint(it: &EndpointStatus) -> String {
    let name = it.workload.rsplit('/').next().unwrap_or_default();
    let out = if it.proxy_ejected { " (ejected by the proxy)" } else { "" };
    format!("{name}-{}:{}{out}", it.replica, it.live)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wabe_model::ObjectName;
    use wabe_proxy::figures::{BackendFigures, EndpointFigures, Figures};

    use super::*;

    fn endpoint_status(id: u32) -> EndpointStatus {
        EndpointStatus {
            id,
            workload: "shop/web".into(),
            replica: id - 1,
            ready: true,
            weight: 100,
            live: 4,
            ejected: false,
            proxy_ejected: false,
        }
    }

    fn service(name: &str) -> ServiceStatus {
        ServiceStatus {
            name: name.into(),
            addresses: Vec::new(),
            ports: Vec::new(),
            balance: "random".into(),
            endpoints: (1..=3).map(endpoint_status).collect(),
        }
    }

    /// A proxy that ejected this endpoint of this port, and told it so long ago.
    fn told(port: u16, workload: u32, ejected_for: u64, age: u64) -> Live {
        let figures = |workload, ejected_for| EndpointFigures {
            workload,
            weight: 100,
            under_way: 0,
            latency: None,
            ejected_for,
        };
        let backend = BackendFigures {
            service: ObjectName::new("shop", "web"),
            port,
            connections: 0,
            pending: 0,
            requests: 0,
            ejections: 1,
            ejected: 1,
            endpoints: vec![figures(3, None), figures(workload, Some(ejected_for))],
        };
        let figures = Figures { backends: vec![backend], ..Figures::default() };
        Live { figures, age: Duration::from_millis(age) }
    }

    #[test]
    fn what_each_proxy_goes_by_is_told_beside_the_snapshot() {
        let live = |generation, age| Live {
            figures: Figures { generation, ..Figures::default() },
            age: Duration::from_millis(age),
        };
        for (snapshot, living, told) in [
            (Some(7), vec![live(7, 90)], Some("proxy goes by generation 7, as the snapshot")),
            (Some(7), vec![live(8, 90)], Some("proxy goes by generation 8")),
            (Some(7), vec![live(5, 90)], Some("proxy goes by generation 5, the snapshot is of 7")),
            (
                Some(7),
                vec![live(5, 9_500)],
                Some("proxy goes by generation 5, the snapshot is of 7 (told 9 s ago)"),
            ),
            (
                Some(7),
                vec![live(0, 90)],
                Some("proxy goes by no generation that it tells, the snapshot is of 7"),
            ),
            (
                Some(7),
                vec![live(6, 90), live(7, 90)],
                Some(
                    "proxy goes by generation 7, as the snapshot; \
                     one that drains by generation 6, the snapshot is of 7",
                ),
            ),
            (None, vec![live(7, 90)], None),
            (Some(7), vec![], None),
        ] {
            assert_eq!(ProxyView::of(snapshot, &living).text().as_deref(), told);
        }
        let view = ProxyView::of(Some(7), &[live(0, 90), live(7, 1_000)]);
        let told = serde_json::to_value(view).expect("JSON");
        let living = serde_json::json!([{"generation": null, "age": 90}, {"generation": 7, "age": 1000}]);
        assert_eq!(told, serde_json::json!({"snapshot": 7, "living": living}));
    }

    #[test]
    fn whom_the_proxy_ejected_is_marked() {
        let one = |live: Live| vec![live];
        for (name, live, out) in [
            ("no proxy", vec![], None),
            ("one that says so", one(told(80, 2, 30_000, 100)), Some(2)),
            ("of another port", one(told(81, 1, 30_000, 100)), Some(1)),
            ("it is over by now", one(told(80, 2, 90, 100)), None),
            ("one that is stuck", one(told(80, 2, 30_000, 9_000)), None),
            ("an earlier one", vec![told(80, 2, 30_000, 100), told(80, 1, 30_000, 100)], Some(1)),
        ] {
            let mut services = [service("shop/web"), service("shop/other")];
            mark(&mut services, &live);
            let marked: Vec<u32> =
                services[0].endpoints.iter().filter(|it| it.proxy_ejected).map(|it| it.id).collect();
            assert_eq!(marked, Vec::from_iter(out), "{name}");
            assert!(services[1].endpoints.iter().all(|it| !it.proxy_ejected), "{name}");
        }
    }

    #[test]
    fn who_gets_nothing_is_told_apart_from_whom_the_kernel_ejected() {
        let mut endpoints = service("shop/web").endpoints;
        assert_eq!(ready(&endpoints), "3/3");
        endpoints[1].proxy_ejected = true;
        assert_eq!(ready(&endpoints), "3/3, 1 ejected by the proxy");
        endpoints[2].ejected = true;
        assert_eq!(ready(&endpoints), "3/3, 1 ejected, 1 ejected by the proxy");
        assert_eq!(endpoint(&endpoints[0]), "web-0:4");
        assert_eq!(endpoint(&endpoints[1]), "web-1:4 (ejected by the proxy)");
    }
}
