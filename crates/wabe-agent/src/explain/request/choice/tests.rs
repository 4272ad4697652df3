use wabe_model::{HashCookie, ObjectName};
use wabe_proxy::EndpointFacts;

use super::*;
use crate::explain::request::LiveView;

/// Weight, nearness, requests under way, latency, ejected for.
type Endpoint = (u32, u32, u32, Option<u64>, Option<u64>);

fn backend(balance: &'static str, endpoints: &[Endpoint]) -> BackendView {
    let endpoint = |(weight, nearness, under_way, latency, ejected_for): &Endpoint| EndpointView {
        id: 0,
        workload: String::new(),
        address: [10, 0, 0, 1].into(),
        port: 80,
        weight: *weight,
        nearness: *nearness,
        withheld: None,
        share: None,
        score: None,
        admitted: None,
        policy: None,
        live: Some(LiveView {
            under_way: *under_way,
            latency: *latency,
            warmth: 100,
            ejected_for: *ejected_for,
        }),
    };
    BackendView {
        balance: Some(balance),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..BackendView::default()
    }
}

#[test]
fn who_gets_nothing_is_whom_the_proxy_leaves_out() {
    use Withheld::{Ejected, NotNearest};
    let (out, over) = (Some(9_000), Some(900));
    let one = |nearness, ejected| (1, nearness, 0, None, ejected);
    for (name, near, least, endpoints, withheld, ignored) in [
        ("all are well", false, Some(0), vec![one(0, None), one(3, None)], vec![None, None], false),
        (
            "the near one only",
            true,
            None,
            vec![one(2, None), one(3, None), one(3, None)],
            vec![Some(NotNearest), None, None],
            false,
        ),
        ("nobody is near", true, None, vec![one(0, None), one(0, None)], vec![None, None], false),
        ("one is ejected", false, Some(0), vec![one(0, out), one(0, None)], vec![Some(Ejected), None], false),
        ("it was, and is back", false, Some(0), vec![one(0, over), one(0, None)], vec![None, None], false),
        (
            "the near one is ejected, so those that are far are the nearest",
            true,
            Some(0),
            vec![one(3, out), one(1, None), one(0, None)],
            vec![Some(Ejected), None, Some(NotNearest)],
            false,
        ),
        ("all are ejected", false, Some(0), vec![one(0, out), one(0, out)], vec![None, None], true),
        (
            "just enough are left",
            false,
            Some(50),
            vec![one(0, out), one(0, None)],
            vec![Some(Ejected), None],
            false,
        ),
        ("too few are left", false, Some(51), vec![one(0, out), one(0, None)], vec![None, None], true),
        ("nobody is ejected any more", false, None, vec![one(0, out), one(0, None)], vec![None, None], false),
    ] {
        let mut view = backend("two-choices", &endpoints);
        (view.near, view.min_health_percent) = (near, least);
        judge(&mut view, 1_000);
        let told: Vec<_> = view.endpoints.iter().map(|it| it.withheld).collect();
        assert_eq!((told, view.ejections_ignored), (withheld, ignored), "{name}");
        let shares: f64 = view.endpoints.iter().filter_map(|it| it.share).sum();
        assert!((shares - 1.0).abs() < 1e-9, "{name}: {shares}");
        let nothing = |it: &EndpointView| it.withheld.is_none() || it.share == Some(0.0);
        assert!(view.endpoints.iter().all(nothing), "{name}");
    }
}

#[test]
fn scores_are_those_by_which_the_proxy_chooses() {
    let endpoints = [
        (1, 0, 0, None, None),
        (1, 0, 3, None, None),
        (4, 0, 3, Some(1_000), None),
        (2, 0, 0, Some(500), None),
    ];
    for (balance, scores) in [
        ("two-choices", [Some(1.0), Some(4.0), Some(1.0), Some(0.5)]),
        ("peak-ewma", [Some(0.0), None, Some(1_000.0), Some(250.0)]),
        ("round-robin", [None; 4]),
        ("random", [None; 4]),
    ] {
        let mut view = backend(balance, &endpoints);
        judge(&mut view, 0);
        let told: Vec<_> = view.endpoints.iter().map(|it| it.score).collect();
        assert_eq!(told, scores, "{balance}");
        let shares: Vec<_> = view.endpoints.iter().map(|it| it.share).collect();
        assert_eq!(shares, [Some(0.125), Some(0.125), Some(0.5), Some(0.25)], "{balance}");
    }
    let mut warming = backend("two-choices", &endpoints[..1]);
    warming.endpoints[0].live.as_mut().expect("it is known").warmth = 25;
    judge(&mut warming, 0);
    assert_eq!(warming.endpoints[0].score, Some(4.0), "a quarter of its weight holds");
    warming.endpoints[0].live = None;
    judge(&mut warming, 0);
    assert_eq!((warming.endpoints[0].score, warming.endpoints[0].share), (None, Some(1.0)));
}

#[test]
fn what_a_hash_goes_by_is_told_and_whether_the_request_has_it() {
    let cookie = |lifetime| HashKey::Cookie(HashCookie { name: "cart".into(), path: None, lifetime });
    let (header, query) = (HashKey::Header("x-user".into()), HashKey::Query("u".into()));
    for (key, target, headers, told) in [
        (&HashKey::Source, "/", vec![], ("source", None, true)),
        (&header, "/", vec![("X-User", "ann")], ("header", Some("x-user"), true)),
        (&header, "/", vec![("x-other", "ann")], ("header", Some("x-user"), false)),
        (&query, "/?a=b&u=ann", vec![], ("query", Some("u"), true)),
        (&query, "/u?uu=1", vec![], ("query", Some("u"), false)),
        (&cookie(None), "/", vec![("Cookie", "a=1; cart=7")], ("cookie", Some("cart"), true)),
        (&cookie(None), "/", vec![("cookie", "scart=7")], ("cookie", Some("cart"), false)),
        (&cookie(Some(Default::default())), "/", vec![], ("cookie", Some("cart"), true)),
    ] {
        let asked = Asked {
            from: 1,
            destination: [10, 0, 0, 1].into(),
            port: 80,
            method: "GET".into(),
            target: target.into(),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        let facts = facts(TrafficPolicy { hash: Some(key.clone()), ..TrafficPolicy::default() });
        let choice = Choice::of(Some(&facts), &asked, None);
        let HashView { by, name, given } = choice.hash.expect("a hash");
        assert_eq!((by, name.as_deref(), given), told, "{target} {headers:?}");
    }
    let mut view = backend("two-choices", &[(1, 0, 0, None, None)]);
    for given in [true, false] {
        view.hash = Some(HashView { by: "source", name: None, given });
        judge(&mut view, 0);
        let known = (view.endpoints[0].share.is_some(), view.endpoints[0].score.is_some());
        assert_eq!(known, (!given, !given), "where the hash decides nothing is drawn");
    }
}

#[test]
fn near_ones_come_first_for_callers_of_whom_it_is_known_where_they_are() {
    let zone = |zone: &str| Locality { region: "r".into(), zone: zone.into(), subzone: String::new() };
    let near = facts(TrafficPolicy { near: true, ..TrafficPolicy::default() });
    let asked = Asked {
        from: 1,
        destination: [10, 0, 0, 1].into(),
        port: 80,
        method: "GET".into(),
        target: "/".into(),
        headers: Vec::new(),
    };
    for (facts, caller, first) in [
        (&near, Some(zone("a")), true),
        (&near, Some(Locality::default()), false),
        (&near, None, false),
        (&facts(TrafficPolicy::default()), Some(zone("a")), false),
    ] {
        assert_eq!(Choice::of(Some(facts), &asked, caller.as_ref()).near, first, "{caller:?}");
    }
}

fn facts(traffic: TrafficPolicy) -> BackendFacts {
    let (service, endpoints) = (ObjectName::new("shop", "web"), Vec::<EndpointFacts>::new());
    BackendFacts { service, port: 80, speaks: Default::default(), endpoints, traffic }
}
