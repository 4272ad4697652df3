//! `trafficPolicy.loadBalancer`.

use std::time::Duration;

use super::{
    DAY, HOUR, NOT_YET,
    locality::{Near, near},
};
use crate::{
    Balance, HashCookie, HashKey,
    manifest::{
        field::{Field, Fields, Shape},
        names::duration,
        scalar::shown,
    },
};

const LOAD_BALANCER: Shape = Shape {
    known: &["simple", "consistentHash", "warmup", "warmupDurationSecs", "localityLbSetting"],
    ignored: &[],
    refused: &[],
};
const HASH: Shape = Shape {
    known: &["useSourceIp", "httpHeaderName", "httpCookie", "httpQueryParameterName", "maglev"],
    ignored: &[],
    refused: &[
        ("ringHash", NOT_YET, "leave it out; the table is Maglev's"),
        ("minimumRingSize", NOT_YET, "leave it out; the table is Maglev's"),
    ],
};
const KEYS: &[&str] = &["useSourceIp", "httpHeaderName", "httpCookie", "httpQueryParameterName"];
const MAGLEV: Shape = Shape {
    known: &[],
    ignored: &[],
    refused: &[("tableSize", NOT_YET, "leave it out; the proxy's table has 16381 places")],
};
const COOKIE: Shape = Shape {
    known: &["name", "path", "ttl"],
    ignored: &[],
    refused: &[(
        "attributes",
        NOT_YET,
        "leave it out; a cookie that Wabe sets has `path`, `ttl` and HttpOnly",
    )],
};
const WARMUP: Shape = Shape {
    known: &["duration"],
    ignored: &[],
    refused: &[
        ("minimumPercent", NOT_YET, "leave it out; a new endpoint begins with 10 %"),
        ("aggression", NOT_YET, "leave it out; the share grows evenly"),
    ],
};

#[derive(Default)]
pub(super) struct Balancing {
    pub(super) simple: Option<Balance>,
    pub(super) hash: Option<HashKey>,
    pub(super) near: Near,
    pub(super) warmup: Option<Duration>,
}

pub(super) fn load_balancer(field: &Field<'_>) -> Option<Balancing> {
    let fields = field.fields(&LOAD_BALANCER)?;
    let simple = fields.or("simple", None, |it| {
        it.choice(&[
            ("LEAST_REQUEST", Some(Balance::TwoChoices)),
            ("LEAST_CONN", Some(Balance::TwoChoices)),
            ("RANDOM", Some(Balance::Random)),
            ("ROUND_ROBIN", Some(Balance::RoundRobin)),
            ("UNSPECIFIED", None),
        ])
    });
    let hash = fields.or("consistentHash", None, consistent_hash);
    let near = fields.or("localityLbSetting", Near::default(), near);
    let warmup = warmup(&fields);
    let (simple, hash) = (simple?, hash?);
    if simple.is_some() && hash.is_some() {
        return field.error("simple and consistentHash contradict each other", "leave one of them out");
    }
    Some(Balancing { simple, hash, near: near?, warmup: warmup? })
}

/// `None` within: `useSourceIp: false`.
fn consistent_hash(field: &Field<'_>) -> Option<Option<HashKey>> {
    let fields = field.fields(&HASH)?;
    let written = KEYS.iter().filter(|key| fields.find(key).is_some()).count();
    if written != 1 {
        let message =
            if written == 0 { "nothing says what is hashed" } else { "several things are to be hashed" };
        return field.error(message, format!("write one of {}", KEYS.join(", ")));
    }
    // It is Maglev's in any case.
    let maglev = fields.or("maglev", (), |it| it.fields(&MAGLEV).map(drop));
    let source = fields.or("useSourceIp", None, |it| Some(it.boolean()?.then_some(HashKey::Source)));
    let header = fields.or("httpHeaderName", None, |it| {
        token(it, "a header").map(|name| Some(HashKey::Header(name.to_ascii_lowercase())))
    });
    let query = fields.or("httpQueryParameterName", None, |it| match it.text()? {
        "" => it.error("a parameter without a name", "write its name"),
        name => Some(Some(HashKey::Query(name.to_owned()))),
    });
    let cookie = fields.or("httpCookie", None, |it| cookie(it).map(|it| Some(HashKey::Cookie(it))));
    maglev?;
    Some(source?.or(header?).or(query?).or(cookie?))
}

fn cookie(field: &Field<'_>) -> Option<HashCookie> {
    let fields = field.fields(&COOKIE)?;
    let name = fields.require("name", "write the cookie's name").and_then(|it| token(&it, "a cookie"));
    let path = fields.or("path", None, |it| {
        let text = it.text()?;
        // RFC 6265, section 4.1.1: what would end the attribute.
        let is_plain = text.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b';');
        if text.starts_with('/') && is_plain {
            return Some(Some(text.to_owned()));
        }
        it.error(format!("{} can't be the path of a cookie", shown(text)), "write a path, as / or /cart")
    });
    let lifetime = fields.or("ttl", None, |it| duration(it, Duration::ZERO, 365 * DAY).map(Some));
    Some(HashCookie { name: name?, path: path?, lifetime: lifetime? })
}

/// A token of RFC 9110, section 5.6.2.
fn token(field: &Field<'_>, of: &str) -> Option<String> {
    let text = field.text()?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 256 || !text.bytes().all(is_token) {
        let remedy = "use at most 256 of A-Z, a-z, 0-9, - and _";
        return field.error(format!("{} can't be the name of {of}", shown(text)), remedy);
    }
    Some(text.to_owned())
}

fn warmup(fields: &Fields<'_>) -> Option<Option<Duration>> {
    let time = |it: &Field<'_>| duration(it, Duration::from_secs(1), HOUR).map(Some);
    let new = fields.or("warmup", None, |it| {
        let within = it.fields(&WARMUP)?;
        within.require("duration", "write how long it takes, as 30s").and_then(|it| time(&it))
    });
    let old = fields.or("warmupDurationSecs", None, time);
    let (new, old) = (new?, old?);
    if new.is_some() && old.is_some() {
        return fields.whole().error("warmup is written twice", "leave `warmupDurationSecs` out");
    }
    Some(new.or(old))
}
