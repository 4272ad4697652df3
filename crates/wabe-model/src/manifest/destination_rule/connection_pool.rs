//! `trafficPolicy.connectionPool` and `retryBudget`.

use std::time::Duration;

use super::{DAY, HOUR, NOT_YET};
use crate::{
    ConnectionPool, RetryBudget,
    manifest::{
        field::{Field, Fields, Shape},
        names::duration,
    },
};

const POOL: Shape = Shape { known: &["tcp", "http"], ignored: &[], refused: &[] };
const TCP: Shape = Shape {
    known: &["maxConnections", "connectTimeout", "idleTimeout"],
    ignored: &[],
    refused: &[
        ("tcpKeepalive", NOT_YET, "leave it out; the nearest is `http.idleTimeout`"),
        ("maxConnectionDuration", NOT_YET, "leave it out; the nearest is `http.maxRequestsPerConnection`"),
    ],
};
const HTTP: Shape = Shape {
    known: &[
        "http1MaxPendingRequests",
        "http2MaxRequests",
        "maxRequestsPerConnection",
        "maxRetries",
        "idleTimeout",
        "h2UpgradePolicy",
    ],
    ignored: &[],
    refused: &[
        ("useClientProtocol", NOT_YET, "leave it out, or write `h2UpgradePolicy: UPGRADE`"),
        ("maxConcurrentStreams", NOT_YET, "leave it out; the nearest is `http2MaxRequests`"),
    ],
};
const BUDGET: Shape = Shape { known: &["percent", "minRetryConcurrency"], ignored: &[], refused: &[] };
/// More than a node can have; larger numbers of Istio's say that there is no limit.
const MOST: i64 = 1_000_000;

pub(super) fn connection_pool(field: &Field<'_>) -> Option<ConnectionPool> {
    let fields = field.fields(&POOL)?;
    let none = ConnectionPool::default;
    let tcp = fields.or("tcp", none(), tcp);
    let http = fields.or("http", none(), http);
    let (tcp, http) = (tcp?, http?);
    Some(ConnectionPool {
        connections: tcp.connections,
        connect_timeout: tcp.connect_timeout,
        stream_idle: tcp.stream_idle,
        ..http
    })
}

fn tcp(field: &Field<'_>) -> Option<ConnectionPool> {
    let fields = field.fields(&TCP)?;
    let connections = limit(&fields, "maxConnections", "a number of connections");
    let connect_timeout = time(&fields, "connectTimeout", Duration::from_millis(1), HOUR);
    let stream_idle = time(&fields, "idleTimeout", Duration::from_secs(1), DAY);
    Some(ConnectionPool {
        connections: connections?,
        connect_timeout: connect_timeout?,
        stream_idle: stream_idle?,
        ..ConnectionPool::default()
    })
}

fn http(field: &Field<'_>) -> Option<ConnectionPool> {
    let fields = field.fields(&HTTP)?;
    let pending = limit(&fields, "http1MaxPendingRequests", "a number of requests");
    let requests = limit(&fields, "http2MaxRequests", "a number of requests");
    let retries = limit(&fields, "maxRetries", "a number of retries");
    // 0 is Istio's word for no limit here.
    let requests_per_connection = fields.or("maxRequestsPerConnection", None, |it| {
        let number = it.integer("a number of requests", 0..=MOST)?;
        Some(u32::try_from(number).ok().filter(|it| *it > 0))
    });
    let idle = time(&fields, "idleTimeout", Duration::from_secs(1), DAY);
    let http2 = fields.or("h2UpgradePolicy", false, |it| {
        it.choice(&[("DEFAULT", false), ("DO_NOT_UPGRADE", false), ("UPGRADE", true)])
    });
    Some(ConnectionPool {
        pending: pending?,
        requests: requests?,
        requests_per_connection: requests_per_connection?,
        retries: retries?,
        idle: idle?,
        http2: http2?,
        ..ConnectionPool::default()
    })
}

pub(super) fn retry_budget(field: &Field<'_>) -> Option<RetryBudget> {
    let fields = field.fields(&BUDGET)?;
    let default = RetryBudget::default();
    let percent =
        fields.or("percent", default.percent, |it| u32::try_from(it.integer("a percentage", 0..=100)?).ok());
    let least = fields.or("minRetryConcurrency", default.least, |it| {
        u32::try_from(it.integer("a number of retries", 0..=MOST)?).ok()
    });
    Some(RetryBudget { percent: percent?, least: least? })
}

fn limit(fields: &Fields<'_>, key: &str, what: &str) -> Option<Option<u32>> {
    fields.or(key, None, |it| Some(u32::try_from(it.integer(what, 1..=MOST)?).ok()))
}

fn time(fields: &Fields<'_>, key: &str, least: Duration, most: Duration) -> Option<Option<Duration>> {
    fields.or(key, None, |it| duration(it, least, most).map(Some))
}
