//! Attaching, by pinned links where the kernel has them: made once, taken over by every later agent without a gap.

pub(crate) mod clsact;

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkbAttachType, LinkOrder, Program, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::TcAttachOptions,
    },
};

use crate::{
    Error,
    object::{ADMIT, CGROUP_PROGRAMS, GUARD, UPLINK, VEND_PROGRAMS, programs},
    pins, sys,
};

/// How the pins of workloads' guards begin; the workload's id follows.
pub(crate) const GUARD_PIN: &str = "guard-";
/// How the pins of workloads' admissions begin; the workload's id follows.
pub(crate) const ADMISSION_PIN: &str = "admission-";

/// Loads every program into the kernel; the verifier has its say here.
#[expect(clippy::wildcard_enum_match_arm, reason = "aya's enum: every other kind is the wrong one")]
pub(crate) fn load_programs(ebpf: &mut Ebpf) -> Result<(), Error> {
    for name in programs() {
        let loaded = match program(ebpf, name)? {
            Program::CgroupSock(it) => it.load(),
            Program::CgroupSockAddr(it) => it.load(),
            Program::SockOps(it) => it.load(),
            Program::CgroupSkb(it) => it.load(),
            Program::SkLookup(it) => it.load(),
            Program::SchedClassifier(it) => it.load(),
            _ => return Err(Error::Missing(name)),
        };
        loaded.map_err(|error| Error::program(name, error))?;
    }
    Ok(())
}

/// Attaches the programs of the cgroup that holds all workloads, or puts them into the links of an earlier agent.
pub(crate) fn cgroup(ebpf: &mut Ebpf, cgroup: &Path, links: &Path) -> Result<(), Error> {
    to_cgroup(ebpf, cgroup, links, CGROUP_PROGRAMS.map(|name| (name, name)))
}

/// The same for the cgroup where sockets of the node's proxy are made.
pub(crate) fn vend(ebpf: &mut Ebpf, cgroup: &Path, links: &Path) -> Result<(), Error> {
    to_cgroup(ebpf, cgroup, links, VEND_PROGRAMS)
}

/// Attaches programs to a cgroup, each with the name of its pin.
#[expect(clippy::wildcard_enum_match_arm, reason = "aya's enum: every other kind is the wrong one")]
fn to_cgroup(
    ebpf: &mut Ebpf,
    cgroup: &Path,
    links: &Path,
    programs: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Result<(), Error> {
    let target = File::open(cgroup).map_err(|error| Error::pin(cgroup, error))?;
    for (pin, name) in programs {
        let pin = links.join(pin);
        if replaced(ebpf, name, &pin)? {
            continue;
        }
        // aya's `Single` is a plain bpf_link, which always coexists with others; `AllowMultiple` is refused.
        let mode = CgroupAttachMode::Single;
        let wrong = |error| Error::program(name, error);
        let link: FdLink = match program(ebpf, name)? {
            Program::CgroupSock(it) => {
                let id = it.attach(&target, mode).map_err(wrong)?;
                into_fd(it.take_link(id).map_err(wrong)?, name)?
            }
            Program::CgroupSockAddr(it) => {
                let id = it.attach(&target, mode).map_err(wrong)?;
                into_fd(it.take_link(id).map_err(wrong)?, name)?
            }
            Program::CgroupSkb(it) => {
                let id = it.attach(&target, CgroupSkbAttachType::Egress, mode).map_err(wrong)?;
                into_fd(it.take_link(id).map_err(wrong)?, name)?
            }
            Program::SockOps(it) => {
                let id = it.attach(&target, mode).map_err(wrong)?;
                into_fd(it.take_link(id).map_err(wrong)?, name)?
            }
            _ => return Err(Error::Missing(name)),
        };
        pin_link(link, &pin)?;
    }
    Ok(())
}

/// Attaches admission to a workload's network namespace.
pub(crate) fn admission(ebpf: &mut Ebpf, netns: BorrowedFd<'_>, pin: &Path) -> Result<(), Error> {
    if replaced(ebpf, ADMIT, pin)? {
        return Ok(());
    }
    let Program::SkLookup(admit) = program(ebpf, ADMIT)? else { return Err(Error::Missing(ADMIT)) };
    let wrong = |error| Error::program(ADMIT, error);
    let id = admit.attach(netns).map_err(wrong)?;
    pin_link(admit.take_link(id).map_err(wrong)?.into(), pin)
}

/// Attaches a program to what comes in at an interface of the current network namespace: by a link that is pinned, or
/// where the kernel has none for interfaces, as a filter.
pub(crate) fn ingress(ebpf: &mut Ebpf, name: &'static str, interface: u32, pin: &Path) -> Result<(), Error> {
    if replaced(ebpf, name, pin)? {
        return Ok(());
    }
    let interface = sys::interface_name(interface)
        .map_err(|error| Error::pin(format!("interface {interface}"), error))?;
    let Program::SchedClassifier(guard) = program(ebpf, name)? else { return Err(Error::Missing(name)) };
    let wrong = |error| Error::program(name, error);
    if clsact::is_needed() {
        return clsact::attach(guard, &interface).map_err(wrong);
    }
    // aya would choose by the kernel's version.
    let tcx = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = guard.attach_with_options(&interface, TcAttachType::Ingress, tcx).map_err(wrong)?;
    let link = into_fd(guard.take_link(id).map_err(wrong)?, name)?;
    pin_link(link, pin)
}

/// Puts the programs into the links of all workloads.
pub(crate) fn workloads(ebpf: &mut Ebpf, links: &Path) -> Result<(), Error> {
    for name in pins::list(links)? {
        let program = if name.starts_with(GUARD_PIN) {
            GUARD
        } else if name.starts_with(ADMISSION_PIN) {
            ADMIT
        } else {
            continue;
        };
        // What it was attached to may be gone: then its workload is about to be forgotten.
        let _ = replaced(ebpf, program, &links.join(name))?;
    }
    Ok(())
}

/// Removes links that only another version has.
pub(crate) fn remove_unknown(links: &Path) -> Result<(), Error> {
    let known = |name: &str| {
        CGROUP_PROGRAMS.contains(&name)
            || VEND_PROGRAMS.iter().any(|(pin, _)| *pin == name)
            || name == UPLINK
            || name.starts_with(GUARD_PIN)
            || name.starts_with(ADMISSION_PIN)
    };
    pins::list(links)?.iter().filter(|name| !known(name)).try_for_each(|name| pins::remove(&links.join(name)))
}

/// Puts the program into the link that is pinned at `pin`. `false` if there is none, or if what it was attached to is
/// gone; the stale pin is then removed.
fn replaced(ebpf: &mut Ebpf, name: &'static str, pin: &Path) -> Result<bool, Error> {
    let link = match sys::open_pin(pin) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::pin(pin, error)),
    };
    let program = program(ebpf, name)?;
    let fd = program.fd().map_err(|error| Error::program(name, error))?;
    match sys::update_link(link.as_fd(), fd.as_fd()) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
            fs::remove_file(pin).map_err(|error| Error::pin(pin, error))?;
            Ok(false)
        }
        Err(error) => Err(Error::pin(pin, error)),
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Program, Error> {
    ebpf.program_mut(name).ok_or(Error::Missing(name))
}

fn into_fd<L: TryInto<FdLink>>(link: L, name: &'static str) -> Result<FdLink, Error> {
    link.try_into().map_err(|_| Error::Missing(name))
}

fn pin_link(link: FdLink, pin: &Path) -> Result<(), Error> {
    let pinned: PinnedLink =
        link.pin(pin).map_err(|error| Error::pin(pin, io::Error::other(error.to_string())))?;
    // Dropping the handle closes our descriptor; the pin keeps the link.
    drop(pinned);
    Ok(())
}
