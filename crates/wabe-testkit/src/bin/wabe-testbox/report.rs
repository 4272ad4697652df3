//! JSON lines, and names of errors.

use std::{
    io::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

/// Prints a line, at once: somebody waits for it at the other end of a pipe.
pub(crate) fn line(value: &Value) {
    let mut out = io::stdout().lock();
    // Nobody reads any more: then nobody misses it.
    writeln!(out, "{value}").and_then(|()| out.flush()).ok();
}

/// `{"kind", "ok", "errno"}` for an attempt of this kind.
pub(crate) fn attempt<T>(kind: &str, outcome: &io::Result<T>) -> Value {
    let errno = outcome.as_ref().err().map(errno);
    json!({ "kind": kind, "ok": errno.is_none(), "errno": errno })
}

/// The error's name as in errno(3); `timeout` if it was our own patience that ended.
pub(crate) fn errno(error: &io::Error) -> String {
    // A blocking socket says EAGAIN when its timeout ends; connect_timeout() an error without number.
    let own = error.raw_os_error().is_none() && error.kind() == io::ErrorKind::TimedOut;
    if own || error.kind() == io::ErrorKind::WouldBlock {
        return "timeout".into();
    }
    let Some(number) = error.raw_os_error() else { return error.to_string() };
    match NAMES.iter().find(|(it, _)| *it == number) {
        Some((_, name)) => (*name).into(),
        None => format!("errno {number}"),
    }
}

/// Milliseconds since 1970, by which reports of several processes are compared.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

macro_rules! names {
    ($($name:ident)*) => { [$((libc::$name, stringify!($name))),*] };
}

const NAMES: [(i32, &str); 37] = names![
    EPERM ENOENT EINTR EIO EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY ENODEV EINVAL EMFILE EPIPE ENOSYS EPROTO EMSGSIZE
    EDESTADDRREQ EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN
    ENETUNREACH ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EHOSTUNREACH ESRCH ESTALE
];
