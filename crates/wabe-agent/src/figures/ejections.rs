//! Ejections as a proxy told them, made to go on: what it counts of a backend begins anew when that left its snapshot and is
//! back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wabe_model::ObjectName;
use wabe_proxy::figures::{Figures, MOST_BACKENDS};

use super::{Known, MOST};

/// A service and its port.
pub(super) type Backend = (ObjectName, u16);

/// Of one proxy, by backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Backend, Count)>", into = "Vec<(Backend, Count)>")]
pub(super) struct Ejections(BTreeMap<Backend, Count>);

/// Of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    /// What it had come to whenever it began anew.
    before: u64,
    /// What was told last.
    last: u64,
}

impl Count {
    fn begin_anew(&mut self) {
        *self = Self { before: self.before.saturating_add(self.last), last: 0 };
    }
}

/// Takes over what the proxy of this file told; one that ejected nobody needs no place.
pub(super) fn take(of: &mut BTreeMap<String, Ejections>, file: &str, told: &Figures, known: &Known) {
    let mut ejections = of.remove(file).unwrap_or_default();
    ejections.take(told, known);
    if !ejections.0.is_empty() {
        of.insert(file.to_owned(), ejections);
    }
}

impl Ejections {
    /// Of backends that the mesh never had nothing is kept.
    fn take(&mut self, told: &Figures, known: &Known) {
        let tells_of_all = !told.backends_left_out && told.backends.len() < MOST_BACKENDS;
        let told = &told.backends;
        for it in told {
            let key = (it.service.clone(), it.port);
            let is_new = !self.0.contains_key(&key);
            if is_new && (it.ejections == 0 || self.0.len() >= MOST || !known.routed.backends.contains(&key))
            {
                continue;
            }
            let count = self.0.entry(key).or_default();
            if it.ejections < count.last {
                count.begin_anew();
            }
            count.last = it.ejections;
        }
        if tells_of_all {
            for ((service, port), count) in &mut self.0 {
                if !told.iter().any(|it| it.service == *service && it.port == *port) {
                    count.begin_anew();
                }
            }
        }
    }

    /// Adds all of them.
    pub(super) fn add_to(&self, sums: &mut BTreeMap<Backend, u64>) {
        for (key, count) in &self.0 {
            let sum = sums.entry(key.clone()).or_default();
            *sum = sum.saturating_add(count.before).saturating_add(count.last);
        }
    }
}

impl From<Vec<(Backend, Count)>> for Ejections {
    fn from(list: Vec<(Backend, Count)>) -> Self {
        Self(list.into_iter().collect())
    }
}

impl From<Ejections> for Vec<(Backend, Count)> {
    fn from(ejections: Ejections) -> Self {
        ejections.0.into_iter().collect()
    }
}
