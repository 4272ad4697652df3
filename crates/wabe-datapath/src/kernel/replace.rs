//! Larger maps in place of those in use, without a gap: the kernel can't resize a map.

use std::fs;

use aya::EbpfLoader;
use wabe_abi::maps::{self, Life, Spec};

use super::{Kernel, Tables};
use crate::{Error, OBJECT, Sizes, Write, attach};

impl Kernel {
    /// Makes room for at least so many rows. Maps that are large enough stay; the others are made anew with the rows
    /// that they have, and programs that read the new ones are put into every link. Old programs with old maps and new
    /// programs with new ones say the same, so it does not matter which of them a connection meets meanwhile.
    ///
    /// # Errors
    /// There is no memory, or the programs can't be loaded: everything stays as it was. Or a link can't be updated.
    pub fn resize(&mut self, sizes: &Sizes) -> Result<(), Error> {
        let limits = &self.tables.limits;
        let grows = |spec: &&Spec| {
            let wanted = sizes.of(spec.name).unwrap_or(0);
            wanted > limits.get(spec.name).copied().unwrap_or(u32::MAX)
        };
        let growing: Vec<&'static Spec> = maps::SPECS.iter().filter(grows).collect();
        if growing.is_empty() {
            return Ok(());
        }
        // What an attempt that failed half-way left would be in the way.
        self.pins.prepare()?;
        let mut loader = EbpfLoader::new();
        for spec in &maps::SPECS {
            if growing.contains(&spec) {
                loader.map_max_entries(spec.name, sizes.of(spec.name).unwrap_or(spec.limit));
            } else {
                loader.map_pin_path(spec.name, self.pins.map(spec));
            }
        }
        let mut ebpf = loader.load(OBJECT)?;
        attach::load_programs(&mut ebpf)?;
        for spec in &growing {
            let map = ebpf.map_mut(spec.name).ok_or(Error::Missing(spec.name))?;
            let pin = self.pins.next(spec);
            map.pin(&pin).map_err(|error| Error::pin(pin, std::io::Error::other(error.to_string())))?;
        }
        let mut limits = limits.clone();
        limits.extend(growing.iter().filter_map(|spec| Some((spec.name, sizes.of(spec.name)?))));
        let mut tables = Tables::of(&mut ebpf, limits)?;
        let copied = |write: &&Write| {
            growing.iter().any(|spec| spec.name == write.map() && spec.life() == Life::Rebuilt)
        };
        let mut rows = self.contents()?;
        rows.retain(|write| copied(&write));
        tables.write_all(&rows)?;
        // From here on the new maps are the ones that count. A crash before the last link leaves programs of both kinds
        // and both kinds of maps, all with the same rows; the next agent puts all links to what is pinned then.
        for spec in &growing {
            let pin = self.pins.map(spec);
            fs::rename(self.pins.next(spec), &pin).map_err(|error| Error::pin(pin, error))?;
        }
        (self.ebpf, self.tables) = (ebpf, tables);
        tracing::info!(?sizes, "maps have grown");
        // An agent that is only taking over has not filled its tables yet.
        if self.engaged { self.engage() } else { Ok(()) }
    }
}
