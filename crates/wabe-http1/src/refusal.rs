//! Why something is refused.

use std::fmt;

use http::StatusCode;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident: $status:ident, $reason:literal, $sentence:literal;)+) => {
        /// Why a message is refused. What follows it on its connection can't be understood either: answer, then close.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Refusal {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What a client that sent it is answered. What an endpoint sent is a 502 to the client, whatever this says.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// For machines: stable, in kebab case.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)+ }
            }
        }

        impl fmt::Display for Refusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $sentence,)+ })
            }
        }
    };
}

refusals! {
    /// A line feed without a carriage return before it.
    BareLineFeed: BAD_REQUEST, "bare-line-feed", "a line ends with a line feed alone";
    /// The method is empty or has a character that no token has.
    MethodMalformed: BAD_REQUEST, "method-malformed", "the method is no token";
    /// Longer than any method in use.
    MethodTooLong: NOT_IMPLEMENTED, "method-too-long", "the method is longer than 32 octets";
    /// `get`, which is not `GET`, but which some readers take for it.
    MethodCase: BAD_REQUEST, "method-case", "the method is a standard one but for upper and lower case";
    /// Not METHOD SP TARGET SP VERSION.
    RequestLineMalformed: BAD_REQUEST, "request-line-malformed", "the request line is not method, target and version between single spaces";
    /// [`crate::Limits::target_bytes`].
    TargetTooLong: URI_TOO_LONG, "target-too-long", "the target is too long";
    /// None of the four forms, or one that does not go with the method.
    TargetMalformed: BAD_REQUEST, "target-malformed", "the target has no form that goes with the method";
    /// A control character, one beyond ASCII, or one that the `http` crate has in no target (`<`, `>`).
    TargetCharacter: BAD_REQUEST, "target-character", "the target has a character that has to be percent-encoded";
    /// `#` in a target.
    TargetFragment: BAD_REQUEST, "target-fragment", "the target has a fragment";
    /// An absolute target with a scheme that is neither `http` nor `https`.
    TargetScheme: BAD_REQUEST, "target-scheme", "the target's scheme is neither http nor https";
    /// `user@` before a host.
    UserInfo: BAD_REQUEST, "user-info", "there is a user before the host";
    /// `HTTP/` is missing, or what follows it is not a digit, a dot and a digit.
    VersionMalformed: BAD_REQUEST, "version-malformed", "the version is not written as one";
    /// A version, but neither 1.0 nor 1.1.
    VersionUnsupported: HTTP_VERSION_NOT_SUPPORTED, "version-unsupported", "the version is neither HTTP/1.0 nor HTTP/1.1";
    /// The status is not three digits from 100 to 599.
    StatusMalformed: BAD_REQUEST, "status-malformed", "the status is not a number from 100 to 599";
    /// A control character in the reason phrase.
    ReasonMalformed: BAD_REQUEST, "reason-malformed", "the reason phrase has a control character";
    /// [`crate::Limits::head_bytes`].
    HeadTooLarge: REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "the head is too large";
    /// [`crate::Limits::headers`].
    TooManyHeaders: REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-headers", "there are too many field lines";
    /// A line that begins with a blank: a continuation of the last by a rule of old.
    FoldedLine: BAD_REQUEST, "folded-line", "a field line begins with a blank";
    /// A field line without a colon.
    NoColon: BAD_REQUEST, "no-colon", "a field line has no colon";
    /// A blank between a field's name and the colon.
    SpaceBeforeColon: BAD_REQUEST, "space-before-colon", "there is a blank between a field's name and its colon";
    /// A field's name is empty, too long, or has a character that no token has.
    NameMalformed: BAD_REQUEST, "name-malformed", "a field's name is no token";
    /// A control character in a value.
    ValueMalformed: BAD_REQUEST, "value-malformed", "a field's value has a control character";
    /// HTTP/1.1 without `Host`.
    HostMissing: BAD_REQUEST, "host-missing", "there is no Host";
    /// More than one `Host`, equal or not.
    HostTwice: BAD_REQUEST, "host-twice", "there is more than one Host";
    /// A host and a port are wanted.
    HostMalformed: BAD_REQUEST, "host-malformed", "Host is not a name or address with at most a port";
    /// The target names another host than `Host`.
    HostDiffers: BAD_REQUEST, "host-differs", "the target names another host than Host";
    /// More than one `Content-Length` line, equal or not.
    ContentLengthTwice: BAD_REQUEST, "content-length-twice", "there is more than one Content-Length";
    /// Empty, signed, listed, or else no number.
    ContentLengthMalformed: BAD_REQUEST, "content-length-malformed", "Content-Length is not one number";
    /// More than 18 digits.
    ContentLengthTooLarge: PAYLOAD_TOO_LARGE, "content-length-too-large", "Content-Length has more than 18 digits";
    /// More than one `Transfer-Encoding` line.
    TransferEncodingTwice: BAD_REQUEST, "transfer-encoding-twice", "there is more than one Transfer-Encoding";
    /// Empty, quoted, with parameters.
    TransferEncodingMalformed: BAD_REQUEST, "transfer-encoding-malformed", "Transfer-Encoding is no list of names";
    /// Another coding than `chunked`.
    TransferEncodingUnknown: NOT_IMPLEMENTED, "transfer-encoding-unknown", "Transfer-Encoding has another coding than chunked";
    /// Something follows `chunked`.
    ChunkedNotLast: BAD_REQUEST, "chunked-not-last", "something follows chunked in Transfer-Encoding";
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndEncoding: BAD_REQUEST, "length-and-encoding", "there is both Content-Length and Transfer-Encoding";
    /// `Transfer-Encoding`, which HTTP/1.0 does not know.
    EncodingInHttp10: BAD_REQUEST, "encoding-in-http10", "there is Transfer-Encoding in HTTP/1.0";
    /// CONNECT that announces a body.
    ConnectWithBody: BAD_REQUEST, "connect-with-body", "CONNECT announces a body";
    /// An answer of 1xx or 204 that announces a body.
    BodyWhereNone: BAD_REQUEST, "body-where-none", "an answer that can't have a body announces one";
    /// A chunk's size is not hexadecimal.
    ChunkSizeMalformed: BAD_REQUEST, "chunk-size-malformed", "a chunk's size is no hexadecimal number";
    /// More than 15 hexadecimal digits.
    ChunkTooLarge: PAYLOAD_TOO_LARGE, "chunk-too-large", "a chunk's size has more than 15 digits";
    /// What follows a chunk's size is no extension.
    ChunkExtensionMalformed: BAD_REQUEST, "chunk-extension-malformed", "what follows a chunk's size is no extension";
    /// [`crate::Limits::chunk_line_bytes`] or [`crate::Limits::extension_bytes`].
    ChunkExtensionTooLong: BAD_REQUEST, "chunk-extension-too-long", "chunk extensions are too long";
    /// What follows a chunk's data is not a line end.
    ChunkEndMalformed: BAD_REQUEST, "chunk-end-malformed", "a chunk does not end where its size says";
    /// [`crate::Limits::trailer_bytes`].
    TrailersTooLarge: REQUEST_HEADER_FIELDS_TOO_LARGE, "trailers-too-large", "the trailers are too large";
    /// A field that may not come after the body.
    TrailerForbidden: BAD_REQUEST, "trailer-forbidden", "a trailer has a name that only a head may have";
    /// The connection ended within a message.
    CutOff: BAD_REQUEST, "cut-off", "the connection ended before the body did";
}

impl std::error::Error for Refusal {}
