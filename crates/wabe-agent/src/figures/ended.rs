//! What proxies counted that have ended: a file of sums, and beside it what could not be understood.

use std::{collections::BTreeMap, fs, io, path::Path, time::SystemTime};

use serde::{Deserialize, Serialize};
use wabe_proxy::figures::{Requests, Subject};

use super::{
    Sums,
    ejections::{Backend, Ejections},
};

/// The sums; a name that the keeper gives to no file.
const FILE: &str = ".ended";
/// Before the names of files that were put aside: the keeper gives none of these either, and nobody reads them again.
const ASIDE: &str = ".unreadable-";
/// So many of those are kept, the newest.
const MOST_ASIDE: usize = 4;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Ended {
    /// Files that are in the sums, and perhaps not removed yet.
    pub(super) merged: Vec<String>,
    requests: Vec<(Subject, Requests)>,
    other: Requests,
    ejections: Vec<(Backend, u64)>,
    #[serde(default)]
    lost_lines: u64,
    /// What was seen of those that live, by file: it is not in the sums yet.
    #[serde(default)]
    pub(super) living: BTreeMap<String, Ejections>,
}

impl Ended {
    /// What was written last. Sums that another version wrote in a form of its own are put aside, and counting begins anew.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let text = match fs::read(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice(&text) {
            Ok(ended) => Ok(ended),
            Err(error) => {
                set_aside(folder, FILE, &error.to_string())?;
                Ok(Self::default())
            }
        }
    }

    /// Of all that ended; `merged` are those of the files that are still there.
    pub(super) fn of(sums: &Sums, merged: Vec<String>, living: BTreeMap<String, Ejections>) -> Self {
        Self {
            merged,
            requests: sums.requests.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            other: sums.other.clone(),
            ejections: sums.ejections.iter().map(|(key, value)| (key.clone(), *value)).collect(),
            lost_lines: sums.lost_lines,
            living,
        }
    }

    /// What says that a file is in the sums is written at once with the sums: whenever this ends, none is in them twice.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join(".ended.new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(&new, folder.join(FILE))?;
        self.merged.iter().try_for_each(|name| fs::remove_file(folder.join(name)))
    }
}

impl Sums {
    pub(super) fn of(ended: &Ended) -> Self {
        Self {
            requests: ended.requests.iter().cloned().collect(),
            other: ended.other.clone(),
            ejections: ended.ejections.iter().cloned().collect(),
            lost_lines: ended.lost_lines,
            live: Vec::new(),
        }
    }
}

/// Keeps a file that nobody here understands, for those who look for what it was.
pub(super) fn set_aside(folder: &Path, name: &str, why: &str) -> io::Result<()> {
    let aside = folder.join(format!("{ASIDE}{}", name.trim_start_matches('.')));
    fs::rename(folder.join(name), &aside)?;
    tracing::warn!(why, file = %aside.display(), "what proxies counted is not understood: it is put aside, and does not count");
    let mut all: Vec<(SystemTime, String)> = fs::read_dir(folder)?
        .filter_map(|it| {
            let entry = it.ok()?;
            let name = entry.file_name().into_string().ok().filter(|it| it.starts_with(ASIDE))?;
            Some((entry.metadata().ok()?.modified().ok()?, name))
        })
        .collect();
    all.sort();
    let beyond = all.len().saturating_sub(MOST_ASIDE);
    all.iter().take(beyond).try_for_each(|(_, name)| fs::remove_file(folder.join(name)))
}
