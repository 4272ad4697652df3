//! How many rows the kernel's tables need room for, and when they have to grow.

use wabe_abi::maps;
use wabe_datapath::Sizes;

/// Rows of service ports and addresses that are never exceeded.
pub const MOST_SERVICES: u32 = Sizes::LARGEST.services;
/// Rows of endpoints that are never exceeded.
pub const MOST_ENDPOINTS: u32 = Sizes::LARGEST.endpoints;
/// Rows of each policy table that are never exceeded.
pub const MOST_POLICY_ROWS: u32 = Sizes::LARGEST.policy_rows;

/// Rows in the tables that grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Workloads.
    pub workloads: usize,
    /// Services' ports and addresses.
    pub services: usize,
    /// Places in all endpoint sets.
    pub endpoints: usize,
    /// In the fullest of the four policy tables.
    pub policies: usize,
}

/// A table has no room for old and new rows side by side, and can't be made larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}: {rows} rows during the change and {limit} fit at most; try again in a second, or make smaller changes"
)]
pub struct NoRoom {
    what: &'static str,
    rows: usize,
    limit: u32,
}

impl std::ops::Add for Rows {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            workloads: self.workloads + other.workloads,
            services: self.services + other.services,
            endpoints: self.endpoints + other.endpoints,
            policies: self.policies + other.policies,
        }
    }
}

/// The sizes with which `rows` fit; `None` if they do as it is. What has to grow gets room for twice the rows, so that
/// all of it can be swapped at once and growing stays rare; tables never shrink while a mesh is up.
///
/// # Errors
/// More rows than a table may ever have.
pub fn sizes_for(rows: &Rows, now: &Sizes) -> Result<Option<Sizes>, NoRoom> {
    let mut next = *now;
    next.workloads = grown("workloads", rows.workloads, now.workloads, maps::MAX_WORKLOADS)?;
    next.services = grown("services", rows.services, now.services, MOST_SERVICES)?;
    next.endpoints = grown("endpoints", rows.endpoints, now.endpoints, MOST_ENDPOINTS)?;
    next.policy_rows = grown("policies", rows.policies, now.policy_rows, MOST_POLICY_ROWS)?;
    Ok((next != *now).then_some(next))
}

fn grown(what: &'static str, rows: usize, now: u32, limit: u32) -> Result<u32, NoRoom> {
    if rows <= now as usize {
        return Ok(now);
    }
    if rows > limit as usize {
        return Err(NoRoom { what, rows, limit });
    }
    let doubled = (rows * 2).next_power_of_two();
    Ok(u32::try_from(doubled).map_or(limit, |doubled| doubled.min(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        let now = Sizes::default();
        let rows = Rows { endpoints: now.endpoints as usize, ..Rows::default() };
        assert_eq!(sizes_for(&rows, &now), Ok(None));
    }

    #[test]
    fn what_does_not_fit_gets_room_for_twice_as_much() {
        let now = Sizes::default();
        let rows = Rows { endpoints: 1_000_000, services: 200_000, ..Rows::default() };
        let next = sizes_for(&rows, &now).expect("room").expect("larger");
        assert_eq!((next.endpoints, next.services), (1 << 21, 1 << 19));
        assert_eq!((next.workloads, next.policy_rows), (now.workloads, now.policy_rows));
        assert_eq!(sizes_for(&rows, &next), Ok(None));
    }

    #[test]
    fn growth_ends_at_the_limit() {
        let now = Sizes::default();
        let rows = Rows { endpoints: MOST_ENDPOINTS as usize, ..Rows::default() };
        let next = sizes_for(&rows, &now).expect("room").expect("larger");
        assert_eq!(next.endpoints, MOST_ENDPOINTS);
        let error = sizes_for(&Rows { endpoints: rows.endpoints + 1, ..rows }, &next).expect_err("no room");
        assert!(error.to_string().starts_with("endpoints: 4194305 rows"), "{error}");
    }
}
