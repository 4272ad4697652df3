//! The eBPF object that was built with this crate: what is loaded from it, and how it is attached.

use aya::{
    Ebpf, EbpfLoader,
    programs::{CgroupAttachMode, Program},
};

use crate::{Error, Limits, MOST_UNREAD, offsets::Offsets, place::Cgroup};

/// Alignment for the ELF reader.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);

static EMBEDDED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/wabe-lab.o")));

/// Constants of the programs, other than the kernel's offsets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// Where the caller's sidecar listens.
    pub(crate) outbound_port: u16,
    /// The workload's address in network order.
    pub(crate) server_address: u32,
    /// The workload's port.
    pub(crate) server_port: u16,
}

/// Connections there are for one of the application: to its sidecar, between the sidecars, to the workload.
const HOPS: u32 = 3;

/// Makes the maps. Programs are loaded when they are needed. Without offsets, no socket to socket program can be.
pub(crate) fn load(limits: Limits, settings: Settings, offsets: Option<Offsets>) -> Result<Ebpf, Error> {
    let connections = limits.connections.max(1);
    let ends = if offsets.is_some() { connections.saturating_mul(2 * HOPS) } else { 1 };
    let offsets = offsets.unwrap_or(Offsets {
        sk_user_data: 0,
        skc_cookie: 0,
        msg_tot_len: 0,
        write_seq: 0,
        copied_seq: 0,
        rmem_alloc: 0,
        sk_rcvbuf: 0,
    });
    let (outbound_port, server_port) = (settings.outbound_port.into(), settings.server_port.into());
    let words: [(&str, &u32); 5] = [
        ("OUTBOUND_PORT", &outbound_port),
        ("SERVER_ADDRESS", &settings.server_address),
        ("SERVER_PORT", &server_port),
        ("CAPACITY", &connections),
        ("MOST_UNREAD", &MOST_UNREAD),
    ];
    let long: [(&str, &u64); 7] = [
        ("SK_USER_DATA", &offsets.sk_user_data),
        ("SKC_COOKIE", &offsets.skc_cookie),
        ("MSG_TOT_LEN", &offsets.msg_tot_len),
        ("WRITE_SEQ", &offsets.write_seq),
        ("COPIED_SEQ", &offsets.copied_seq),
        ("RMEM_ALLOC", &offsets.rmem_alloc),
        ("SK_RCVBUF", &offsets.sk_rcvbuf),
    ];
    let mut loader = EbpfLoader::new();
    for (name, value) in words {
        loader.override_global(name, value, true);
    }
    for (name, value) in long {
        loader.override_global(name, value, true);
    }
    loader.map_max_entries("UNDER_WAY", connections);
    loader.map_max_entries("ENDS", ends).map_max_entries("SOCKETS", ends);
    Ok(loader.load(&EMBEDDED.0)?)
}

/// A program of the kind that `K` is.
pub(crate) fn program<'a, K>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut K, Error>
where
    &'a mut K: TryFrom<&'a mut Program>,
{
    let program = ebpf.program_mut(name).ok_or(Error::Missing(name))?;
    program.try_into().map_err(|_| Error::Missing(name))
}

/// Loads a program; the verifier has its say here.
#[expect(clippy::wildcard_enum_match_arm, reason = "aya's enum: every other kind is the wrong one")]
pub(crate) fn verify(ebpf: &mut Ebpf, name: &'static str) -> Result<(), Error> {
    let loaded = match ebpf.program_mut(name).ok_or(Error::Missing(name))? {
        Program::CgroupSockAddr(it) => it.load(),
        Program::CgroupSockopt(it) => it.load(),
        Program::SockOps(it) => it.load(),
        Program::SkLookup(it) => it.load(),
        Program::SkMsg(it) => it.load(),
        _ => return Err(Error::Missing(name)),
    };
    loaded.map_err(|error| Error::program(name, error))
}

/// Attaches a loaded program to a cgroup, for as long as `ebpf` lives. Several can be on one cgroup.
#[expect(clippy::wildcard_enum_match_arm, reason = "aya's enum: every other kind is the wrong one")]
pub(crate) fn attach(ebpf: &mut Ebpf, name: &'static str, cgroup: &Cgroup) -> Result<(), Error> {
    // aya's `Single` is a plain bpf_link, which always coexists with others; `AllowMultiple` is refused.
    let (folder, mode) = (&cgroup.folder, CgroupAttachMode::Single);
    let attached = match ebpf.program_mut(name).ok_or(Error::Missing(name))? {
        Program::CgroupSockAddr(it) => it.attach(folder, mode).map(drop),
        Program::CgroupSockopt(it) => it.attach(folder, mode).map(drop),
        Program::SockOps(it) => it.attach(folder, mode).map(drop),
        _ => return Err(Error::Missing(name)),
    };
    attached.map_err(|source| Error::Program {
        program: name,
        on: Some(cgroup.path.clone()),
        source: Box::new(source),
    })
}
