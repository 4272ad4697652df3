//! How much a peer may send of what has to be kept until it is complete.

/// The largest sizes that are accepted; what is larger is refused as soon as that is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a head, from its first line to the empty line, both with their line ends.
    pub head_bytes: usize,
    /// Field lines of a head, and of trailers.
    pub headers: usize,
    /// Octets of a request's target; above 65 534 means 65 534.
    pub target_bytes: usize,
    /// Octets of the line before a chunk, with its line end.
    pub chunk_line_bytes: usize,
    /// Octets of all chunk extensions of one body.
    pub extension_bytes: usize,
    /// Octets of trailers, with the empty line.
    pub trailer_bytes: usize,
}

impl Limits {
    /// What the proxy grants.
    pub const DEFAULT: Self = Self {
        head_bytes: 64 << 10,
        headers: 100,
        target_bytes: 16 << 10,
        chunk_line_bytes: 256,
        extension_bytes: 4 << 10,
        trailer_bytes: 8 << 10,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
