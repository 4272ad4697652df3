//! What the node's proxy tells of itself, which the agent does not know: it works with the agent dead, too.

use wabe_agent::{
    api::{EndpointStatus, ServiceStatus},
    figures::Live,
};

/// Marks endpoints that the proxy in charge sends nothing: the agent knows only of the kernel's balancing.
pub(super) fn mark(services: &mut [ServiceStatus], live: &[Live]) {
    let Some(told) = live.last().filter(|it| it.is_fresh()) else { return };
    let age = u64::try_from(told.age.as_millis()).unwrap_or(u64::MAX);
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
