//! What the node's proxies have counted, of those that ended too. Files of [`wabe_proxy::figures`], one for each proxy, which the
//! keeper makes; of those whose proxy has ended the sums are kept in another one.
//!
//! Proxies are not trusted: of what they say only names count that the mesh has, so they can make up numbers but no labels.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata, TryLockError},
    io::{self, Read as _},
    mem,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use wabe_keeper::layout::Mesh;
use wabe_model::ObjectName;
use wabe_proxy::{
    Snapshot,
    figures::{self, EVERY, Figures, Requests, Subject},
};

use crate::api::Status;

mod ejections;
mod ended;

use ended::Ended;

/// Subjects of proxies that ended, of which those beyond are counted together.
const MOST: usize = 4096;
/// What a proxy that lives has told.
#[derive(Clone, Debug)]
pub struct Live {
    /// The last that it told.
    pub figures: Figures,
    /// How long ago.
    pub age: Duration,
}

impl Live {
    /// Whether it says how things are now.
    pub fn is_fresh(&self) -> bool {
        self.age < 4 * EVERY
    }
}

/// What the proxies that live have told, the one that was started last at the end.
pub fn live(mesh: &Mesh) -> Vec<Live> {
    let folder = mesh.figures_dir();
    let names = names(&folder).unwrap_or_default();
    names
        .iter()
        .filter_map(
            |name| if let Told::Live(it) = told(&folder.join(name))? { it.map(|it| *it) } else { None },
        )
        .collect()
}

/// The generation of the snapshot that proxies are to go by; `None` if there is none, or it can't be understood.
pub fn snapshot_generation(mesh: &Mesh) -> Option<u64> {
    generation_of(&mesh.proxy_file())
}

fn generation_of(snapshot: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Head {
        generation: u64,
    }
    let file = File::open(snapshot).ok()?;
    let head: Head = serde_json::from_reader(io::BufReader::new(file)).ok()?;
    Some(head.generation)
}

/// The sums of all proxies.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) requests: BTreeMap<Subject, Requests>,
    pub(crate) other: Requests,
    /// By service and port.
    pub(crate) ejections: BTreeMap<(ObjectName, u16), u64>,
    /// Of the access log.
    pub(crate) lost_lines: u64,
    /// Of those that live.
    pub(crate) live: Vec<Live>,
}

/// Names that may be told.
#[derive(Debug, Default)]
pub(crate) struct Known {
    workloads: BTreeSet<String>,
    services: BTreeSet<String>,
    routed: Arc<Routed>,
}

/// Those of them that are in the snapshot.
#[derive(Debug, Default)]
struct Routed {
    /// Service, kind of route, route, rule.
    rules: BTreeSet<(String, String, String, String)>,
    backends: BTreeSet<(ObjectName, u16)>,
}

/// Keeps the sums.
#[derive(Debug)]
pub(crate) struct Ledger {
    folder: PathBuf,
    snapshot: PathBuf,
    /// What was read of the snapshot, and when it was written.
    read: Mutex<Option<(Stamp, Arc<Routed>)>>,
    /// One at a time; whether something went wrong the last time, which is said once.
    turn: Mutex<bool>,
}

/// What a file says.
enum Told {
    /// `None` if nothing yet, or nothing that can be understood.
    Live(Option<Box<Live>>),
    Ended(Last),
}

/// What a proxy told last.
enum Last {
    Nothing,
    Figures(Box<Figures>),
    /// It is another version's, or was made up.
    Unreadable,
}

/// Tells one file from another that takes its name: device, number, time of change, size.
type Stamp = (u64, u64, (i64, i64), u64);

fn stamp(metadata: &Metadata) -> Stamp {
    let changed = (metadata.mtime(), metadata.mtime_nsec());
    (metadata.dev(), metadata.ino(), changed, metadata.size())
}

impl Routed {
    fn of(snapshot: &Snapshot) -> Self {
        let mut rules = BTreeSet::new();
        for port in &snapshot.ports {
            for rule in port.table.rules() {
                let name = rule.name.clone().unwrap_or_else(|| rule.rule.to_string());
                let (kind, route) = (rule.kind.as_str().to_owned(), rule.route.to_string());
                rules.insert((port.service.to_string(), kind, route, name));
            }
        }
        let backends = snapshot.backends.iter().map(|it| (it.service.clone(), it.port)).collect();
        Self { rules, backends }
    }
}

impl Known {
    fn new(status: &Status, routed: Arc<Routed>) -> Self {
        Self {
            workloads: status.workloads.iter().map(|it| it.name.clone()).collect(),
            services: status.services.iter().map(|it| it.name.clone()).collect(),
            routed,
        }
    }

    fn has(&self, subject: &Subject) -> bool {
        let Subject { source, service, rule, destination, grpc: _ } = subject;
        let among = |names: &BTreeSet<String>, name: &Option<ObjectName>| {
            name.as_ref().is_none_or(|it| names.contains(&it.to_string()))
        };
        let has_rule = rule.as_ref().is_none_or(|rule| {
            let service = service.as_ref().map(ToString::to_string).unwrap_or_default();
            let route = rule.route.to_string();
            self.routed.rules.contains(&(service, rule.kind.clone(), route, rule.rule.clone()))
        });
        among(&self.workloads, source)
            && among(&self.workloads, destination)
            && among(&self.services, service)
            && has_rule
    }
}

impl Sums {
    fn add(&mut self, figures: &Figures, known: &Known) {
        for (subject, requests) in figures.requests.iter().filter(|it| known.has(&it.0)) {
            if self.requests.len() < MOST || self.requests.contains_key(subject) {
                self.requests.entry(subject.clone()).or_default().add(requests);
            } else {
                self.other.add(requests);
            }
        }
        self.other.add(&figures.other);
        self.lost_lines = self.lost_lines.saturating_add(figures.lost_lines);
        for it in &figures.backends {
            let key = (it.service.clone(), it.port);
            // How many there were is added by itself: see `ejections`.
            if known.routed.backends.contains(&key) {
                self.ejections.entry(key).or_default();
            }
        }
    }

    /// What the mesh has no more is not kept; ejections are, as long as there is room: they go on when their backend is back.
    fn keep(&mut self, known: &Known) {
        self.requests.retain(|subject, _| known.has(subject));
        if self.ejections.len() > MOST {
            self.ejections.retain(|key, _| known.routed.backends.contains(key));
        }
    }

    /// What the mesh has no more is told no more.
    fn forget(&mut self, known: &Known) {
        self.requests.retain(|subject, _| known.has(subject));
        self.ejections.retain(|key, _| known.routed.backends.contains(key));
    }
}

impl Ledger {
    pub(crate) fn of(mesh: &Mesh) -> Self {
        Self::at(&mesh.figures_dir(), &mesh.proxy_file())
    }

    /// Of proxies whose files are in this folder, and that go by this snapshot.
    pub(crate) fn at(folder: &Path, snapshot: &Path) -> Self {
        let (folder, snapshot) = (folder.to_owned(), snapshot.to_owned());
        Self { folder, snapshot, read: Mutex::default(), turn: Mutex::default() }
    }

    /// Whether a file waits to be summed up.
    pub(crate) fn has_ended(&self) -> bool {
        let ended = |name: &String| matches!(told(&self.folder.join(name)), Some(Told::Ended(_)));
        names(&self.folder).is_ok_and(|names| names.iter().any(ended))
    }

    /// All that was counted. Nothing if it can't be known what may be told: nothing is summed up then either.
    pub(crate) fn sums(&self, status: &Status) -> Sums {
        let Some(routed) = self.routed() else { return Sums::default() };
        self.collect(&Known::new(status, routed))
    }

    /// What the snapshot has, read again only if it is another one than before: scrapes are frequent, and it may be large.
    fn routed(&self) -> Option<Arc<Routed>> {
        let file = File::open(&self.snapshot).ok()?;
        let stamp = stamp(&file.metadata().ok()?);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, routed)) = &*read
            && *before == stamp
        {
            return Some(Arc::clone(routed));
        }
        let snapshot = serde_json::from_reader(io::BufReader::new(file)).ok()?;
        let routed = Arc::new(Routed::of(&snapshot));
        *read = Some((stamp, Arc::clone(&routed)));
        Some(routed)
    }

    /// What goes wrong with a file takes nothing else along: what can be read is told, and the rest is tried again the next time.
    fn collect(&self, known: &Known) -> Sums {
        let mut complained = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut problem = None;
        let (before, keeps) = match Ended::read(&self.folder) {
            Ok(ended) => (ended, true),
            // They may be readable again: they are left as they are, and nothing is summed up.
            Err(error) => {
                problem = Some(error);
                (Ended::default(), false)
            }
        };
        let (mut sums, mut merged, mut live) = (Sums::of(&before), Vec::new(), Vec::new());
        let mut living = before.living.clone();
        // Those in the sums that can't be removed.
        let mut stuck = Vec::new();
        // Files that somebody else removed: none is known to be, where nobody knows which there are.
        let mut gone: BTreeSet<String> = living.keys().cloned().collect();
        let names = names(&self.folder).unwrap_or_else(|error| {
            problem = Some(error);
            gone.clear();
            Vec::new()
        });
        for name in names {
            gone.remove(&name);
            let file = self.folder.join(&name);
            if before.merged.contains(&name) {
                if let Err(error) = fs::remove_file(&file) {
                    problem = Some(error);
                    stuck.push(name);
                }
                continue;
            }
            match told(&file) {
                Some(Told::Live(None)) | None => {}
                Some(Told::Live(Some(it))) => {
                    ejections::take(&mut living, &name, &it.figures, known);
                    live.push(*it);
                }
                Some(Told::Ended(Last::Unreadable)) if keeps => {
                    gone.insert(name.clone());
                    let aside = ended::set_aside(&self.folder, &name, "it is no proxy's figures");
                    problem = aside.err().or(problem);
                }
                Some(Told::Ended(last)) => {
                    if let Last::Figures(figures) = last {
                        ejections::take(&mut living, &name, &figures, known);
                        sums.add(&figures, known);
                    }
                    gone.insert(name.clone());
                    if keeps {
                        merged.push(name);
                    }
                }
            }
        }
        gone.iter().filter_map(|it| living.remove(it)).for_each(|it| it.add_to(&mut sums.ejections));
        if keeps && (!merged.is_empty() || living != before.living) {
            sums.keep(known);
            merged.append(&mut stuck);
            problem = Ended::of(&sums, merged, living.clone()).write(&self.folder).err().or(problem);
        }
        live.iter().for_each(|it: &Live| sums.add(&it.figures, known));
        living.values().for_each(|it| it.add_to(&mut sums.ejections));
        sums.forget(known);
        sums.live = live;
        let before = mem::replace(&mut *complained, problem.is_some());
        if let Some(error) = problem.filter(|_| !before) {
            tracing::warn!(%error, folder = %self.folder.display(), "not all of what proxies counted can be read, or kept");
        }
        sums
    }
}

/// Proxies' files, the oldest first.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        // An earlier version's keeper makes none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let names = entries.map(|it| Ok(it?.file_name().into_string().ok())).collect::<io::Result<Vec<_>>>()?;
    let mut names: Vec<String> = names.into_iter().flatten().filter(|it| !it.starts_with('.')).collect();
    names.sort();
    Ok(names)
}

/// `None` if the file is gone.
fn told(path: &Path) -> Option<Told> {
    let file = File::open(path).ok()?;
    // Its proxy holds another one as long as it lives. Looked for before the file is read: what is read is the last then.
    let ended = match file.try_lock_shared() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => return None,
    };
    let mut bytes = Vec::new();
    (&file).take(figures::FILE as u64).read_to_end(&mut bytes).ok()?;
    let figures = figures::read(&bytes);
    if ended {
        return Some(Told::Ended(match figures {
            Some(figures) => Last::Figures(Box::new(figures)),
            None if bytes.is_empty() => Last::Nothing,
            None => Last::Unreadable,
        }));
    }
    let written = file.metadata().and_then(|it| it.modified()).ok()?;
    let age = SystemTime::now().duration_since(written).unwrap_or_default();
    Some(Told::Live(figures.map(|figures| Box::new(Live { figures, age }))))
}

#[cfg(test)]
mod tests;
