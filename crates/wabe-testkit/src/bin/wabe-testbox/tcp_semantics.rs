//! Is it TCP? A client and a server that use what plain TCP promises, and say whether it was kept.

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::{args::Args, connect, hold::raise_descriptor_limit, report};

mod client;
mod data;
mod server;

/// `tcp-semantics serve --listen ADDR`, or `tcp-semantics check ADDR [--case NAME]`: one line per case, `{"case", "ok",
/// "error", "ms"}`.
pub(crate) fn run(args: &mut Args) -> Result<()> {
    raise_descriptor_limit()?;
    match args.word("serve or check")?.as_str() {
        "serve" => server::run(args.listen()?),
        "check" => check(args),
        other => bail!("neither serve nor check: {other:?}"),
    }
}

/// What is tried. The connection begins with a byte that tells the server which, and
/// eight that tell it from other connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// The client ends its half first, then gets the answer.
    HalfClose,
    /// The server ends its half first, and still gets what the client has.
    HalfCloseByServer,
    /// What did the server get on that connection? Not tried by itself.
    Ask,
    /// The server closes without reading: the client gets a reset.
    ResetOnUnreadClose,
    /// The server sends back by splice(2).
    Splice,
    /// The server asks for all of it by MSG_WAITALL, while it comes in pieces.
    WaitAll,
    /// The client sends by sendfile(2).
    SendFile,
    /// 20 MB each way at the same time.
    BothWays,
    /// Many uploads at once, 640 unless `--count` says otherwise.
    ParallelUploads,
}

impl Case {
    const ALL: [(&str, Self); 8] = [
        ("half-close", Self::HalfClose),
        ("half-close-by-server", Self::HalfCloseByServer),
        ("reset-on-unread-close", Self::ResetOnUnreadClose),
        ("splice", Self::Splice),
        ("msg-waitall", Self::WaitAll),
        ("sendfile", Self::SendFile),
        ("both-ways", Self::BothWays),
        ("parallel-uploads", Self::ParallelUploads),
    ];

    fn byte(self) -> u8 {
        self as u8
    }

    fn of_byte(byte: u8) -> Option<Self> {
        let all = Self::ALL.iter().map(|(_, case)| *case).chain([Self::Ask]);
        all.into_iter().find(|case| case.byte() == byte)
    }
}

fn check(args: &mut Args) -> Result<()> {
    let target = connect::target(args)?;
    let only: Option<String> = args.option("case")?;
    if let Some(name) = &only {
        let known = Case::ALL.iter().any(|(it, _)| it == name);
        known.then_some(()).with_context(|| format!("no case {name:?}"))?;
    }
    let client = client::Client {
        target,
        uploads: args.option("count")?.unwrap_or(640),
        upload_bytes: args.option("bytes")?.unwrap_or(256 << 10),
        patience: args.millis("timeout", 30_000)?,
    };
    for (name, case) in Case::ALL {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let start = std::time::Instant::now();
        let error = client.run(case).err().map(|error| format!("{error:#}"));
        let ms = start.elapsed().as_millis();
        report::line(&json!({ "case": name, "ok": error.is_none(), "error": error, "ms": ms }));
    }
    Ok(())
}
