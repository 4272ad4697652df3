//! Reads whole inputs, for several tests.

use bytes::BytesMut;
use http::{HeaderMap, request};
use wabe_http1::{BodyDecoder, Limits, Piece, Refusal, request};

/// One request as it was read.
#[derive(Debug)]
pub struct Read {
    /// Its head.
    pub head: request::Parts,

    /// Its body, as far as it came.
    pub body: Vec<u8>,
    /// What came after the body.
    pub trailers: HeaderMap,
    /// Whether its end came.
    pub complete: bool,
}

/// All requests that follow each other in `input`, and why the last is refused, if it is.
pub fn read_all(input: &[u8]) -> (Vec<Read>, Option<Refusal>) {
    read_pieces([input])
}

/// The same, if the input comes piece by piece.
pub fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Read>, Option<Refusal>) {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.buffer.extend_from_slice(piece);
        if let Err(refusal) = reader.advance() {
            return (reader.read, Some(refusal));
        }
    }
    (reader.read, None)
}

#[derive(Default)]
struct Reader {
    buffer: BytesMut,
    read: Vec<Read>,
    body: Option<BodyDecoder>,
}

impl Reader {
    fn advance(&mut self) -> Result<(), Refusal> {
        let limits = Limits::default();
        loop {
            if let (Some(decoder), Some(read)) = (&mut self.body, self.read.last_mut()) {
                match decoder.next(&mut self.buffer)? {
                    None => return Ok(()),
                    Some(Piece::Data(data)) => read.body.extend_from_slice(&data),
                    Some(Piece::Trailers(trailers)) => read.trailers = trailers,
                    Some(Piece::End) => {
                        read.complete = true;
                        self.body = None;
                    }
                }
            } else {
                let Some((head, framing)) = request(&mut self.buffer, &limits)? else { return Ok(()) };
                self.body = Some(BodyDecoder::new(framing, &limits));
                self.read.push(Read { head, body: Vec::new(), trailers: HeaderMap::new(), complete: false });
            }
        }
    }
}
