//! What is attached, for `wabe doctor`: reads, and changes nothing.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::programs::loaded_programs;

use crate::{
    Error,
    attach::{ADMISSION_PIN, GUARD_PIN, clsact},
    object::{CGROUP_PROGRAMS, UPLINK, VEND_PROGRAMS},
    pins::Pins,
    sys,
};

/// How much of a program's name the kernel keeps.
const NAME: usize = 15;

/// A link that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Where it is pinned.
    pub pin: PathBuf,
    /// The workload whose it is; `None` for the mesh's own.
    pub workload: Option<u32>,
    /// How it is.
    pub state: AttachmentState,
}

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachmentState {
    /// Its program runs.
    Attached,
    /// It is not pinned, so nothing holds it: nothing is attached.
    Missing,
    /// What it was attached to is gone, or somebody has detached it.
    Detached,
    /// It is attached to something else.
    Elsewhere,
}

/// What a workload's links should be attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The workload.
    pub workload: u32,
    /// The number of its interface at the node.
    pub interface: u32,
    /// The number of its network namespace; `None` if it is not known.
    pub namespace: Option<u64>,
}

/// The links that a mesh with these workloads should have; `cgroup` is the number of that of all of them, `None` if it is
/// not known.
///
/// # Errors
/// A pin can't be read.
pub fn attachments(
    pin_dir: &Path,
    cgroup: Option<u64>,
    workloads: &[Guarded],
) -> Result<Vec<Attachment>, Error> {
    let links = Pins::below(pin_dir).links;
    let by_link = !clsact::is_needed();
    let mut wanted: Vec<(String, Option<u32>, Option<u64>)> =
        CGROUP_PROGRAMS.iter().map(|name| ((*name).to_owned(), None, cgroup)).collect();
    wanted.extend(VEND_PROGRAMS.map(|(pin, _)| (pin.to_owned(), None, None)));
    wanted.extend(by_link.then(|| (UPLINK.to_owned(), None, None)));
    for Guarded { workload, interface, namespace } in workloads {
        wanted.push((format!("{ADMISSION_PIN}{workload}"), Some(*workload), *namespace));
        let guard = (format!("{GUARD_PIN}{workload}"), Some(*workload), Some(u64::from(*interface)));
        wanted.extend(by_link.then_some(guard));
    }
    let attachment = |(name, workload, target): (String, Option<u32>, Option<u64>)| {
        let pin = links.join(name);
        let state = match sys::open_pin(&pin).and_then(|link| sys::link_target(link.as_fd())) {
            Ok(0) => AttachmentState::Detached,
            Ok(other) if target.is_some_and(|target| target != other) => AttachmentState::Elsewhere,
            Ok(_) => AttachmentState::Attached,
            Err(error) if error.kind() == io::ErrorKind::NotFound => AttachmentState::Missing,
            Err(error) => return Err(Error::pin(&pin, error)),
        };
        Ok(Attachment { pin, workload, state })
    };
    wanted.into_iter().map(attachment).collect()
}

/// Names of programs that somebody else has attached to hooks of this cgroup that the mesh uses. They run beside the mesh's.
///
/// # Errors
/// The cgroup is gone, or the kernel does not tell.
pub fn foreign(cgroup: &Path) -> io::Result<Vec<String>> {
    let folder = File::open(cgroup)?;
    let programs: BTreeMap<u32, String> = loaded_programs()
        .filter_map(Result::ok)
        .map(|it| (it.id(), it.name_as_str().unwrap_or_default().to_owned()))
        .collect();
    let ours: Vec<&str> = CGROUP_PROGRAMS.iter().map(|name| &name[..name.len().min(NAME)]).collect();
    let mut found = Vec::new();
    for hook in sys::CGROUP_HOOKS {
        for id in sys::attached_programs(folder.as_fd(), hook)? {
            let name = programs.get(&id).map_or("", String::as_str);
            if !ours.contains(&name) {
                found.push(if name.is_empty() { format!("program {id}") } else { name.to_owned() });
            }
        }
    }
    Ok(found)
}
