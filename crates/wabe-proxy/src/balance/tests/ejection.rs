//! Who fails gets nothing for a while.

use proptest::prelude::*;
use wabe_model::OutlierDetection;

use super::*;

fn world(rule: OutlierDetection, endpoints: u32) -> World {
    let endpoints: Vec<_> = (1..=endpoints).map(|id| (id, 100)).collect();
    World::new(TrafficPolicy { outliers: Some(rule), ..kind(Balance::TwoChoices) }, &endpoints)
}

fn rule() -> OutlierDetection {
    OutlierDetection { failures: 3, server_errors: 3, max_percent: 100, ..OutlierDetection::default() }
}

#[test]
fn who_fails_in_a_row_gets_nothing_until_its_time_is_over() {
    let mut world = world(rule(), 4);
    for outcome in [ERROR, Outcome::Reset, ERROR] {
        assert!(world.out().is_empty());
        world.ask(2, outcome);
    }
    assert_eq!((world.out(), world.backend.ejections()), (vec![2], 1));
    assert!((0..500).all(|_| world.next() != 2));
    world.pass(30.0);
    assert!(world.out().is_empty());
    assert!((0..500).any(|_| world.next() == 2), "it is back");
}

#[test]
fn what_was_under_way_when_it_went_out_does_not_count_when_it_is_back() {
    let mut world = world(rule(), 4);
    let under_way: Vec<_> = (0..15).map(|_| world.begin(2)).collect();
    under_way[..10].iter().for_each(|it| it.done(world.now, ERROR));
    assert_eq!(world.out(), [2]);
    world.pass(30.0);
    // Some end only then.
    under_way[10..].iter().for_each(|it| it.done(world.now, ERROR));
    world.ask(2, ERROR);
    assert!(world.out().is_empty(), "it has as many as any other");
}

#[test]
fn without_a_rule_nobody_is_out_whatever_was_before() {
    let mut world = world(rule(), 2);
    for _ in 0..3 {
        world.ask(1, ERROR);
    }
    world.change(|it| it.traffic.outliers = None);
    assert!((0..500).any(|_| world.next() == 1));
    world.change(|it| it.traffic.outliers = Some(rule()));
    assert!((0..500).all(|_| world.next() == 2), "a change of the rule forgets nothing");
}

#[test]
fn with_too_few_left_all_get_requests() {
    let world = world(OutlierDetection { min_health_percent: 50, ..rule() }, 4);
    for (endpoint, chosen) in [(1, 3), (2, 2), (3, 4)] {
        for _ in 0..3 {
            world.ask(endpoint, ERROR);
        }
        assert_eq!(world.shares(500).len(), chosen);
    }
}

#[test]
fn when_the_others_have_gone_the_ejected_are_asked() {
    let mut world = world(rule(), 2);
    for _ in 0..3 {
        world.ask(1, ERROR);
    }
    world.change(|it| it.endpoints.retain(|it| it.workload == 1));
    assert_eq!(world.next(), 1);
}

#[test]
fn who_answers_worse_than_the_others_goes_too() {
    let never = OutlierDetection { failures: 0, server_errors: 0, deviations: Some(1900), ..rule() };
    let run = |rule: OutlierDetection| {
        let mut world = world(rule, 6);
        for turn in 0..150 {
            for endpoint in 1..=6 {
                world.ask(endpoint, if endpoint == 5 && turn % 2 == 0 { ERROR } else { OK });
            }
        }
        assert!(world.out().is_empty(), "the interval is not over");
        world.pass(10.0);
        world.ask(1, OK);
        world.out()
    };
    assert_eq!(run(never.clone()), [5]);
    assert!(run(OutlierDetection { deviations: None, ..never.clone() }).is_empty());
    assert!(run(OutlierDetection { deviations: Some(3000), ..never }).is_empty(), "not that far below");
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(OK),
        Just(ERROR),
        Just(Outcome::ConnectFailed),
        Just(Outcome::Reset),
        Just(Outcome::TimedOut)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_somebody_is_chosen_and_no_more_are_out_than_may_be(
        endpoints in 1u32..8,
        max_percent in 0u32..=100,
        min_health_percent in 0u32..=100,
        asked in prop::collection::vec((1u32..8, outcome(), 0.0f64..20.0), 1..200),
    ) {
        let mut world = world(OutlierDetection { max_percent, min_health_percent, ..rule() }, endpoints);
        for (endpoint, outcome, seconds) in asked {
            world.pass(seconds);
            let may_go = world.out().len() * 100 < max_percent as usize * endpoints as usize;
            let before = world.out();
            world.ask(endpoint, outcome);
            let out = world.out();
            prop_assert!(out.len() < endpoints as usize, "one stays");
            prop_assert!(out.len() <= before.len() || (may_go && out.len() == before.len() + 1));
            let kept_out = (endpoints as usize - out.len()) * 100 >= (min_health_percent * endpoints) as usize;
            let chosen = world.next();
            prop_assert!(!kept_out || !out.contains(&chosen));
        }
    }
}
