//! Bodies on their way: where they come from, where they go, whatever the protocol at each end.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use tokio::{select, time::timeout};
use wabe_http1::{BodyDecoder, BodyEncoder, Framing, Piece, Refusal, check_trailers};

use crate::{
    answer::content_length,
    failure::Failure,
    policy::Refused,
    wire::{Reader, Writer},
};

/// How long the other end of a stream may take nothing of it. Who reads slowly is waited for; who does not read at all holds what others
/// could have. As Envoy has it of idle streams.
const STUCK: Duration = Duration::from_secs(300);

/// Where a body comes from.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// Nowhere: there is none.
    Nothing,
    /// A connection that has one message at a time.
    Http1 { reader: &'a mut Reader, decoder: &'a mut BodyDecoder, framing: Framing },
    /// A caller's stream. What it says after its body must be no part of a head, as with HTTP/1.
    Asked(&'a mut RecvStream),
    /// An endpoint's. What it says after its body is gRPC's metadata more often than not, with names of any kind.
    Answered(Box<RecvStream>),
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection or stream.
    #[error("{0}")]
    Gone(#[from] io::Error),
    /// It is not framed as it must be.
    #[error("{0}")]
    Malformed(#[from] Refusal),
    /// The caller did not go on in time.
    #[error("no more came in time")]
    Slow,
}

/// What bodies are carried from.
pub(crate) trait Pieces {
    /// Whether all of it was taken.
    fn is_done(&self) -> bool;
    /// What is there without waiting.
    fn at_hand(&mut self) -> Result<Option<Piece>, BodyError>;
    /// What comes next, the end included.
    async fn next(&mut self) -> Result<Piece, BodyError>;
}

impl Source<'_> {
    /// Completes once its connection says something that nobody asked for, or ends, if it has one message at a time.
    pub(crate) async fn stirs(&mut self) {
        match self {
            Self::Http1 { reader, .. } => drop(reader.fill().await),
            Self::Nothing | Self::Asked(_) | Self::Answered(_) => std::future::pending().await,
        }
    }

    /// How much there is to come, as far as that was said: of a stream, by these headers.
    pub(crate) fn framing(&self, headers: Option<&HeaderMap>) -> Framing {
        match self {
            Self::Nothing => Framing::None,
            Self::Http1 { framing, .. } => *framing,
            Self::Asked(_) | Self::Answered(_) if self.is_done() => Framing::Length(0),
            Self::Asked(_) | Self::Answered(_) => {
                headers.and_then(content_length).map_or(Framing::Chunked, Framing::Length)
            }
        }
    }
}

impl Pieces for Source<'_> {
    fn is_done(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Http1 { decoder, .. } => decoder.is_done(),
            Self::Asked(stream) => stream.is_end_stream(),
            Self::Answered(stream) => stream.is_end_stream(),
        }
    }

    fn at_hand(&mut self) -> Result<Option<Piece>, BodyError> {
        let mut once = Context::from_waker(Waker::noop());
        let polled = match self {
            Self::Nothing => return Ok(Some(Piece::End)),
            Self::Http1 { reader, decoder, .. } => return Ok(decoder.next(&mut reader.buffer)?),
            Self::Asked(stream) => poll_asked(stream, &mut once),
            Self::Answered(stream) => poll_stream(stream, &mut once),
        };
        match polled {
            Poll::Ready(piece) => piece.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    async fn next(&mut self) -> Result<Piece, BodyError> {
        match self {
            Self::Nothing => Ok(Piece::End),
            Self::Http1 { reader, decoder, .. } => loop {
                if let Some(piece) = decoder.next(&mut reader.buffer)? {
                    return Ok(piece);
                }
                if poll_fn(|context| reader.poll_fill(context)).await? == 0 {
                    decoder.at_end_of_input()?;
                    return Ok(Piece::End);
                }
            },
            Self::Asked(stream) => poll_fn(|context| poll_asked(stream, context)).await,
            Self::Answered(stream) => poll_fn(|context| poll_stream(stream, context)).await,
        }
    }
}

fn poll_asked(stream: &mut RecvStream, context: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
    poll_stream(stream, context).map(|piece| {
        let piece = piece?;
        if let Piece::Trailers(trailers) = &piece {
            check_trailers(trailers)?;
        }
        Ok(piece)
    })
}

fn poll_stream(stream: &mut RecvStream, context: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
    match stream.poll_data(context) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Some(Ok(data))) => {
            // What is taken is written before more is taken: the window bounds what lies here.
            let _ = stream.flow_control().release_capacity(data.len());
            Poll::Ready(Ok(Piece::Data(data)))
        }
        Poll::Ready(Some(Err(error))) => Poll::Ready(Err(BodyError::Gone(io::Error::other(error)))),
        Poll::Ready(None) => match stream.poll_trailers(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Some(trailers))) => Poll::Ready(Ok(Piece::Trailers(trailers))),
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(Piece::End)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(BodyError::Gone(io::Error::other(error)))),
        },
    }
}

/// Where a body goes.
#[derive(Debug)]
pub(crate) enum Sink<'a> {
    /// Nowhere: the head said it all.
    Nothing,
    /// A connection that has one message at a time.
    Http1 {
        writer: &'a mut Writer,
        /// None once the body is over.
        encoder: Option<BodyEncoder>,
    },
    /// A stream.
    Http2(SendStream<Bytes>),
}

impl Sink<'_> {
    /// Takes data; `last` if nothing comes after it.
    async fn data(&mut self, data: Bytes, last: bool) -> io::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Http1 { writer, encoder } => {
                let Some(body) = encoder.as_mut() else { return Err(io::ErrorKind::InvalidData.into()) };
                let length = data.len();
                body.before(length, &mut writer.buffer).map_err(io::Error::other)?;
                writer.data(data).await?;
                body.after(length, &mut writer.buffer);
                if last { over(encoder, None, writer) } else { Ok(()) }
            }
            Self::Http2(stream) => send(stream, data, last, STUCK).await,
        }
    }

    /// Ends it, with these trailers if any.
    pub(crate) async fn end(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Http1 { writer, encoder } => over(encoder, trailers.as_ref(), writer),
            Self::Http2(stream) => match trailers {
                Some(trailers) => stream.send_trailers(trailers).map_err(io::Error::other),
                None => stream.send_data(Bytes::new(), true).map_err(io::Error::other),
            },
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Http1 { writer, .. } => writer.flush().await,
            Self::Nothing | Self::Http2(_) => Ok(()),
        }
    }

    /// Completes once nobody takes what is sent: who waits for more of a body would not hear of it else.
    async fn gone(&mut self) {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Http1 { writer, .. } => writer.left().await,
            Self::Http2(stream) => {
                let _ = poll_fn(|context| stream.poll_reset(context)).await;
            }
        }
    }

    /// That it can't be carried on to here.
    fn broken(&self) -> Broken {
        Broken::Sink { unsent: matches!(self, Self::Http1 { writer, .. } if !writer.wrote) }
    }

    /// Says that what was sent is not whole. (A connection that has one message at a time is closed by its owner.)
    pub(crate) fn abort(&mut self) {
        if let Self::Http2(stream) = self {
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

fn over(
    encoder: &mut Option<BodyEncoder>,
    trailers: Option<&HeaderMap>,
    writer: &mut Writer,
) -> io::Result<()> {
    let Some(encoder) = encoder.take() else { return Ok(()) };
    encoder.end(trailers, &mut writer.buffer).map_err(io::Error::other)
}

/// As much at a time as the other end takes. One that takes nothing for so long has its stream reset.
async fn send(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    last: bool,
    patience: Duration,
) -> io::Result<()> {
    if data.is_empty() {
        return if last { stream.send_data(data, true).map_err(io::Error::other) } else { Ok(()) };
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = if stream.capacity() > 0 {
            stream.capacity()
        } else {
            match timeout(patience, poll_fn(|context| stream.poll_capacity(context))).await {
                Ok(Some(room)) => room.map_err(io::Error::other)?,
                Ok(None) => return Err(io::ErrorKind::ConnectionReset.into()),
                Err(_) => {
                    stream.send_reset(Reason::CANCEL);
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        };
        let part = data.split_to(room.min(data.len()));
        let end = last && data.is_empty();
        stream.send_data(part, end).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Which end a body could not be carried on from, or to.
#[derive(Debug)]
pub(crate) enum Broken {
    Source(BodyError),
    /// `unsent` if nothing at all of the message was written, on a connection that has one at a time.
    Sink {
        unsent: bool,
    },
    /// Neither: the proxy's time is up.
    Ending,
    /// Neither: policies of the endpoint refuse it by now.
    Refused(Refused),
    /// Neither: there is no more time, or it can't go on for another reason.
    Late(Failure),
}

/// Carries a body from its source to its sink. `heed` sees all of it. What is at hand goes out together.
pub(crate) async fn carry(
    source: &mut impl Pieces,
    sink: &mut Sink<'_>,
    mut heed: impl FnMut(&Piece),
) -> Result<(), Broken> {
    loop {
        let piece = match source.at_hand().map_err(Broken::Source)? {
            Some(piece) => piece,
            None => {
                sink.flush().await.map_err(|_| sink.broken())?;
                select! {
                    biased;
                    piece = source.next() => piece.map_err(Broken::Source)?,
                    () = sink.gone() => return Err(sink.broken()),
                }
            }
        };
        heed(&piece);
        let last = match piece {
            Piece::Data(data) => {
                let last = source.is_done();
                sink.data(data, last).await.map_err(|_| sink.broken())?;
                last
            }
            Piece::Trailers(trailers) => {
                sink.end(Some(trailers)).await.map_err(|_| sink.broken())?;
                true
            }
            Piece::End => {
                sink.end(None).await.map_err(|_| sink.broken())?;
                true
            }
        };
        if last {
            return sink.flush().await.map_err(|_| sink.broken());
        }
    }
}

/// All data of one kind, for bodies that are at hand as a whole.
pub(crate) async fn put(sink: &mut Sink<'_>, data: Bytes) -> io::Result<()> {
    if data.is_empty() {
        sink.end(None).await?;
    } else {
        sink.data(data, true).await?;
    }
    sink.flush().await
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    #[tokio::test]
    async fn a_stream_of_which_nothing_is_taken_is_reset() {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let taker = async {
            let settings = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(theirs);
            let (sender, connection) = settings.await.expect("HTTP/2");
            let asked = async {
                let mut sender = sender.ready().await.expect("ready");
                let request = Request::get("http://web/").body(()).expect("a request");
                let (answer, _) = sender.send_request(request, true).expect("sent");
                answer.await.expect("a head").into_body().data().await
            };
            select! {
                data = asked => data,
                ended = connection => panic!("{ended:?}"),
            }
        };
        let giver = async {
            let mut connection = h2::server::handshake(ours).await.expect("HTTP/2");
            let (_, mut respond) = connection.accept().await.expect("a request").expect("sound");
            let mut stream = respond.send_response(Response::new(()), false).expect("begun");
            let sent = select! {
                sent = send(&mut stream, "abc".into(), true, Duration::from_millis(50)) => sent,
                more = connection.accept() => panic!("{more:?}"),
            };
            assert_eq!(sent.expect_err("nothing is taken").kind(), io::ErrorKind::TimedOut);
            drop(stream);
            let _ = connection.accept().await;
        };
        let data = select! {
            data = taker => data,
            () = giver => panic!("the taker has not heard of it"),
        };
        assert!(data.is_some_and(|it| it.is_err_and(|it| it.reason() == Some(Reason::CANCEL))));
    }
}
