//! A request's body that can be sent once more, as long as it is short.

use std::{cell::Cell, rc::Rc, time::Duration};

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
    /// What was taken so far, if it is kept.
    kept: Vec<Bytes>,
    bytes: usize,
    keeps: Rc<Cell<bool>>,
    /// Which of the kept comes next.
    place: usize,
    /// The source has come to its end, with these trailers.
    ended: Option<Option<HeaderMap>>,
    /// How long more of it is waited for.
    patience: Option<Duration>,
}

impl<'a> Replay<'a> {
    /// `keeps` if it may be wanted again, `patience` if it may not be silent for longer.
    pub(crate) fn new(source: Source<'a>, keeps: bool, patience: Option<Duration>) -> Self {
        let keeps = Rc::new(Cell::new(keeps));
        Self { source, kept: Vec::new(), bytes: 0, keeps, place: 0, ended: None, patience }
    }

    /// One that is at hand.
    pub(crate) fn of(body: Vec<Bytes>) -> Self {
        let bytes = body.iter().map(Bytes::len).sum();
        let ended = (bytes > 0).then_some(None);
        Self {
            source: Source::Nothing,
            kept: body,
            bytes,
            keeps: Rc::new(Cell::new(true)),
            place: 0,
            ended,
            patience: None,
        }
    }

    /// Whether all that was taken so far is kept; may be asked while it is being sent.
    pub(crate) fn keeps(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.keeps)
    }

    /// See [`Source::framing`].
    pub(crate) fn framing(&self, headers: Option<&HeaderMap>) -> Framing {
        match (&self.source, self.bytes) {
            (Source::Nothing, 0) => Framing::None,
            // Of a copy.
            (Source::Nothing, bytes) => Framing::Length(bytes as u64),
            (source, _) => source.framing(headers),
        }
    }

    /// Whether it can be sent from its beginning.
    pub(crate) fn is_whole(&self) -> bool {
        self.keeps.get() || (self.place == 0 && self.ended.is_none() && self.bytes == 0)
    }

    /// Begins anew.
    pub(crate) fn rewind(&mut self) {
        self.place = 0;
    }

    /// Whether its source has come to its end.
    pub(crate) fn is_read(&self) -> bool {
        self.ended.is_some() || self.source.is_done()
    }

    /// All of it, if it was kept and has come to its end.
    pub(crate) fn all(&self) -> Option<&[Bytes]> {
        (self.keeps.get() && self.is_read()).then_some(&self.kept)
    }

    fn note(&mut self, piece: &Piece) {
        match piece {
            Piece::Data(data) => {
                self.bytes += data.len();
                let short = self.bytes <= KEPT && self.kept.len() < PIECES;
                self.keeps.set(self.keeps.get() && short);
                if self.keeps.get() {
                    self.kept.push(data.clone());
                } else {
                    self.kept.clear();
                }
                self.place = self.kept.len();
            }
            Piece::Trailers(trailers) => self.ended = Some(Some(trailers.clone())),
            Piece::End => self.ended = Some(None),
        }
    }

    /// What was kept and comes next.
    fn kept(&mut self) -> Option<Piece> {
        if let Some(data) = self.kept.get(self.place) {
            self.place += 1;
            return Some(Piece::Data(data.clone()));
        }
        let end = self.ended.as_ref()?;
        Some(end.clone().map_or(Piece::End, Piece::Trailers))
    }
}

impl Pieces for Replay<'_> {
    fn is_done(&self) -> bool {
        let ended = self.ended.as_ref().map_or_else(|| self.source.is_done(), Option::is_none);
        ended && self.place >= self.kept.len()
    }

    fn at_hand(&mut self) -> Result<Option<Piece>, BodyError> {
        if let Some(piece) = self.kept() {
            return Ok(Some(piece));
        }
        let piece = self.source.at_hand()?;
        piece.iter().for_each(|piece| self.note(piece));
        Ok(piece)
    }

    async fn next(&mut self) -> Result<Piece, BodyError> {
        if let Some(piece) = self.kept() {
            return Ok(piece);
        }
        let piece = match self.patience {
            Some(patience) => timeout(patience, self.source.next()).await.map_err(|_| BodyError::Slow)??,
            None => self.source.next().await?,
        };
        self.note(&piece);
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use wabe_http1::{BodyDecoder, Limits};

    use super::*;
    use crate::wire::split;

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
