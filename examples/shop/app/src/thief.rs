//! Somebody who has no business calling, and tries.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use crate::{call::Target, signals::Stop};

/// Tries every two seconds, and prints how it went, until `stop`.
pub(crate) async fn run(target: Target, mut stop: Stop) -> Result<()> {
    let mut tries = interval(Duration::from_secs(2));
    tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tries.tick() => println!("{}", attempt(&target).await),
            () = stop.requested() => return Ok(()),
        }
    }
}

async fn attempt(target: &Target) -> String {
    match target.connect().await {
        Err(error) => format!("{target}: refused: {error}"),
        Ok(stream) => {
            drop(stream);
            match target.call().await {
                Ok(answer) => {
                    format!("{target}: NOBODY STOPPED ME: {} from {}", answer.status, answer.served_by)
                }
                Err(error) => format!("{target}: connected, but the call failed: {error:#}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::net::TcpListener;

    use super::*;
    use crate::{payment, serve};

    #[tokio::test]
    async fn says_how_it_was_refused() {
        // A port that was just free and has no listener: the kernel refuses.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let target = Target::parse(&format!("http://{address}/pay")).expect("a URL");
        let line = attempt(&target).await;
        assert_eq!(line, format!("{address}: refused: Connection refused (os error 111)"));
    }

    #[tokio::test]
    async fn cries_out_when_nobody_stops_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(serve::serve(listener, false, payment::answer, Stop::when(pending())));
        let target = Target::parse(&format!("http://{address}/pay")).expect("a URL");
        let line = attempt(&target).await;
        assert_eq!(line, format!("{address}: NOBODY STOPPED ME: 200 OK from payment"));
    }
}
