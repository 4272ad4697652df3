//! Names for the numbers in the kernel's tables, for whoever reads those: `wabe explain`, also with the agent dead, and
//! the lines of `wabe flows`.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use wabe_model::Objects;

use crate::{
    snapshot::Node,
    state::{Ids, Instance, StateError, write},
};

/// File in the mesh's run directory.
pub const FILE: &str = "snapshot.json";

/// The names of one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The generation that it belongs to.
    pub generation: u64,
    /// The node's addresses in the mesh.
    pub node: Vec<IpAddr>,
    /// Workloads by id.
    pub workloads: BTreeMap<u32, PublishedWorkload>,
    /// Services by id.
    pub services: BTreeMap<u32, PublishedService>,
    /// Rules by id, as `shop/payment-callers rule 1`.
    pub rules: BTreeMap<u32, Arc<str>>,
    /// Principals by identity.
    pub identities: BTreeMap<u32, String>,
}

/// A workload's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedWorkload {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// Which replica.
    pub replica: u32,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether services may send connections to it.
    pub ready: bool,
}

/// A service's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedService {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// Virtual addresses; none if it is headless.
    pub addresses: Vec<IpAddr>,
    /// Its ports and their protocols (`tcp`, `udp`).
    pub ports: Vec<(u16, String)>,
}

impl Published {
    /// From a snapshot.
    pub fn of<'a>(
        node: &Node,
        objects: &Objects,
        instances: impl Iterator<Item = &'a Instance>,
        ids: &mut Ids,
        generation: u64,
    ) -> Self {
        let workload = |instance: &Instance| PublishedWorkload {
            name: instance.workload().to_string().into(),
            replica: instance.replica,
            addresses: instance.addresses(),
            ready: instance.takes_connections(),
        };
        let mut services = BTreeMap::new();
        for service in objects.services() {
            let transport = |it: wabe_model::Transport| match it {
                wabe_model::Transport::Tcp => "tcp".to_owned(),
                wabe_model::Transport::Udp => "udp".to_owned(),
            };
            let addresses = ids.addresses_of(&service.name);
            services.insert(
                ids.service(&service.name),
                PublishedService {
                    name: service.name.to_string().into(),
                    addresses: addresses.list(),
                    ports: service.ports.iter().map(|it| (it.port, transport(it.transport))).collect(),
                },
            );
        }
        Self {
            generation,
            node: vec![IpAddr::V4(node.v4), IpAddr::V6(node.v6)],
            workloads: instances.map(|instance| (instance.id, workload(instance))).collect(),
            services,
            rules: ids.rules().map(|(id, rule)| (id, rule.into())).collect(),
            identities: ids.identities().map(|(id, principal)| (id, principal.to_owned())).collect(),
        }
    }

    /// A rule by its number.
    pub fn rule(&self, id: u32) -> Arc<str> {
        self.rules.get(&id).cloned().unwrap_or_else(|| format!("rule {id}, which is gone").into())
    }

    /// Reads the file that the agent wrote.
    pub fn read(directory: &Path) -> Result<Self, std::io::Error> {
        Ok(serde_json::from_slice(&std::fs::read(directory.join(FILE))?)?)
    }

    /// Writes the file.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), StateError> {
        write(&directory.join(FILE), self)
    }

    /// These names, and those that `before` had for what is gone: late reports still name it.
    pub(crate) fn with_past(mut self, before: &Self) -> Self {
        for (id, workload) in &before.workloads {
            self.workloads.entry(*id).or_insert_with(|| workload.clone());
        }
        for (id, rule) in &before.rules {
            self.rules.entry(*id).or_insert_with(|| rule.clone());
        }
        self
    }
}
