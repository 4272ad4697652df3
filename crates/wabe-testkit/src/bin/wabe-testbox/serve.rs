//! Servers: `echo`, `id` and `reset`.

use std::{env, net::SocketAddr, time::Duration};

use anyhow::Result;
use serde_json::json;
use tokio::{
    io::{AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{args::Args, hold::raise_descriptor_limit, report, udp};

/// Sends back what it gets, until the caller has sent all.
pub(crate) fn echo(args: &Args) -> Result<()> {
    if args.has("udp") {
        return udp::serve(args.listen()?, <[u8]>::to_vec);
    }
    serve(args.listen()?, |mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        // A caller that resets is its own business.
        if copy(&mut reader, &mut writer).await.is_ok() {
            writer.shutdown().await.ok();
        }
    })
}

/// Says who it is, and closes.
pub(crate) fn id(args: &Args) -> Result<()> {
    let name = format!("{}/{}", variable("WABE_WORKLOAD"), variable("WABE_REPLICA"));
    if args.has("udp") {
        return udp::serve(args.listen()?, |_| name.clone().into_bytes());
    }
    let delay = args.millis("delay", 0)?;
    serve(args.listen()?, move |mut stream| {
        let answer = format!("{name}\n");
        async move {
            if delay > Duration::ZERO {
                sleep(delay).await;
            }
            // A caller that went away needs no answer.
            stream.write_all(answer.as_bytes()).await.ok();
            stream.shutdown().await.ok();
        }
    })
}

/// Accepts, and resets at once.
pub(crate) fn reset(args: &Args) -> Result<()> {
    serve(args.listen()?, |stream| async move {
        // Without a FIN, whatever was sent or received.
        stream.set_zero_linger().ok();
    })
}

#[tokio::main(flavor = "current_thread")]
async fn serve<W>(address: SocketAddr, work: impl Fn(TcpStream) -> W) -> Result<()>
where
    W: Future<Output = ()> + Send + 'static,
{
    raise_descriptor_limit()?;
    let listener = TcpListener::bind(address).await?;
    report::line(&json!({ "listening": listener.local_addr()?.to_string() }));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(work(stream))),
            // Out of descriptors, or the caller left: others may fare better soon.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| "?".into())
}
