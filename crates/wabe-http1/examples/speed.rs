//! What reading and writing heads costs, against what hyper does for it: httparse, and then the same types.
//!
//! `cargo run --release -p wabe-http1 --example speed [ROUNDS]`. Both ways are timed in turn, many times; a ratio is that
//! of two neighbours. What stands for hyper is its way written again without its unsafe code, which takes
//! values for checked: here `HeaderValue` checks them once more. It is what hyper would be without that, not hyper.

use std::{env, hint::black_box, mem::MaybeUninit};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request};
use rustix::time::{ClockId, clock_gettime};
use wabe_http1::{Framing, Limits, request, write_request_head};

/// As a load generator, a program's library and a browser send them.
const HEADS: [(&str, &str); 3] = [
    ("short", "GET / HTTP/1.1\r\nHost: 10.96.0.1\r\n\r\n"),
    (
        "library",
        "POST /api/v1/orders?dry-run=true HTTP/1.1\r\nHost: orders.shop:8080\r\nUser-Agent: python-requests/2.31.0\r\n\
         Accept-Encoding: gzip, deflate\r\nAccept: application/json\r\nConnection: keep-alive\r\n\
         Content-Type: application/json\r\nContent-Length: 0\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         X-Request-Id: 4b5f2a0e-6a5c-4b3c-9d6f-0c8f2f1f3a77\r\n\r\n",
    ),
    (
        "browser",
        "GET /catalogue/items/4711?sort=price&page=2 HTTP/1.1\r\nHost: www.shop.example\r\nConnection: keep-alive\r\n\
         Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
         Referer: https://www.shop.example/catalogue?sort=price&page=1\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08; theme=dark; consent=1\r\n\r\n",
    ),
];

/// Heads of one time.
const BATCH: u32 = 2000;

/// Where name and value of each field are, kept from head to head: hyper has room for them that it does not zero.
type Places = Vec<((usize, usize), (usize, usize))>;
type Reader = fn(&mut BytesMut, &mut Places) -> Option<(request::Parts, Framing)>;

fn main() {
    let rounds = env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(200_usize).max(10);
    println!(
        "| head | octets | read, ns | hyper's way, ns | ratio | read and written, ns | hyper's way and written, ns | ratio |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (name, head) in HEADS {
        let mut cells = Vec::new();
        for write in [false, true] {
            let [mut ours, mut theirs, mut ratios] = [const { Vec::new() }; 3];
            for round in 0..=rounds {
                // Who is first changes.
                let (a, b) = if round % 2 == 0 {
                    let a = time(head, own, write);
                    (a, time(head, as_hyper, write))
                } else {
                    let b = time(head, as_hyper, write);
                    (time(head, own, write), b)
                };
                // The first is for caches.
                if round > 0 {
                    ours.push(a);
                    theirs.push(b);
                    ratios.push(a / b);
                }
            }
            let [low, middle, high] = [0.05, 0.5, 0.95].map(|share| quantile(&mut ratios, share));
            let [ours, theirs] = [&mut ours, &mut theirs].map(|it| quantile(it, 0.5));
            cells.push(format!("{ours:.0} | {theirs:.0} | {middle:.2} ({low:.2} to {high:.2})"));
        }
        println!("| {name} | {} | {} |", head.len(), cells.join(" | "));
    }
    println!("\nlooking again at an unfinished head of 64 KiB: {:.1} µs", unfinished() / 1000.0);
    println!(
        "ratios: median, and between which 90 % of {rounds} pairs lie; below 1 this crate is the faster one"
    );
}

/// Nanoseconds a head.
fn time(head: &str, read: Reader, write: bool) -> f64 {
    let (mut buffer, mut out) = (BytesMut::with_capacity(16 << 10), BytesMut::with_capacity(16 << 10));
    let mut places = Places::new();
    let begun = processor_time();
    for _ in 0..BATCH {
        buffer.extend_from_slice(black_box(head.as_bytes()));
        let (head, framing) = read(&mut buffer, &mut places).expect("invariant: a right head");
        if write {
            out.clear();
            write_request_head(&mut out, &head, framing).expect("invariant: a right head");
            black_box(&out);
        }
        black_box(&head);
    }
    (processor_time() - begun) / f64::from(BATCH)
}

/// Nanoseconds for one look.
fn unfinished() -> f64 {
    let fields = format!("X-Long: {}\r\n", "a".repeat(650)).repeat(98);
    let mut buffer = BytesMut::from(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}").as_bytes());
    buffer.truncate(Limits::default().head_bytes - 1);
    let begun = processor_time();
    for _ in 0..BATCH {
        assert!(matches!(request(black_box(&mut buffer), &Limits::default()), Ok(None)), "it is unfinished");
    }
    (processor_time() - begun) / f64::from(BATCH)
}

/// Nanoseconds that this thread has run: what others do on the machine counts less.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn own(buffer: &mut BytesMut, _: &mut Places) -> Option<(request::Parts, Framing)> {
    request(buffer, &Limits::default()).ok().flatten()
}

/// The steps of `hyper::proto::h1::role::Server::parse`, 1.12.
fn as_hyper(buffer: &mut BytesMut, places: &mut Places) -> Option<(request::Parts, Framing)> {
    const HEADERS: usize = 100;
    let mut headers = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let parsed = head.parse_with_uninit_headers(buffer, &mut headers).ok()?;
    let httparse::Status::Complete(length) = parsed else { return None };
    let base = buffer.as_ptr() as usize;
    let place = |it: &[u8]| (it.as_ptr() as usize - base, it.as_ptr() as usize - base + it.len());
    let method = Method::from_bytes(head.method?.as_bytes()).ok()?;
    let target = place(head.path?.as_bytes());
    let version = if head.version? == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
    let count = head.headers.len();
    places.clear();
    places.extend(head.headers.iter().map(|it| (place(it.name.as_bytes()), place(it.value))));
    let slice = buffer.split_to(length).freeze();
    let uri = Uri::from_maybe_shared(slice.slice(target.0..target.1)).ok()?;
    let mut fields = HeaderMap::with_capacity(count);
    let mut framing = Framing::None;
    for (name, value) in places {
        let name = HeaderName::from_bytes(&slice[name.0..name.1]).ok()?;
        let value = HeaderValue::from_maybe_shared(slice.slice(value.0..value.1)).ok()?;
        match name {
            http::header::TRANSFER_ENCODING => framing = Framing::Chunked,
            http::header::CONTENT_LENGTH => {
                framing = Framing::Length(value.to_str().ok()?.parse().ok()?);
            }
            http::header::CONNECTION | http::header::EXPECT | http::header::UPGRADE => {
                black_box(&value);
            }
            _ => {}
        }
        fields.append(name, value);
    }
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = method;
    head.uri = uri;
    head.version = version;
    head.headers = fields;
    Some((head, framing))
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}
