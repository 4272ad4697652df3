//! WebSockets (RFC 6455), as far as the tests need them: frames of at most 125 bytes, whole messages, and how each end ended.

use std::io;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::report;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
/// Any will do.
const MASK: [u8; 4] = [0x57, 0x61, 0x62, 0x65];

/// A frame: its operation code, and what it carries, without its mask.
pub(crate) struct Frame {
    pub(crate) code: u8,
    pub(crate) payload: Vec<u8>,
}

/// Sends messages back until either end closes; then tells how that was.
pub(crate) async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let ended = loop {
        match read(&mut stream, true).await {
            Ok(Some(frame)) => {
                if let Err(error) = write(&mut stream, &frame, false).await {
                    break report::errno(&error);
                }
                if frame.code == CLOSE {
                    stream.shutdown().await.ok();
                    break close_code(&frame);
                }
            }
            Ok(None) => break "no Close frame".to_owned(),
            Err(error) => break report::errno(&error),
        }
    };
    report::line(&json!({ "websocket": ended }));
}

/// What a Close frame says: `close CODE`.
pub(crate) fn close_code(frame: &Frame) -> String {
    match frame.payload[..] {
        [high, low, ..] => format!("close {}", u16::from_be_bytes([high, low])),
        _ => "close".into(),
    }
}

/// The next frame; none at the connection's end between two frames.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), masked: bool) -> io::Result<Option<Frame>> {
    let mut head = [0; 2];
    if stream.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..]).await?;
    let length = usize::from(head[1] & 0x7f);
    if (head[1] & 0x80 != 0) != masked || length > 125 || head[0] & 0xf0 != 0x80 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no frame begins with {head:?}")));
    }
    let mut mask = [0; 4];
    if masked {
        stream.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(Some(Frame { code: head[0] & 0x0f, payload }))
}

/// Sends a frame.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &Frame,
    masked: bool,
) -> io::Result<()> {
    let length = u8::try_from(frame.payload.len()).ok().filter(|it| *it <= 125);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let mask = if masked { MASK } else { [0; 4] };
    let mut bytes = vec![0x80 | frame.code, length | if masked { 0x80 } else { 0 }];
    if masked {
        bytes.extend(mask);
    }
    bytes.extend(frame.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    stream.write_all(&bytes).await?;
    stream.flush().await
}
