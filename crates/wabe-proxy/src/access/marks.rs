//! What tells a request from others, for those who look for it in logs.

use crate::head::Head;

use super::cut;

/// Longer names are cut.
const AUTHORITY: usize = 256;
/// The longest is `traceparent`'s, and B3's.
const TRACE: usize = 32;

/// As the caller said them, whatever rules change afterwards.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Whom it asked.
    pub(crate) authority: Option<Box<str>>,
    /// Of W3C's `traceparent`, else of B3 in one header or in several.
    pub(crate) trace_id: Option<Box<str>>,
}

impl Marks {
    pub(crate) fn of(head: &Head) -> Self {
        let (mut marks, mut is_w3c) = (Self::default(), false);
        head.each_field(|name, value| match name {
            b"host" => {
                let text = str::from_utf8(value).ok();
                marks.authority = text.filter(|it| !it.is_empty()).map(|it| cut(it, AUTHORITY).into());
            }
            b"traceparent" => {
                let id = value.split(|it| *it == b'-').nth(1).and_then(trace);
                is_w3c = id.is_some();
                marks.trace_id = id.or(marks.trace_id.take());
            }
            b"b3" if !is_w3c => {
                let id = value.split(|it| *it == b'-').next().and_then(trace);
                marks.trace_id = id.or(marks.trace_id.take());
            }
            b"x-b3-traceid" if !is_w3c => marks.trace_id = trace(value).or(marks.trace_id.take()),
            _ => {}
        });
        marks
    }
}

/// Hexadecimal digits, 16 or 32.
fn trace(text: &[u8]) -> Option<Box<str>> {
    let is_one = matches!(text.len(), 16 | TRACE) && text.iter().all(u8::is_ascii_hexdigit);
    str::from_utf8(text).ok().filter(|_| is_one).map(Into::into)
}

#[cfg(test)]
mod tests {
    use wabe_http1::{Limits, plain_request};

    use super::*;

    #[test]
    fn authority_and_trace_are_found_in_one_piece_and_in_parts() {
        let (w3c, b3) = ("0af7651916cd43dd8448eb211c80319c", "80f198ee56343ba864fe8b2a57d3eff7");
        for (fields, trace) in [
            (format!("traceparent: 00-{w3c}-b7ad6b7169203331-01"), Some(w3c)),
            (format!("B3: {b3}-e457b5a2e4d86bd1-1"), Some(b3)),
            (format!("X-B3-TraceId: {}\r\nX-B3-SpanId: e457b5a2e4d86bd1", &b3[..16]), Some(&b3[..16])),
            (format!("TraceParent: 00-{w3c}-b7ad6b7169203331-01\r\nb3: {b3}-e457b5a2e4d86bd1-1"), Some(w3c)),
            (format!("b3: {b3}-e457b5a2e4d86bd1-1\r\ntraceparent: 00-{w3c}-b7ad6b7169203331-01"), Some(w3c)),
            ("traceparent: 00-\"evil-b7ad6b7169203331-01".into(), None),
            ("b3: 0".into(), None),
            ("a: traceparent: 1".into(), None),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: web.shop:8080\r\n{fields}\r\n\r\n");
            let plain = plain_request(&mut text.as_str().into(), &Limits::default(), Head::is_special);
            let mut head = Head::whole(plain.expect("plain"));
            let wanted = Marks { authority: Some("web.shop:8080".into()), trace_id: trace.map(Into::into) };
            assert_eq!(Marks::of(&head), wanted, "{fields}");
            head.apart();
            assert_eq!(Marks::of(&head), wanted, "{fields}, in parts");
        }
    }
}
