//! The table of requests that are refused.

use std::collections::BTreeSet;

use wabe_http1::{Refusal, malformed};

use crate::support::read_all;

#[test]
fn each_is_refused_for_its_reason() {
    let wrong: Vec<String> = malformed::requests("shop.example")
        .iter()
        .filter_map(|it| {
            let (read, refusal) = read_all(&it.bytes);
            // What is refused in its body has a right head.
            let right = refusal == Some(it.refusal) && (read.len() == usize::from(it.in_body));
            (!right).then(|| format!("{}: {refusal:?} instead of {:?}", it.name, it.refusal))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_are_unique_and_say_what_they_are() {
    let requests = malformed::requests("shop.example");
    let names: BTreeSet<&str> = requests.iter().map(|it| it.name).collect();
    assert_eq!(names.len(), requests.len(), "two of one name");
    assert!(requests.len() >= 80, "{} are few", requests.len());
}

#[test]
fn each_reason_that_a_request_can_give_is_there() {
    use Refusal::{BodyWhereNone, CutOff, ReasonMalformed, StatusMalformed};
    let there: BTreeSet<Refusal> = malformed::requests("a").iter().map(|it| it.refusal).collect();
    let missing: Vec<&Refusal> = Refusal::ALL.iter().filter(|it| !there.contains(it)).collect();
    assert_eq!(missing, [&StatusMalformed, &ReasonMalformed, &BodyWhereNone, &CutOff]);
}

#[test]
fn reasons_are_unique_and_in_kebab_case() {
    let reasons: BTreeSet<&str> = Refusal::ALL.iter().map(|it| it.reason()).collect();
    assert_eq!(reasons.len(), Refusal::ALL.len());
    let kebab = |it: &&str| it.bytes().all(|it| it == b'-' || it.is_ascii_lowercase() || it.is_ascii_digit());
    assert!(reasons.iter().all(kebab));
}
