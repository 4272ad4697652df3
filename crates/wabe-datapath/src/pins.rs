//! Where maps and links are pinned. A map's pin bears its layout, so that versions with different layouts can't take
//! each other's rows for their own.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::MapInfo;
use wabe_abi::maps::{self, Life, Spec};

use crate::Error;

/// Ends the name of a map that will take another one's place. (bpffs refuses names with a dot.)
const NEXT: &str = "-new";

/// The folders of pins of one mesh.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    maps: PathBuf,
    pub(crate) links: PathBuf,
}

impl Pins {
    /// Below the mesh's folder on a bpffs.
    pub(crate) fn below(folder: &Path) -> Self {
        Self { maps: folder.join("maps"), links: folder.join("links") }
    }

    /// Makes the folders, and removes what a replacement left that was not finished.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        for folder in [&self.maps, &self.links] {
            fs::create_dir_all(folder).map_err(|error| Error::pin(folder, error))?;
        }
        self.remove_maps(|name| name.ends_with(NEXT))
    }

    /// The pin of a map with this version's layout.
    pub(crate) fn map(&self, spec: &Spec) -> PathBuf {
        self.maps.join(pin_name(spec))
    }

    /// The pin of a map until it takes its place.
    pub(crate) fn next(&self, spec: &Spec) -> PathBuf {
        self.maps.join(pin_name(spec) + NEXT)
    }

    /// Refuses to go on where living connections have their state in another layout: it can't be read, and without it
    /// neither policy nor accounting would hold for them.
    pub(crate) fn check_kept(&self) -> Result<(), Error> {
        let names = self.names()?;
        let foreign = maps::SPECS.iter().find(|spec| {
            spec.life() == Life::Kept
                && !names.contains(&pin_name(spec))
                && names.iter().any(|name| is_of(name, spec))
        });
        foreign.map_or(Ok(()), |spec| Err(Error::OtherLayout(spec.name)))
    }

    /// Whether a map is pinned in another layout only.
    pub(crate) fn has_other_layout(&self, spec: &Spec) -> bool {
        self.names()
            .is_ok_and(|names| !names.contains(&pin_name(spec)) && names.iter().any(|name| is_of(name, spec)))
    }

    /// Rows that each map has room for: those of its pin, else what the specification says.
    pub(crate) fn limits(&self) -> BTreeMap<&'static str, u32> {
        let limit = |spec: &Spec| MapInfo::from_pin(self.map(spec)).map_or(spec.limit, |it| it.max_entries());
        maps::SPECS.iter().map(|spec| (spec.name, limit(spec))).collect()
    }

    /// Removes maps of other layouts, which nothing uses any more.
    pub(crate) fn remove_other_layouts(&self) -> Result<(), Error> {
        let ours: Vec<String> = maps::SPECS.iter().map(pin_name).collect();
        self.remove_maps(|name| !ours.iter().any(|it| it == name))
    }

    fn remove_maps(&self, unwanted: impl Fn(&str) -> bool) -> Result<(), Error> {
        for name in self.names()?.into_iter().filter(|name| unwanted(name)) {
            remove(&self.maps.join(name))?;
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        list(&self.maps)
    }
}

/// The names in a folder of pins.
pub(crate) fn list(folder: &Path) -> Result<Vec<String>, Error> {
    let wrong = |error| Error::pin(folder, error);
    let entries = fs::read_dir(folder).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Removes a pin; that it is gone already is no error.
pub(crate) fn remove(pin: &Path) -> Result<(), Error> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::pin(pin, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn pin_name(spec: &Spec) -> String {
    // Half of the hash tells versions apart well enough, and people read these names.
    format!("{}-{:08x}", spec.name, spec.layout as u32)
}

/// Whether a pin is of this map, in whatever layout.
fn is_of(pin: &str, spec: &Spec) -> bool {
    pin.strip_prefix(spec.name).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> Spec {
        *maps::SPECS.iter().find(|spec| spec.name == name).expect("a map")
    }

    fn with(names: &[String]) -> (tempfile::TempDir, Pins) {
        let folder = tempfile::tempdir().expect("a folder");
        let pins = Pins::below(folder.path());
        pins.prepare().expect("folders");
        for name in names {
            fs::write(pins.maps.join(name), "").expect("a file in place of a pin");
        }
        (folder, pins)
    }

    #[test]
    fn names_of_maps_are_told_apart() {
        assert!(is_of("TICKETS-00000000", &spec(maps::TICKETS)));
        assert!(!is_of("TICKET_COUNTS-00000000", &spec(maps::TICKETS)));
        let names: std::collections::BTreeSet<_> = maps::SPECS.iter().map(pin_name).collect();
        assert_eq!(names.len(), maps::SPECS.len());
    }

    #[test]
    fn state_of_living_connections_in_another_layout_is_not_taken_over() {
        let (_folder, pins) = with(&["CONNECTIONS-00000000".into()]);
        assert!(matches!(pins.check_kept(), Err(Error::OtherLayout(maps::CONNECTIONS))));
        let (_folder, pins) = with(&["SERVICES-00000000".into(), pin_name(&spec(maps::CONNECTIONS))]);
        assert!(pins.check_kept().is_ok());
        assert!(pins.has_other_layout(&spec(maps::SERVICES)) && !pins.has_other_layout(&spec(maps::LOADS)));
    }

    #[test]
    fn leftovers_and_other_layouts_go_and_nothing_else_does() {
        let services = pin_name(&spec(maps::SERVICES));
        let next = format!("{services}{NEXT}");
        let (_folder, pins) = with(&[services.clone(), next.clone(), "SERVICES-00000000".into()]);
        pins.prepare().expect("folders");
        assert!(!pins.names().expect("names").contains(&next));
        pins.remove_other_layouts().expect("removed");
        assert_eq!(pins.names().expect("names"), [services]);
    }
}
