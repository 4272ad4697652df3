//! Istio's documented examples, through the compiled tables and through the interpreter.

use std::collections::BTreeMap;

use wabe_abi::{Action, STRANGER};
use wabe_model::{AuthorizationPolicy, Identity, Operation, Rule, Source};
use wabe_policy::{Evaluation, Traffic, evaluate};

use crate::{build::*, kernel::Kernel};
use Action::{Allow, Deny, NoMatch, Stranger};

const FRONT_END: u32 = 1;
const CATALOGUE: u32 = 2;
const SLEEP: u32 = 3;
const FOREIGN: u32 = 4;

fn identities() -> BTreeMap<u32, Identity> {
    let foreign = Identity { trust_domain: "partner.example".to_owned(), ..identity("shop/front-end") };
    BTreeMap::from([
        (FRONT_END, identity("shop/front-end")),
        (CATALOGUE, identity("shop/catalogue")),
        (SLEEP, identity("default/sleep")),
        (FOREIGN, foreign),
    ])
}

/// What the tables say, having made sure that the interpreter agrees.
fn judge(policies: &[AuthorizationPolicy], caller: u32, source: &str, port: u16) -> Evaluation {
    let policies: Vec<_> = policies.iter().collect();
    let identities = identities();
    let source = source.parse().expect("a test's address");
    let specified = evaluate(&policies, Traffic::Connections, identities.get(&caller), source, port);
    let compiled = Kernel::new(&policies, Traffic::Connections, &identities).evaluation(caller, source, port);
    assert_eq!(compiled, specified, "caller {caller} from {source} to port {port}");
    compiled
}

#[track_caller]
fn check(name: &str, policies: &[AuthorizationPolicy], rows: &[(u32, &str, u16, Action, Option<&str>)]) {
    for (caller, source, port, action, rule) in rows {
        let decision = judge(policies, *caller, source, *port).decision;
        let said = (decision.action, decision.rule.map(|rule| rule.to_string()));
        assert_eq!(
            said,
            (*action, rule.map(str::to_owned)),
            "{name}: caller {caller} from {source} to port {port}"
        );
    }
}

#[test]
fn whole_policies() {
    check(
        "no policy admits the mesh and no stranger",
        &[],
        &[(FRONT_END, "10.8.0.1", 80, Allow, None), (STRANGER, "10.8.0.1", 80, Stranger, None)],
    );
    check(
        "allow-nothing: an ALLOW policy without rules refuses everyone",
        &[allow("nothing", vec![])],
        &[(FRONT_END, "10.8.0.1", 80, NoMatch, None), (STRANGER, "10.8.0.1", 80, Stranger, None)],
    );
    check(
        "allow-all admits the mesh; a stranger's address is not named",
        &[allow("all", vec![any()])],
        &[
            (SLEEP, "10.8.0.1", 80, Allow, Some("shop/all rule 1")),
            (STRANGER, "10.8.0.1", 80, Stranger, None),
        ],
    );
    check(
        "deny-all overrides allow-all",
        &[allow("all", vec![any()]), deny("none", vec![any()])],
        &[
            (FRONT_END, "10.8.0.1", 80, Deny, Some("shop/none rule 1")),
            (STRANGER, "10.8.0.1", 80, Deny, Some("shop/none rule 1")),
        ],
    );
    check(
        "a DENY policy alone admits the rest",
        &[deny("default", vec![from(namespaces(&["default"]))])],
        &[
            (SLEEP, "10.8.0.1", 80, Deny, Some("shop/default rule 1")),
            (FRONT_END, "10.8.0.1", 80, Allow, None),
            (STRANGER, "10.8.0.1", 80, Stranger, None),
        ],
    );
    check(
        "a DENY policy without rules denies nothing and is no ALLOW policy",
        &[deny("nobody", vec![])],
        &[(FRONT_END, "10.8.0.1", 80, Allow, None)],
    );
    check(
        "the first rule that matches is named",
        &[
            allow("a", vec![to(ports(&[1])), from(namespaces(&["shop"])), any()]),
            allow("b", vec![from(principals(&["*/sleep"])), any()]),
        ],
        &[
            (FRONT_END, "10.8.0.1", 80, Allow, Some("shop/a rule 2")),
            (SLEEP, "10.8.0.1", 80, Allow, Some("shop/a rule 3")),
            (SLEEP, "10.8.0.1", 1, Allow, Some("shop/a rule 1")),
        ],
    );
}

#[test]
fn callers() {
    check(
        "namespaces",
        &[allow("shop", vec![from(namespaces(&["shop"]))])],
        &[
            (FRONT_END, "10.8.0.1", 80, Allow, Some("shop/shop rule 1")),
            (SLEEP, "10.8.0.1", 80, NoMatch, None),
            (STRANGER, "10.8.0.1", 80, Stranger, None),
        ],
    );
    for (pattern, admitted) in [
        ("cluster.local/ns/shop/sa/front-end", &[FRONT_END][..]),
        ("cluster.local/ns/shop/*", &[FRONT_END, CATALOGUE]),
        ("*/sa/front-end", &[FRONT_END, FOREIGN]),
        ("*", &[FRONT_END, CATALOGUE, SLEEP, FOREIGN]),
        ("cluster.local/ns/shop/sa/front", &[]),
    ] {
        for caller in [FRONT_END, CATALOGUE, SLEEP, FOREIGN] {
            let policies = [allow("principals", vec![from(principals(&[pattern]))])];
            let action = if admitted.contains(&caller) { Allow } else { NoMatch };
            assert_eq!(
                judge(&policies, caller, "10.8.0.1", 80).decision.action,
                action,
                "{pattern} {caller}"
            );
        }
    }
    let accounts = Source { service_accounts: vec![account("shop/catalogue")], ..Source::default() };
    check(
        "service accounts, whatever the trust domain",
        &[allow("accounts", vec![from(accounts)])],
        &[
            (CATALOGUE, "10.8.0.1", 80, Allow, Some("shop/accounts rule 1")),
            (FOREIGN, "10.8.0.1", 80, NoMatch, None),
            (STRANGER, "10.8.0.1", 80, Stranger, None),
        ],
    );
    let both = Source { not_principals: strings(&["*/sa/front-end"]), ..namespaces(&["shop"]) };
    check(
        "fields of a source are all demanded",
        &[allow("both", vec![from(both)])],
        &[
            (CATALOGUE, "10.8.0.1", 80, Allow, Some("shop/both rule 1")),
            (FRONT_END, "10.8.0.1", 80, NoMatch, None),
            (SLEEP, "10.8.0.1", 80, NoMatch, None),
        ],
    );
    let not_accounts = Source { not_service_accounts: vec![account("shop/front-end")], ..Source::default() };
    let not_namespaces = Source { not_namespaces: strings(&["shop"]), ..Source::default() };
    check(
        "what is not to be matches strangers too",
        &[deny("a", vec![from(not_namespaces)]), deny("b", vec![from(not_accounts)])],
        &[
            (FRONT_END, "10.8.0.1", 80, Allow, None),
            (CATALOGUE, "10.8.0.1", 80, Deny, Some("shop/b rule 1")),
            (SLEEP, "10.8.0.1", 80, Deny, Some("shop/a rule 1")),
            (STRANGER, "10.8.0.1", 80, Deny, Some("shop/a rule 1")),
        ],
    );
}

#[test]
fn ports_of_operations() {
    check(
        "ports",
        &[allow("web", vec![to(ports(&[80, 443]))]), deny("admin", vec![to(ports(&[9000]))])],
        &[
            (SLEEP, "10.8.0.1", 443, Allow, Some("shop/web rule 1")),
            (SLEEP, "10.8.0.1", 8080, NoMatch, None),
            (SLEEP, "10.8.0.1", 9000, Deny, Some("shop/admin rule 1")),
        ],
    );
    check(
        "all ports but one",
        &[deny("others", vec![to(not_ports(&[80]))])],
        &[
            (SLEEP, "10.8.0.1", 80, Allow, None),
            (SLEEP, "10.8.0.1", 81, Deny, Some("shop/others rule 1")),
            (STRANGER, "10.8.0.1", 81, Deny, Some("shop/others rule 1")),
        ],
    );
    let both = Rule { when_operations: vec![not_ports(&[443])], ..to(ports(&[80, 443])) };
    check(
        "conditions on the port come on top",
        &[allow("web", vec![both])],
        &[(SLEEP, "10.8.0.1", 80, Allow, Some("shop/web rule 1")), (SLEEP, "10.8.0.1", 443, NoMatch, None)],
    );
    let neither = Operation { not_ports: vec![443], ..ports(&[443]) };
    check(
        "a port both wanted and unwanted never matches",
        &[allow("none", vec![to(neither)])],
        &[(SLEEP, "10.8.0.1", 443, NoMatch, None)],
    );
}

#[test]
fn source_addresses() {
    let all_but_one =
        Source { not_ip_blocks: nets(&["10.1.2.0/24"]), ..blocks(&["10.1.0.0/16", "fd00:1::/32"]) };
    check(
        "ipBlocks admit strangers, notIpBlocks carve out",
        &[allow("lan", vec![from(all_but_one)])],
        &[
            (STRANGER, "10.1.3.4", 80, Allow, Some("shop/lan rule 1")),
            (STRANGER, "::ffff:10.1.3.4", 80, Allow, Some("shop/lan rule 1")),
            (STRANGER, "10.1.2.4", 80, Stranger, None),
            (STRANGER, "10.2.0.1", 80, Stranger, None),
            (STRANGER, "fd00:1::9", 80, Allow, Some("shop/lan rule 1")),
            (FRONT_END, "10.1.3.4", 80, Allow, Some("shop/lan rule 1")),
            (FRONT_END, "10.1.2.4", 80, NoMatch, None),
        ],
    );
    check(
        "all of IPv6 is not IPv4",
        &[allow("six", vec![from(blocks(&["::/0"]))])],
        &[
            (STRANGER, "2001:db8::1", 80, Allow, Some("shop/six rule 1")),
            (STRANGER, "192.0.2.1", 80, Stranger, None),
        ],
    );
    check(
        "all of IPv4 is not IPv6",
        &[deny("four", vec![from(blocks(&["0.0.0.0/0"]))])],
        &[
            (SLEEP, "2001:db8::1", 80, Allow, None),
            (SLEEP, "::a08:1", 80, Allow, None),
            (SLEEP, "192.0.2.1", 80, Deny, Some("shop/four rule 1")),
        ],
    );
    check(
        "a block written as mapped is the IPv4 block",
        &[deny("mapped", vec![from(blocks(&["::ffff:10.1.0.0/112"]))])],
        &[
            (SLEEP, "10.1.255.255", 80, Deny, Some("shop/mapped rule 1")),
            (SLEEP, "10.2.0.0", 80, Allow, None),
        ],
    );
    let not_from = Source { not_ip_blocks: nets(&["10.0.0.0/8"]), ..Source::default() };
    check(
        "an address that is not to be names none",
        &[allow("elsewhere", vec![from(not_from)])],
        &[
            (STRANGER, "192.0.2.1", 80, Stranger, None),
            (SLEEP, "192.0.2.1", 80, Allow, Some("shop/elsewhere rule 1")),
            (SLEEP, "10.0.0.1", 80, NoMatch, None),
        ],
    );
}

#[test]
fn strangers_are_admitted_only_for_their_address() {
    let either = Rule {
        from: vec![
            blocks(&["10.1.0.0/16"]),
            Source { not_namespaces: strings(&["bank"]), ..Source::default() },
        ],
        ..Rule::default()
    };
    check(
        "the alternative that matches must name the address",
        &[allow("either", vec![either])],
        &[
            (STRANGER, "10.1.0.1", 80, Allow, Some("shop/either rule 1")),
            (STRANGER, "10.2.0.1", 80, Stranger, None),
            (SLEEP, "10.2.0.1", 80, Allow, Some("shop/either rule 1")),
        ],
    );
    let when =
        Rule { to: vec![ports(&[80])], when_sources: vec![blocks(&["10.1.0.0/16"])], ..Rule::default() };
    check(
        "a condition names the address for the whole rule",
        &[allow("when", vec![when])],
        &[
            (STRANGER, "10.1.0.1", 80, Allow, Some("shop/when rule 1")),
            (STRANGER, "10.1.0.1", 81, Stranger, None),
            (STRANGER, "10.2.0.1", 80, Stranger, None),
            (SLEEP, "10.2.0.1", 80, NoMatch, None),
        ],
    );
    let named = Source { ip_blocks: nets(&["10.1.0.0/16"]), ..principals(&["*"]) };
    check(
        "a principal that must be there is not",
        &[allow("named", vec![from(named)])],
        &[
            (STRANGER, "10.1.0.1", 80, Stranger, None),
            (SLEEP, "10.1.0.1", 80, Allow, Some("shop/named rule 1")),
        ],
    );
    check(
        "a rule that admits the mesh comes first, yet the one with the address admits the stranger",
        &[allow("a", vec![any()]), allow("b", vec![from(blocks(&["10.0.0.0/8"]))])],
        &[
            (STRANGER, "10.1.0.1", 80, Allow, Some("shop/b rule 1")),
            (SLEEP, "10.1.0.1", 80, Allow, Some("shop/a rule 1")),
        ],
    );
}

#[test]
fn audit_marks_and_does_not_decide() {
    let watched = audit("watch", vec![to(ports(&[1])), from(namespaces(&["default"]))]);
    let policies = [watched, deny("no", vec![to(ports(&[22]))])];
    for (caller, port, action, audited) in
        [(SLEEP, 80, Allow, true), (SLEEP, 22, Deny, true), (FRONT_END, 80, Allow, false)]
    {
        let evaluation = judge(&policies, caller, "10.8.0.1", port);
        assert_eq!(evaluation.decision.action, action);
        assert_eq!(
            evaluation.audit_rule.map(|it| it.to_string()),
            audited.then(|| "shop/watch rule 2".to_owned())
        );
        assert_eq!(evaluation.dry_run, None);
    }
}

#[test]
fn dry_run_is_reported_and_not_enforced() {
    let would = |policies: &[AuthorizationPolicy], caller| {
        let evaluation = judge(policies, caller, "10.8.0.1", 80);
        let dry_run = evaluation.dry_run.expect("a dry-run policy is there");
        (evaluation.decision.action, dry_run.action, dry_run.rule.map(|rule| rule.to_string()))
    };
    let rule = |text: &str| Some(text.to_owned());
    let trial_deny = [
        allow("all", vec![any()]),
        dry_run(deny("trial", vec![to(ports(&[1])), from(namespaces(&["default"]))])),
    ];
    assert_eq!(would(&trial_deny, SLEEP), (Allow, Deny, rule("shop/trial rule 2")));
    assert_eq!(would(&trial_deny, FRONT_END), (Allow, Allow, rule("shop/all rule 1")));
    assert_eq!(would(&trial_deny, STRANGER), (Stranger, Stranger, None));

    let trial_allow = [dry_run(allow("trial", vec![from(namespaces(&["shop"]))]))];
    assert_eq!(would(&trial_allow, SLEEP), (Allow, NoMatch, None));
    assert_eq!(would(&trial_allow, FRONT_END), (Allow, Allow, rule("shop/trial rule 1")));

    let trial_audit = [dry_run(audit("trial", vec![any()]))];
    assert_eq!(would(&trial_audit, SLEEP), (Allow, Allow, None));
    assert_eq!(judge(&trial_audit, SLEEP, "10.8.0.1", 80).audit_rule, None);
}
