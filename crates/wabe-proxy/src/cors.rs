//! What browsers are told of who may read an answer (`CORS` of the Gateway API, after <https://fetch.spec.whatwg.org/#http-cors-protocol>).

use http::{
    HeaderMap,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
    },
    request,
};
use wabe_model::{Allowed, Cors, OriginPattern};
use wabe_policy::http::{allows, is_preflight, joined};

/// What a backend may say of it; the route's word is the only one.
const OWN: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// What is said of the answer to a request, as that came.
#[derive(Debug)]
pub(crate) struct Sharing<'a> {
    cors: &'a Cors,
    /// The request's, if it is allowed.
    origin: Option<HeaderValue>,
    preflight: Option<Preflight>,
}

/// What a browser asks whether it may ask for.
#[derive(Debug)]
struct Preflight {
    method: HeaderValue,
    headers: Option<HeaderValue>,
}

impl<'a> Sharing<'a> {
    pub(crate) fn of(cors: &'a Cors, head: &request::Parts) -> Self {
        let values = |name: &HeaderName| {
            let values = head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
            joined(values).and_then(|it| HeaderValue::from_bytes(&it).ok())
        };
        let is_preflight = is_preflight(head.method.as_str(), |it| head.headers.contains_key(it));
        let method = values(&ACCESS_CONTROL_REQUEST_METHOD).filter(|_| is_preflight);
        let headers = || values(&ACCESS_CONTROL_REQUEST_HEADERS);
        Self {
            cors,
            // Two would be one that no pattern describes.
            origin: values(&ORIGIN).filter(|it| it.to_str().is_ok_and(|it| allows(cors, it))),
            preflight: method.map(|method| Preflight { method, headers: headers() }),
        }
    }

    /// Whether there is nothing to ask a backend.
    pub(crate) fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// Says it.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        OWN.iter().for_each(|it| drop(headers.remove(it)));
        let cors = self.cors;
        let same_for_all = !cors.credentials && cors.origins == [OriginPattern::Any];
        let origin = if same_for_all {
            Some(HeaderValue::from_static("*"))
        } else {
            // Caches must not show one origin what another one was told.
            headers.append(VARY, HeaderValue::from_static("origin"));
            self.origin.clone()
        };
        let Some(origin) = origin else { return };
        let expose = self.exposed(headers);
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if cors.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        put(headers, ACCESS_CONTROL_EXPOSE_HEADERS, expose);
        let Some(Preflight { method, headers: asked }) = &self.preflight else { return };
        put(headers, ACCESS_CONTROL_ALLOW_METHODS, allowed(&cors.methods, Some(method)));
        put(headers, ACCESS_CONTROL_ALLOW_HEADERS, allowed(&cors.headers, asked.as_ref()));
        headers.insert(ACCESS_CONTROL_MAX_AGE, cors.max_age.into());
    }

    fn exposed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match &self.cors.expose {
            Allowed::Named(names) => listed(names.iter().map(String::as_str)),
            Allowed::All if !self.cors.credentials => Some(HeaderValue::from_static("*")),
            // With credentials `*` is a header of this name.
            Allowed::All => listed(headers.keys().map(HeaderName::as_str)),
        }
    }
}

/// Where all are allowed, what was asked for is: `*` would mean all but `authorization`, and with credentials nothing.
fn allowed(allowed: &Allowed, asked: Option<&HeaderValue>) -> Option<HeaderValue> {
    match allowed {
        Allowed::All => asked.cloned(),
        Allowed::Named(names) => listed(names.iter().map(String::as_str)),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let text = names.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&text).ok().filter(|it| !it.is_empty())
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}
