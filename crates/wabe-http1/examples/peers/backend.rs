//! Answers requests, and says what of them reached it.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use wabe_http1::{BodyDecoder, Limits, Piece, request};

/// How much of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// No octet.
    Nothing,
    /// A head, or part of it; its body did not end.
    Head,
    /// All of it, in a form that is not refused here.
    Whole,
    /// Something that is refused here too.
    Strange,
}

/// A server on a Unix socket, until the program ends.
pub struct Backend(Arc<Mutex<Reached>>);

impl Backend {
    /// Listens at `socket`.
    pub fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket");
        let reached = Arc::new(Mutex::new(Reached::Nothing));
        let shared = reached.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let reached = shared.clone();
                thread::spawn(move || serve(stream, &reached));
            }
        });
        Self(reached)
    }

    /// Before the next request.
    pub fn forget(&self) {
        *self.0.lock().expect("invariant: nobody panics") = Reached::Nothing;
    }

    /// The most that came since.
    pub fn reached(&self) -> Reached {
        *self.0.lock().expect("invariant: nobody panics")
    }
}

/// One request; then the connection ends, so that none is left to the next.
fn serve(mut stream: UnixStream, reached: &Mutex<Reached>) {
    let (mut buffer, mut part) = (BytesMut::new(), [0; 65_536]);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    loop {
        let Ok(length @ 1..) = stream.read(&mut part) else { return };
        buffer.extend_from_slice(&part[..length]);
        let now = look(buffer.clone());
        let mut most = reached.lock().expect("invariant: nobody panics");
        *most = now.max(*most);
        drop(most);
        if now >= Reached::Whole {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        }
    }
}

fn look(mut buffer: BytesMut) -> Reached {
    let limits = Limits { head_bytes: 1 << 20, headers: 1000, target_bytes: 1 << 20, ..Limits::default() };
    let (mut body, head) = match request(&mut buffer, &limits) {
        Ok(Some((head, framing))) => (BodyDecoder::new(framing, &limits), head),
        Ok(None) => return Reached::Head,
        Err(_) => return Reached::Strange,
    };
    drop(head);
    loop {
        match body.next(&mut buffer) {
            Ok(Some(Piece::End)) => return Reached::Whole,
            Ok(Some(Piece::Data(_) | Piece::Trailers(_))) => {}
            Ok(None) => return Reached::Head,
            // The head was right; the chunks are passed on as they came.
            Err(_) => return Reached::Strange,
        }
    }
}
