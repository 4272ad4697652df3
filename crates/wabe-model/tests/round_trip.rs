//! What is written from an object is read as the same object.
#![expect(clippy::unwrap_used, reason = "in tests")]

use std::{collections::BTreeMap, time::Duration};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::{
    collection::btree_map, collection::vec, option, prelude::*, sample::select, sample::subsequence,
};
use wabe_model::{
    AccessLog, AppProtocol, AuthorizationPolicy, Balance, ClusterIps, ConnectionPool, DestinationRule,
    DirectionLimits, Distribution, Egress, Failover, HashCookie, HashKey, HeaderCondition, Layer7, Manifest,
    MeshConfig, Object, ObjectName, Operation, OutlierDetection, PolicyAction, Probe, ProbeAction,
    RestartPolicy, RetryBudget, Rule, Service, ServicePort, Source, StringMatch, TargetPort, Transport,
    Workload, WorkloadLimits, WorkloadPort, parse, to_manifest, to_yaml,
};

/// Words that YAML likes to take for something else are among them.
fn label_word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?",
        select(vec![
            "yes",
            "NO",
            "on",
            "y",
            "true",
            "null",
            "1",
            "010",
            "1e3",
            "0x1f",
            "1.5",
            "1_0",
            "2020-01-01",
            "0"
        ])
        .prop_map(str::to_owned),
    ]
}

fn labels(range: std::ops::Range<usize>) -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = (option::of("[a-z]{1,5}(\\.[a-z]{1,3})?"), label_word())
        .prop_map(|(prefix, name)| prefix.map_or(name.clone(), |it| format!("{it}/{name}")));
    btree_map(key, prop_oneof![9 => label_word(), 1 => Just(String::new())], range)
}

fn dns_label() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        select(vec!["123", "1e3", "no", "n"]).prop_map(str::to_owned)
    ]
}

fn name() -> impl Strategy<Value = ObjectName> {
    (dns_label(), dns_label()).prop_map(|(namespace, name)| ObjectName::new(namespace, name))
}

fn text() -> impl Strategy<Value = String> {
    let any_text = "\\PC{0,12}";
    let odd = vec(any::<char>().prop_filter("NUL", |it| *it != '\0'), 0..8).prop_map(String::from_iter);
    let words = select(vec![
        "", " ", "a ", " a", "- a", "a: b", "a #b", "~", "<<", "*a", "&a", "!x", "%x", "'", "\"", "\\", "{",
        "[", "a\nb", "|", ">", "?", "---", "...", "=", "\u{feff}", "\u{2028}", "\r\n", "\t",
    ])
    .prop_map(str::to_owned);
    prop_oneof![any_text, odd, words, label_word()]
}

fn port_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]([a-z0-9]{0,13}[a-z0-9])?",
        select(vec!["y", "no", "1e3", "0x1"]).prop_map(str::to_owned)
    ]
}

fn transport() -> impl Strategy<Value = Transport> {
    select(vec![Transport::Tcp, Transport::Udp])
}

fn app_protocol() -> impl Strategy<Value = AppProtocol> {
    select(vec![
        AppProtocol::Http,
        AppProtocol::Http2,
        AppProtocol::Grpc,
        AppProtocol::Tls,
        AppProtocol::Tcp,
        AppProtocol::Detect,
    ])
}

fn layer7() -> impl Strategy<Value = Layer7> {
    select(vec![Layer7::Auto, Layer7::Always])
}

fn service() -> impl Strategy<Value = Service> {
    let v4 = (1_u8..=223, any::<[u8; 3]>()).prop_filter_map("not a host's", |(a, [b, c, d])| {
        let address = std::net::Ipv4Addr::new(a, b, c, d);
        (!address.is_loopback() && !address.is_link_local()).then_some(address)
    });
    let v6 = any::<u128>().prop_map(|it| std::net::Ipv6Addr::from(it >> 8 | 0xfd << 120));
    let cluster_ips = prop_oneof![
        Just(ClusterIps::Headless),
        (option::of(option::of(v4)), option::of(option::of(v6)))
            .prop_filter_map("no family", |(v4, v6)| (v4.is_some() || v6.is_some())
                .then_some(ClusterIps::Virtual { v4, v6 })),
    ];
    let port = (
        port_name(),
        1_u16..,
        prop_oneof![(1_u16..).prop_map(TargetPort::Number), port_name().prop_map(TargetPort::Name)],
        transport(),
        app_protocol(),
    );
    let ports = vec(port, 1..4).prop_filter_map("ports differ", |ports| {
        let ports: Vec<_> = ports
            .into_iter()
            .map(|(name, port, target, transport, app_protocol)| {
                // Of UDP nothing is said.
                let app_protocol =
                    if transport == Transport::Tcp { app_protocol } else { AppProtocol::Detect };
                ServicePort { name: Some(name), port, target, transport, app_protocol }
            })
            .collect();
        let differ = |a: &ServicePort, b: &ServicePort| {
            a.name != b.name && (a.port, a.transport) != (b.port, b.transport)
        };
        let all = ports.iter().enumerate().all(|(index, a)| ports[..index].iter().all(|b| differ(a, b)));
        all.then_some(ports)
    });
    let balance = select(BALANCES.to_vec());
    let near = option::of((
        option::of(1_u32..=86_400),
        option::of(select(vec![Distribution::PreferClose, Distribution::PreferSameZone])),
        layer7(),
    ));
    (name(), labels(1..4), ports, any::<bool>(), cluster_ips, any::<bool>(), balance, near).prop_map(
        |(name, selector, mut ports, unnamed, cluster_ips, publish_not_ready, balance, near)| {
            let (affinity, distribution, mut layer7) = near.unwrap_or_default();
            if cluster_ips == ClusterIps::Headless {
                layer7 = Layer7::Auto;
            }
            if unnamed && ports.len() == 1 {
                ports[0].name = None;
                if cluster_ips == ClusterIps::Headless {
                    ports.clear();
                }
            }
            Service {
                name,
                selector,
                ports,
                cluster_ips,
                publish_not_ready,
                balance,
                affinity,
                distribution,
                layer7,
            }
        },
    )
}

fn destination_rule() -> impl Strategy<Value = DestinationRule> {
    let spread = prop_oneof![
        hash_key().prop_map(|key| (None, Some(key))),
        option::of(select(BALANCES.to_vec())).prop_map(|balance| (balance, None)),
    ];
    let counts = (0_u32..=1000, 0_u32..=1000, 0_u32..=1000, any::<bool>(), option::of(100_u32..=10_000));
    let outliers = (counts, duration(100), duration(100), 0_u32..=100, 0_u32..=100).prop_map(
        |(counts, interval, base_ejection, max_percent, min_health_percent)| {
            let (failures, server_errors, gateway_errors, split, deviations) = counts;
            OutlierDetection {
                failures,
                server_errors,
                gateway_errors,
                split,
                deviations,
                interval,
                base_ejection,
                max_percent,
                min_health_percent,
            }
        },
    );
    let warmup = option::of(duration(1000));
    (
        name(),
        "[a-z]([a-z0-9-]{0,9}[a-z0-9])?",
        spread,
        option::of(any::<bool>()),
        btree_map("[a-c]", "[d-f]", 0..3),
        warmup,
        connection_pool(),
        option::of(outliers),
    )
        .prop_map(|(name, service, (balance, hash), near, failover, warmup, pool, outliers)| {
            DestinationRule {
                service: ObjectName::new(&name.namespace, &service),
                name,
                balance,
                hash,
                near,
                failover: if near == Some(true) { failover } else { Failover::new() },
                warmup,
                pool,
                outliers,
            }
        })
}

const BALANCES: [Balance; 4] = [Balance::TwoChoices, Balance::Random, Balance::RoundRobin, Balance::PeakEwma];

fn hash_key() -> impl Strategy<Value = HashKey> {
    let cookie = ("[a-zA-Z_-]{1,9}", option::of("/[!-:<-~]{0,9}"), option::of(duration(0)));
    prop_oneof![
        Just(HashKey::Source),
        "[a-z-]{1,9}".prop_map(HashKey::Header),
        "[ -~]{1,9}".prop_map(HashKey::Query),
        cookie.prop_map(|(name, path, lifetime)| HashKey::Cookie(HashCookie { name, path, lifetime })),
    ]
}

fn connection_pool() -> impl Strategy<Value = ConnectionPool> {
    let number = || option::of(1_u32..=1_000_000);
    let numbers = (number(), number(), number(), number(), number());
    let times = (option::of(duration(1)), option::of(duration(1000)), option::of(duration(1000)));
    let budget = (0..=100_u32, 0..=1_000_000_u32).prop_map(|(percent, least)| RetryBudget { percent, least });
    (numbers, times, option::of(budget), any::<bool>()).prop_map(|(numbers, times, retry_budget, http2)| {
        let (connections, pending, requests, requests_per_connection, retries) = numbers;
        let (connect_timeout, stream_idle, idle) = times;
        ConnectionPool {
            connections,
            connect_timeout,
            stream_idle,
            pending,
            requests,
            requests_per_connection,
            retries,
            retry_budget,
            idle,
            http2,
        }
    })
}

fn command() -> impl Strategy<Value = Vec<String>> {
    (prop_oneof!["[a-z][a-z0-9 .:#-]{0,9}", "/[a-z]{1,5}/[a-z:# ]{0,3}[a-z]"], vec(text(), 0..4))
        .prop_map(|(program, arguments)| std::iter::once(program).chain(arguments).collect())
}

fn duration(least: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![least..=3_600_000, Just(1000), Just(10_000)].prop_map(Duration::from_millis)
}

fn probe() -> impl Strategy<Value = Probe> {
    let action = prop_oneof![
        (1_u16..).prop_map(|port| ProbeAction::Tcp { port }),
        (1_u16.., "/[!-\"$-~]{0,10}").prop_map(|(port, path)| ProbeAction::Http { port, path }),
        command().prop_map(|command| ProbeAction::Exec { command }),
    ];
    (action, duration(0), duration(100), duration(1), 1_u32..=1000).prop_map(
        |(action, initial_delay, period, timeout, failure_threshold)| Probe {
            action,
            initial_delay,
            period,
            timeout,
            failure_threshold,
        },
    )
}

fn workload() -> impl Strategy<Value = Workload> {
    let ports = btree_map(port_name(), (1_u16.., transport()), 0..3).prop_map(|ports| {
        let port = |(name, (port, transport))| WorkloadPort { name, port, transport };
        ports.into_iter().map(port).collect::<Vec<_>>()
    });
    let variable = text().prop_filter("a name", |it| !it.is_empty() && !it.contains('='));
    let user = prop_oneof![
        Just("nobody".to_owned()),
        "[a-z_][a-z0-9_-]{0,8}",
        (0..u32::MAX).prop_map(|it| it.to_string())
    ];
    let directory = prop_oneof![Just("/".to_owned()), "/[a-z]{1,5}(/[a-z: #]{0,3}[a-z])?"];
    let capabilities = subsequence(vec!["NET_RAW", "CHOWN", "SYS_ADMIN"], 0..=3);
    let restart = select(vec![RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]);
    (
        (name(), labels(0..3), dns_label(), command(), btree_map(variable, text(), 0..3), directory, user),
        (capabilities, restart, option::of(probe()), 0_u32..=1000, ports, 1_u32..=1000, labels(0..3)),
        (any::<bool>(), any::<bool>(), duration(0), any::<[u16; 4]>(), layer7()),
    )
        .prop_map(
            |(
                (name, labels, service_account, command, environment, directory, user),
                (capabilities, restart, readiness, replicas, ports, weight, locality),
                (private_tmp, masquerade, grace, limits, layer7),
            )| Workload {
                name,
                labels,
                service_account,
                command,
                environment,
                working_directory: directory.into(),
                private_tmp,
                user,
                capabilities: capabilities.into_iter().map(str::to_owned).collect(),
                restart,
                readiness,
                replicas,
                ports,
                weight,
                locality,
                egress: if masquerade { Egress::Masquerade } else { Egress::None },
                grace,
                limits: {
                    let of = |connections: u16, per_second: u16| DirectionLimits {
                        connections: connections.into(),
                        per_second: per_second.into(),
                    };
                    WorkloadLimits { outbound: of(limits[0], limits[1]), inbound: of(limits[2], limits[3]) }
                },
                layer7,
            },
        )
}

fn mesh_config() -> impl Strategy<Value = MeshConfig> {
    // Workloads in the lower half of private space, services in the upper.
    let v4 = |upper: u32| {
        (9_u8..=24, any::<u32>()).prop_map(move |(prefix, bits)| {
            Ipv4Net::new((0x0a00_0000 | upper << 23 | bits & 0x007f_ffff).into(), prefix).unwrap().trunc()
        })
    };
    let v6 = |upper: u128| {
        (48_u8..=112, any::<u128>()).prop_map(move |(prefix, bits)| {
            Ipv6Net::new((0xfd << 120 | upper << 100 | bits >> 32).into(), prefix).unwrap().trunc()
        })
    };
    let ranges = (option::of(v4(0)), option::of(v4(1)), option::of(v6(0)), option::of(v6(1)));
    let domain = prop_oneof![Just("cluster.local".to_owned()), "[a-z0-9._-]{1,10}"];
    let logs = prop_oneof![Just(AccessLog::All), Just(AccessLog::Failures), Just(AccessLog::None)];
    let workers = (option::of(1..=64_u8), (0..=1000_u64).prop_map(Duration::from_micros));
    (domain, dns_label(), ranges, any::<bool>(), logs, workers).prop_map(
        |(
            trust_domain,
            root_namespace,
            (workload_range_v4, service_range_v4, workload_range_v6, service_range_v6),
            short_cut,
            access_log,
            (proxy_workers, proxy_busy_poll),
        )| {
            MeshConfig {
                trust_domain,
                root_namespace,
                workload_range_v4,
                service_range_v4,
                workload_range_v6,
                service_range_v6,
                short_cut,
                access_log,
                proxy_workers,
                proxy_busy_poll,
            }
        },
    )
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    let text = || {
        text().prop_filter("literal", |it| !it.is_empty() && !it.contains('*') && !it.starts_with("spiffe:"))
    };
    prop_oneof![
        text().prop_map(StringMatch::Exact),
        text().prop_map(StringMatch::Prefix),
        text().prop_map(StringMatch::Suffix),
        Just(StringMatch::Present),
    ]
}

fn ip_block() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (any::<u32>(), 0_u8..=32)
            .prop_map(|(bits, prefix)| IpNet::new(std::net::Ipv4Addr::from(bits).into(), prefix)),
        (any::<u128>(), 0_u8..=128)
            .prop_map(|(bits, prefix)| IpNet::new(std::net::Ipv6Addr::from(bits | 1 << 127).into(), prefix)),
    ]
    .prop_map(|it| it.unwrap().trunc())
}

fn source() -> impl Strategy<Value = Source> {
    let matches = || vec(string_match(), 0..3);
    let accounts = || vec(name(), 0..2);
    let blocks = || vec(ip_block(), 0..3);
    (matches(), matches(), matches(), matches(), accounts(), accounts(), blocks(), blocks())
        .prop_map(|it| Source {
            principals: it.0,
            not_principals: it.1,
            namespaces: it.2,
            not_namespaces: it.3,
            service_accounts: it.4,
            not_service_accounts: it.5,
            ip_blocks: it.6,
            not_ip_blocks: it.7,
        })
        .prop_filter("empty", |it| *it != Source::default())
}

/// As one condition makes it: one pair of fields.
fn condition_source() -> impl Strategy<Value = Source> {
    (source(), 0..4).prop_filter_map("empty", |(it, column)| {
        let mut only = Source::default();
        match column {
            0 => (only.principals, only.not_principals) = (it.principals, it.not_principals),
            1 => (only.namespaces, only.not_namespaces) = (it.namespaces, it.not_namespaces),
            2 => {
                (only.service_accounts, only.not_service_accounts) =
                    (it.service_accounts, it.not_service_accounts)
            }
            _ => (only.ip_blocks, only.not_ip_blocks) = (it.ip_blocks, it.not_ip_blocks),
        }
        (only != Source::default()).then_some(only)
    })
}

fn ports() -> impl Strategy<Value = Operation> {
    (vec(1_u16.., 0..3), vec(1_u16.., 0..3)).prop_map(|(ports, not_ports)| Operation {
        ports,
        not_ports,
        ..Operation::default()
    })
}

fn condition_operation() -> impl Strategy<Value = Operation> {
    ports().prop_filter("empty", |it| *it != Operation::default())
}

fn operation() -> impl Strategy<Value = Operation> {
    let some = |texts: &'static [&'static str]| {
        let one = select(texts).prop_map(|it| match (it.strip_prefix('*'), it.strip_suffix('*')) {
            (Some(""), _) => StringMatch::Present,
            (Some(end), _) => StringMatch::Suffix(end.into()),
            (None, Some(start)) => StringMatch::Prefix(start.into()),
            (None, None) => StringMatch::Exact(it.into()),
        });
        vec(one, 0..3)
    };
    let methods = || some(&["GET", "M-*", "*ST", "*"]);
    let paths = || some(&["/", "/a/*", "*.php", "*", "/%C3%A9", "/yes"]);
    let hosts = || some(&["a.b", "a.b:*", "*.b", "*", "10.0.0.1:80", "[::1]", "no", "1.0"]);
    (ports(), methods(), methods(), paths(), paths(), hosts(), hosts())
        .prop_map(|(ports, methods, not_methods, paths, not_paths, hosts, not_hosts)| Operation {
            methods,
            not_methods,
            paths,
            not_paths,
            hosts,
            not_hosts,
            ..ports
        })
        .prop_filter("empty", |it| *it != Operation::default())
}

fn header_condition() -> impl Strategy<Value = HeaderCondition> {
    (select(vec!["x-a", "host", "null"]), vec(string_match(), 0..3), vec(string_match(), 0..3))
        .prop_map(|(name, values, not_values)| HeaderCondition { name: name.into(), values, not_values })
        .prop_filter("empty", |it| !it.values.is_empty() || !it.not_values.is_empty())
}

fn policy() -> impl Strategy<Value = AuthorizationPolicy> {
    let when =
        (vec(condition_source(), 0..3), vec(condition_operation(), 0..2), vec(header_condition(), 0..2));
    let rule = (vec(source(), 0..2), vec(operation(), 0..2), when).prop_map(|(from, to, when)| Rule {
        from,
        to,
        when_sources: when.0,
        when_operations: when.1,
        when_headers: when.2,
    });
    let action = select(vec![PolicyAction::Allow, PolicyAction::Deny, PolicyAction::Audit]);
    (name(), action, labels(0..3), vec(rule, 0..3), any::<bool>()).prop_map(
        |(name, action, selector, rules, dry_run)| AuthorizationPolicy {
            name,
            action,
            selector,
            rules,
            dry_run,
        },
    )
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        dns_label().prop_map(|name| Object::Namespace { name }),
        name().prop_map(|name| Object::ServiceAccount { name }),
        service().prop_map(Object::Service),
        workload().prop_map(Object::Workload),
        mesh_config().prop_map(Object::MeshConfig),
        policy().prop_map(Object::AuthorizationPolicy),
        destination_rule().prop_map(Object::DestinationRule),
    ]
}

fn assert_same(object: &Object, text: String) -> Result<(), TestCaseError> {
    let parsed = parse(&[Manifest::new("x.yaml", "/elsewhere", text.clone())]);
    let parsed = parsed.map_err(|it| TestCaseError::fail(format!("{it}\n{text}")))?;
    prop_assert_eq!(&parsed.objects[0].object, object, "{}", text);
    prop_assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn yaml_is_read_as_the_object_it_was_written_from(object in object()) {
        assert_same(&object, to_yaml(&to_manifest(&object)))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_objects_in_one_text_are_all_read(objects in vec(object(), 1..5)) {
        let text: String = objects.iter().map(|it| format!("---\n{}", to_yaml(&to_manifest(it)))).collect();
        let keys: std::collections::BTreeSet<_> = objects.iter().map(Object::key).collect();
        prop_assume!(keys.len() == objects.len());
        let parsed = parse(&[Manifest::new("x.yaml", "/", text)]).map_err(|it| TestCaseError::fail(it.to_string()))?;
        let read: Vec<_> = parsed.objects.into_iter().map(|it| it.object).collect();
        prop_assert_eq!(read, objects);
    }
}
