//! Where an HTTP/1.1 answer ends, and what it is. Pure: bytes in, facts out.

/// Longest head, bytes.
const HEAD: usize = 16 << 10;
/// Most header fields.
const FIELDS: usize = 64;

/// What is known of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// More bytes are needed.
    Partial,
    /// It is whole.
    Whole {
        /// 200 to 999; interim ones are skipped.
        status: u16,
        /// Bytes of its body.
        body: u64,
        /// Whether the connection can be used again.
        keep: bool,
    },
    /// It is no HTTP/1.1, or more than was asked for.
    Broken,
}

/// Reads one answer after the other.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// The head, until it is whole.
    head: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    Body {
        status: u16,
        all: u64,
        left: u64,
        keep: bool,
    },
    Chunks {
        status: u16,
        body: u64,
        keep: bool,
        chunk: Chunk,
    },
}

/// Where in a chunked body (RFC 9112, section 7.1).
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Size {
        size: u64,
        digits: u8,
    },
    /// Up to the line's end: extensions.
    Rest {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// The line end behind data.
    After,
    /// Trailers; `empty` if the line has nothing yet.
    Trailer {
        empty: bool,
    },
}

impl Framing {
    /// Takes the next bytes. After a whole answer there must be none left: nothing was asked for meanwhile.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Answer {
        loop {
            match self.state {
                State::Head => match self.head(bytes) {
                    Ok(Some(used)) => bytes = &bytes[used..],
                    Ok(None) => return Answer::Partial,
                    Err(()) => return Answer::Broken,
                },
                State::Body { status, all, left, keep } => {
                    let here = left.min(bytes.len() as u64);
                    if here < left {
                        self.state = State::Body { status, all, left: left - here, keep };
                        return Answer::Partial;
                    }
                    return self.end(status, all, keep, &bytes[here as usize..]);
                }
                State::Chunks { status, mut body, keep, mut chunk } => {
                    while let [first, rest @ ..] = bytes {
                        match step(&mut chunk, &mut body, *first, bytes.len()) {
                            Ok(Step::Used(1)) => bytes = rest,
                            Ok(Step::Used(used)) => bytes = &bytes[used..],
                            Ok(Step::End) => return self.end(status, body, keep, rest),
                            Err(()) => return Answer::Broken,
                        }
                    }
                    self.state = State::Chunks { status, body, keep, chunk };
                    return Answer::Partial;
                }
            }
        }
    }

    /// Looks for the head's end; tells how many of these bytes belong to it.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, ()> {
        // Most often a head comes in one piece, and needs no copy.
        let before = self.head.len();
        let parsed = if before == 0 {
            parse(bytes)
        } else {
            self.head.extend_from_slice(bytes);
            parse(&self.head)
        }?;
        let Some((length, state)) = parsed else {
            if before == 0 {
                self.head.extend_from_slice(bytes);
            }
            return if self.head.len() > HEAD { Err(()) } else { Ok(None) };
        };
        self.head.clear();
        self.state = state;
        Ok(Some(length - before))
    }

    fn end(&mut self, status: u16, body: u64, keep: bool, rest: &[u8]) -> Answer {
        self.state = State::Head;
        if rest.is_empty() { Answer::Whole { status, body, keep } } else { Answer::Broken }
    }
}

/// A whole head, how long it is, and what follows.
fn parse(bytes: &[u8]) -> Result<Option<(usize, State)>, ()> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(|_| ())? else { return Ok(None) };
    let status = response.code.ok_or(())?;
    if (100..200).contains(&status) {
        // Interim: another head follows.
        return Ok(Some((length, State::Head)));
    }
    let field =
        |name: &str| response.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name)).map(|it| it.value);
    let keep = response.version == Some(1)
        && !field("connection").is_some_and(|it| it.to_ascii_lowercase().windows(5).any(|it| it == b"close"));
    if field("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case(b"chunked")) {
        let chunk = Chunk::Size { size: 0, digits: 0 };
        return Ok(Some((length, State::Chunks { status, body: 0, keep, chunk })));
    }
    let all = match field("content-length") {
        Some(value) => std::str::from_utf8(value).ok().and_then(|it| it.trim().parse().ok()).ok_or(())?,
        None if matches!(status, 204 | 304) => 0,
        // Up to the connection's end: no answer that a load is made of.
        None => return Err(()),
    };
    Ok(Some((length, State::Body { status, all, left: all, keep })))
}

enum Step {
    Used(usize),
    End,
}

fn step(chunk: &mut Chunk, body: &mut u64, first: u8, available: usize) -> Result<Step, ()> {
    let mut used = 1;
    *chunk = match *chunk {
        Chunk::Size { size, digits } => match (first, char::from(first).to_digit(16)) {
            (_, Some(digit)) if digits < 15 => {
                Chunk::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
            }
            (b'\r' | b';', _) if digits > 0 => Chunk::Rest { size },
            _ => return Err(()),
        },
        Chunk::Rest { size: 0 } if first == b'\n' => Chunk::Trailer { empty: true },
        Chunk::Rest { size } if first == b'\n' => Chunk::Data { left: size },
        Chunk::Rest { size } => Chunk::Rest { size },
        Chunk::Data { left } => {
            let here = left.min(available as u64);
            used = here as usize;
            *body += here;
            if here == left { Chunk::After } else { Chunk::Data { left: left - here } }
        }
        Chunk::After if first == b'\r' => Chunk::After,
        Chunk::After if first == b'\n' => Chunk::Size { size: 0, digits: 0 },
        Chunk::After => return Err(()),
        Chunk::Trailer { empty } => match first {
            b'\r' => Chunk::Trailer { empty },
            b'\n' if empty => return Ok(Step::End),
            b'\n' => Chunk::Trailer { empty: true },
            _ => Chunk::Trailer { empty: false },
        },
    };
    Ok(Step::Used(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\na: b\r\n\r\n";
    const INTERIM: &str = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn answers_are_whole_however_they_are_cut() {
        for (text, status, body) in [(PLAIN, 200, 5), (CHUNKED, 200, 8), (INTERIM, 404, 0)] {
            for size in 1..=text.len() {
                let mut framing = Framing::default();
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                for (number, piece) in pieces.iter().enumerate() {
                    let last = number + 1 == pieces.len();
                    let expected =
                        if last { Answer::Whole { status, body, keep: true } } else { Answer::Partial };
                    assert_eq!(framing.feed(piece), expected, "{text:?} by {size}");
                }
                assert_eq!(
                    framing.feed(PLAIN.as_bytes()),
                    Answer::Whole { status: 200, body: 5, keep: true }
                );
            }
        }
    }

    #[test]
    fn what_ends_the_connection_is_told() {
        let old = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        let closing = "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n";
        for text in [old, closing] {
            let expected = Answer::Whole { status: 200, body: 0, keep: false };
            assert_eq!(Framing::default().feed(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_broken() {
        for text in [
            "SSH-2.0-x\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        ] {
            assert_eq!(Framing::default().feed(text.as_bytes()), Answer::Broken, "{text:?}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD));
        assert_eq!(Framing::default().feed(long.as_bytes()), Answer::Broken);
    }
}
