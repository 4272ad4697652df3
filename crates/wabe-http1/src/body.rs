//! Takes bodies apart.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, header};
use memchr::memchr;

use crate::{
    Framing, Limits, Refusal, chunk, fields,
    lines::{self, Bounds},
};

/// What a body consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// At least one octet. Pieces are as they come, not as the sender cut them.
    Data(Bytes),
    /// Fields after the body; before the end, at most once, never empty.
    Trailers(HeaderMap),
    /// Nothing follows. What is in the buffer belongs to the next message.
    End,
}

/// Reads one body.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    limits: Limits,
    extensions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Done,
}

impl BodyDecoder {
    /// For the body whose head was read with that framing.
    #[must_use]
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, limits: *limits, extensions: 0 }
    }

    /// The next piece, from the front of `buffer`; `None`: more octets are needed. After the end there is only the end.
    ///
    /// # Errors
    /// What is wrong. Neither this nor the buffer is of use then.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, Refusal> {
        loop {
            let needed = match self.state {
                State::Done => return Ok(Some(Piece::End)),
                State::UntilClose => return Ok(take(buffer, u64::MAX).map(Piece::Data)),
                State::Length(left) => return Ok(self.data(buffer, left, State::Done, State::Length)),
                State::Chunk(left) => return Ok(self.data(buffer, left, State::ChunkEnd, State::Chunk)),
                State::ChunkEnd => line_end(buffer)?.map(|()| State::ChunkSize),
                State::ChunkSize => self.chunk_size(buffer)?,
                State::Trailers => {
                    let Some(trailers) = self.trailers(buffer)? else { return Ok(None) };
                    self.state = State::Done;
                    return Ok(Some(trailers));
                }
            };
            let Some(next) = needed else { return Ok(None) };
            self.state = next;
        }
    }

    /// Whether nothing more belongs to the body.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Says that the sender has ended its side of the connection, after all in the buffer has been taken.
    ///
    /// # Errors
    /// [`Refusal::CutOff`] if the body has to go on.
    pub fn at_end_of_input(&mut self) -> Result<(), Refusal> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Length(_) | State::ChunkSize | State::Chunk(_) | State::ChunkEnd | State::Trailers => {
                Err(Refusal::CutOff)
            }
        }
    }

    fn data(
        &mut self,
        buffer: &mut BytesMut,
        left: u64,
        after: State,
        within: fn(u64) -> State,
    ) -> Option<Piece> {
        let data = take(buffer, left)?;
        let left = left - data.len() as u64;
        self.state = if left == 0 { after } else { within(left) };
        Some(Piece::Data(data))
    }

    fn chunk_size(&mut self, buffer: &mut BytesMut) -> Result<Option<State>, Refusal> {
        let longest = self.limits.chunk_line_bytes;
        let Some(feed) = memchr(b'\n', &buffer[..buffer.len().min(longest)]) else {
            return if buffer.len() < longest { Ok(None) } else { Err(Refusal::ChunkExtensionTooLong) };
        };
        let Some(line) = buffer[..feed].strip_suffix(b"\r") else { return Err(Refusal::BareLineFeed) };
        let (size, extensions) = chunk::size(line)?;
        self.extensions += extensions;
        if self.extensions > self.limits.extension_bytes {
            return Err(Refusal::ChunkExtensionTooLong);
        }
        buffer.advance(feed + 1);
        Ok(Some(if size == 0 { State::Trailers } else { State::Chunk(size) }))
    }

    fn trailers(&self, buffer: &mut BytesMut) -> Result<Option<Piece>, Refusal> {
        let bounds = Bounds {
            bytes: self.limits.trailer_bytes,
            lines: self.limits.headers,
            too_large: Refusal::TrailersTooLarge,
        };
        let Some(lines) = lines::find(buffer, 0, bounds)? else { return Ok(None) };
        if lines.count == 0 {
            buffer.advance(lines.end);
            return Ok(Some(Piece::End));
        }
        let text = buffer.split_to(lines.end).freeze();
        let trailers = fields::read(&text, 0, &lines, 0, |name, _| check_trailer(name))?;
        Ok(Some(Piece::Trailers(trailers)))
    }
}

/// At least one octet and at most so many.
fn take(buffer: &mut BytesMut, most: u64) -> Option<Bytes> {
    let length = usize::try_from(most).map_or(buffer.len(), |most| most.min(buffer.len()));
    (length > 0).then(|| buffer.split_to(length).freeze())
}

fn line_end(buffer: &mut BytesMut) -> Result<Option<()>, Refusal> {
    match buffer[..] {
        [b'\r', b'\n', ..] => {
            buffer.advance(2);
            Ok(Some(()))
        }
        [] | [b'\r'] => Ok(None),
        [..] => Err(Refusal::ChunkEndMalformed),
    }
}

/// Checks trailers that another protocol's parser has read as this one reads its own.
///
/// # Errors
/// [`Refusal::TrailerForbidden`] for those that belong into heads.
pub fn check_trailers(trailers: &HeaderMap) -> Result<(), Refusal> {
    trailers.keys().try_for_each(check_trailer)
}

fn check_trailer(name: &HeaderName) -> Result<(), Refusal> {
    if is_of_heads(name) { Err(Refusal::TrailerForbidden) } else { Ok(()) }
}

/// Fields that say how a message is framed, where it goes, who sent it or what its content is: too late behind the body
/// (RFC 9110, section 6.5.1), and a reader that merges trailers into the head would believe them. Refused in what is read,
/// left out of what is written.
pub(crate) fn is_of_heads(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 23] = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::HOST,
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::AUTHORIZATION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::WWW_AUTHENTICATE,
        header::COOKIE,
        header::SET_COOKIE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::RANGE,
        header::CACHE_CONTROL,
        header::LOCATION,
        header::FORWARDED,
        header::VIA,
    ];
    // Who turns names into variables, as CGI does, reads `_` and `-` as one.
    let text = name.as_str().replace('_', "-");
    NAMES.iter().any(|it| *it == *text)
        || text.starts_with("x-forwarded-")
        || matches!(&text[..], "keep-alive" | "proxy-connection" | "x-real-ip" | "x-request-id")
}
