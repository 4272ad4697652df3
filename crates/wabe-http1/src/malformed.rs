//! Requests that are refused, as data: for the tests of this crate and of whoever reads requests with it, and for
//! comparing with others who read HTTP/1.1.

use crate::{
    Limits,
    Refusal::{self, *},
};

/// One request that is refused.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// Unique; in kebab case.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// All that is sent.
    pub bytes: Vec<u8>,
    /// With the default limits.
    pub refusal: Refusal,
    /// Whether the head is right, so that it may have been passed on before the body is refused.
    pub in_body: bool,
}

/// What a request is wrong about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Method, target or version.
    RequestLine,
    /// Lines of a head and how they end, names and values of fields.
    Fields,
    /// Whom it is for.
    Host,
    /// Where its body ends.
    Framing,
    /// Its chunks and trailers.
    Chunks,
    /// How large it is.
    Size,
}

impl Group {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::RequestLine, Self::Fields, Self::Host, Self::Framing, Self::Chunks, Self::Size];
}

/// All of them, addressed to `host` (which a `Host` line can name: `catalogue.shop`, say) where they are addressed.
#[must_use]
pub fn requests(host: &str) -> Vec<Malformed> {
    let row = |group, name, text: &str, refusal, in_body| {
        let bytes = text.replace("{host}", host);
        // Octets beyond ASCII are written as characters of Latin 1.
        let bytes = bytes.chars().map(|it| u8::try_from(it).unwrap_or(b'?')).collect();
        Malformed { name, group, bytes, refusal, in_body }
    };
    let mut rows = Vec::new();
    for (name, line, refusal) in REQUEST_LINES {
        let text = format!("{line}\r\nHost: {{host}}\r\n\r\n");
        rows.push(row(Group::RequestLine, name, &text, *refusal, false));
    }
    for (group, name, text, refusal) in WHOLE {
        rows.push(row(*group, name, text, *refusal, false));
    }
    for (name, field, refusal) in FIELDS {
        let text = format!("GET / HTTP/1.1\r\nHost: {{host}}\r\n{field}\r\n\r\n");
        rows.push(row(Group::Fields, name, &text, *refusal, false));
    }
    for (name, value, refusal) in HOSTS {
        let text = format!("GET / HTTP/1.1\r\nHost:{value}\r\n\r\n");
        rows.push(row(Group::Host, name, &text, *refusal, false));
    }
    for (name, fields, body, refusal) in FRAMINGS {
        let text = format!("POST / HTTP/1.1\r\nHost: {{host}}\r\n{fields}\r\n\r\n{body}");
        rows.push(row(Group::Framing, name, &text, *refusal, false));
    }
    for (name, body, refusal) in CHUNKS {
        let text = format!("POST / HTTP/1.1\r\nHost: {{host}}\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        rows.push(row(Group::Chunks, name, &text, *refusal, true));
    }
    for (name, text, refusal, in_body) in large(&Limits::default()) {
        rows.push(row(Group::Size, name, &text, refusal, in_body));
    }
    rows
}

/// In place of `GET / HTTP/1.1`.
const REQUEST_LINES: &[(&str, &str, Refusal)] = &[
    ("method-lower-case", "get / HTTP/1.1", MethodCase),
    ("method-mixed-case-head", "Head / HTTP/1.1", MethodCase),
    ("method-with-parenthesis", "GE(T / HTTP/1.1", MethodMalformed),
    ("method-with-control-character", "G\u{1}T / HTTP/1.1", MethodMalformed),
    ("method-beyond-ascii", "G\u{c9}T / HTTP/1.1", MethodMalformed),
    ("method-missing", " / HTTP/1.1", MethodMalformed),
    ("method-too-long", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", MethodTooLong),
    ("method-after-two-empty-lines", "\r\n\r\nGET / HTTP/1.1", MethodMalformed),
    ("method-after-bare-line-feed", "\nGET / HTTP/1.1", MethodMalformed),
    ("method-and-tab", "GET\t/ HTTP/1.1", MethodMalformed),
    ("two-blanks-after-method", "GET  / HTTP/1.1", RequestLineMalformed),
    ("two-blanks-after-target", "GET /  HTTP/1.1", RequestLineMalformed),
    ("tab-after-target", "GET /\tHTTP/1.1", RequestLineMalformed),
    ("blank-after-version", "GET / HTTP/1.1 ", RequestLineMalformed),
    ("blank-in-target", "GET /a b HTTP/1.1", RequestLineMalformed),
    ("version-missing", "GET /", RequestLineMalformed),
    ("target-missing", "GET HTTP/1.1", RequestLineMalformed),
    ("method-alone", "GET", MethodMalformed),
    ("version-lower-case", "GET / http/1.1", VersionMalformed),
    ("version-of-one-number", "GET / HTTP/1", VersionMalformed),
    ("version-with-leading-zero", "GET / HTTP/01.1", VersionMalformed),
    ("version-of-two-digits", "GET / HTTP/1.10", VersionMalformed),
    ("version-with-sign", "GET / HTTP/1.+1", VersionMalformed),
    ("version-of-another-protocol", "GET / ICY/1.1", VersionMalformed),
    ("version-1.2", "GET / HTTP/1.2", VersionUnsupported),
    ("version-2.0", "GET / HTTP/2.0", VersionUnsupported),
    ("version-0.9", "GET / HTTP/0.9", VersionUnsupported),
    ("target-with-fragment", "GET /a#b HTTP/1.1", TargetFragment),
    ("target-beyond-ascii", "GET /caf\u{e9} HTTP/1.1", TargetCharacter),
    ("target-with-nul", "GET /a\0b HTTP/1.1", TargetCharacter),
    ("target-with-delete", "GET /a\u{7f} HTTP/1.1", TargetCharacter),
    ("target-with-carriage-return", "GET /a\rb HTTP/1.1", TargetCharacter),
    ("target-relative", "GET a HTTP/1.1", TargetMalformed),
    ("target-asterisk-of-get", "GET * HTTP/1.1", TargetMalformed),
    ("target-authority-of-get", "GET {host}:80 HTTP/1.1", TargetMalformed),
    ("target-of-another-scheme", "GET ftp://{host}/ HTTP/1.1", TargetScheme),
    ("target-without-host", "GET http:///a HTTP/1.1", TargetMalformed),
    ("target-with-user", "GET http://user@{host}/ HTTP/1.1", UserInfo),
    ("target-of-another-host", "GET http://elsewhere.example/ HTTP/1.1", HostDiffers),
    ("target-of-another-port", "GET http://{host}:8081/ HTTP/1.1", HostDiffers),
    ("target-with-bad-port", "GET http://{host}:8x/ HTTP/1.1", TargetMalformed),
    ("connect-to-path", "CONNECT / HTTP/1.1", TargetMalformed),
    ("connect-without-port", "CONNECT {host} HTTP/1.1", TargetMalformed),
    ("connect-to-another-host", "CONNECT elsewhere.example:443 HTTP/1.1", HostDiffers),
];

/// From the first octet to the last.
const WHOLE: &[(Group, &str, &str, Refusal)] = &[
    (
        Group::Fields,
        "bare-line-feed-after-request-line",
        "GET / HTTP/1.1\nHost: {host}\r\n\r\n",
        BareLineFeed,
    ),
    (
        Group::Fields,
        "bare-line-feed-after-field",
        "GET / HTTP/1.1\r\nHost: {host}\nA: b\r\n\r\n",
        BareLineFeed,
    ),
    (Group::Fields, "bare-line-feed-at-end", "GET / HTTP/1.1\r\nHost: {host}\r\n\n", BareLineFeed),
    (Group::Fields, "bare-line-feeds", "GET / HTTP/1.1\nHost: {host}\n\n", BareLineFeed),
    (Group::Host, "host-missing", "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", HostMissing),
    (Group::Host, "no-field-at-all", "GET / HTTP/1.1\r\n\r\n", HostMissing),
    (Group::Fields, "blank-line-first-field", "GET / HTTP/1.1\r\n Host: {host}\r\n\r\n", FoldedLine),
    (
        Group::Framing,
        "encoding-in-http10",
        "POST / HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        EncodingInHttp10,
    ),
    (
        Group::Host,
        "host-twice-in-http10",
        "GET / HTTP/1.0\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
        HostTwice,
    ),
    (Group::Host, "host-twice-equal", "GET / HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n", HostTwice),
    (
        Group::Host,
        "host-twice-different",
        "GET / HTTP/1.1\r\nHost: {host}\r\nHost: elsewhere.example\r\n\r\n",
        HostTwice,
    ),
    (Group::RequestLine, "http2-preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VersionUnsupported),
    (
        Group::Framing,
        "connect-with-body",
        "CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\nContent-Length: 1\r\n\r\na",
        ConnectWithBody,
    ),
    (
        Group::Framing,
        "connect-with-chunks",
        "CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ConnectWithBody,
    ),
    (
        Group::RequestLine,
        "tls-client-hello",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        MethodMalformed,
    ),
];

/// A field line, after `Host`.
const FIELDS: &[(&str, &str, Refusal)] = &[
    ("folded-by-blank", "A: b\r\n c", FoldedLine),
    ("folded-by-tab", "A: b\r\n\tc", FoldedLine),
    ("folded-to-framing", "A: b\r\n Content-Length: 5", FoldedLine),
    ("blank-before-colon", "A : b", SpaceBeforeColon),
    ("tab-before-colon", "A\t: b", SpaceBeforeColon),
    ("blank-before-colon-of-length", "Content-Length : 5", SpaceBeforeColon),
    ("no-colon", "A", NoColon),
    ("name-empty", ": b", NameMalformed),
    ("name-with-blank", "A b: c", NameMalformed),
    ("name-with-nul", "A\0: b", NameMalformed),
    ("name-with-quotes", "\"A\": b", NameMalformed),
    ("name-with-slash", "A/b: c", NameMalformed),
    ("name-beyond-ascii", "\u{c9}: b", NameMalformed),
    ("name-with-carriage-return", "A\r: b", NameMalformed),
    ("value-with-nul", "A: b\0c", ValueMalformed),
    ("value-with-delete", "A: b\u{7f}", ValueMalformed),
    ("value-with-escape", "A: \u{1b}[2J", ValueMalformed),
    ("value-with-carriage-return", "A: b\rc", ValueMalformed),
    ("value-with-carriage-return-and-field", "A: b\rContent-Length: 5", ValueMalformed),
    ("value-with-carriage-return-at-end", "A: b\r", ValueMalformed),
    ("value-with-vertical-tab", "A: b\u{b}c", ValueMalformed),
];

/// What follows `Host:`.
const HOSTS: &[(&str, &str, Refusal)] = &[
    ("host-empty", "", HostMalformed),
    ("host-with-blank", " {host} x", HostMalformed),
    ("host-listed", " {host}, {host}", HostMalformed),
    ("host-listed-without-blank", " {host},elsewhere.example", HostMalformed),
    ("host-with-path", " {host}/a", HostMalformed),
    ("host-with-scheme", " http://{host}", HostMalformed),
    ("host-with-user", " user@{host}", UserInfo),
    ("host-with-bad-port", " {host}:8x", HostMalformed),
    ("host-with-empty-port", " {host}:", HostMalformed),
    ("host-with-large-port", " {host}:65536", HostMalformed),
    ("host-with-open-bracket", " [::1", HostMalformed),
    ("host-with-bad-address", " [::g]", HostMalformed),
    ("host-beyond-ascii", " caf\u{e9}.example", HostMalformed),
    ("host-percent-encoded", " a%2eb", HostMalformed),
];

/// Field lines of a POST, and what follows its head.
const FRAMINGS: &[(&str, &str, &str, Refusal)] = &[
    ("length-twice-different", "Content-Length: 3\r\nContent-Length: 4", "abcd", ContentLengthTwice),
    ("length-twice-equal", "Content-Length: 3\r\nContent-Length: 3", "abc", ContentLengthTwice),
    ("length-listed-different", "Content-Length: 3, 4", "abcd", ContentLengthMalformed),
    ("length-listed-equal", "Content-Length: 3, 3", "abc", ContentLengthMalformed),
    ("length-empty", "Content-Length:", "", ContentLengthMalformed),
    ("length-with-plus", "Content-Length: +3", "abc", ContentLengthMalformed),
    ("length-with-minus", "Content-Length: -3", "abc", ContentLengthMalformed),
    ("length-hexadecimal", "Content-Length: 0x3", "abc", ContentLengthMalformed),
    ("length-with-fraction", "Content-Length: 3.0", "abc", ContentLengthMalformed),
    ("length-with-blank", "Content-Length: 1 2", "abcdefghijkl", ContentLengthMalformed),
    ("length-with-unit", "Content-Length: 3b", "abc", ContentLengthMalformed),
    ("length-with-underscore", "Content-Length: 1_0", "abcdefghij", ContentLengthMalformed),
    ("length-of-64-bits", "Content-Length: 18446744073709551616", "", ContentLengthTooLarge),
    ("length-of-63-bits", "Content-Length: 9223372036854775808", "", ContentLengthTooLarge),
    (
        "length-then-encoding",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        LengthAndEncoding,
    ),
    (
        "encoding-then-length",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "0\r\n\r\n",
        LengthAndEncoding,
    ),
    (
        "encoding-twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        TransferEncodingTwice,
    ),
    ("chunked-twice", "Transfer-Encoding: chunked, chunked", "0\r\n\r\n", ChunkedNotLast),
    ("chunked-not-last", "Transfer-Encoding: chunked, gzip", "0\r\n\r\n", ChunkedNotLast),
    ("chunked-then-identity", "Transfer-Encoding: chunked, identity", "0\r\n\r\n", ChunkedNotLast),
    ("encoding-unknown", "Transfer-Encoding: chunk", "0\r\n\r\n", TransferEncodingUnknown),
    ("encoding-before-chunked", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n", TransferEncodingUnknown),
    ("encoding-identity", "Transfer-Encoding: identity", "", TransferEncodingUnknown),
    ("encoding-quoted", "Transfer-Encoding: \"chunked\"", "0\r\n\r\n", TransferEncodingMalformed),
    ("encoding-empty", "Transfer-Encoding:", "", TransferEncodingMalformed),
    ("encoding-with-comma", "Transfer-Encoding: chunked,", "0\r\n\r\n", TransferEncodingMalformed),
    ("encoding-after-comma", "Transfer-Encoding: ,chunked", "0\r\n\r\n", TransferEncodingMalformed),
    ("encoding-with-parameter", "Transfer-Encoding: chunked;q=1", "0\r\n\r\n", TransferEncodingMalformed),
    ("encoding-with-vertical-tab", "Transfer-Encoding: \u{b}chunked", "0\r\n\r\n", TransferEncodingMalformed),
];

/// In place of chunks.
const CHUNKS: &[(&str, &str, Refusal)] = &[
    ("chunk-size-with-prefix", "0x3\r\nabc\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-size-empty", "\r\nabc\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-size-with-plus", "+3\r\nabc\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-size-with-minus", "-3\r\nabc\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-size-with-blank-before", " 3\r\nabc\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-size-with-blank-after", "3 \r\nabc\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-size-no-number", "g\r\nabc\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-size-with-underscore", "1_0\r\nabcdefghijklmnop\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-size-with-carriage-return", "3\r\r\nabc\r\n0\r\n\r\n", ChunkSizeMalformed),
    ("chunk-of-64-bits", "10000000000000003\r\nabc\r\n0\r\n\r\n", ChunkTooLarge),
    ("chunk-size-with-line-feed", "3\nabc\r\n0\r\n\r\n", BareLineFeed),
    ("chunk-extension-with-line-feed", "3;a\nabc\r\n0\r\n\r\n", BareLineFeed),
    ("chunk-extension-with-carriage-return", "3;a\rb\r\nabc\r\n0\r\n\r\n", ChunkExtensionMalformed),
    ("chunk-extension-without-name", "3;\r\nabc\r\n0\r\n\r\n", ChunkExtensionMalformed),
    ("chunk-extension-without-value", "3;a=\r\nabc\r\n0\r\n\r\n", ChunkExtensionMalformed),
    ("chunk-extension-with-open-quote", "3;a=\"b\r\nabc\r\n0\r\n\r\n", ChunkExtensionMalformed),
    ("chunk-extension-with-nul", "3;a=\"\0\"\r\nabc\r\n0\r\n\r\n", ChunkExtensionMalformed),
    ("chunk-longer-than-its-size", "3\r\nabcd\r\n0\r\n\r\n", ChunkEndMalformed),
    ("chunk-shorter-than-its-size", "5\r\nabc\r\n0\r\n\r\n", ChunkEndMalformed),
    ("chunk-end-missing", "3\r\nabc0\r\n\r\n", ChunkEndMalformed),
    ("chunk-end-with-line-feed", "3\r\nabc\n0\r\n\r\n", ChunkEndMalformed),
    ("chunk-end-with-carriage-return", "3\r\nabc\rX0\r\n\r\n", ChunkEndMalformed),
    ("trailer-of-length", "0\r\nContent-Length: 5\r\n\r\n", TrailerForbidden),
    ("trailer-of-encoding", "0\r\nTransfer-Encoding: chunked\r\n\r\n", TrailerForbidden),
    ("trailer-of-host", "0\r\nHost: elsewhere.example\r\n\r\n", TrailerForbidden),
    ("trailer-of-authorization", "0\r\nAuthorization: Basic YTpi\r\n\r\n", TrailerForbidden),
    ("trailer-of-caller", "0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", TrailerForbidden),
    ("trailer-folded", "0\r\nA: b\r\n c\r\n\r\n", FoldedLine),
    ("trailer-without-colon", "0\r\nA\r\n\r\n", NoColon),
    ("trailer-with-line-feed", "0\r\nA: b\n\r\n", BareLineFeed),
    ("trailer-end-with-line-feed", "0\r\n\n", BareLineFeed),
    ("trailer-with-nul", "0\r\nA: b\0\r\n\r\n", ValueMalformed),
];

/// Just beyond a limit.
fn large(limits: &Limits) -> [(&'static str, String, Refusal, bool); 6] {
    let chunks = "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n";
    let target = "a".repeat(limits.target_bytes);
    let value = "a".repeat(limits.head_bytes);
    let fields = "A: b\r\n".repeat(limits.headers);
    let extension = "a".repeat(limits.chunk_line_bytes);
    let trailer = "a".repeat(limits.trailer_bytes);
    let extensions = format!("1;{}\r\na\r\n", &extension[..limits.chunk_line_bytes / 2])
        .repeat(2 * limits.extension_bytes / limits.chunk_line_bytes);
    [
        (
            "target-too-long",
            format!("GET /{target} HTTP/1.1\r\nHost: {{host}}\r\n\r\n"),
            TargetTooLong,
            false,
        ),
        (
            "head-too-large",
            format!("GET / HTTP/1.1\r\nHost: {{host}}\r\nA: {value}\r\n\r\n"),
            HeadTooLarge,
            false,
        ),
        (
            "fields-too-many",
            format!("GET / HTTP/1.1\r\nHost: {{host}}\r\n{fields}\r\n"),
            TooManyHeaders,
            false,
        ),
        (
            "chunk-extension-too-long",
            format!("{chunks}1;{extension}\r\na\r\n0\r\n\r\n"),
            ChunkExtensionTooLong,
            true,
        ),
        ("chunk-extensions-too-many", format!("{chunks}{extensions}0\r\n\r\n"), ChunkExtensionTooLong, true),
        ("trailers-too-large", format!("{chunks}0\r\nA: {trailer}\r\n\r\n"), TrailersTooLarge, true),
    ]
}
