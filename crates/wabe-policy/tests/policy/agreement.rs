//! The compiled tables say what the interpreter says, whatever the policies.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::{collection::vec, prelude::*, sample::select};
use wabe_abi::STRANGER;
use wabe_model::{AuthorizationPolicy, HeaderCondition, Identity, Operation, PolicyAction, Rule, Source};
use wabe_policy::{
    Traffic, evaluate,
    requests::{Caller, CallerIdentity, Content, Headers, Request, RequestPolicy},
};

use crate::{build, kernel::Kernel};

/// Few values, so that rules meet callers often.
const ACCOUNTS: [&str; 5] = ["shop/a", "shop/b", "bank/a", "bank/b", "default/c"];
const TRUST_DOMAINS: [&str; 2] = ["cluster.local", "partner.example"];
const PRINCIPALS: [&str; 9] = [
    "*",
    "cluster.local/*",
    "*/sa/a",
    "cluster.local/ns/shop/*",
    "cluster.local/ns/shop/sa/a",
    "partner.example/ns/bank/sa/b",
    "*b",
    "nobody",
    "",
];
const NAMESPACES: [&str; 6] = ["shop", "bank", "s*", "*k", "*", "nowhere"];
const PORTS: [u16; 6] = [1, 80, 443, 8080, 8081, 65_535];
const BLOCKS: [&str; 24] = [
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "10.1.2.129/25",
    "10.2.0.0/15",
    "255.255.255.255/32",
    "::/0",
    "::/1",
    "::/64",
    "::/80",
    "::/96",
    "::fffe:0:0/95",
    "::ffff:0:0/96",
    "::ffff:10.1.0.0/112",
    "::ffff:10.1.2.3/128",
    "8000::/1",
    "fd00::/8",
    "fd00:1::/32",
    "fd00:1::1/128",
    "fd00:1::/127",
];
const SOURCES: [&str; 22] = [
    "0.0.0.0",
    "9.255.255.255",
    "10.0.0.1",
    "10.1.0.1",
    "10.1.2.3",
    "10.1.2.4",
    "10.1.2.200",
    "10.2.0.0",
    "10.3.255.255",
    "127.255.255.255",
    "128.0.0.0",
    "255.255.255.255",
    "::",
    "::a01:203",
    "::fffe:10.1.2.3",
    "::ffff:10.1.2.3",
    "::1:0:0",
    "fd00::1",
    "fd00:1::",
    "fd00:1::1",
    "fd00:1::2",
    "ffff:ffff::1",
];

/// A list that is empty half of the time.
fn some<T: std::fmt::Debug + Clone + 'static>(
    values: &'static [T],
    longest: usize,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![1 => Just(Vec::new()), 1 => vec(select(values), 1..=longest)]
}

/// A list that is empty most of the time.
fn few<T: std::fmt::Debug + Clone + 'static>(values: &'static [T]) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![5 => Just(Vec::new()), 1 => vec(select(values), 1..=3)]
}

fn source() -> impl Strategy<Value = Source> {
    let identity = (few(&PRINCIPALS), few(&PRINCIPALS), few(&NAMESPACES), few(&NAMESPACES));
    let accounts = (few(&ACCOUNTS), few(&ACCOUNTS));
    (identity, accounts, some(&BLOCKS, 4), few(&BLOCKS)).prop_map(|(identity, accounts, ip, not_ip)| Source {
        principals: build::strings(&identity.0),
        not_principals: build::strings(&identity.1),
        namespaces: build::strings(&identity.2),
        not_namespaces: build::strings(&identity.3),
        service_accounts: accounts.0.into_iter().map(build::account).collect(),
        not_service_accounts: accounts.1.into_iter().map(build::account).collect(),
        ip_blocks: build::nets(&ip),
        not_ip_blocks: build::nets(&not_ip),
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    (some(&PORTS, 4), few(&PORTS)).prop_map(|(ports, not_ports)| Operation {
        ports,
        not_ports,
        ..Operation::default()
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let conditions = (vec(source(), 0..=1), vec(operation(), 0..=1));
    let more = (vec(source(), 2), vec(operation(), 2));
    let when = prop_oneof![4 => Just((Vec::new(), Vec::new())), 3 => conditions, 1 => more];
    (vec(source(), 0..=3), vec(operation(), 0..=2), when).prop_map(|(from, to, when)| Rule {
        from,
        to,
        when_sources: when.0,
        when_operations: when.1,
        when_headers: Vec::new(),
    })
}

/// Some of which look at requests.
fn any_rule() -> impl Strategy<Value = Rule> {
    (rule(), select(&[0, 0, 1, 2][..])).prop_map(|(mut rule, about)| {
        match (about, rule.to.last_mut()) {
            (1, Some(operation)) => operation.methods = build::strings(&["GET"]),
            (2, _) => rule.when_headers.push(HeaderCondition {
                name: "x".into(),
                values: build::strings(&["y"]),
                not_values: Vec::new(),
            }),
            _ => {}
        }
        rule
    })
}

fn policies(rule: impl Strategy<Value = Rule>) -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    let action = select(&[PolicyAction::Allow, PolicyAction::Deny, PolicyAction::Audit][..]);
    let one = (action, vec(rule, 0..=3), prop::bool::weighted(0.25));
    vec(one, 0..=5).prop_map(|policies| {
        let numbered = policies.into_iter().enumerate();
        numbered
            .map(|(index, (action, rules, dry_run))| AuthorizationPolicy {
                dry_run,
                ..build::policy(action, &format!("p{index}"), rules)
            })
            .collect()
    })
}

fn identities() -> BTreeMap<u32, Identity> {
    let domains = TRUST_DOMAINS.iter().flat_map(|domain| ACCOUNTS.map(|account| (*domain, account)));
    (STRANGER + 1..)
        .zip(domains.map(|(domain, account)| Identity {
            trust_domain: domain.to_owned(),
            ..build::identity(account)
        }))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Each case compares all callers on some addresses and ports: half a million questions in all.
    #[test]
    fn tables_agree_with_the_interpreter(
        policies in policies(any_rule()),
        traffic in select(&[Traffic::Connections, Traffic::Datagrams][..]),
        sources in vec(select(&SOURCES), 4),
        ports in vec(prop_oneof![4 => select(&PORTS), 1 => any::<u16>()], 3),
    ) {
        let policies: Vec<_> = policies.iter().collect();
        let identities = identities();
        let kernel = Kernel::new(&policies, traffic, &identities);
        for caller in (STRANGER..).take(identities.len() + 1) {
            let identity = identities.get(&caller);
            for (text, port) in sources.iter().flat_map(|text| ports.iter().map(move |port| (text, *port))) {
                let source: IpAddr = text.parse().expect("a test's address");
                let specified = evaluate(&policies, traffic, identity, source, port);
                let compiled = kernel.evaluation(caller, source, port);
                prop_assert_eq!(compiled, specified, "{:?} from {} to {}", identity, text, port);
            }
        }
    }

    /// Where no rule looks at requests, the proxy would say what the kernel says: of opaque bytes and of any request.
    #[test]
    fn what_is_judged_by_request_agrees_where_no_rule_looks_at_one(
        policies in policies(rule()),
        sources in vec(select(&SOURCES), 4),
        ports in vec(prop_oneof![4 => select(&PORTS), 1 => any::<u16>()], 3),
    ) {
        let policies: Vec<_> = policies.iter().collect();
        assert!(RequestPolicy::of(&policies).is_none());
        let judge = RequestPolicy::with_any(&policies);
        let request = Request { method: "GET", path: "/../a", host: b"x", headers: &NoHeaders };
        let identities = identities();
        let uris: BTreeMap<u32, String> =
            identities.iter().map(|(id, it)| (*id, format!("spiffe://{}", it.principal()))).collect();
        for number in (STRANGER..).take(identities.len() + 1) {
            let identity = uris.get(&number).map(|it| CallerIdentity::of(it).expect("an identity"));
            for (text, port) in sources.iter().flat_map(|text| ports.iter().map(move |port| (text, *port))) {
                let address: IpAddr = text.parse().expect("a test's address");
                let caller = Caller { identity, address };
                let specified = evaluate(&policies, Traffic::Connections, identities.get(&number), address, port);
                for content in [Content::Opaque, Content::Request(&request)] {
                    let named = |it: wabe_policy::Decision| (it.action, it.rule.map(|it| it.to_string()));
                    let judged = judge.judge(&caller, port, content);
                    let said = (judged.action, judged.rule.map(str::to_owned));
                    prop_assert_eq!(said, named(specified.decision.clone()));
                    let dry_run = judge.dry_run(&caller, port, content);
                    let said = dry_run.map(|it| (it.action, it.rule.map(str::to_owned)));
                    prop_assert_eq!(said, specified.dry_run.clone().map(named));
                    let audit = judge.audit(&caller, port, content).map(str::to_owned);
                    prop_assert_eq!(audit, specified.audit_rule.as_ref().map(|it| it.to_string()));
                }
            }
        }
    }
}

struct NoHeaders;

impl Headers for NoHeaders {
    fn lines(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}
}
