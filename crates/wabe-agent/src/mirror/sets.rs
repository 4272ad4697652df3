//! Endpoint sets, compactly: there may be millions of rows, and they come and go by sets.

use std::collections::BTreeMap;

use wabe_abi::{EndpointKey, EndpointRecord};

/// All endpoint sets by id; in each, rows by place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sets {
    sets: BTreeMap<u32, Vec<(u32, EndpointRecord)>>,
    rows: usize,
}

impl Sets {
    /// Puts a row in its place, or takes it away.
    pub fn put(&mut self, key: EndpointKey, value: Option<EndpointRecord>) {
        let set = self.sets.entry(key.set).or_default();
        match (set.binary_search_by_key(&key.index, |row| row.0), value) {
            (Ok(at), Some(value)) => set[at].1 = value,
            (Ok(at), None) => {
                set.remove(at);
                self.rows -= 1;
            }
            (Err(at), Some(value)) => {
                set.insert(at, (key.index, value));
                self.rows += 1;
            }
            (Err(_), None) => {}
        }
        if set.is_empty() {
            self.sets.remove(&key.set);
        }
    }

    /// A row.
    pub fn get(&self, key: &EndpointKey) -> Option<&EndpointRecord> {
        let set = self.sets.get(&key.set)?;
        set.binary_search_by_key(&key.index, |row| row.0).ok().map(|at| &set[at].1)
    }

    /// How many rows all sets have together.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The sets that have rows.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.sets.keys().copied()
    }

    /// The places of one set, the last first: taking them away in this order moves no other.
    pub fn places(&self, set: u32) -> impl Iterator<Item = EndpointKey> {
        let rows = self.sets.get(&set).into_iter().flatten();
        rows.rev().map(move |(index, _)| EndpointKey { set, index: *index })
    }

    /// Every row.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (EndpointKey, EndpointRecord)> {
        let rows = |(set, rows): (&u32, &Vec<(u32, EndpointRecord)>)| {
            let set = *set;
            let row = move |(index, row): (u32, EndpointRecord)| (EndpointKey { set, index }, row);
            rows.clone().into_iter().map(row)
        };
        self.sets.iter().flat_map(rows)
    }
}
