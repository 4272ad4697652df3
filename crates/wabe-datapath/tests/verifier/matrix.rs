//! What the verifier of the running kernel says of every program, with tables of every size.
//!
//! The programs have nothing that is set when they are loaded: no constants, and the same instructions for every kernel
//! (IPv4 and IPv6 are programs of their own). What differs from load to load is how many rows the tables have.

use std::error::Error;

use aya::{Ebpf, EbpfLoader, programs::Program};
use wabe_abi::maps;
use wabe_datapath::{OBJECT, Sizes};

/// As small as a table can be, as the agent makes them, and as large as it lets them grow.
pub(crate) const SIZES: [(&str, Sizes); 3] =
    [("smallest", Sizes::SMALLEST), ("default", Sizes::DEFAULT), ("largest", Sizes::LARGEST)];

/// The object with tables of these sizes, no program of it loaded.
pub(crate) fn object(sizes: &Sizes) -> Result<Ebpf, Box<dyn Error>> {
    let mut loader = EbpfLoader::new();
    for spec in &maps::SPECS {
        if let Some(rows) = sizes.of(spec.name) {
            loader.map_max_entries(spec.name, rows);
        }
    }
    Ok(loader.load(OBJECT)?)
}

/// How many instructions the verifier looked at until it took the program.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is aya's and knows many kinds")]
pub(crate) fn verify(ebpf: &mut Ebpf, name: &str) -> Result<u32, Box<dyn Error>> {
    let info = match ebpf.program_mut(name).ok_or("not in the object")? {
        Program::CgroupSock(it) => it.load().and_then(|()| it.info()),
        Program::CgroupSockAddr(it) => it.load().and_then(|()| it.info()),
        Program::CgroupSkb(it) => it.load().and_then(|()| it.info()),
        Program::SockOps(it) => it.load().and_then(|()| it.info()),
        Program::SkLookup(it) => it.load().and_then(|()| it.info()),
        Program::SchedClassifier(it) => it.load().and_then(|()| it.info()),
        _ => return Err("of a kind that the loader does not know".into()),
    }?;
    info.verified_instruction_count().ok_or_else(|| "the kernel counts no verified instructions".into())
}
