//! The same over HTTP/2 with prior knowledge: each connection has one stream at a time, as HTTP/1.1 has one request.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use h2::client::SendRequest;
use http::Request;
use tokio::{net::TcpStream, sync::Notify};

use super::{
    Plan, Scheme,
    schedule::Schedule,
    tally::{Tally, nanoseconds},
};
use crate::results::Load;

/// The body's type: requests have none.
type Sender = SendRequest<&'static [u8]>;

pub(super) fn run(plan: &Plan) -> Result<Load> {
    if plan.url.scheme != Scheme::Http || plan.body > 0 {
        bail!(
            "HTTP/2 is for GETs with prior knowledge over http:// here: leave out --http2, or --body, https and udp"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, go(plan))
}

/// What tasks of one load share; all are on one thread.
struct Shared {
    plan: Plan,
    start: Instant,
    tally: RefCell<Tally>,
    queue: RefCell<VecDeque<u64>>,
    due: Notify,
    /// Requests that a connection has.
    underway: Cell<usize>,
}

async fn go(plan: &Plan) -> Result<Load> {
    let shared = Rc::new(Shared {
        plan: plan.clone(),
        start: Instant::now(),
        tally: RefCell::new(Tally::new(plan)),
        queue: RefCell::new(VecDeque::new()),
        due: Notify::new(),
        underway: Cell::new(0),
    });
    let mut tasks: Vec<_> = (0..plan.connections)
        .map(|_| tokio::task::spawn_local(Shared::connection(Rc::clone(&shared))))
        .collect();
    if plan.arrivals.rate().is_some() {
        tasks.push(tokio::task::spawn_local(Shared::arrivals(Rc::clone(&shared))));
    }
    let end = shared.tally.borrow().end();
    while shared.now() < end {
        let now = shared.now();
        shared.tally.borrow_mut().tick(now);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Those on their way may still come; without a schedule they are not waited for.
    let last = if plan.arrivals.rate().is_some() { end + nanoseconds(plan.timeout) } else { end };
    while shared.now() < last && (shared.underway.get() > 0 || !shared.queue.borrow().is_empty()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let now = shared.now();
    for due in shared.queue.borrow_mut().drain(..) {
        shared.tally.borrow_mut().failed(due, now, "never sent");
    }
    for task in &tasks {
        task.abort();
    }
    for task in tasks {
        let _ = task.await;
    }
    let shared = Rc::into_inner(shared).context("invariant: all tasks are over")?;
    Ok(shared.tally.into_inner().load(plan))
}

impl Shared {
    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// Moves what is due into the queue.
    async fn arrivals(self: Rc<Self>) {
        let (sender, mut due) = tokio::sync::mpsc::unbounded_channel();
        let (plan, start, end) = (self.plan.clone(), self.start, self.tally.borrow().end());
        // A thread of its own: the runtime's timer only knows milliseconds. It ends when nobody listens any more.
        std::thread::spawn(move || {
            for due in Schedule::new(plan.arrivals, plan.seed).take_while(|it| *it < end) {
                std::thread::sleep(Duration::from_nanos(due).saturating_sub(start.elapsed()));
                if sender.send(due).is_err() {
                    break;
                }
            }
        });
        while let Some(due) = due.recv().await {
            self.queue.borrow_mut().push_back(due);
            self.due.notify_one();
        }
    }

    async fn connection(self: Rc<Self>) {
        let mut sender: Option<Sender> = None;
        loop {
            let due = match self.plan.arrivals.rate() {
                None if self.now() >= self.tally.borrow().end() => return,
                None => None,
                Some(_) => Some(self.next().await),
            };
            self.underway.set(self.underway.get() + 1);
            let result = tokio::time::timeout(self.plan.timeout, self.one(&mut sender, due)).await;
            self.underway.set(self.underway.get() - 1);
            let now = self.now();
            let failed = match result {
                Ok(Ok(())) => continue,
                Ok(Err(kind)) => kind,
                Err(_) => "timeout".to_owned(),
            };
            sender = None;
            self.tally.borrow_mut().failed(due.unwrap_or(now), now, &failed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn next(&self) -> u64 {
        loop {
            let due = self.queue.borrow_mut().pop_front();
            match due {
                Some(due) => return due,
                None => self.due.notified().await,
            }
        }
    }

    async fn one(&self, sender: &mut Option<Sender>, due: Option<u64>) -> Result<(), String> {
        let began = self.now();
        let mut own = match sender.take().filter(|_| !self.plan.fresh) {
            Some(own) => own,
            None => self.connect().await?,
        };
        own = own.ready().await.map_err(|error| kind(&error))?;
        let now = self.now();
        let due = due.unwrap_or(began);
        self.tally.borrow_mut().sent(due, now);
        let uri = self.plan.url.to_string();
        let request = Request::get(uri).body(()).map_err(|error| error.to_string())?;
        let (answer, _) = own.send_request(request, true).map_err(|error| kind(&error))?;
        let answer = answer.await.map_err(|error| kind(&error))?;
        let status = answer.status().as_u16();
        let (mut body, mut bytes) = (answer.into_body(), 0);
        while let Some(data) = body.data().await {
            let data = data.map_err(|error| kind(&error))?;
            bytes += data.len() as u64;
            body.flow_control().release_capacity(data.len()).map_err(|error| kind(&error))?;
        }
        *sender = Some(own);
        if status != 200 {
            return Err(format!("status {status}"));
        }
        let now = self.now();
        self.tally.borrow_mut().answered(due, now, bytes);
        Ok(())
    }

    async fn connect(&self) -> Result<Sender, String> {
        let began = self.now();
        let stream = TcpStream::connect(self.plan.url.address).await.map_err(|error| refused(&error))?;
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| Ok(rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?));
        prepared.map_err(|error| error.to_string())?;
        let now = self.now();
        if self.plan.fresh {
            self.tally.borrow_mut().connected(began, now);
        }
        let (sender, connection) =
            h2::client::Builder::new().handshake(stream).await.map_err(|error| kind(&error))?;
        tokio::task::spawn_local(async move {
            // Its end is seen by whoever sends on it.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

fn refused(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::ConnectionRefused {
        "refused".to_owned()
    } else {
        error.to_string()
    }
}

fn kind(error: &h2::Error) -> String {
    match error.get_io() {
        Some(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "reset".to_owned(),
        Some(error) => error.to_string(),
        None if error.is_go_away() => "closed early".to_owned(),
        None => error.to_string(),
    }
}
