//! Tables of names and what they mean.

use super::{
    fixture::{ip, names},
    *,
};

const SHOP: &str = "10.1.0.9";
const STRANGER: &str = "10.1.2.9";

fn ask(client: &str, name: &str, kind: RecordType) -> Answer {
    ask_with(&["corp.example", "example"], client, name, kind)
}

fn ask_with(search: &[&str], client: &str, name: &str, kind: RecordType) -> Answer {
    let index = Index::new(names()).expect("names");
    let query = Query::query(Name::from_ascii(format!("{name}.")).expect("name"), kind);
    answer(&index, ip(client), &query, &SearchList::new(search), 0)
}

/// `+` and the records' data, `nodata` or `none` and the SOA's owner, `forward`, `refused`.
fn show(answer: &Answer) -> String {
    match answer {
        Answer::Records { answers, additionals } => {
            let data =
                |records: &[Record]| records.iter().map(|it| format!(" {}", it.data)).collect::<String>();
            let extra =
                if additionals.is_empty() { String::new() } else { format!(" /{}", data(additionals)) };
            format!("+{}{extra}", data(answers))
        }
        Answer::NoData { soa } => format!("nodata {}", soa.name),
        Answer::NoName { soa } => format!("none {}", soa.name),
        Answer::Refused => "refused".into(),
        Answer::Forward => "forward".into(),
    }
}

#[track_caller]
fn check(client: &str, kind: RecordType, rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(name, expected)| (name, expected, show(&ask(client, name, kind))))
        .filter(|(_, expected, got)| *expected != got)
        .map(|(name, expected, got)| format!("{name} {kind}: expected `{expected}`, got `{got}`"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn answers_every_spelling_of_a_service() {
    check(
        SHOP,
        RecordType::A,
        &[
            ("catalogue", "+ 10.96.0.1"),
            ("catalogue.shop", "+ 10.96.0.1"),
            ("catalogue.shop.svc", "+ 10.96.0.1"),
            ("catalogue.shop.svc.cluster.local", "+ 10.96.0.1"),
            ("cAtAlOgUe.ShOp.SvC.cLuStEr.LoCaL", "+ 10.96.0.1"),
            ("payment", "+ 10.96.0.2"),
            ("payment.bank", "+ 10.96.1.2"),
            // with a suffix of the host
            ("catalogue.corp.example", "+ 10.96.0.1"),
            ("catalogue.example", "+ 10.96.0.1"),
            ("catalogue.shop.corp.example", "+ 10.96.0.1"),
            ("catalogue.shop.svc.CORP.example", "+ 10.96.0.1"),
            ("catalogue.shop.svc.cluster.local.corp.example", "+ 10.96.0.1"),
        ],
    );
    check("10.1.1.9", RecordType::A, &[("payment", "+ 10.96.1.2"), ("catalogue", "forward")]);
}

#[test]
fn gives_relative_names_only_to_workloads() {
    check(
        STRANGER,
        RecordType::A,
        &[("catalogue", "forward"), ("catalogue.corp.example", "forward"), ("catalogue.shop", "+ 10.96.0.1")],
    );
}

#[test]
fn answers_for_a_client_seen_through_a_mapped_address() {
    assert_eq!(show(&ask("::ffff:10.1.0.9", "catalogue", RecordType::A)), "+ 10.96.0.1");
    assert_eq!(show(&ask("fd01::9", "catalogue", RecordType::A)), "+ 10.96.0.1");
}

#[test]
fn never_forwards_the_cluster_domain() {
    check(
        SHOP,
        RecordType::A,
        &[
            ("nope.shop.svc.cluster.local", "none cluster.local."),
            ("nope.Cluster.Local", "none Cluster.Local."),
            ("catalogue.cluster.local", "none cluster.local."),
            ("catalogue.shop.pod.cluster.local", "none cluster.local."),
            ("x.catalogue.shop.svc.cluster.local", "none cluster.local."),
            ("nope.shop.svc", "none svc."),
            ("a.b.c.d.e.svc", "none svc."),
            ("nope.shop.svc.cluster.local.corp.example", "none cluster.local.corp.example."),
            // names that have others below them exist
            ("cluster.local", "nodata cluster.local."),
            ("svc.cluster.local", "nodata cluster.local."),
            ("shop.svc.cluster.local", "nodata cluster.local."),
            ("shop.svc", "nodata svc."),
            ("svc", "nodata svc."),
            ("_tcp.catalogue.shop.svc.cluster.local", "nodata cluster.local."),
            ("_udp.catalogue.shop.svc.cluster.local", "none cluster.local."),
            ("cluster.local.corp.example", "nodata cluster.local.corp.example."),
        ],
    );
}

#[test]
fn forwards_everything_else() {
    check(
        SHOP,
        RecordType::A,
        &[
            ("www.example.com", "forward"),
            ("local", "forward"),
            ("xcluster.local", "forward"),
            ("shop", "forward"),
            ("shop.corp.example", "forward"),
            ("www.svc.corp.example", "forward"),
            ("nope.shop.corp.example", "forward"),
            ("nope", "forward"),
            ("corp.example", "forward"),
            ("", "forward"),
        ],
    );
}

#[test]
fn has_no_data_for_missing_families_and_other_types() {
    check(
        SHOP,
        RecordType::AAAA,
        &[
            ("catalogue", "+ fd00::1"),
            ("payment", "nodata payment."),
            ("payment.corp.example", "nodata payment.corp.example."),
            ("payment.shop.svc", "nodata svc."),
            ("payment.shop.svc.cluster.local", "nodata cluster.local."),
        ],
    );
    check(SHOP, RecordType::A, &[("six", "nodata six."), ("nobody", "nodata nobody.")]);
    for kind in
        [RecordType::MX, RecordType::TXT, RecordType::HTTPS, RecordType::SRV, RecordType::Unknown(4711)]
    {
        check(SHOP, kind, &[("catalogue", "nodata catalogue."), ("catalogue.shop.svc", "nodata svc.")]);
    }
}

#[test]
fn answers_any_with_one_record_set() {
    check(
        SHOP,
        RecordType::ANY,
        &[
            ("catalogue", "+ 10.96.0.1"),
            ("six", "+ fd00::6"),
            ("nobody", "nodata nobody."),
            ("_http._tcp.payment", "+ 0 100 80 payment.shop.svc.cluster.local. / 10.96.0.2"),
        ],
    );
}

#[test]
fn answers_headless_services_with_their_workloads() {
    check(SHOP, RecordType::A, &[("store", "+ 10.1.0.4 10.1.0.5")]);
    check(SHOP, RecordType::AAAA, &[("store.shop", "+ fd01::4")]);
    check(
        SHOP,
        RecordType::A,
        &[
            ("store-v1-1.store.shop.svc.cluster.local", "+ 10.1.0.5"),
            ("store-v1-1.store.shop.svc", "+ 10.1.0.5"),
            ("store-v1-1.store.shop", "+ 10.1.0.5"),
            ("store-v1-1.store", "+ 10.1.0.5"),
            ("store-v1-1.store.corp.example", "+ 10.1.0.5"),
            ("store-v1-2.store.shop.svc.cluster.local", "none cluster.local."),
            ("store-v1-1", "forward"),
        ],
    );
}

#[test]
fn answers_srv_with_the_addresses_of_its_targets() {
    check(
        SHOP,
        RecordType::SRV,
        &[
            (
                "_http._tcp.catalogue.shop.svc.cluster.local",
                "+ 0 100 80 catalogue.shop.svc.cluster.local. / 10.96.0.1 fd00::1",
            ),
            ("_HTTP._TCP.payment", "+ 0 100 80 payment.shop.svc.cluster.local. / 10.96.0.2"),
            (
                "_http._tcp.store.shop",
                "+ 0 100 80 store-v1-0.store.shop.svc.cluster.local. \
                 0 100 80 store-v1-1.store.shop.svc.cluster.local. / 10.1.0.4 10.1.0.5",
            ),
            ("_http._udp.catalogue.shop.svc", "none svc."),
            ("_https._tcp.catalogue.shop.svc", "none svc."),
            ("http._tcp.catalogue.shop.svc", "none svc."),
            ("_http._tcp.nobody", "nodata _http._tcp.nobody."),
        ],
    );
    check(SHOP, RecordType::A, &[("_http._tcp.catalogue.shop.svc", "nodata svc.")]);
}

#[test]
fn answers_reverse_names() {
    let reverse = |address: &str| Name::from(ip(address)).to_string().trim_end_matches('.').to_owned();
    let rows = [
        ("10.96.0.1", "+ catalogue.shop.svc.cluster.local."),
        ("fd00::1", "+ catalogue.shop.svc.cluster.local."),
        ("10.1.0.5", "+ store-v1-1.store.shop.svc.cluster.local."),
        ("10.1.0.2", "+ catalogue-v1-0.catalogue.shop.svc.cluster.local."),
        ("192.0.2.1", "forward"),
        ("2001:db8::1", "forward"),
    ];
    for (address, expected) in rows {
        assert_eq!(show(&ask(SHOP, &reverse(address), RecordType::PTR)), expected, "{address}");
    }
    // A workload without a service is known, but has no name; never a question for outside.
    assert_eq!(show(&ask(SHOP, &reverse("10.1.0.9"), RecordType::PTR)), "nodata 9.0.1.10.in-addr.arpa.");
    assert_eq!(show(&ask(SHOP, &reverse("10.96.0.1"), RecordType::A)), "nodata 1.0.96.10.in-addr.arpa.");
    check(SHOP, RecordType::PTR, &[("96.10.in-addr.arpa", "forward"), ("in-addr.arpa", "forward")]);
}

#[test]
fn reverse_names_of_workloads_lead_back_to_them() {
    for (address, kind) in [("10.1.0.2", RecordType::A), ("10.1.0.4", RecordType::A)] {
        let reverse = Name::from(ip(address)).to_string();
        let shown = show(&ask(SHOP, reverse.trim_end_matches('.'), RecordType::PTR));
        let name = shown.trim_start_matches("+ ").trim_end_matches('.');
        assert_eq!(show(&ask(SHOP, name, kind)), format!("+ {address}"));
    }
}

#[test]
fn keeps_the_asked_spelling_in_owners() {
    let Answer::Records { answers, .. } = ask(SHOP, "CataLogue.Corp.EXAMPLE", RecordType::A) else {
        panic!("records expected")
    };
    assert_eq!(answers[0].name.to_string(), "CataLogue.Corp.EXAMPLE.");
    assert_eq!(answers[0].ttl, crate::TTL);
}

#[test]
fn negative_answers_carry_a_small_minimum() {
    let Answer::NoName { soa } = ask(SHOP, "nope.svc.cluster.local", RecordType::A) else {
        panic!("none expected")
    };
    let hickory_proto::rr::RData::SOA(data) = &soa.data else { panic!("soa expected") };
    assert_eq!((soa.ttl, data.minimum, data.serial), (crate::NEGATIVE_TTL, crate::NEGATIVE_TTL, 7));
    check(SHOP, RecordType::SOA, &[("svc.cluster.local", "nodata cluster.local.")]);
    assert!(show(&ask(SHOP, "cluster.local", RecordType::SOA)).starts_with("+ ns.dns.cluster.local."));
}

#[test]
fn full_names_are_not_shadowed_by_endpoints() {
    let mut names = names();
    // Endpoint `cluster` of service `local` in namespace `shop`, and a namespace called `svc`.
    names.services[1].name = "local".into();
    names.services[1].endpoints =
        vec![crate::EndpointNames { hostname: "cluster".into(), addresses: vec![ip("10.1.0.77")] }];
    names.services[5].namespace = "svc".into();
    let index = Index::new(names).expect("names");
    let ask = |name: &str| {
        let query = Query::query(Name::from_ascii(name).expect("name"), RecordType::A);
        show(&answer(&index, ip(SHOP), &query, &SearchList::default(), 0))
    };
    assert_eq!(ask("catalogue.shop.svc.cluster.local."), "+ 10.96.0.1");
    assert_eq!(ask("payment.svc."), "+ 10.96.1.2");
    assert_eq!(ask("payment.svc.svc.cluster.local."), "+ 10.96.1.2");
}

#[test]
fn answers_when_the_host_searches_the_cluster_domain_itself() {
    let search = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    for name in ["catalogue.shop.svc.cluster.local", "catalogue.svc.cluster.local", "catalogue.cluster.local"]
    {
        assert_eq!(show(&ask_with(&search, SHOP, name, RecordType::A)), "+ 10.96.0.1", "{name}");
    }
    assert_eq!(show(&ask_with(&search, SHOP, "nope.cluster.local", RecordType::A)), "none cluster.local.");
}

#[test]
fn spreads_the_first_address() {
    let index = Index::new(names()).expect("names");
    let query = Query::query("store.".parse().expect("name"), RecordType::A);
    let first = |turn| show(&answer(&index, ip(SHOP), &query, &SearchList::default(), turn));
    assert_eq!(first(1), "+ 10.1.0.5 10.1.0.4");
    assert_eq!(first(2), first(0));
}

#[test]
fn refuses_transfers_and_other_classes() {
    check(SHOP, RecordType::AXFR, &[("cluster.local", "refused"), ("example.com", "refused")]);
    let index = Index::new(names()).expect("names");
    let ask = |name: &str| {
        let mut query = Query::query(name.parse().expect("name"), RecordType::TXT);
        query.set_query_class(DNSClass::CH);
        show(&answer(&index, ip(SHOP), &query, &SearchList::default(), 0))
    };
    assert_eq!(ask("version.bind."), "forward");
    assert_eq!(ask("catalogue.shop.svc."), "refused");
}
