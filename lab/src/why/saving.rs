//! What redirection by eBPF could save at all. Pure.

use super::Class;
use crate::results::Breakdown;

/// Limits of what can be saved of a request's time, as shares of it, 0 to 1. The first three and `rest` sum up to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Saving {
    /// By redirecting with eBPF in place of iptables: all of netfilter. What the programs cost in its place is not taken off.
    pub redirection: f64,
    /// More, by passing data from socket to socket between applications and their proxies: all of TCP/IP and of links, as a
    /// look does not tell on which link a packet was that is already queued. More than can be saved: what is between two
    /// proxies stays.
    pub sockets: f64,
    /// What neither touches: proxies, TLS, server, client, generator, wake-ups.
    pub untouched: f64,
    /// The rest: system calls, eBPF, other processes.
    pub rest: f64,
    /// For people.
    pub sentence: String,
}

/// What of an arm's time redirection by eBPF in place of iptables could save at all, and what it can't.
#[must_use]
pub fn could_be_saved(breakdown: &Breakdown) -> Saving {
    let share = |classes: &[Class]| -> f64 {
        let named = |what: &str| classes.iter().any(|class| class.title() == what);
        breakdown.shares.iter().filter(|it| named(&it.what)).fold(0.0, |sum, it| sum + it.share)
    };
    let redirection = share(&[Class::Netfilter]);
    let sockets = share(&[Class::Loopback, Class::Links, Class::Tcp]);
    let (proxies, wake_ups) = (share(&[Class::Proxy, Class::Tls]), share(&[Class::WakeUps]));
    let untouched = proxies + wake_ups + share(&[Class::Server, Class::Client, Class::Generator]);
    let rest = share(&[Class::Calls, Class::Ebpf, Class::Others]);
    let (percent, time) = (|share: f64| share * 100.0, |share: f64| share * breakdown.per_request);
    let sentence = format!(
        "Of {:.1} µs of processor time for one request, redirection by eBPF in place of iptables could save {:.1} µs \
         ({:.1} %) at most, which is all that netfilter takes; passing data from socket to socket could save {:.1} µs \
         ({:.1} %) more at most, if all of TCP/IP and of links were between applications and their proxies. Neither touches {:.1} µs in \
         proxies and TLS ({:.1} %), nor {:.1} µs of wake-ups ({:.1} %).",
        breakdown.per_request,
        time(redirection),
        percent(redirection),
        time(sockets),
        percent(sockets),
        time(proxies),
        percent(proxies),
        time(wake_ups),
        percent(wake_ups),
    );
    Saving { redirection, sockets, untouched, rest, sentence }
}
