//! Whether objects would fit into the kernel's tables, without a mesh: what `wabe check` asks.

use wabe_abi::maps::MAX_WORKLOADS;
use wabe_keeper::layout::Ranges;
use wabe_model::{ClusterIps, Object, Objects};

use crate::{
    snapshot::{Compiler, Node, desired},
    state::{Ids, Instance, Phase, Place},
};

/// Computes the tables of a mesh in which all replicas of all workloads are ready.
///
/// # Errors
/// What does not fit, in words for people.
pub fn preview(objects: &Objects) -> Result<(), String> {
    let replicas: u64 = objects.workloads().map(|workload| u64::from(workload.replicas)).sum();
    if replicas >= u64::from(MAX_WORKLOADS) {
        let most = MAX_WORKLOADS - 1;
        return Err(format!(
            "{replicas} replicas of all workloads together; a node runs {most}: ask for fewer"
        ));
    }
    let mut instances = Vec::new();
    for workload in objects.workloads() {
        for replica in 0..workload.replicas {
            let mut instance = Instance::new(instances.len() as u32 + 1, replica, 0, workload.clone());
            (instance.phase, instance.ready) = (Phase::Started, true);
            instance.place = Some(pretended(instance.id));
            instances.push(instance);
        }
    }
    let config = objects.mesh_config();
    let node = Node {
        v4: [10, 128, 0, 1].into(),
        v6: "fd77:6162:6500::1".parse().expect("invariant: an address"),
        host_v4: [10, 128, 0, 3].into(),
        host_v6: "fd77:6162:6500::3".parse().expect("invariant: an address"),
        ranges: pretended_ranges(),
        trust_domain: config.trust_domain,
        root_namespace: config.root_namespace,
        resolvers: Vec::new(),
        workload_level: 0,
    };
    desired(
        &node,
        &without_addresses(objects),
        instances.iter(),
        &mut Ids::default(),
        &mut Compiler::default(),
    )
    .map(drop)
    .map_err(|error| error.to_string())
}

/// Which addresses the mesh will have is not known yet; `wabe_model::check` has looked at those that were written.
fn without_addresses(objects: &Objects) -> Objects {
    let mut all = objects.clone();
    for service in objects.services() {
        if let ClusterIps::Virtual { v4, v6 } = &service.cluster_ips {
            let mut service = service.clone();
            service.cluster_ips = ClusterIps::Virtual { v4: v4.map(|_| None), v6: v6.map(|_| None) };
            all.insert(Object::Service(service));
        }
    }
    all
}

fn pretended(id: u32) -> Place {
    let (v4, v6) = pretended_ranges().addresses(id).expect("invariant: the range holds all workloads");
    Place { v4, v6, cgroup: u64::from(id), node_ifindex: id }
}

fn pretended_ranges() -> Ranges {
    let range = "invariant: a range";
    Ranges {
        workloads_v4: "10.128.0.0/16".parse().expect(range),
        services_v4: "10.129.0.0/16".parse().expect(range),
        workloads_v6: "fd77:6162:6500::/64".parse().expect(range),
        services_v6: "fd77:6162:6501::/64".parse().expect(range),
    }
}

#[cfg(test)]
mod tests {
    use wabe_model::{TargetPort, Workload};

    use super::*;
    use crate::testing::{service, workload};

    #[test]
    fn a_small_mesh_fits_whatever_addresses_it_asks_for() {
        let mut objects = Objects::default();
        let mut fixed = service("shop", "web", 80, TargetPort::Number(80));
        fixed.cluster_ips = ClusterIps::Virtual { v4: Some(Some([192, 0, 2, 1].into())), v6: None };
        objects.insert(Object::Service(fixed));
        objects.insert(Object::Workload(workload("shop", "web")));
        assert_eq!(preview(&objects), Ok(()));
    }

    #[test]
    fn too_many_replicas_are_refused() {
        let mut objects = Objects::default();
        for index in 0..5 {
            let name = format!("w{index}");
            objects.insert(Object::Workload(Workload { replicas: 1000, ..workload("shop", &name) }));
        }
        assert!(preview(&objects).is_err_and(|error| error.contains("4095")));
    }
}
