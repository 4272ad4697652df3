//! Connections that last: WebSockets and streams of gRPC, each with an echo now and then. When one ends it is begun anew, as people's
//! clients do, and how it ended is counted.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use h2::{Reason, RecvStream, client};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    args::Args,
    grpc, hold, report,
    websocket::{self, CLOSE, Frame, TEXT, close_code},
};

/// Between two echoes on each, and how long one may take.
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of those of one kind.
#[derive(Debug, Default)]
struct Counts {
    open: usize,
    begun: usize,
    echoes: usize,
    /// By how they ended.
    ended: BTreeMap<String, usize>,
}

type Shared = Arc<Mutex<Counts>>;

/// `lasting WEBSOCKETS STREAMS --count W --parallel S`: keeps W WebSockets to the one and S streams to the other address, and
/// obeys stdin: `count` reports, `quit` (or the end of stdin) ends.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
pub(crate) async fn run(args: &mut Args) -> Result<()> {
    hold::raise_descriptor_limit()?;
    let chat = args.word("where WebSockets are served, as name:80")?;
    let calls = args.word("where gRPC is served, as name:80")?;
    let (websockets, streams) = (Shared::default(), Shared::default());
    for _ in 0..args.option("count")?.unwrap_or(1) {
        let chat = chat.clone();
        tokio::spawn(again(Arc::clone(&websockets), move |counts| websocket(chat.clone(), counts)));
    }
    for number in 0..args.option("parallel")?.unwrap_or(1_usize) {
        // Every other caller ends its stream when it hears that the connection is to end.
        let obliging = number % 2 == 0;
        let calls = calls.clone();
        tokio::spawn(again(Arc::clone(&streams), move |counts| stream(calls.clone(), counts, obliging)));
    }
    // This thread may wait: the others are the worker's.
    for line in io::stdin().lines() {
        match line?.trim() {
            "count" => {
                let told = |counts: &Shared| {
                    let Counts { open, begun, echoes, ended } = &*counts.lock().expect("no panic");
                    json!({ "open": open, "begun": begun, "echoes": echoes, "ended": ended })
                };
                report::line(&json!({ "websockets": told(&websockets), "streams": told(&streams) }));
            }
            "quit" => break,
            other => bail!("no command {other:?}; there are count and quit"),
        }
    }
    Ok(())
}

async fn again<W: Future<Output = Result<String>>>(counts: Shared, last: impl Fn(Shared) -> W) {
    loop {
        let ended = match last(Arc::clone(&counts)).await {
            Ok(ended) => ended,
            Err(error) => {
                let of_stream = error.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
                match error.downcast_ref::<io::Error>().or(of_stream) {
                    Some(error) => report::errno(error),
                    None => format!("{error:#}"),
                }
            }
        };
        *counts.lock().expect("no panic").ended.entry(ended).or_default() += 1;
        sleep(Duration::from_millis(100)).await;
    }
}

/// Counted as open while it lives.
struct Open(Shared);

impl Open {
    fn new(counts: Shared) -> Self {
        let mut locked = counts.lock().expect("no panic");
        locked.open += 1;
        locked.begun += 1;
        drop(locked);
        Self(counts)
    }

    fn echoed(&self) {
        self.0.lock().expect("no panic").echoes += 1;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().expect("no panic").open -= 1;
    }
}

async fn websocket(to: String, counts: Shared) -> Result<String> {
    let mut stream = TcpStream::connect(&to).await?;
    let head = format!(
        "GET /chat HTTP/1.1\r\nhost: {to}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        bail!("{}", String::from_utf8_lossy(&answer).lines().next().unwrap_or_default());
    }
    let open = Open::new(counts);
    loop {
        websocket::write(&mut stream, &Frame { code: TEXT, payload: b"again".to_vec() }, true).await?;
        // Whatever comes until the next turn.
        let mut turn = timeout(PATIENCE, websocket::read(&mut stream, false)).await.context("no echo")??;
        loop {
            match turn {
                None => return Ok("no Close frame".into()),
                Some(frame) if frame.code == CLOSE => {
                    websocket::write(&mut stream, &frame, true).await?;
                    return match stream.read(&mut [0]).await? {
                        0 => Ok(format!("{}, end", close_code(&frame))),
                        _ => Ok("bytes after a Close frame".into()),
                    };
                }
                Some(_) => open.echoed(),
            }
            // A frame is not read in part: it begins with what `peek` sees.
            if timeout(PAUSE, stream.peek(&mut [0])).await.is_err() {
                break;
            }
            turn = websocket::read(&mut stream, false).await?;
        }
    }
}

async fn stream(to: String, counts: Shared, obliging: bool) -> Result<String> {
    let tcp = TcpStream::connect(&to).await?;
    tcp.set_nodelay(true)?;
    let (sender, connection) = client::handshake(tcp).await?;
    let connection = tokio::spawn(connection);
    let mut sender = sender.ready().await?;
    let (answer, mut body) = sender.send_request(grpc::request(&to, grpc::STREAM)?, false)?;
    body.send_data(Bytes::from_static(b"again"), false)?;
    let mut answer = timeout(PATIENCE, answer).await.context("no answer")??.into_body();
    let open = Open::new(counts);
    let mut goes_away = false;
    let status = loop {
        let Some(data) = timeout(PATIENCE, answer.data()).await.context("no echo")? else {
            break status(&mut answer).await?;
        };
        let data = data?;
        answer.flow_control().release_capacity(data.len())?;
        open.echoed();
        match timeout(PAUSE, answer.data()).await {
            Ok(None) => break status(&mut answer).await?,
            Ok(Some(more)) => bail!("{} bytes that nobody sent", more?.len()),
            Err(_) => {}
        }
        goes_away |= sender.clone().ready().await.is_err_and(|it| it.reason() == Some(Reason::NO_ERROR));
        if body.send_data(Bytes::from_static(b"again"), obliging && goes_away).is_err() {
            break status(&mut answer).await?;
        }
    };
    drop(open);
    goes_away |= sender.ready().await.is_err_and(|it| it.reason() == Some(Reason::NO_ERROR));
    connection.await??;
    Ok(format!("{}status {status}, end", if goes_away { "goaway, " } else { "" }))
}

async fn status(answer: &mut RecvStream) -> Result<String> {
    let trailers = answer.trailers().await?.context("no trailers")?;
    Ok(trailers.get("grpc-status").and_then(|it| it.to_str().ok()).unwrap_or("none").to_owned())
}
