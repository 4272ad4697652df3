//! What a proxy takes of memory when it does nothing, and for connections that do nothing.

use std::{rc::Rc, thread, time::Duration};

use anyhow::{Context, Result};

use crate::{
    arm::{From, Ratios, Row, Table, WABE},
    hold::{Held, kernel, resident},
    place::Place,
    proxy::{self, Chain, END_CORE, Peer, Side, Way},
};

use super::Prepared;

/// Connections that had one request each.
pub(super) fn idle(quick: bool) -> usize {
    if quick { 300 } else { 9_000 }
}

/// A proxy that was started anew, and its processes.
struct Fresh {
    from: From,
    to: String,
    processes: Vec<u32>,
}

/// What one had.
struct Taken {
    /// Bytes, before the first connection.
    resident: f64,
    /// Bytes for each connection: of the proxy, and of the kernel.
    each: (f64, f64),
}

/// `proxy-memory`: every proxy is started anew for each sample, as most keep what they once had.
pub(super) fn memory(place: &Place, quick: bool) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let (count, rounds) = (idle(quick), if quick { 1 } else { 5 });
    let titles = [
        ("proxy-memory: resident, without connections".to_owned(), "MB", 1e6),
        (format!("proxy-memory: resident, for each of {count} idle connections"), "kB", 1e3),
        (format!("proxy-memory: the kernel, for each of {count} idle connections, both ends"), "kB", 1e3),
        (format!("proxy-memory: resident and the kernel, for each of {count} idle connections"), "kB", 1e3),
    ];
    prepared.tables.extend(titles.iter().map(|(title, unit, _)| Table {
        title: title.clone(),
        unit,
        ratios: Ratios::OfWabe,
        rows: Vec::new(),
    }));
    let mut wanted: Vec<Option<Peer>> = std::iter::once(None).chain(Peer::ALL.map(Some)).collect();
    for round in 0..rounds {
        eprint!("\rproxy-memory: round {} of {rounds}", round + 1);
        wanted.retain(|peer| {
            let taken = fresh(place, *peer).and_then(|fresh| Ok((take(place, &fresh, count)?, fresh.to)));
            let name = peer.map_or(WABE, Peer::word);
            match taken {
                Ok((Taken { resident, each }, to)) => {
                    let values = [resident, each.0, each.1, each.0 + each.1];
                    let tables = prepared.tables.iter_mut().zip(&titles);
                    for ((table, (.., unit)), value) in tables.zip(values) {
                        note(table, name, &to, value / unit);
                    }
                    true
                }
                Err(error) => {
                    prepared.missing.push((name.into(), format!("{error:#}")));
                    false
                }
            }
        });
    }
    eprintln!();
    Ok(prepared)
}

fn note(table: &mut Table, name: &str, to: &str, value: f64) {
    match table.rows.iter_mut().find(|row| row.name == name) {
        Some(row) => row.values.push(value),
        None => table.rows.push(Row { name: name.into(), to: to.into(), values: vec![value] }),
    }
}

fn fresh(place: &Place, peer: Option<Peer>) -> Result<Fresh> {
    match peer {
        None => {
            let (mesh, to) = proxy::up(place, "memory", Way::Http, 0, 0)?;
            let processes = mesh.proxy();
            Ok(Fresh { from: From::Mesh(mesh), to, processes })
        }
        Some(peer) => {
            let mut chain = Chain::new(place, "memory")?;
            chain.add(place, peer, Side::Between, 0)?;
            let processes = chain.processes(peer);
            let to = Chain::to(peer, Side::Between, Way::Http);
            Ok(Fresh { from: From::Chain(Rc::new(chain)), to, processes })
        }
    }
}

fn take(place: &Place, fresh: &Fresh, count: usize) -> Result<Taken> {
    // What is freed late is freed by then: RCU, and the sockets of a sample before.
    let settle = || thread::sleep(Duration::from_secs(1));
    settle();
    let before = (resident(&fresh.processes)?, kernel()?);
    let client = fresh.from.client(&place.program());
    let held = Held::open(client, &fresh.to, count, END_CORE).context("idle connections")?;
    settle();
    let after = (resident(&fresh.processes)?, kernel()?);
    drop(held);
    let each = |before: u64, after: u64| (after as f64 - before as f64) / count as f64;
    Ok(Taken { resident: before.0 as f64, each: (each(before.0, after.0), each(before.1, after.1)) })
}
