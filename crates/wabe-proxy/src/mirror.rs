//! Copies of requests for other services, whose answers nobody waits for.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use http::request;
use tokio::{task::spawn_local, time::timeout};
use wabe_model::Mirror;

use crate::{
    access::Asked,
    answer::Answerer,
    failure::Failure,
    forward::{Errand, Forwarded, forward},
    head::Head,
    identity::RequestId,
    replay::Replay,
    serve::{Caller, Proxy},
    world::World,
};

/// How long a copy may take, unless the rule says how long the request may.
const PATIENCE: Duration = Duration::from_secs(15);
/// So many copies may be under way at a time for each worker: nobody waits for them, so nothing else holds them back.
const MOST: usize = 256;

/// Sends a copy on its way. Only requests with short bodies are copied: see [`crate::replay::KEPT`].
pub(crate) fn send(
    proxy: &Rc<Proxy>,
    world: &Rc<World>,
    caller: &Caller,
    head: &request::Parts,
    body: Vec<Bytes>,
    to: &Mirror,
    patience: Option<Duration>,
) {
    let (proxy, world, caller, to) = (Rc::clone(proxy), Rc::clone(world), caller.clone(), to.clone());
    let mut head = Head::from(head.clone());
    let patience = patience.unwrap_or(PATIENCE);
    // Each that is under way has one.
    let counted = Rc::clone(&proxy.copies);
    spawn_local(async move {
        let errand = Errand {
            proxy: &proxy,
            world: &world,
            caller: &caller,
            to: (&to.service, to.port),
            rule: None,
            answer: &[],
            patience: None,
            changes_protocol: false,
            is_mirrored: false,
            news: &proxy.watched.news(),
        };
        let asked = Asked { method: Some(head.method().clone()), target: Some(head.target().clone()) };
        let mut record = proxy.log.record(&caller, asked);
        record.world = Some(Rc::clone(&world));
        record.grpc = head.is_grpc().then(Cell::default);
        record.request_id = head.fields().and_then(RequestId::given);
        record.mirror = Some(format!("{}:{}", to.service, to.port));
        let mut body = Replay::of(body);
        let mut nobody = Some(Answerer::Nobody { method: head.method().clone() });
        if Rc::strong_count(&counted) > MOST + 1 {
            record.failure = Some(Failure::Overflow);
            return;
        }
        let forwarded = forward(&errand, &mut head, &mut body, &mut nobody, &mut record);
        match timeout(patience, forwarded).await {
            Ok(Forwarded::Failed(failure)) => record.failure = Some(failure),
            Ok(_) => {}
            Err(_) => record.failure = Some(Failure::RequestTimeout(patience)),
        }
    });
}
