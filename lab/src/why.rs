//! Where the time of a request goes: a profiler looks at both cores about a thousand times a second while a load runs, and
//! what it saw is told apart by the names of functions and the roles of processes.
//!
//! The clock is a software one: what runs with interrupts off is seen where it lets them in again, most often at the end of
//! a lock or of a switch of tasks. The innermost names are therefore not exact; the classes, which also look at who called,
//! are less touched.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::results::{Breakdown, Load, Share};

mod calls;
mod class;
mod crypto;
mod look;
mod profile;
mod roles;
mod saving;

pub use calls::calls;
pub use class::Class;
pub use look::{DEPTH, Frame, Look, parse};
pub use profile::{FREQUENCY, profile};
pub use roles::{Role, Roles};
pub use saving::{Saving, could_be_saved};

/// What was used while the profiler looked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Seconds that the arm's processes ran, the generator left out.
    pub processes: f64,
    /// Context switches of the whole machine.
    pub switches: u64,
}

/// What was going on at a look, as [`Class::title`] tells it; [`Class::Idle`] if nothing.
#[must_use]
pub fn classify(look: &Look, roles: &Roles) -> &'static str {
    class_of(look, roles).title()
}

fn class_of(look: &Look, roles: &Roles) -> Class {
    let kernel = look.kernel();
    let in_kernel = || class::kernel(kernel);
    let Some(role) = roles.of(look.pid) else {
        return match look.pid {
            _ if class::is_interrupted(kernel) || look.name.starts_with("ksoftirqd/") => in_kernel(),
            0 if class::is_waking(kernel) => in_kernel(),
            0 => Class::Idle,
            _ => Class::Others,
        };
    };
    if !kernel.is_empty() {
        return in_kernel();
    }
    let named = look.frames.first().is_some_and(crypto::is_named);
    if named || look.frames.iter().any(|it| roles.is_crypto(it)) { Class::Tls } else { role.class() }
}

/// Where the time of a request went: shares by what was seen, and the time by what the generator, whose own is in `load`, and
/// the arm's processes used in the meantime. System calls are not counted here; see [`calls`].
///
/// # Errors
/// Nothing was answered, or the profiler saw nothing but idle cores.
pub fn breakdown(
    arm: &str,
    point: &str,
    looks: &[Look],
    roles: &Roles,
    load: &Load,
    used: &Used,
) -> Result<Breakdown> {
    ensure!(
        load.answered > 0 && load.seconds > 0.0,
        "nothing was answered, so no request's time can be told"
    );
    let mut counts: BTreeMap<Class, u64> = BTreeMap::new();
    for look in looks {
        *counts.entry(class_of(look, roles)).or_default() += 1;
    }
    counts.remove(&Class::Idle);
    let busy: u64 = counts.values().sum();
    ensure!(busy > 0, "the profiler saw nothing but idle cores");
    let share = |(class, count): (Class, u64)| Share {
        what: class.title().to_owned(),
        share: count as f64 / busy as f64,
    };
    let mut shares: Vec<Share> = counts.into_iter().map(share).collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share));
    let answered = load.answered as f64;
    Ok(Breakdown {
        arm: arm.to_owned(),
        point: point.to_owned(),
        rate: answered / load.seconds,
        per_request: (load.user + load.system + used.processes) * 1e6 / answered,
        shares,
        looks: busy,
        switches: used.switches as f64 / answered,
        calls: None,
    })
}
