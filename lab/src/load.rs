//! The load generator: requests by schedule or as fast as answers come, from one thread.
//!
//! One thread and one epoll loop, because it is bound to one core, and because nothing may stand between a request's due time
//! and its sending but the path that is measured. Latency counts from when a request ought to have been sent, so a stalled
//! path can't slow down its own measurement (no coordinated omission).

mod connection;
mod engine;
mod faults;
mod framing;
mod http2;
mod latency;
mod own;
mod plan;
mod schedule;
mod tally;
mod tls;

pub use faults::faults;
pub use own::pin;
pub use plan::{Arrivals, Plan, Protocol, Scheme, Url};

use crate::results::Load;

/// Runs a load to its end.
///
/// # Errors
/// The plan makes no sense, nothing ever answered, or the rate is so high that nothing that counts was answered.
pub fn run(plan: &Plan) -> anyhow::Result<Load> {
    plan.check()?;
    let load = match plan.protocol {
        Protocol::Http1 => engine::run(plan),
        Protocol::Http2 => http2::run(plan),
    }?;
    if load.answered == 0 {
        let kinds: Vec<String> = load.failed.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        let why = if kinds.is_empty() { "it stayed silent".to_owned() } else { kinds.join(", ") };
        if let Some(rate) = load.intended_rate.filter(|_| load.answers > 0) {
            anyhow::bail!(
                "{}: {rate:.0} requests/s are far more than can be sent, so there is no result ({why}): choose a lower --rate, \
                 or --closed to find the highest",
                plan.url
            );
        }
        anyhow::bail!("{} never gave a right answer: {why}", plan.url);
    }
    Ok(load)
}
