//! Copies of requests for other services, whose answers nobody waits for.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;
use http::request;
use tokio::task::spawn_local;
use wabe_model::Mirror;

use crate::{
    access::Asked,
    answer::Answerer,
    forward::{Errand, Forwarded, forward},
    head::Head,
    replay::Replay,
    serve::{Caller, Proxy},
    world::World,
};

/// Sends a copy on its way. Only requests with short bodies are copied: see [`crate::replay::KEPT`].
pub(crate) fn send(
    proxy: &Rc<Proxy>,
    world: &Rc<World>,
    caller: &Caller,
    head: &request::Parts,
    body: &[Bytes],
    to: &Mirror,
) {
    let (proxy, world, caller, to) = (Rc::clone(proxy), Rc::clone(world), caller.clone(), to.clone());
    let (mut head, body) = (Head::from(head.clone()), body.to_vec());
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
            news: &proxy.watched.news(),
        };
        let asked = Asked { method: Some(head.method().clone()), target: Some(head.target().clone()) };
        let mut record = proxy.log.record(&caller, asked);
        record.world = Some(Rc::clone(&world));
        record.grpc = head.is_grpc().then(Cell::default);
        record.mirror = Some(format!("{}:{}", to.service, to.port));
        let mut body = Replay::of(body);
        let mut nobody = Some(Answerer::Nobody { method: head.method().clone() });
        if let Forwarded::Failed(failure) =
            forward(&errand, &mut head, &mut body, &mut nobody, &mut record).await
        {
            record.failure = Some(failure);
        }
    });
}
