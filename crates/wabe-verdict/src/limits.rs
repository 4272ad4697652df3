//! Limits of one workload: connections that are open, and new ones a second, as caller and as receiver.

use wabe_abi::{DropReason, WorkloadRecord};

use crate::Tables;

/// How far new connections may run ahead of their rate, in nanoseconds: a tenth of a second's worth may come at once.
const BURST: u64 = 100_000_000;
const SECOND: u64 = 1_000_000_000;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller's.
    Outbound,
    /// The receiver's.
    Inbound,
}

/// Why a connection would be one too many for its caller or its receiver; `None` if it is not, and then it is counted
/// against the rates of both.
///
/// Connections are counted as open from `TCP_CONNECT_CB` on, after this was asked: a limit may be overstepped by as many
/// as are between the two at once, one for each `connect()` under way.
#[inline(always)]
pub(crate) fn exceeded<T: Tables>(
    tables: &T,
    caller: (u32, &WorkloadRecord),
    receiver: (u32, &WorkloadRecord),
) -> Option<DropReason> {
    let (outbound, inbound) = (caller.1.outbound, receiver.1.inbound);
    if outbound.is_none() && inbound.is_none() {
        return None;
    }
    let pace = tables.pace(caller.0);
    if outbound.connections != 0 && pace.open >= u64::from(outbound.connections) {
        return Some(DropReason::TooManyOutbound);
    }
    if inbound.connections != 0 && tables.live(receiver.0) >= u64::from(inbound.connections) {
        return Some(DropReason::TooManyInbound);
    }
    let now = tables.now();
    let Some(next_outbound) = next(now, pace.outbound, outbound.per_second) else {
        return Some(DropReason::OutboundRate);
    };
    let Some(next_inbound) = next(now, tables.pace(receiver.0).inbound, inbound.per_second) else {
        return Some(DropReason::InboundRate);
    };
    if outbound.per_second != 0 {
        tables.set_due(caller.0, Side::Outbound, next_outbound);
    }
    if inbound.per_second != 0 {
        tables.set_due(receiver.0, Side::Inbound, next_inbound);
    }
    None
}

/// When the connection after this one is due; `None` if this one comes too early. The generic cell rate algorithm
/// (ITU-T I.371) in its form as a virtual schedule.
#[inline(always)]
fn next(now: u64, due: u64, per_second: u32) -> Option<u64> {
    if per_second == 0 {
        return Some(0);
    }
    let interval = SECOND / u64::from(per_second);
    let ahead = if interval > BURST { 0 } else { BURST };
    if due > now.saturating_add(ahead) {
        return None;
    }
    Some(due.max(now).saturating_add(interval))
}

#[cfg(test)]
mod tests {
    use wabe_abi::{Limits, Pace};

    use super::*;
    use crate::fake::Fake;

    fn between(tables: &Fake) -> Option<DropReason> {
        let of = |id: u32| *tables.workloads.get(&id).expect("workload");
        exceeded(tables, (1, &of(1)), (2, &of(2)))
    }

    fn limited(outbound: Limits, inbound: Limits) -> Fake {
        let mut tables = Fake::two_workloads();
        tables.workloads.get_mut(&1).expect("workload").outbound = outbound;
        tables.workloads.get_mut(&2).expect("workload").inbound = inbound;
        tables
    }

    const NONE: Limits = Limits { connections: 0, per_second: 0 };

    #[test]
    fn without_limits_nothing_is_counted() {
        let tables = limited(NONE, NONE);
        assert_eq!(between(&tables), None);
        assert!(tables.paces.borrow().is_empty());
    }

    #[test]
    fn open_connections_are_limited_at_both_ends() {
        let ten = Limits { connections: 10, per_second: 0 };
        let tables = limited(ten, NONE);
        tables.paces.borrow_mut().insert(1, Pace { open: 9, ..Pace::default() });
        assert_eq!(between(&tables), None);
        tables.paces.borrow_mut().insert(1, Pace { open: 10, ..Pace::default() });
        assert_eq!(between(&tables), Some(DropReason::TooManyOutbound));
        let mut tables = limited(NONE, ten);
        tables.live.insert(2, 9);
        assert_eq!(between(&tables), None);
        tables.live.insert(2, 10);
        assert_eq!(between(&tables), Some(DropReason::TooManyInbound));
    }

    #[test]
    fn a_rate_admits_its_burst_and_then_its_rate() {
        for (outbound, reason) in [(true, DropReason::OutboundRate), (false, DropReason::InboundRate)] {
            let fifty = Limits { connections: 0, per_second: 50 };
            let tables = if outbound { limited(fifty, NONE) } else { limited(NONE, fifty) };
            let mut admitted = 0;
            // Asked every millisecond for two seconds.
            for millisecond in 1..=2000_u64 {
                tables.now.set(millisecond * 1_000_000);
                match between(&tables) {
                    None => admitted += 1,
                    Some(refused) => assert_eq!(refused, reason),
                }
            }
            assert!((100..=107).contains(&admitted), "{admitted}");
        }
    }

    #[test]
    fn ten_a_second_may_run_ahead_by_one_and_nine_may_not() {
        for (per_second, at_once) in [(9, 1), (10, 2), (20, 3)] {
            let tables = limited(Limits { connections: 0, per_second }, NONE);
            tables.now.set(SECOND);
            let admitted = (0..10).filter(|_| between(&tables).is_none()).count();
            assert_eq!(admitted, at_once, "{per_second} a second");
        }
    }

    #[test]
    fn a_slow_rate_has_no_burst() {
        let tables = limited(Limits { connections: 0, per_second: 2 }, NONE);
        tables.now.set(SECOND);
        assert_eq!(between(&tables), None);
        tables.now.set(SECOND + SECOND / 2 - 1);
        assert_eq!(between(&tables), Some(DropReason::OutboundRate));
        tables.now.set(SECOND + SECOND / 2);
        assert_eq!(between(&tables), None);
    }

    #[test]
    fn who_is_refused_at_one_end_costs_the_other_nothing() {
        let one = Limits { connections: 0, per_second: 1 };
        let tables = limited(one, one);
        tables.now.set(SECOND);
        tables.paces.borrow_mut().insert(2, Pace { inbound: 5 * SECOND, ..Pace::default() });
        assert_eq!(between(&tables), Some(DropReason::InboundRate));
        assert_eq!(tables.pace(1).outbound, 0);
    }
}
