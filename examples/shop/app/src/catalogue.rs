//! The list of goods, in two versions: the second also tells prices.

use anyhow::{Result, bail};
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use serde_json::json;

use crate::serve::{self, Incoming};

/// Serves the list of goods.
#[derive(Clone)]
pub(crate) struct Catalogue {
    name: String,
    goods: Bytes,
}

impl Catalogue {
    /// The catalogue of this version, `v1` or `v2`.
    pub(crate) fn new(version: String) -> Result<Self> {
        let goods = match version.as_str() {
            "v1" => json!([{ "name": "honey" }, { "name": "candle" }, { "name": "hive" }]),
            "v2" => json!([
                { "name": "honey", "price": 7 }, { "name": "candle", "price": 4 }, { "name": "hive", "price": 120 },
            ]),
            other => bail!("there is no version {other:?} of the catalogue, only v1 and v2"),
        };
        let name = format!("catalogue-{version}");
        Ok(Self { name, goods: json!({ "version": version, "goods": goods }).to_string().into() })
    }

    /// Answers `/catalogue` and `/healthz`.
    pub(crate) fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/catalogue" => serve::json(&self.name, self.goods.clone()),
            "/healthz" => serve::healthy(),
            _ => serve::not_found(),
        }
    }
}
