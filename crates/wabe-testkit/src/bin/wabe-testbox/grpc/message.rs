//! The messages of `conformance/echo-basic/grpcecho.proto` of kubernetes-sigs/gateway-api, as far as the tests need them, and gRPC's
//! framing of messages.

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use serde_json::{Map, Value, json};

/// An `EchoResponse`.
pub(super) fn response(method: &str, authority: &str, headers: &HeaderMap, pod: &str) -> Vec<u8> {
    let mut assertions = Vec::new();
    put(&mut assertions, 1, method.as_bytes());
    for (name, value) in headers {
        let mut header = Vec::new();
        put(&mut header, 1, name.as_str().as_bytes());
        put(&mut header, 2, value.as_bytes());
        put(&mut assertions, 2, &header);
    }
    put(&mut assertions, 3, authority.as_bytes());
    let mut context = Vec::new();
    put(&mut context, 4, pod.as_bytes());
    put(&mut assertions, 4, &context);
    let mut response = Vec::new();
    put(&mut response, 1, &assertions);
    response
}

/// What such a response says: `method`, `authority`, `workload`, and `headers`, each a list of values.
pub(super) fn told(response: &[u8]) -> Result<Value> {
    let (mut told, mut headers) = (Map::new(), Map::new());
    let assertions = fields(response)?.into_iter().find(|it| it.0 == 1).context("no assertions")?.1;
    for (number, bytes) in fields(assertions)? {
        match number {
            1 => drop(told.insert("method".into(), text(bytes))),
            2 => {
                let of = |number| {
                    let found = fields(bytes).ok()?.into_iter().find(|it| it.0 == number)?.1;
                    Some(String::from_utf8_lossy(found).into_owned())
                };
                let values = headers.entry(of(1).unwrap_or_default()).or_insert_with(|| json!([]));
                values.as_array_mut().context("a list")?.push(of(2).unwrap_or_default().into());
            }
            3 => drop(told.insert("authority".into(), text(bytes))),
            4 => {
                let pod = fields(bytes)?.into_iter().find(|it| it.0 == 4).map(|it| text(it.1));
                told.insert("workload".into(), pod.unwrap_or_default());
            }
            _ => {}
        }
    }
    told.insert("headers".into(), headers.into());
    Ok(told.into())
}

/// A message as it goes over a stream: not compressed, its length, itself.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.put_slice(message);
    bytes.freeze()
}

/// The message that these bytes of a stream are.
pub(super) fn unframed(bytes: &[u8]) -> Result<&[u8]> {
    let (head, message) = bytes.split_at_checked(5).context("no whole message")?;
    if head[0] != 0 || head[1..] != u32::try_from(message.len())?.to_be_bytes() {
        bail!("not one message: {bytes:?}");
    }
    Ok(message)
}

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// A field of bytes (wire type 2 of protocol buffers).
fn put(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// The fields of a message that has no others.
fn fields(mut bytes: &[u8]) -> Result<Vec<(u8, &[u8])>> {
    let mut fields = Vec::new();
    while let Some((tag, mut rest)) = bytes.split_first() {
        if tag & 7 != 2 {
            bail!("field {} is not one of bytes", tag >> 3);
        }
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let (byte, after) = rest.split_first().context("a length that does not end")?;
            length |= usize::from(byte & 0x7f) << shift;
            (rest, shift) = (after, shift + 7);
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                bail!("a length that does not end");
            }
        }
        let (field, after) = rest.split_at_checked(length).context("a field that does not end")?;
        fields.push((tag >> 3, field));
        bytes = after;
    }
    Ok(fields)
}
