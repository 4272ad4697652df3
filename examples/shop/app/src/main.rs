//! The programs of the demo shop, one sub-command each. Ordinary programs: they know names and sockets, and nothing of
//! the mesh that carries their calls.
//!
//! Never holds state, never reads a file. Nothing depends on it.
#![forbid(unsafe_code)]

mod args;
mod call;
mod catalogue;
mod load;
mod payment;
mod serve;
mod signals;
mod tally;
mod thief;

use anyhow::Result;
use args::Command;

fn main() -> Result<()> {
    let command = args::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = signals::stop()?;
        match command {
            Command::Help => {
                print!("{}", args::USAGE);
                Ok(())
            }
            Command::Catalogue { version, listen, verbose } => {
                let catalogue = catalogue::Catalogue::new(version)?;
                serve::run(listen, verbose, move |request| catalogue.answer(request), stop).await
            }
            Command::Payment { listen, verbose } => serve::run(listen, verbose, payment::answer, stop).await,
            Command::Load { rate, targets } => load::run(rate, targets, stop).await,
            Command::Thief { target } => thief::run(target, stop).await,
        }
    })
}
