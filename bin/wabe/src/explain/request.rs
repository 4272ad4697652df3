//! `wabe explain --http`: what would become of a request. Reads what the proxy reads, so it works with agent and proxy dead; what the proxy told of its
//! endpoints is added if there is something.

use std::{fs, net::IpAddr, process::ExitCode, time::Duration};

use wabe_abi::TCP;
use wabe_agent::{
    explain::{
        Question, admits_proxy,
        request::{
            Asked, BackendView, LiveView, Outcome, PolicyView, RequestExplanation, Withheld, explain_request,
        },
    },
    figures::{self, Live},
};
use wabe_datapath::Pinned;
use wabe_keeper::layout::Mesh;
use wabe_proxy::Snapshot;

use super::target;
use crate::{
    cli::{self, Output},
    failure::Failure,
    screen::{Colour, Table, json, line, paint},
};

/// Who asks what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub(super) from: u32,
    pub(super) destination: IpAddr,
    pub(super) port: u16,
    /// As it was written.
    pub(super) dialled: &'a str,
}

pub(super) fn run(
    mesh: &Mesh,
    tables: &Pinned,
    sent: &Sent<'_>,
    text: &str,
    arguments: &cli::Explain,
) -> Result<ExitCode, Failure> {
    let asked = asked(sent, text, &arguments.headers)?;
    let bytes = fs::read(mesh.proxy_file())
        .map_err(|error| Failure::environment(format!("what the proxy reads can't be read: {error}")))?;
    let snapshot: Snapshot = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::environment(format!("what the proxy reads can't be understood: {error}"))
    })?;
    let mut told = explain_request(&snapshot, &asked).ok_or_else(|| {
        Failure::refused(format!(
            "{} is no port of a service with routes of requests, or with policies that look at requests: nobody looks at requests to it; leave --http out",
            target::show(sent.destination, sent.port)
        ))
    })?;
    let live = figures::live(mesh);
    live.last().into_iter().for_each(|it| told.add(it));
    told.admit(|endpoint| {
        let (destination, port) = (endpoint.address, endpoint.port);
        admits_proxy(tables, &Question { from: sent.from, protocol: TCP, destination, port })
    });
    match arguments.plain.output {
        Output::Json => json(&told)?,
        Output::Text | Output::Yaml => print(&asked, &told, live.last())?,
    }
    Ok(if told.outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `GET /path` and `name: value`.
fn asked(sent: &Sent<'_>, text: &str, headers: &[String]) -> Result<Asked, Failure> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (method, target) = match words.as_slice() {
        [method, path] if path.starts_with('/') || *path == "*" => (*method, *path),
        [path] if path.starts_with('/') => ("GET", *path),
        _ => return Err(Failure::usage(format!("`{text}` is no request; write 'GET /path'"))),
    };
    let header = |text: &String| match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        Some(_) | None => Err(Failure::usage(format!("`{text}` is no header; write 'name: value'"))),
    };
    let mut headers = headers.iter().map(header).collect::<Result<Vec<_>, Failure>>()?;
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        headers.push(("host".into(), target::host_of(sent.dialled, sent.port)));
    }
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Asked { from: sent.from, destination: sent.destination, port: sent.port, method, target, headers })
}

fn print(asked: &Asked, told: &RequestExplanation, live: Option<&Live>) -> Result<(), Failure> {
    let fault = told.rule.as_ref().and_then(|it| it.fault.as_ref()?.always);
    let faulted = format!(
        "the rule's FaultInjection answers all{}",
        fault.map_or_else(String::new, |it| format!(": {it}"))
    );
    let (word, colour) = match told.outcome {
        Outcome::Forwarded => ("forwarded", Colour::Green),
        Outcome::Redirected => ("redirected", Colour::Green),
        Outcome::Preflight => ("answered by the route (CORS)", Colour::Green),
        Outcome::Unrouted => ("no route holds for the caller: to the service itself", Colour::Green),
        Outcome::NoRule => ("no rule matches: 404", Colour::Red),
        Outcome::NoBackend => ("the rule leads to nothing: 500", Colour::Red),
        Outcome::NoFilter => {
            ("the rule names a RequestLimit or FaultInjection that does not exist: 500", Colour::Red)
        }
        Outcome::Faulted => (&*faulted, Colour::Red),
        Outcome::NoEndpoint => ("nobody serves it: 503", Colour::Red),
        Outcome::Refused => ("refused by policy: 403", Colour::Red),
    };
    let Asked { method, target, .. } = asked;
    line(&format!("{method} {target} to {}:{}: {}", told.service, told.port, paint(word, colour)))?;
    if let Some(rule) = &told.rule {
        let name = rule.name.clone().map_or_else(String::new, |name| format!(" ({name})"));
        line(&format!("  {} {}, rule {}{name}, path {}", rule.kind, rule.route, rule.rule, rule.path))?;
        for text in rule.filters.iter().chain(&rule.limits) {
            line(&format!("  {text}"))?;
        }
    }
    line(&format!("  generation {}", told.generation))?;
    if !told.backends.is_empty() {
        line(&match live {
            None => paint(
                "  the proxy does not run, or has told nothing yet: how endpoints are is not known",
                Colour::Yellow,
            ),
            Some(it) if it.is_fresh() => format!("  endpoints as the proxy found them {:.1?} ago", it.age),
            Some(it) => {
                let old = format!(
                    "  endpoints as the proxy found them {:.0?} ago: it is stuck, or stopped",
                    it.age
                );
                paint(&old, Colour::Yellow)
            }
        })?;
        line("")?;
        line(&backends(&told.backends))?;
    }
    Ok(())
}

/// A row for each backend, and below it one for each endpoint.
fn backends(all: &[BackendView]) -> String {
    let mut table =
        Table::new(["BACKEND", "ENDPOINT", "WEIGHT", "SHARE", "UNDER WAY", "LATENCY", "SCORE", "WHAT"]);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    for it in all {
        let what = match it.invalid {
            Some(why) => paint(&format!("500: {why}"), Colour::Red),
            None if it.endpoints.is_empty() => paint("503: nobody serves it", Colour::Red),
            None => it.filters.iter().cloned().chain([choice(it)]).collect::<Vec<_>>().join("; "),
        };
        table.row([
            format!("{}:{}", it.service, it.port),
            String::new(),
            it.weight.to_string(),
            percent(it.share),
            String::new(),
            String::new(),
            String::new(),
            what,
        ]);
        for endpoint in &it.endpoints {
            let held = withheld(endpoint.withheld);
            let verdict = match endpoint.admitted {
                Some(false) => paint("403: refused by policy", Colour::Red),
                Some(true) | None => policy(endpoint.policy.as_ref()),
            };
            let [under_way, latency, more] = endpoint.live.as_ref().map_or_else(Default::default, score);
            table.row([
                String::new(),
                format!("{} {}", endpoint.workload, target::show(endpoint.address, endpoint.port)),
                endpoint.weight.to_string(),
                endpoint.share.map_or("-".into(), percent),
                under_way,
                latency,
                endpoint.score.map_or("-".into(), |it| format!("{it:.3}")),
                held + &verdict + &more,
            ]);
        }
    }
    table.text()
}

/// How one of a backend's endpoints is chosen.
fn choice(it: &BackendView) -> String {
    let balance = it.balance.unwrap_or_default();
    let by_hash = it.hash.as_ref().map(|hash| {
        let of = match &hash.name {
            Some(name) => format!("{} {name}", hash.by),
            None => "the caller's address".to_owned(),
        };
        match hash.given {
            true => format!("by the hash of {of}"),
            false => format!("by the hash of {of}, which the request lacks: {balance}"),
        }
    });
    let mut text = by_hash.unwrap_or_else(|| balance.to_owned());
    if it.near {
        text += ", nearest first";
    }
    match it.min_health_percent {
        Some(_) if it.ejections_ignored => {
            let why = ", so many are ejected that those get requests, too";
            text += &paint(why, Colour::Yellow);
        }
        Some(least) if least > 0 => text += &format!(", no ejections below {least} % that are well"),
        Some(_) | None => {}
    }
    text
}

/// What comes before what policies say: nobody asks them.
fn withheld(why: Option<Withheld>) -> String {
    let text = match why {
        None => return String::new(),
        Some(Withheld::Ejected) => "gets nothing now; ",
        Some(Withheld::NotNearest) => "gets nothing now, others are nearer; ",
    };
    paint(text, Colour::Yellow)
}

/// What policies that look at requests say.
fn policy(view: Option<&PolicyView>) -> String {
    let Some(it) = view else { return paint("allowed", Colour::Green) };
    let by = it.rule.as_ref().map_or_else(String::new, |rule| format!(" by {rule}"));
    let (what, colour) = if it.allowed {
        (format!("allowed{by}"), Colour::Green)
    } else if it.ambiguous_path {
        let why = "403: policies look at paths, and this one is read as another by some servers";
        (why.to_owned(), Colour::Red)
    } else if it.rule.is_none() {
        ("403: no ALLOW rule matches".to_owned(), Colour::Red)
    } else {
        (format!("403: refused{by}"), Colour::Red)
    };
    let mut text = paint(&what, colour);
    if let Some(rule) = &it.audit {
        text += &format!("; audited by {rule}");
    }
    if let Some(dry) = it.dry_run {
        text += &format!("; dry run would {dry}");
    }
    text
}

/// Requests under way, latency, and what keeps requests from it.
fn score(it: &LiveView) -> [String; 3] {
    let latency = |it| format!("{:.1?}", Duration::from_micros(it));
    let out = it.ejected_for.map(|it| {
        let text = format!("; ejected for {:.1?} more", Duration::from_millis(it));
        paint(&text, Colour::Red)
    });
    let warms = (it.warmth < 100).then(|| format!("; warms up: {} % of its weight", it.warmth));
    let more = [out, warms].into_iter().flatten().collect();
    [it.under_way.to_string(), it.latency.map_or("-".into(), latency), more]
}

#[cfg(test)]
mod tests {
    use wabe_agent::explain::request::{EndpointView, HashView};

    use super::*;

    fn read(text: &str, headers: &[&str]) -> Result<Asked, String> {
        let sent = Sent { from: 1, destination: [10, 0, 0, 1].into(), port: 80, dialled: "web:80" };
        let headers: Vec<String> = headers.iter().map(|it| (*it).to_owned()).collect();
        asked(&sent, text, &headers).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn requests_are_read_as_people_write_them() {
        let asked = read("POST /a?b=c", &["X-Who: me: and you", "HOST:other"]).expect("a request");
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/a?b=c"));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(asked.headers, [pair("X-Who", "me: and you"), pair("HOST", "other")]);
        let short = read("/", &[]).expect("a request");
        assert_eq!((short.method.as_str(), short.headers), ("GET", vec![pair("host", "web")]));
    }

    #[test]
    fn whom_a_request_is_for_is_said_as_clients_say_it() {
        for (dialled, port, host) in [
            ("web:80", 80, "web"),
            ("web", 80, "web"),
            ("web", 8080, "web:8080"),
            ("web.shop.svc.cluster.local:8080", 8080, "web.shop.svc.cluster.local:8080"),
            ("shop/web:80", 80, "web.shop"),
            ("10.0.0.1:80", 80, "10.0.0.1"),
            ("[fd00::1]:80", 80, "[fd00::1]"),
            ("fd00::1", 81, "[fd00::1]:81"),
        ] {
            assert_eq!(target::host_of(dialled, port), host, "{dialled}");
        }
    }

    #[test]
    fn an_endpoints_score_says_what_keeps_requests_from_it() {
        let live = LiveView { under_way: 3, latency: Some(1250), warmth: 100, ejected_for: None };
        assert_eq!(score(&live), ["3", "1.2ms", ""]);
        let [_, latency, more] =
            score(&LiveView { latency: None, warmth: 40, ejected_for: Some(29_500), ..live });
        assert_eq!(latency, "-");
        assert!(more.contains("ejected for 29.5s more") && more.contains("40 % of its weight"), "{more}");
    }

    #[test]
    fn how_an_endpoint_is_chosen_is_said_and_who_gets_nothing() {
        let endpoint = |workload: &str, withheld, score: Option<f64>| EndpointView {
            id: 1,
            workload: workload.into(),
            address: [10, 0, 0, 1].into(),
            port: 80,
            weight: 100,
            nearness: 0,
            withheld,
            share: score.map(|_| 0.5),
            score,
            admitted: Some(true),
            policy: None,
            live: None,
        };
        let view = BackendView {
            service: "shop/web".into(),
            port: 80,
            balance: Some("peak-ewma"),
            endpoints: vec![
                endpoint("shop/near", None, Some(12.5)),
                endpoint("shop/far", Some(Withheld::NotNearest), None),
                endpoint("shop/out", Some(Withheld::Ejected), None),
            ],
            ..BackendView::default()
        };
        let text = backends(std::slice::from_ref(&view));
        let line = |name: &str| text.lines().find(|it| it.contains(name)).expect(name);
        assert!(line("shop/web").ends_with("peak-ewma"), "{text}");
        assert!(line("near 10").contains("50.0 %") && line("near 10").contains("12.500"), "{text}");
        assert!(line("shop/far").contains("gets nothing now, others are nearer; allowed"), "{text}");
        assert!(line("shop/out").contains("gets nothing now; allowed"), "{text}");
        let hash = |given| Some(HashView { by: "header", name: Some("x-user".into()), given });
        for (changed, told) in [
            (BackendView { near: true, ..view.clone() }, "peak-ewma, nearest first"),
            (BackendView { hash: hash(true), ..view.clone() }, "by the hash of header x-user"),
            (
                BackendView { hash: hash(false), ..view.clone() },
                "by the hash of header x-user, which the request lacks: peak-ewma",
            ),
            (
                BackendView { min_health_percent: Some(30), ..view.clone() },
                "peak-ewma, no ejections below 30 % that are well",
            ),
            (
                BackendView { min_health_percent: Some(30), ejections_ignored: true, ..view.clone() },
                "peak-ewma, so many are ejected that those get requests, too",
            ),
        ] {
            assert_eq!(choice(&changed), told);
        }
    }

    #[test]
    fn the_rule_of_a_policy_is_named() {
        let view = PolicyView {
            allowed: false,
            rule: Some("shop/readers rule 1".into()),
            ambiguous_path: false,
            audit: Some("shop/a rule 2".into()),
            dry_run: Some("allow"),
        };
        let text = policy(Some(&view));
        for part in ["403: refused by shop/readers rule 1", "; audited by shop/a rule 2; dry run would allow"]
        {
            assert!(text.contains(part), "{text}");
        }
        let allowed = PolicyView { allowed: true, audit: None, dry_run: None, ..view.clone() };
        assert!(policy(Some(&allowed)).contains("allowed by shop/readers rule 1"));
        let none = PolicyView { rule: None, ..view.clone() };
        assert!(policy(Some(&none)).contains("403: no ALLOW rule matches"));
        let path = PolicyView { ambiguous_path: true, ..none };
        assert!(policy(Some(&path)).contains("read as another"));
        assert!(policy(None).contains("allowed"));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (text, headers, said) in [
            ("GET", &[][..], "is no request"),
            ("GET a", &[], "is no request"),
            ("GET / HTTP/1.1", &[], "is no request"),
            ("GET /", &["a"], "is no header"),
            ("GET /", &[": a"], "is no header"),
        ] {
            assert!(read(text, headers).expect_err(text).contains(said), "{text} {headers:?}");
        }
    }
}
