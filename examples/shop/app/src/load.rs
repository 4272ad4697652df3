//! An open loop of calls: as many per second as asked for, however slowly they are answered.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Result, anyhow};
use tokio::{
    sync::Semaphore,
    time::{MissedTickBehavior, interval},
};

use crate::{call::Target, signals::Stop, tally::Tally};

/// Calls that may be under way at once; beyond it a call counts as failed, so that a stuck shop fills no memory.
const UNDER_WAY: usize = 1000;

/// Calls the targets in turn, `rate` calls per second in all, and prints a line every second, until `stop`.
pub(crate) async fn run(rate: u32, targets: Vec<Target>, mut stop: Stop) -> Result<()> {
    let second = Arc::new(Mutex::new(Tally::default()));
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut calls = interval(Duration::from_secs(1) / rate);
    // A late tick is made up for: the rate is a promise, not a wish.
    calls.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut lines = interval(Duration::from_secs(1));
    lines.tick().await;
    let mut total = Tally::default();
    let mut turn = targets.iter().cycle();
    loop {
        tokio::select! {
            _ = calls.tick() => {
                if let Some(target) = turn.next() {
                    start(target.clone(), Arc::clone(&second), &room);
                }
            }
            _ = lines.tick() => {
                let line = take(&second);
                println!("{line}");
                total.add(&line);
            }
            () = stop.requested() => break,
        }
    }
    total.add(&take(&second));
    println!("in all: {total}");
    Ok(())
}

fn start(target: Target, tally: Arc<Mutex<Tally>>, room: &Arc<Semaphore>) {
    let count = move |outcome| tally.lock().expect("invariant: nothing panics while counting").count(outcome);
    match Arc::clone(room).try_acquire_owned() {
        Ok(permit) => {
            tokio::spawn(async move {
                count(target.call().await);
                drop(permit);
            });
        }
        Err(_) => count(Err(anyhow!("not called: {UNDER_WAY} calls are still waiting"))),
    }
}

fn take(tally: &Mutex<Tally>) -> Tally {
    std::mem::take(&mut tally.lock().expect("invariant: nothing panics while counting"))
}
