//! Telling user space.

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_set_retval};
use wabe_abi::{
    Be16, DropReason, Event, EventKind, Ip, Lane, RefusalKey, RefusalSeen, Reporter, maps::counter,
};

use crate::tables::{EVENTS, REFUSALS, add, count};

/// A hook's "go on".
pub const ALLOW: i32 = 1;
/// A hook's "no".
pub const REFUSE: i32 = 0;

/// Like refusals are reported once in this many nanoseconds.
const QUIET: u64 = 1_000_000_000;

/// What is known of something that was refused.
#[derive(Clone, Copy)]
pub struct Refusal {
    pub source: Ip,
    pub destination: Ip,
    pub generation: u64,
    pub workload: u32,
    pub peer_workload: u32,
    pub service: u32,
    pub rule: u32,
    pub source_port: Be16,
    pub port: Be16,
    pub protocol: u8,
    pub reporter: Reporter,
    pub reason: DropReason,
}

impl Default for Refusal {
    #[inline(always)]
    fn default() -> Self {
        Self {
            source: Ip::UNSPECIFIED,
            destination: Ip::UNSPECIFIED,
            generation: 0,
            workload: 0,
            peer_workload: 0,
            service: 0,
            rule: 0,
            source_port: Be16::new(0),
            port: Be16::new(0),
            protocol: 0,
            reporter: Reporter::Source,
            reason: DropReason::NotConfigured,
        }
    }
}

/// Now, in nanoseconds of the monotonic clock.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Reports a refusal and makes the system call fail with its errno; for the hooks of a cgroup.
#[inline(always)]
pub fn refused(refusal: &Refusal) -> i32 {
    tell(refusal);
    // SAFETY: a helper without pointers; only cgroup hooks call this.
    unsafe { bpf_set_retval(-refusal.reason.errno()) };
    REFUSE
}

/// Counts a refusal, and reports it unless a like one was reported within a second.
#[inline(always)]
pub fn tell(refusal: &Refusal) {
    count(counter::REASONS + refusal.reason as u32);
    count(counter::LANES + Lane::Refused as u32);
    let at = now();
    let key = RefusalKey {
        destination: refusal.destination,
        source: if refusal.workload == 0 { refusal.source } else { Ip::UNSPECIFIED },
        workload: refusal.workload,
        port: refusal.port,
        protocol: refusal.protocol,
        reason: refusal.reason as u8,
    };
    let mut suppressed = 0;
    if let Some(seen) = REFUSALS.get_ptr_mut(key) {
        // SAFETY: a valid pointer into the map; a lost update costs one report too many or too few.
        let seen = unsafe { &mut *seen };
        if at - seen.reported < QUIET {
            add(&raw mut seen.suppressed, 1);
            return;
        }
        suppressed = seen.suppressed as u32;
        seen.reported = at;
        seen.suppressed = 0;
    } else {
        let _ = REFUSALS.insert(key, RefusalSeen { reported: at, suppressed: 0 }, 0);
    }
    send(&Event {
        source: refusal.source,
        destination: refusal.destination,
        dialled: refusal.destination,
        time: at,
        generation: refusal.generation,
        source_workload: refusal.workload,
        destination_workload: refusal.peer_workload,
        service: refusal.service,
        rule: refusal.rule,
        suppressed,
        source_port: refusal.source_port,
        destination_port: refusal.port,
        dialled_port: refusal.port,
        kind: EventKind::Refused as u8,
        reporter: refusal.reporter as u8,
        lane: Lane::Refused as u8,
        reason: refusal.reason as u8,
        protocol: refusal.protocol,
        ..Event::default()
    });
}

/// Puts an event into the ring buffer, or counts its loss.
#[inline(always)]
pub fn send(event: &Event) {
    match EVENTS.reserve(0) {
        Some(mut entry) => {
            entry.write(*event);
            entry.submit(0);
        }
        None => count(counter::EVENTS_LOST),
    }
}
