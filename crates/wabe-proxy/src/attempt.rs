//! One try to have a request answered by one endpoint.

use std::{future::poll_fn, io, pin::pin, task::Poll, time::Instant};

use h2::client::ResponseFuture;
use http::{
    Method, Request, StatusCode,
    header::{CONNECTION, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE},
    request, response,
};
use tokio::{select, task::unconstrained, time::sleep_until};
use wabe_http1::{
    BodyDecoder, BodyEncoder, Framing, Limits, Piece, PlainHead, Refusal, is_persistent, plain_response,
    response,
};

use crate::{
    answer::{Answerer, content_length, switches_protocol},
    body::{BodyError, Broken, Sink, Source, carry},
    failure::Failure,
    head::Head,
    identity::{REQUEST_ID, end_hop},
    policy::{Case, Ended, Refused},
    replay::Replay,
    upstream::{Connection, Stream, ready},
    wire::Reader,
};

/// Of all interim answers (1xx) to a request, as much as of one head.
const INTERIM: usize = 64 << 10;
/// What one without any field counts for.
const OF_STATUS: usize = 64;

/// What became of a try.
#[derive(Debug)]
pub(crate) enum Tried {
    /// The answer went to the caller: all of it before the body had come to its end, if it says when it was `answered`.
    Relayed { status: StatusCode, end: End, answered: Option<Instant>, reusable: bool },
    /// The endpoint answered, and its answer is not what was hoped for. Nothing went to the caller.
    Unwanted,
    /// Both ends talk something else from now on.
    Switched(StatusCode),
    /// No answer.
    Failed { failure: Failure, reach: Reach },
    /// The caller left.
    Forsaken,
    /// Policies refuse by now what was sent already. Nothing went to the caller.
    Revoked(Refused),
    /// The caller's body can't be understood.
    Malformed(Refusal),
}

/// How far the endpoint got with a request that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It can't have begun to work on it.
    Untouched,
    /// It was gone without a word.
    Unknown,
    /// It had the request, and had begun to answer, refused it or took too long.
    Begun,
    /// It waited for more of the request, as its caller did not send it.
    Waiting,
}

/// How an answer ended that went to the caller.
#[derive(Debug)]
pub(crate) enum End {
    /// All of it went there.
    Whole,
    /// The endpoint did not come to its end.
    Broken,
    /// The caller left.
    Cut,
    /// The proxy's own time was up.
    Over,
    /// Policies refuse it by now.
    Revoked(Refused),
    /// There was no more time, and who took too long nobody knows: the endpoint to send it, or the caller to take it. Or one of them
    /// kept it from going on.
    Late(Failure),
}

/// What is to be heeded.
pub(crate) struct Terms<'a> {
    /// Until when all of the answer must have gone to the caller, and what is said if it has not.
    pub(crate) deadline: Option<(Instant, Failure)>,
    /// Whose request goes where: whether it may is asked again as long as it goes on.
    pub(crate) case: Case<'a>,
    /// Whether an answer with this status is not passed on.
    pub(crate) is_unwanted: &'a dyn Fn(StatusCode) -> bool,
    /// What is done to the answer's head.
    pub(crate) change: &'a dyn Fn(&mut response::Parts),
    /// That does nothing, and needs to see nothing.
    pub(crate) unchanged: bool,
    /// Sees the endpoint's head as it comes.
    pub(crate) heard: &'a dyn Fn(StatusCode),
    /// Sees the answer's body go by, and its trailers.
    pub(crate) carried: &'a dyn Fn(&Piece),
}

impl Terms<'_> {
    fn late(&self) -> Failure {
        self.deadline.map_or(Failure::BadAnswer, |it| it.1)
    }
}

/// Sends the request and passes the answer on. The answerer is taken once the answer begins.
pub(crate) async fn attempt<'a>(
    connection: &mut Connection,
    head: &mut Head,
    body: &mut Replay<'_>,
    answerer: &mut Option<Answerer<'a>>,
    terms: &Terms<'_>,
) -> Tried {
    let gone = |reach| Tried::Failed { failure: Failure::BadAnswer, reach };
    let framing = body.framing(head.fields());
    let persistent_before = matches!(connection, Connection::Http1(_));
    let plain = terms.unchanged && answerer.as_ref().is_some_and(Answerer::takes_plain);
    let (mut sink, mut awaited) = match begin(connection, head, framing, plain).await {
        Ok(begun) => begun,
        Err(NotBegun::Closed) => return gone(Reach::Untouched),
        Err(NotBegun::Unwritable) => {
            return Tried::Failed { failure: Failure::Unsupported, reach: Reach::Untouched };
        }
    };
    let asks_for_upgrade = head.fields().is_some_and(|it| it.contains_key(UPGRADE));
    let asks_for_leave = head.fields().is_some_and(|it| it.contains_key(EXPECT));
    let kept = body.kept();
    let mut sent = false;
    let mut sound = true;
    // It has begun to answer, if only by what comes before an answer.
    let mut heard = false;
    let mut interim = 0;
    // The endpoint was told nothing at all.
    let mut unsent = false;
    let mut sending = pin!(carry(body, &mut sink, |_| ()));
    // Heard below even if bytes never pause, which leaves a task that goes by tokio's budget no turn for anything else.
    let mut late = pin!(until(terms.deadline.map(|it| it.0)));
    let came = loop {
        let callers = answerer.as_mut().expect("invariant: taken below only");
        select! {
            biased;
            done = &mut sending, if !sent => {
                sent = true;
                match done {
                    // What comes from now on is no part of the body, and hides no longer that the caller leaves.
                    Ok(()) => callers.heed(),
                    Err(Broken::Source(BodyError::Gone(_))) => return Tried::Forsaken,
                    Err(Broken::Source(BodyError::Malformed(refusal))) => return Tried::Malformed(refusal),
                    Err(Broken::Source(BodyError::Slow)) => {
                        return Tried::Failed { failure: Failure::SlowBody, reach: Reach::Begun };
                    }
                    // It may have answered nevertheless.
                    Err(Broken::Sink { unsent: nothing }) => (sound, unsent) = (false, nothing),
                    Err(Broken::Ending | Broken::Refused(_) | Broken::Late(_)) => sound = false,
                }
            }
            head = awaited.head() => match head {
                // Requests that follow would go there, too, and by no rule.
                Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS && !asks_for_upgrade => {
                    tracing::debug!("an endpoint changes to a protocol that nobody asked for");
                    return gone(Reach::Begun);
                }
                Ok(Answer::Parts(mut head, ..)) if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS => {
                    heard = true;
                    let octets = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
                    interim += OF_STATUS + octets.sum::<usize>();
                    if interim > INTERIM {
                        tracing::debug!("an endpoint sends interim answers without end");
                        return gone(Reach::Begun);
                    }
                    end_hop(&mut head.headers);
                    if callers.interim(head).await.is_err() {
                        return Tried::Forsaken;
                    }
                }
                Ok(head) => break head,
                Err(NoHead::Closed { any }) => return gone(match (any || heard, unsent) {
                    (true, _) => Reach::Begun,
                    (false, true) => Reach::Untouched,
                    (false, false) => Reach::Unknown,
                }),
                Err(NoHead::Refused) => {
                    return gone(if heard { Reach::Begun } else { Reach::Untouched });
                }
                Err(NoHead::Malformed(refusal)) => {
                    tracing::debug!(%refusal, "an endpoint's answer is malformed");
                    return gone(Reach::Begun);
                }
            },
            () = callers.forsaken() => return Tried::Forsaken,
            ended = unconstrained(terms.case.ended(head)) => return match ended {
                Ended::Revoked(refused) => Tried::Revoked(refused),
                Ended::Over => Tried::Failed { failure: Failure::Ending, reach: Reach::Begun },
            },
            () = unconstrained(&mut late) => {
                // Some callers wait for a word of the endpoint before they go on.
                let is_callers_turn = kept.is_awaited() && (heard || !asks_for_leave);
                let reach = if is_callers_turn { Reach::Waiting } else { Reach::Begun };
                return Tried::Failed { failure: terms.late(), reach };
            }
        }
    };
    let status = came.status();
    (terms.heard)(status);
    if (terms.is_unwanted)(status) {
        return Tried::Unwanted;
    }
    let callers = answerer.take().expect("invariant: taken once");
    // A caller that waits for leave need not send the body now (RFC 9110, section 10.1.1).
    let waits_for_leave = asks_for_leave && !heard;
    // What is left of the body will not be taken: the caller has to know before it asks for more on that connection.
    let tell_end = |persistent: bool| {
        if !sent && (!persistent || waits_for_leave) {
            callers.is_last();
        }
    };
    let (begun, persistent, mut source) = match came {
        Answer::Plain(PlainHead { framing, persistent, lines, .. }) => {
            tell_end(persistent);
            (callers.begin_plain(lines, framing), persistent, awaited.into_source(framing, None))
        }
        Answer::Parts(mut answer, framing, stream) => {
            let persistent = is_persistent(answer.version, &answer.headers);
            tell_end(persistent);
            // HTTP/2 has no fields of one connection: see `exchange`.
            let protocol = if stream.is_some() { None } else { end_hop(&mut answer.headers) };
            if status == StatusCode::SWITCHING_PROTOCOLS {
                answer.headers.insert(CONNECTION, http::HeaderValue::from_static("upgrade"));
                protocol.map(|protocol| answer.headers.insert(UPGRADE, protocol));
            }
            (terms.change)(&mut answer);
            (callers.begin(answer, framing), persistent, awaited.into_source(framing, stream))
        }
    };
    let Ok(mut to_caller) = begun else { return Tried::Forsaken };
    let persistent = persistent_before && persistent;
    let switches = switches_protocol(head.method(), status);
    let mut relayed = async {
        let mut carrying = pin!(carry(&mut source, &mut to_caller, terms.carried));
        loop {
            select! {
                biased;
                done = &mut carrying => break done,
                done = &mut sending, if !sent => {
                    sent = true;
                    sound &= done.is_ok();
                    // The endpoint would wait for what does not come, which is not its fault.
                    if let Err(Broken::Source(error)) = done {
                        break Err(broken_by_caller(error));
                    }
                }
                ended = unconstrained(terms.case.ended(head)) => break Err(ended.into()),
                () = unconstrained(&mut late) => break Err(Broken::Late(terms.late())),
            }
        }
    }
    .await;
    // An endpoint may have answered before it has all that it goes on to take, and may change the protocol only behind that.
    let goes_on = relayed.is_ok() && !sent && persistent && !waits_for_leave && !head.is_grpc();
    let answered = goes_on.then(Instant::now);
    if goes_on {
        let rest = select! {
            biased;
            done = &mut sending => {
                sent = true;
                done
            }
            // It says something else, or ends: it takes no more.
            () = source.stirs() => Err(Broken::Sink { unsent: false }),
            ended = unconstrained(terms.case.ended(head)) => Err(ended.into()),
            () = unconstrained(&mut late) => Err(Broken::Late(terms.late())),
        };
        sound &= rest.is_ok();
        match rest {
            Err(Broken::Refused(refused)) => relayed = Err(Broken::Refused(refused)),
            Err(Broken::Source(error)) if switches => relayed = Err(broken_by_caller(error)),
            Err(Broken::Sink { .. }) if switches => relayed = Err(Broken::Late(Failure::UpstreamBroke)),
            Err(broken) if switches => relayed = Err(broken),
            // What was answered is whole all the same.
            Ok(()) | Err(_) => {}
        }
    }
    if switches && relayed.is_ok() {
        return Tried::Switched(status);
    }
    let whole = relayed.is_ok();
    let (why, end) = match relayed {
        Ok(()) => (None, End::Whole),
        Err(Broken::Source(_)) => (None, End::Broken),
        Err(Broken::Sink { .. }) => (None, End::Cut),
        Err(Broken::Ending) => (Some(Failure::Ending), End::Over),
        Err(Broken::Refused(refused)) => (Some(refused.failure), End::Revoked(refused)),
        Err(Broken::Late(failure)) => (Some(failure), End::Late(failure)),
    };
    if let Some(failure) = why
        && head.is_grpc()
    {
        let trailers = failure.grpc_trailers();
        (terms.carried)(&Piece::Trailers(trailers.clone()));
        let _ = to_caller.end(Some(trailers)).await;
    } else if !whole {
        to_caller.abort();
    }
    Tried::Relayed { status, end, answered, reusable: whole && sent && sound && persistent }
}

/// The caller's part of an exchange can't be carried on while its answer is under way.
fn broken_by_caller(error: BodyError) -> Broken {
    match error {
        BodyError::Gone(_) => Broken::Sink { unsent: false },
        BodyError::Malformed(refusal) => Broken::Late(Failure::Malformed(refusal)),
        BodyError::Slow => Broken::Late(Failure::SlowBody),
    }
}

impl From<Ended> for Broken {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Revoked(refused) => Self::Refused(refused),
            Ended::Over => Self::Ending,
        }
    }
}

/// Sends the head, or has it wait for what comes with it; tells where the body goes and how the answer comes.
async fn begin<'c>(
    connection: &'c mut Connection,
    head: &mut Head,
    framing: Framing,
    plain: bool,
) -> Result<(Sink<'c>, Awaited<'c>), NotBegun> {
    match connection {
        Connection::Http1(connection) => {
            let connection = &mut **connection;
            head.write(framing, &mut connection.writer.buffer).map_err(|_| NotBegun::Unwritable)?;
            connection.writer.wrote = false;
            let sink =
                Sink::Http1 { writer: &mut connection.writer, encoder: Some(BodyEncoder::new(framing)) };
            let (reader, decoder) = (&mut connection.reader, &mut connection.decoder);
            Ok((sink, Awaited::Http1 { reader, decoder, method: head.method().clone(), plain }))
        }
        Connection::Http2(Stream { sender, .. }) => {
            ready(sender).await.map_err(|_| NotBegun::Closed)?;
            let ends = matches!(framing, Framing::None | Framing::Length(0));
            let (response, stream) =
                sender.send_request(streamed(head.apart()), ends).map_err(|_| NotBegun::Closed)?;
            let sink = if ends { Sink::Nothing } else { Sink::Http2(stream) };
            Ok((sink, Awaited::Http2(Box::new(response))))
        }
    }
}

/// Why a request could not be begun.
enum NotBegun {
    Closed,
    /// The endpoint's protocol has no words for it.
    Unwritable,
}

/// A head as HTTP/2 has it: what `host` says is in the target.
fn streamed(head: &request::Parts) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.version_mut() = http::Version::HTTP_2;
    let headers = request.headers_mut();
    *headers = head.headers.clone();
    let host = headers.remove(HOST);
    // Of HTTP/1's connection alone: h2 refuses it. A head that came in one piece still has it.
    headers.remove(TRANSFER_ENCODING);
    // Never indexed, as it comes once: in the table of headers it would take the place of those that come again, and h2 walks
    // through all that have one name.
    headers.get_mut(&REQUEST_ID).into_iter().for_each(|it| it.set_sensitive(true));
    let mut target = head.uri.clone().into_parts();
    target.scheme = Some(http::uri::Scheme::HTTP);
    target.authority = host.and_then(|it| it.as_bytes().try_into().ok());
    if target.authority.is_none() {
        // Requests of HTTP/1.0 may have none.
        target.authority = Some(http::uri::Authority::from_static("localhost"));
    }
    if let Ok(uri) = http::Uri::from_parts(target) {
        *request.uri_mut() = uri;
    }
    request
}

/// An answer that is waited for.
enum Awaited<'c> {
    Http1 {
        reader: &'c mut Reader,
        decoder: &'c mut BodyDecoder,
        method: Method,
        /// Its head need not be taken apart.
        plain: bool,
    },
    Http2(Box<ResponseFuture>),
}

/// Why no head came.
enum NoHead {
    /// The endpoint closed, or reset the stream; `any` if it had begun to answer, refused this very stream, or spoke
    /// no HTTP/2.
    Closed {
        any: bool,
    },
    /// The endpoint says that it did not begin, nor will (RFC 9113, sections 6.8 and 8.7).
    Refused,
    Malformed(Refusal),
}

/// An answer's head.
enum Answer {
    /// How its body comes, and its stream if it has one of its own.
    Parts(response::Parts, Framing, Option<h2::RecvStream>),
    /// Passed on as it is.
    Plain(PlainHead),
}

impl Answer {
    fn status(&self) -> StatusCode {
        match self {
            Self::Parts(head, ..) => head.status,
            Self::Plain(head) => head.status,
        }
    }
}

impl<'c> Awaited<'c> {
    /// Can be dropped and called again.
    async fn head(&mut self) -> Result<Answer, NoHead> {
        match self {
            Self::Http1 { reader, method, plain, .. } => loop {
                if reader.buffer.is_empty() && reader.fill().await.is_ok_and(|it| it == 0) {
                    return Err(NoHead::Closed { any: false });
                }
                if *plain && let Some(head) = plain_response(&mut reader.buffer, &Limits::DEFAULT, method) {
                    return Ok(Answer::Plain(head));
                }
                match response(&mut reader.buffer, &Limits::DEFAULT, method) {
                    Ok(Some((head, framing))) => return Ok(Answer::Parts(head, framing, None)),
                    Ok(None) => {}
                    Err(refusal) => return Err(NoHead::Malformed(refusal)),
                }
                match reader.fill().await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Err(NoHead::Closed { any: !reader.buffer.is_empty() }),
                }
            },
            Self::Http2(response) => {
                poll_fn(|context| {
                    if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(context) {
                        return Poll::Ready(Ok(Answer::Parts(interim.into_parts().0, Framing::None, None)));
                    }
                    let response: &mut ResponseFuture = response;
                    pin!(response).poll(context).map(|answered| match answered {
                        Ok(answer) => {
                            let (head, stream) = answer.into_parts();
                            let framing = if stream.is_end_stream() {
                                Framing::Length(0)
                            } else {
                                content_length(&head.headers).map_or(Framing::Chunked, Framing::Length)
                            };
                            Ok(Answer::Parts(head, framing, Some(stream)))
                        }
                        // h2 says so only of streams beyond the last one of which GOAWAY tells.
                        Err(error)
                            if error.is_remote()
                                && (error.is_go_away()
                                    || error.reason() == Some(h2::Reason::REFUSED_STREAM)) =>
                        {
                            Err(NoHead::Refused)
                        }
                        Err(error) => {
                            tracing::debug!(%error, "no answer");
                            Err(NoHead::Closed { any: error.is_reset() || error.is_library() })
                        }
                    })
                })
                .await
            }
        }
    }

    fn into_source(self, framing: Framing, stream: Option<h2::RecvStream>) -> Source<'c> {
        match (self, stream) {
            (_, Some(stream)) => Source::Answered(Box::new(stream)),
            (Self::Http1 { reader, decoder, .. }, None) => {
                *decoder = BodyDecoder::new(framing, &Limits::default());
                Source::Http1 { reader, decoder, framing }
            }
            (Self::Http2(_), None) => Source::Nothing,
        }
    }
}

/// Completes then, or never.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_http2_has_its_host_in_the_target_and_a_name_that_takes_no_place() {
        let head = Request::get("/a?b").header("host", "web:80").header("transfer-encoding", "chunked");
        let head = head.header("x-request-id", "1").body(());
        let sent = streamed(&head.expect("a request").into_parts().0);
        assert_eq!(sent.uri(), "http://web:80/a?b");
        assert_eq!(sent.headers().len(), 1);
        assert!(sent.headers()["x-request-id"].is_sensitive());
    }
}
