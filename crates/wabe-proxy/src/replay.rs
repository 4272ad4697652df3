//! A request's body that can be sent once more, as long as it is short.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::timeout;
use wabe_http1::{Framing, Piece};

use crate::body::{BodyError, Pieces, Source};

/// Longer bodies are sent once and not kept.
pub(crate) const KEPT: usize = 64 << 10;
/// The same for bodies that come in more pieces: each holds more memory than it has bytes.
const PIECES: usize = 1024;

/// A request's body.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    source: Source<'a>,
    /// How its source framed it before anything was taken from it: each time that it is sent it is the same.
    framing: Option<Framing>,
    /// What was taken so far, if it is kept.
    kept: Rc<Kept>,
    bytes: usize,
    /// The source has come to its end, with these trailers.
    ended: Option<Option<HeaderMap>>,
    /// How long more of it is waited for.
    patience: Option<Duration>,
}

/// What was taken of a body and may be wanted again.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// That is all that was taken.
    is_all: Cell<bool>,
    pieces: RefCell<Vec<Bytes>>,
    /// Which of them comes next.
    place: Cell<usize>,
    /// More of it is waited for.
    is_awaited: Cell<bool>,
}

impl Kept {
    /// Whether it can be sent once more. May be asked while it is being sent.
    pub(crate) fn is_all(&self) -> bool {
        self.is_all.get()
    }

    /// Whether it is its source that is waited for.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.get()
    }

    /// It is not wanted again: what is still to be sent is kept until then.
    pub(crate) fn let_go(&self) {
        self.is_all.set(false);
        if self.place.get() >= self.pieces.borrow().len() {
            self.pieces.take();
        }
    }

    fn next(&self) -> Option<Bytes> {
        let next = self.pieces.borrow().get(self.place.get()).cloned()?;
        self.place.set(self.place.get() + 1);
        Some(next)
    }

    fn add(&self, data: Bytes) {
        let mut pieces = self.pieces.borrow_mut();
        pieces.push(data);
        self.place.set(pieces.len());
    }
}

impl<'a> Replay<'a> {
    /// `keeps` if it may be wanted again, `patience` if it may not be silent for longer.
    pub(crate) fn new(source: Source<'a>, keeps: bool, patience: Option<Duration>) -> Self {
        let kept = Rc::new(Kept { is_all: Cell::new(keeps), ..Kept::default() });
        Self { source, framing: None, kept, bytes: 0, ended: None, patience }
    }

    /// One that is at hand.
    pub(crate) fn of(body: Vec<Bytes>) -> Self {
        let bytes = body.iter().map(Bytes::len).sum();
        let ended = (bytes > 0).then_some(None);
        Self {
            source: Source::Nothing,
            framing: None,
            kept: Rc::new(Kept { is_all: Cell::new(true), pieces: RefCell::new(body), ..Kept::default() }),
            bytes,
            ended,
            patience: None,
        }
    }

    pub(crate) fn kept(&self) -> Rc<Kept> {
        Rc::clone(&self.kept)
    }

    /// See [`Source::framing`].
    pub(crate) fn framing(&mut self, headers: Option<&HeaderMap>) -> Framing {
        let (source, bytes) = (&self.source, self.bytes);
        *self.framing.get_or_insert_with(|| match (source, bytes) {
            (Source::Nothing, 0) => Framing::None,
            // Of a copy.
            (Source::Nothing, bytes) => Framing::Length(bytes as u64),
            (source, _) => source.framing(headers),
        })
    }

    /// Whether it can be sent from its beginning.
    pub(crate) fn is_whole(&self) -> bool {
        self.kept.is_all() || (self.ended.is_none() && self.bytes == 0)
    }

    /// So many octets of it came.
    pub(crate) fn octets(&self) -> usize {
        self.bytes
    }

    /// Begins anew.
    pub(crate) fn rewind(&mut self) {
        self.kept.place.set(0);
        self.kept.is_awaited.set(false);
    }

    /// Whether its source has come to its end.
    pub(crate) fn is_read(&self) -> bool {
        self.ended.is_some() || self.source.is_done()
    }

    /// All of it, if it was kept and has come to its end.
    pub(crate) fn all(&self) -> Option<Vec<Bytes>> {
        (self.kept.is_all() && self.is_read()).then(|| self.kept.pieces.borrow().clone())
    }

    fn note(&mut self, piece: &Piece) {
        match piece {
            Piece::Data(data) => {
                self.bytes += data.len();
                let is_short = self.bytes <= KEPT && self.kept.pieces.borrow().len() < PIECES;
                if self.kept.is_all() && is_short {
                    self.kept.add(data.clone());
                } else {
                    self.kept.let_go();
                }
            }
            Piece::Trailers(trailers) => self.ended = Some(Some(trailers.clone())),
            Piece::End => self.ended = Some(None),
        }
    }

    /// What was taken before and comes next.
    fn taken(&self) -> Option<Piece> {
        if let Some(data) = self.kept.next() {
            return Some(Piece::Data(data));
        }
        let end = self.ended.as_ref()?;
        Some(end.clone().map_or(Piece::End, Piece::Trailers))
    }
}

impl Pieces for Replay<'_> {
    fn is_done(&self) -> bool {
        let ended = self.ended.as_ref().map_or_else(|| self.source.is_done(), Option::is_none);
        ended && self.kept.place.get() >= self.kept.pieces.borrow().len()
    }

    fn at_hand(&mut self) -> Result<Option<Piece>, BodyError> {
        if let Some(piece) = self.taken() {
            return Ok(Some(piece));
        }
        let piece = self.source.at_hand()?;
        piece.iter().for_each(|piece| self.note(piece));
        Ok(piece)
    }

    async fn next(&mut self) -> Result<Piece, BodyError> {
        if let Some(piece) = self.taken() {
            return Ok(piece);
        }
        self.kept.is_awaited.set(true);
        let piece = match self.patience {
            Some(patience) => timeout(patience, self.source.next()).await.map_err(|_| BodyError::Slow)??,
            None => self.source.next().await?,
        };
        self.kept.is_awaited.set(false);
        self.note(&piece);
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use wabe_http1::{BodyDecoder, Limits};

    use super::*;
    use crate::wire::split;

    #[tokio::test]
    async fn what_was_waited_for_is_not_when_it_begins_anew() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("bound");
        let _caller = tokio::net::TcpStream::connect(address).await.expect("connected");
        let (mut reader, _writer) = split(listener.accept().await.expect("accepted").0);
        let framing = Framing::Length(1);
        let mut decoder = BodyDecoder::new(framing, &Limits::default());
        let source = Source::Http1 { reader: &mut reader, decoder: &mut decoder, framing };
        let mut replay = Replay::new(source, true, None);
        let kept = replay.kept();
        timeout(Duration::from_millis(1), replay.next()).await.expect_err("nothing comes");
        assert!(kept.is_awaited());
        replay.rewind();
        assert!(!kept.is_awaited());
    }

    /// A body of that many bytes, sent in two pieces.
    async fn body(length: usize, check: impl AsyncFnOnce(Replay<'_>)) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let caller =
            tokio::net::TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");
        let (mut reader, _writer) = split(stream);
        let (_, mut sender) = split(caller);
        sender.data(Bytes::from(vec![b'a'; length])).await.expect("sent");
        sender.flush().await.expect("sent");
        let framing = Framing::Length(length as u64);
        let mut decoder = BodyDecoder::new(framing, &Limits::default());
        check(Replay::new(Source::Http1 { reader: &mut reader, decoder: &mut decoder, framing }, true, None))
            .await;
    }

    async fn take(replay: &mut Replay<'_>) -> usize {
        let mut bytes = 0;
        while !replay.is_done() {
            match replay.next().await.expect("a piece") {
                Piece::Data(data) => bytes += data.len(),
                Piece::Trailers(_) | Piece::End => break,
            }
        }
        bytes
    }

    #[tokio::test]
    async fn what_is_short_is_sent_again_as_it_was() {
        body(KEPT, async |mut replay| {
            assert_eq!(take(&mut replay).await, KEPT);
            assert!(replay.is_whole() && replay.all().is_some());
            replay.rewind();
            assert!(!replay.is_done());
            assert_eq!(take(&mut replay).await, KEPT);
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_long_is_sent_once() {
        body(KEPT + 1, async |mut replay| {
            assert!(replay.is_whole(), "nothing was taken yet");
            assert_eq!(take(&mut replay).await, KEPT + 1);
            assert!(!replay.is_whole() && replay.all().is_none());
        })
        .await;
    }
}
