//! What is accepted here and written anew, nginx accepts, and it sees the same number of requests.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use http::{Method, StatusCode};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use tempfile::TempDir;
use wabe_http1::{BodyDecoder, Limits, Piece, is_persistent, response};

use crate::support::{Read, inputs, read_all, written};

/// An nginx that answers with method and target of each request; ended when dropped.
struct Nginx {
    process: Child,
    folder: TempDir,
}

impl Nginx {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr crit;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/body; client_max_body_size 0; keepalive_requests 100000;\n\
             server {{ listen unix:{at}/socket; location / {{ return 200 \"$request_method $request_uri\"; }} }} }}\n"
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config).unwrap();
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.args(["-e", "stderr", "-c"]).arg(&path).stdin(Stdio::null());
        let process = nginx.spawn().expect("nginx does not start: apt-get install -y nginx-light");
        Self { process, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn connect(&self) -> UnixStream {
        for _ in 0..500 {
            if let Ok(stream) = UnixStream::connect(self.socket()) {
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                return stream;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen");
    }

    /// Sends `requests` and then one more that ends the connection; status and body of each answer.
    fn answers(&self, requests: &[&Read]) -> Vec<(StatusCode, String)> {
        let mut stream = self.connect();
        let mut wire = Vec::new();
        requests.iter().for_each(|it| wire.extend_from_slice(&written(it)));
        wire.extend_from_slice(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(&wire).unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        let mut buffer = BytesMut::from(&answers[..]);
        let methods = requests.iter().map(|it| it.head.method.clone()).chain([Method::GET]);
        methods.map(|method| answer(&mut buffer, &method)).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn answer(buffer: &mut BytesMut, to: &Method) -> (StatusCode, String) {
    let read = response(buffer, &Limits::default(), to).unwrap();
    let (head, framing) = read.expect("an answer is missing");
    let (mut decoder, mut body) = (BodyDecoder::new(framing, &Limits::default()), Vec::new());
    while let Some(Piece::Data(data)) = decoder.next(buffer).unwrap() {
        body.extend_from_slice(&data);
    }
    assert!(decoder.is_done());
    (head.status, String::from_utf8(body).unwrap())
}

#[test]
fn on_what_is_written() {
    const INPUTS: usize = 400;
    let (nginx, mut runner, mut compared) = (Nginx::start(), TestRunner::deterministic(), 0);
    for _ in 0..INPUTS {
        let input = inputs().new_tree(&mut runner).unwrap().current();
        let (read, _) = read_all(&input);
        let goes_on = |it: &&Read| it.complete && is_persistent(http::Version::HTTP_11, &it.head.headers);
        let requests: Vec<&Read> = read.iter().take_while(goes_on).filter(knows).collect();
        let answers = nginx.answers(&requests);
        for ((status, body), read) in answers.iter().zip(&requests) {
            assert_eq!(*status, StatusCode::OK, "{}", written(read).escape_ascii());
            let head = &read.head;
            let seen = format!("{} {}", head.method, head.uri.path_and_query().unwrap());
            assert_eq!(*body, if head.method == Method::HEAD { "" } else { &seen });
        }
        assert_eq!(answers.last(), Some(&(StatusCode::OK, "GET /last".to_owned())));
        compared += requests.len();
    }
    println!("{compared} requests of {INPUTS} inputs");
    assert!(compared > INPUTS / 2, "{compared} are few");
}

/// Whether nginx has a meaning for method and target: it knows methods of upper-case letters, and no `*`.
fn knows(read: &&Read) -> bool {
    let head = &read.head;
    head.uri.path() != "*" && head.method.as_str().bytes().all(|it| it.is_ascii_uppercase() || it == b'-')
}
