//! A request's head on its way through the proxy.
//!
//! Most requests have nothing in their fields that anybody here looks at. Such a head stays as it came and is sent so, with what
//! the proxy adds behind it. It is taken apart once a rule, a policy or another protocol has to see or to change its fields.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request};
use memchr::memchr;
use wabe_http1::{EncodeError, Framing, Limits, PlainRequest, write_request_head};

use crate::{grpc, identity::is_of_identity};

/// A head, whole or in parts.
#[derive(Debug)]
pub(crate) struct Head {
    /// Without fields as long as there are lines.
    parts: request::Parts,
    lines: Option<Lines>,
}

/// A head as it is sent, but for the empty line at its end.
#[derive(Debug)]
struct Lines {
    text: BytesMut,
    /// What follows is for one endpoint.
    common: usize,
}

/// Lines that were read once may be more with those that were added.
const READ_BEFORE: Limits = Limits { head_bytes: usize::MAX, headers: usize::MAX, ..Limits::DEFAULT };

impl Head {
    /// One that stays whole until somebody looks.
    pub(crate) fn whole(plain: PlainRequest) -> Self {
        let (mut parts, ()) = Request::new(()).into_parts();
        (parts.method, parts.uri, parts.version) = (plain.method, plain.target, Version::HTTP_11);
        Self { parts, lines: Some(Lines { common: plain.lines.len(), text: plain.lines }) }
    }

    /// Whether a field has to be looked at for each request, by its name in lower case and its value.
    pub(crate) fn is_special(name: &[u8], value: &[u8]) -> bool {
        match name {
            // The proxy looks whether a body is kept back because the endpoint has not said yet that it wants it.
            b"forwarded" | b"expect" => true,
            _ if is_of_identity(name) => true,
            b"content-type" => value.starts_with(b"application/grpc"),
            _ => false,
        }
    }

    pub(crate) fn method(&self) -> &Method {
        &self.parts.method
    }

    pub(crate) fn target(&self) -> &Uri {
        &self.parts.uri
    }

    /// The fields, if it was taken apart. Whole ones have none that are special, and none of their connection only.
    pub(crate) fn fields(&self) -> Option<&HeaderMap> {
        if self.lines.is_none() { Some(&self.parts.headers) } else { None }
    }

    /// The same, to change them.
    pub(crate) fn fields_mut(&mut self) -> Option<&mut HeaderMap> {
        if self.lines.is_none() { Some(&mut self.parts.headers) } else { None }
    }

    /// The parts, if it was taken apart.
    pub(crate) fn parts(&mut self) -> Option<&mut request::Parts> {
        if self.lines.is_none() { Some(&mut self.parts) } else { None }
    }

    /// Takes it apart.
    pub(crate) fn apart(&mut self) -> &mut request::Parts {
        if let Some(Lines { mut text, .. }) = self.lines.take() {
            text.extend_from_slice(b"\r\n");
            let read = wabe_http1::request(&mut text, &READ_BEFORE);
            let (parts, _) = read.ok().flatten().expect("invariant: it was read before");
            self.parts.headers = parts.headers;
        }
        &mut self.parts
    }

    /// For rules and other choices, which see and change fields only if they look at them.
    pub(crate) fn for_rules(&mut self, looks_at_fields: bool) -> &mut request::Parts {
        if looks_at_fields { self.apart() } else { &mut self.parts }
    }

    /// Shows all fields, their names in lower case.
    pub(crate) fn each_field(&self, mut see: impl FnMut(&[u8], &[u8])) {
        let Some(Lines { text, .. }) = &self.lines else {
            return self.parts.headers.iter().for_each(|(name, value)| see(name.as_ref(), value.as_bytes()));
        };
        let mut rest = text.as_ref();
        while let Some(end) = memchr(b'\n', rest) {
            let line = rest[..end].trim_ascii_end();
            if let Some(colon) = memchr(b':', line)
                && rest.len() < text.len()
            {
                see(&line[..colon], line[colon + 1..].trim_ascii_start());
            }
            rest = &rest[end + 1..];
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.fields().is_some_and(grpc::is_grpc)
    }

    /// Adds fields that it does not have, for all endpoints: as they are sent, or one by one.
    pub(crate) fn add(&mut self, lines: &[u8], one_by_one: impl FnOnce(&mut HeaderMap)) {
        match &mut self.lines {
            Some(Lines { text, common }) => {
                text.truncate(*common);
                text.extend_from_slice(lines);
                *common = text.len();
            }
            None => one_by_one(&mut self.parts.headers),
        }
    }

    /// Has it say this to the next endpoint, and nothing else in its place.
    pub(crate) fn say(&mut self, name: &HeaderName, value: Option<HeaderValue>) {
        match (&mut self.lines, value) {
            (Some(Lines { text, common }), value) => {
                text.truncate(*common);
                if let Some(value) = &value {
                    let parts = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
                    parts.iter().for_each(|it| text.extend_from_slice(it));
                }
            }
            (None, Some(value)) => {
                self.parts.headers.insert(name, value);
            }
            (None, None) => {
                self.parts.headers.remove(name);
            }
        }
    }

    /// Appends it as HTTP/1.1 has it.
    ///
    /// # Errors
    /// HTTP/1.1 has no words for it. Nothing has been written then.
    pub(crate) fn write(&self, framing: Framing, out: &mut BytesMut) -> Result<(), EncodeError> {
        let Some(Lines { text, .. }) = &self.lines else {
            return write_request_head(out, &self.parts, framing);
        };
        out.reserve(text.len() + REST);
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// Room for the empty line and a short body.
const REST: usize = 256;

impl From<request::Parts> for Head {
    fn from(parts: request::Parts) -> Self {
        Self { parts, lines: None }
    }
}

#[cfg(test)]
mod tests {
    use wabe_http1::{Framing, plain_request};

    use super::*;

    fn whole(text: &str) -> Option<Head> {
        plain_request(&mut text.into(), &Limits::default(), Head::is_special).map(Head::whole)
    }

    fn written(head: &Head) -> String {
        let mut out = BytesMut::new();
        head.write(Framing::None, &mut out).expect("it can be written");
        String::from_utf8(out.to_vec()).expect("ASCII")
    }

    #[test]
    fn what_is_added_is_there_in_one_piece_and_in_parts() {
        let mut head =
            whole("GET /a?b HTTP/1.1\r\nHost: web\r\nConnection: keep-alive\r\nA: 1\r\n\r\n").expect("plain");
        head.add(b"b: 2\r\n", |_| unreachable!());
        let name = HeaderName::from_static("c");
        head.say(&name, Some(HeaderValue::from_static("3")));
        head.say(&name, Some(HeaderValue::from_static("4")));
        let sent = "GET /a?b HTTP/1.1\r\nhost: web\r\na: 1\r\nb: 2\r\nc: 4\r\n\r\n";
        assert_eq!(written(&head), sent);
        assert!(head.fields().is_none() && head.parts().is_none(), "nobody looked");
        let parts = head.apart();
        assert_eq!((parts.uri.to_string(), parts.headers.len()), ("/a?b".into(), 4));
        assert_eq!(written(&head), sent);
        head.say(&name, None);
        head.add(b"", |fields| drop(fields.insert("b", HeaderValue::from_static("5"))));
        assert_eq!(written(&head), "GET /a?b HTTP/1.1\r\nhost: web\r\na: 1\r\nb: 5\r\n\r\n");
    }

    #[test]
    fn what_is_said_to_one_endpoint_is_not_said_to_the_next() {
        let mut head = whole("GET / HTTP/1.1\r\nHost: web\r\n\r\n").expect("plain");
        let name = HeaderName::from_static("c");
        head.say(&name, Some(HeaderValue::from_static("3")));
        head.say(&name, None);
        assert_eq!(written(&head), "GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    }

    #[test]
    fn as_many_fields_as_may_come_can_be_taken_apart_with_what_is_added() {
        let fields: String = (0..99).map(|it| format!("a{it}: 1\r\n")).collect();
        let mut head = whole(&format!("GET / HTTP/1.1\r\nHost: web\r\n{fields}\r\n")).expect("plain");
        head.add(b"b: 2\r\n", |_| unreachable!());
        assert_eq!(head.apart().headers.len(), 101);
    }

    #[test]
    fn special_fields_have_it_taken_apart() {
        for field in [
            "X-Request-ID: 1",
            "Forwarded: for=a",
            "x-forwarded-for: a",
            "content-type: application/grpc+proto",
        ] {
            assert!(whole(&format!("GET / HTTP/1.1\r\nHost: web\r\n{field}\r\n\r\n")).is_none(), "{field}");
        }
    }
}
