//! Takes payments. It asks nobody who they are: the mesh already did.

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};

use crate::serve::{self, Incoming};

/// Answers `/pay` and `/healthz`.
pub(crate) fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/pay" => serve::json("payment", Bytes::from_static(br#"{"paid":true}"#)),
        "/healthz" => serve::healthy(),
        _ => serve::not_found(),
    }
}
