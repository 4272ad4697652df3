//! What the proxy has counted and how its endpoints are, as others read it: a file that the keeper made and handed over.
//!
//! The file has two halves, written in turn, so that one is whole whenever its writer is stopped. A lock on the file that was
//! handed over lasts as long as its writer: who can take it knows that nobody writes any more. Whoever reads trusts nothing in
//! it: [`read`] bounds and checks everything but the numbers, and names are for the reader to compare with those that it knows.

use std::{mem, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use wabe_model::ObjectName;

use crate::grpc;

mod halves;
mod sums;
mod tally;

pub use halves::{FILE, framed, read};
pub(crate) use sums::{About, Sums};
pub(crate) use tally::{Ended, Tally};

/// How often the file is written at least.
pub const EVERY: Duration = Duration::from_secs(1);
/// So many times what a write took is waited before the next one for more that was counted: requests wait
/// meanwhile.
const REST: u32 = 200;
/// Subjects that are told apart. Requests of any further one are counted together ([`Figures::other`]).
pub const MOST_SUBJECTS: usize = 1024;
/// Kinds of answers that are told apart for a subject. Any further one is counted as code 0 with the reason `other`.
pub const MOST_ANSWERS: usize = 16;
/// Endpoints that are told of. Of backends whose endpoints find no room only the rest is told.
pub const MOST_ENDPOINTS: usize = 4096;
/// Backends that are told of.
pub const MOST_BACKENDS: usize = 1024;
/// Upper ends of the durations that are told apart, in microseconds; longer ones are in one more class.
pub const DURATIONS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
/// Upper ends of the sizes of bodies that are told apart, in bytes; longer ones are in one more class.
pub const SIZES: [u64; 11] =
    [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
/// The caller left before there was an answer.
pub(crate) const NO_ANSWER: &str = "no-answer";
/// Why there was no good answer. All but the last three are those of `x-wabe-reason`, which has many for requests that are none.
pub const REASONS: [&str; 33] = [
    "unknown-service",
    "no-route",
    "invalid-backend",
    "invalid-filter",
    "request-limit",
    "injected-fault",
    "no-healthy-endpoint",
    "connect-failed",
    "connect-timeout",
    "connection-limit",
    "policy",
    "ambiguous-path",
    "policy-newer",
    "no-socket",
    "overflow",
    "bad-upstream-answer",
    "upstream-broke",
    "caller-left",
    "stream-idle",
    "request-timeout",
    "backend-request-timeout",
    "caller-deadline",
    "slow-head",
    "slow-body",
    "bad-http2",
    "http2-abuse",
    "proxy-ending",
    "too-many-connections",
    "bad-host",
    "unsupported",
    // What came is no request; the access log has the precise reason.
    "malformed",
    NO_ANSWER,
    // See MOST_ANSWERS; and what a newer proxy calls by a name that is not known here.
    OTHER,
];
/// The last of [`REASONS`].
const OTHER: &str = "other";

/// All that a proxy tells. What a newer one tells besides is passed over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Since it began.
    pub requests: Vec<(Subject, Requests)>,
    /// Those of subjects beyond [`MOST_SUBJECTS`].
    pub other: Requests,
    /// How those are that requests go to.
    pub backends: Vec<BackendFigures>,
    /// There was no room to tell how they are.
    #[serde(default)]
    pub backends_left_out: bool,
    /// The generation of the snapshot that it goes by; 0 before there is one.
    #[serde(default)]
    pub generation: u64,
    /// Callers' connections that are open.
    #[serde(default)]
    pub connections: u64,
    /// Lines of the access log that nobody took in time, since it began.
    #[serde(default)]
    pub lost_lines: u64,
}

/// Which requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// The caller's workload, if it is known.
    pub source: Option<ObjectName>,
    /// The service that was dialled, if it is known.
    pub service: Option<ObjectName>,
    /// The rule that held, if one did.
    pub rule: Option<Rule>,
    /// The workload whose endpoint was asked last, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<ObjectName>,
    /// They are calls of gRPC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grpc: bool,
}

/// A rule of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// `HTTPRoute` or `GRPCRoute`.
    pub kind: String,
    /// The route.
    pub route: ObjectName,
    /// Its name, or its number from 0.
    pub rule: String,
}

/// What became of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// By code, status of gRPC and reason.
    pub answers: Vec<Answers>,
    /// Tries beyond each request's first.
    pub retries: u64,
    /// How many took so long, by [`DURATIONS`].
    pub durations: [u64; DURATIONS.len() + 1],
    /// How long all took together.
    pub microseconds: u64,
    /// Their bodies.
    #[serde(default)]
    pub received: Sizes,
    /// The answers' bodies.
    #[serde(default)]
    pub sent: Sizes,
}

/// How long bodies were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// How many were so long, by [`SIZES`].
    pub counts: [u64; SIZES.len() + 1],
    /// How long all were together.
    pub bytes: u64,
}

/// Answers of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// 100 to 999; 0 if there was none.
    pub code: u16,
    /// What became of a call of gRPC, as far as that was told: 0 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<u8>,
    /// One of [`REASONS`] if it is the proxy's own.
    pub reason: Option<String>,
    /// How many.
    pub count: u64,
}

/// A port of a service that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendFigures {
    /// The service.
    pub service: ObjectName,
    /// Its port.
    pub port: u16,
    /// Connections to its endpoints.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests under way.
    pub requests: u32,
    /// Ejections of its endpoints since it was first seen.
    pub ejections: u64,
    /// Endpoints that are ejected now.
    pub ejected: u32,
    /// How each endpoint is.
    pub endpoints: Vec<EndpointFigures>,
}

/// What the choice of an endpoint goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFigures {
    /// The workload there.
    pub workload: u32,
    /// Its weight times 100; less while it warms up.
    pub weight: u32,
    /// Requests under way there, whichever backend they are for.
    pub under_way: u32,
    /// What it is expected to take, in microseconds; `None` if it never answered.
    pub latency: Option<u64>,
    /// For how many more milliseconds it gets nothing.
    pub ejected_for: Option<u64>,
}

impl Requests {
    /// Adds others' numbers.
    pub fn add(&mut self, more: &Self) {
        for it in &more.answers {
            self.answer(it.code, it.grpc, it.reason.as_deref(), it.count);
        }
        self.retries = self.retries.saturating_add(more.retries);
        self.microseconds = self.microseconds.saturating_add(more.microseconds);
        for (mine, more) in self.durations.iter_mut().zip(more.durations) {
            *mine = mine.saturating_add(more);
        }
        self.received.add(&more.received);
        self.sent.add(&more.sent);
    }

    /// Counts answers of a kind: a look at the few that there were.
    fn answer(&mut self, code: u16, grpc: Option<u8>, reason: Option<&str>, count: u64) {
        let is_same =
            |it: &&mut Answers| it.code == code && it.grpc == grpc && it.reason.as_deref() == reason;
        let mut same = self.answers.iter_mut().filter(is_same);
        if let Some(same) = same.next() {
            same.count = same.count.saturating_add(count);
        } else if self.answers.len() < MOST_ANSWERS || (code, grpc, reason) == (0, None, Some(OTHER)) {
            self.answers.push(Answers { code, grpc, reason: reason.map(str::to_owned), count });
        } else {
            self.answer(0, None, Some(OTHER), count);
        }
    }

    /// Has reasons that are not known here told as [`OTHER`].
    fn forget_unknown_reasons(&mut self) {
        let unknown = |it: &String| !REASONS.contains(&it.as_str());
        if self.answers.iter().any(|it| it.reason.as_ref().is_some_and(unknown)) {
            for mut it in mem::take(&mut self.answers) {
                if it.reason.as_ref().is_some_and(unknown) {
                    it.reason = Some(OTHER.to_owned());
                }
                self.answer(it.code, it.grpc, it.reason.as_deref(), it.count);
            }
        }
    }

    fn is_sound(&self) -> bool {
        let sound = |it: &Answers| {
            (it.code == 0 || (100..=999).contains(&it.code)) && it.grpc.is_none_or(|it| it <= grpc::LARGEST)
        };
        self.answers.len() <= MOST_ANSWERS + 1 && self.answers.iter().all(sound)
    }
}

impl Sizes {
    /// Counts one.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.counts[SIZES.partition_point(|most| *most < bytes)] += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn add(&mut self, more: &Self) {
        self.bytes = self.bytes.saturating_add(more.bytes);
        for (mine, more) in self.counts.iter_mut().zip(more.counts) {
            *mine = mine.saturating_add(more);
        }
    }
}

impl Figures {
    /// As [`Requests::forget_unknown_reasons`].
    fn forget_unknown_reasons(&mut self) {
        let all = self.requests.iter_mut().map(|it| &mut it.1);
        all.chain([&mut self.other]).for_each(Requests::forget_unknown_reasons);
    }

    /// Whether a proxy of ours could have said so.
    fn is_sound(&self) -> bool {
        let endpoints: usize = self.backends.iter().map(|it| it.endpoints.len()).sum();
        self.requests.len() <= MOST_SUBJECTS
            && self.backends.len() <= MOST_BACKENDS
            && endpoints <= MOST_ENDPOINTS
            && self.requests.iter().map(|it| &it.1).chain([&self.other]).all(Requests::is_sound)
    }
}

/// Has the kernel refuse this process files longer than [`FILE`]: what the proxy may write is no way to fill the memory. For
/// processes that write nothing else; it can't be undone.
pub fn bound_files() {
    let most = Some(FILE as u64);
    let limit = Rlimit { current: most, maximum: most };
    if let Err(error) = setrlimit(Resource::Fsize, limit) {
        tracing::warn!(%error, before = ?getrlimit(Resource::Fsize), "files may be longer than they need be");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_beyond_the_limit_are_counted_together() {
        let mut requests = Requests::default();
        for code in 100..200 {
            requests.answer(code, None, None, 1);
            requests.answer(code, None, None, 2);
        }
        assert_eq!(requests.answers.len(), MOST_ANSWERS + 1);
        assert_eq!(requests.answers.iter().map(|it| it.count).sum::<u64>(), 300);
        let other = Answers {
            code: 0,
            grpc: None,
            reason: Some("other".into()),
            count: (100 - MOST_ANSWERS as u64) * 3,
        };
        assert_eq!(requests.answers.last(), Some(&other));
        assert!(requests.is_sound());
    }

    #[test]
    fn sums_never_wrap() {
        let mut requests = Requests { retries: u64::MAX, durations: [u64::MAX; 15], ..Requests::default() };
        requests.answer(200, None, None, u64::MAX);
        let more = requests.clone();
        requests.add(&more);
        assert_eq!(requests, more);
    }
}
