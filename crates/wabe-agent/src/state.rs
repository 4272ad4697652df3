//! What the agent remembers: users' objects, numbers for names, and running instances. Kept in two files so that the
//! next agent goes on where this one ended.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wabe_model::{Object, ObjectName, Objects};

use crate::plan::LastIds;

mod addresses;
mod ids;
mod instance;

pub use addresses::{AddressError, ServiceRanges, assign};
pub use ids::Ids;
pub use instance::{Instance, Phase, Place};

/// File of the users' objects in the mesh's run directory.
const OBJECTS: &str = "objects.json";
/// File of everything else.
const AGENT: &str = "agent.json";

/// What the agent remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// What users wrote.
    pub objects: Objects,
    /// Numbers for names.
    pub ids: Ids,
    /// Running copies of workloads by id.
    pub instances: BTreeMap<u32, Instance>,
    /// `namespace/name` of workloads -> how often a restart was asked for.
    pub revisions: BTreeMap<String, u64>,
    /// The highest ids given in the kernel's tables.
    pub last: LastIds,
}

/// The state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{path} is damaged ({source}); take the mesh down and up again to start afresh")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
}

#[derive(Default, Serialize, Deserialize)]
struct AgentFile {
    ids: Ids,
    instances: Vec<Instance>,
    revisions: BTreeMap<String, u64>,
    last: LastIds,
}

impl State {
    /// Reads the state from the mesh's run directory; empty if there is none yet.
    pub fn load(directory: &Path) -> Result<Self, StateError> {
        let objects: Vec<Object> = read(&directory.join(OBJECTS))?.unwrap_or_default();
        let file: AgentFile = read(&directory.join(AGENT))?.unwrap_or_default();
        let mut state = Self { ids: file.ids, revisions: file.revisions, last: file.last, ..Self::default() };
        objects.into_iter().for_each(|object| drop(state.objects.insert(object)));
        state.instances = file.instances.into_iter().map(|instance| (instance.id, instance)).collect();
        Ok(state)
    }

    /// Writes the state; readers see the old or the new file, never half of one.
    pub fn save(&self, directory: &Path) -> Result<(), StateError> {
        let objects: Vec<&Object> = self.objects.iter().collect();
        write(&directory.join(OBJECTS), &objects)?;
        let file = AgentFile {
            ids: self.ids.clone(),
            instances: self.instances.values().cloned().collect(),
            revisions: self.revisions.clone(),
            last: self.last,
        };
        write(&directory.join(AGENT), &file)
    }

    /// How often a restart of a workload was asked for.
    pub fn revision(&self, workload: &ObjectName) -> u64 {
        self.revisions.get(&workload.to_string()).copied().unwrap_or(0)
    }

    /// The copies of one workload.
    pub fn instances_of(&self, workload: &ObjectName) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(move |instance| instance.workload() == workload)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| StateError::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Io { path: path.to_owned(), source }),
    }
}

/// Writes a file whole: beside it first, then in its place. Also used for the files that other processes read.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let failed = |source| StateError::Io { path: path.to_owned(), source };
    let bytes = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}
