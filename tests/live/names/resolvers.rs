//! The resolvers that programs come with.

use std::process::Command;

use super::{PYTHON, addresses, mesh, resolve, script};

/// Names as people write them into configurations, and the service that they mean to shop/caller.
const NAMES: [(&str, &str); 5] = [
    ("cart", "shop/cart"),
    ("cart.shop", "shop/cart"),
    ("cart.shop.svc", "shop/cart"),
    ("cart.shop.svc.cluster.local", "shop/cart"),
    ("nobody.other", "other/nobody"),
];
const UNKNOWN: &str = "nosuch.shop.svc.cluster.local";

#[test]
fn glibc() {
    for (name, service) in NAMES {
        assert_eq!(resolve(mesh(), "shop/caller", name), addresses(mesh(), service), "{name}");
        let said = mesh().exec("shop/caller", &["getent", "ahosts", name]).success().stdout;
        for address in addresses(mesh(), service) {
            assert!(said.lines().any(|it| it.starts_with(&format!("{address} "))), "{name}: {said}");
        }
    }
    assert_eq!(mesh().exec("shop/caller", &["getent", "hosts", UNKNOWN]).code(), Some(2), "not found");
    let address = &addresses(mesh(), "shop/cart")[0];
    let said = mesh().exec("shop/caller", &["getent", "hosts", address]).success().stdout;
    assert!(said.contains("cart.shop.svc.cluster.local"), "{said}");
}

/// As Kubernetes' own `resolv.conf` has it: a list of suffixes that are tried first.
#[test]
fn glibc_with_a_search_list() {
    let list = "LOCALDOMAIN=shop.svc.cluster.local svc.cluster.local cluster.local";
    let getent = |name| ["env", list, "RES_OPTIONS=ndots:5", "getent", "ahostsv4", name];
    let v4 = super::of_family(&addresses(mesh(), "shop/cart"), false).remove(0);
    // From another namespace: it is the list that says which is meant.
    for name in
        ["cart", "cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local", "cart.shop.svc.cluster.local."]
    {
        let said = mesh().exec("other/caller", &getent(name)).success().stdout;
        assert!(said.starts_with(&format!("{v4} ")), "{name}: {said}");
    }
    assert_eq!(mesh().exec("other/caller", &getent("nosuch")).code(), Some(2), "not found");
}

#[test]
fn musl() {
    let source = script(mesh(), "gai.c");
    let program = format!("{source}.musl");
    let mut compile = Command::new("musl-gcc");
    compile.args(["-static", "-O", "-Wall", "-Werror", "-o", &program, &source]);
    let done = compile.status().expect("musl-gcc is installed; `cargo xtask setup` does it");
    assert!(done.success());
    let names: Vec<&str> = NAMES.iter().map(|it| it.0).chain([UNKNOWN]).collect();
    let command: Vec<&str> = [program.as_str()].into_iter().chain(names).collect();
    let said = mesh().exec("shop/caller", &command).success().stdout;
    let mut lines = said.lines();
    for (name, service) in NAMES {
        let line = lines.next().expect("a line for each");
        let mut found: Vec<_> = line.split(' ').skip(1).collect();
        found.sort_unstable();
        assert_eq!(found, addresses(mesh(), service), "{name}: {said}");
    }
    assert_eq!(lines.next(), Some(format!("{UNKNOWN}: Name does not resolve").as_str()), "{said}");
}

#[test]
fn go() {
    // Resolves with Go's own code instead of the C library's, and says so.
    let command =
        |url: &str| ["env", "GODEBUG=netdns=go+1", "hey", "-n", "1", "-c", "1", url].map(String::from);
    for name in ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local"] {
        let command = command(&format!("http://{name}/GPL-2"));
        let said = mesh().exec("shop/caller", &command.each_ref().map(String::as_str)).success();
        assert!(said.stdout.contains("[200]\t1 responses"), "{name}: {said}");
        assert!(said.stderr.contains("Go's resolver") || said.stderr.contains("go package net"), "{said}");
    }
    let command = command(&format!("http://{UNKNOWN}/"));
    let said = mesh().exec("shop/caller", &command.each_ref().map(String::as_str)).success();
    assert!(said.stdout.contains("no such host"), "{said}");
}

#[test]
fn python() {
    understood_by("socket", "not known");
}

#[test]
fn dnspython() {
    understood_by("dnspython", "NXDOMAIN");
}

#[test]
fn c_ares() {
    understood_by("c-ares", "not found");
}

#[track_caller]
fn understood_by(library: &str, unknown: &str) {
    let script = script(mesh(), "resolvers.py");
    let names: Vec<&str> = NAMES.iter().map(|it| it.0).chain([UNKNOWN]).collect();
    let command: Vec<&str> = [PYTHON, &script, library].into_iter().chain(names).collect();
    let said = mesh().exec("shop/caller", &command).success().json_lines();
    for ((name, service), said) in NAMES.iter().zip(&said) {
        let mut expected = addresses(mesh(), service);
        expected.sort();
        assert_eq!(said["addresses"], serde_json::json!(expected), "{name}");
    }
    let last = said.last().expect("one for each");
    assert!(last["error"].as_str().is_some_and(|it| it.contains(unknown)), "{last}");
}
