//! Where a hash says where a request goes.

use wabe_model::{HashKey, OutlierDetection};

use super::{
    super::{hash::hash, random::scatter},
    *,
};

fn world(endpoints: &[(u32, u32)]) -> World {
    let outliers = Some(OutlierDetection { failures: 1, max_percent: 100, ..Default::default() });
    let traffic = TrafficPolicy { hash: Some(HashKey::Source), outliers, ..kind(Balance::TwoChoices) };
    World::new(traffic, endpoints)
}

fn equal(ids: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    ids.map(|id| (id, 100)).collect()
}

/// Where each of ten thousand callers goes.
fn places(world: &World) -> Vec<u32> {
    let place = |caller: u64| {
        let wish = Wish { hash: Some(hash(&caller.to_be_bytes())), ..Wish::default() };
        world.choose(&wish).expect("an endpoint")
    };
    (0..10_000).map(place).collect()
}

#[test]
fn a_caller_stays_and_callers_are_spread_by_weight() {
    let world = world(&[(1, 300), (2, 100), (3, 100)]);
    let first = places(&world);
    assert_eq!(first, places(&world));
    for (endpoint, share) in [(1, 0.6), (2, 0.2), (3, 0.2)] {
        let got = first.iter().filter(|it| **it == endpoint).count() as f64 / 10_000.0;
        assert!((got - share).abs() < 0.03, "{endpoint}: {got} instead of {share}");
    }
}

#[test]
fn a_removal_moves_few_besides_its_own_callers() {
    let mut world = world(&equal(1..=10));
    let before = places(&world);
    world.change(|it| it.endpoints.retain(|it| it.workload != 4));
    let after = places(&world);
    let moved = before.iter().zip(&after).filter(|(before, after)| **before != 4 && before != after).count();
    assert!(moved < 500, "{moved} of 10 000 moved without need");
    assert!(!after.contains(&4));
}

#[test]
fn an_ejection_moves_its_own_callers_only_and_spreads_them_and_they_come_back() {
    let mut world = world(&equal(1..=10));
    let before = places(&world);
    world.ask(4, Outcome::ConnectFailed);
    let meanwhile = places(&world);
    let mut taken_over = BTreeMap::new();
    for (before, now) in before.iter().zip(&meanwhile) {
        if *before == 4 {
            *taken_over.entry(*now).or_insert(0) += 1;
        } else {
            assert_eq!(before, now);
        }
    }
    assert!(taken_over.len() == 9 && taken_over.values().all(|it| (50..200).contains(it)), "{taken_over:?}");
    world.pass(31.0);
    assert_eq!(places(&world), before);
}

#[test]
fn with_most_of_them_out_who_is_left_is_found() {
    let world = world(&equal(1..=200));
    let tried: Vec<u32> = (2..=200).collect();
    for caller in 0..500_u64 {
        let wish = Wish { hash: Some(scatter(caller)), tried: &tried, locality: None };
        assert_eq!(world.choose(&wish), Ok(1));
    }
}

#[test]
fn without_a_hash_a_request_is_balanced_as_others_are() {
    let world = world(&equal(1..=2));
    let shares = world.shares(10_000);
    assert!((shares[&1] - 0.5).abs() < 0.03, "{shares:?}");
}

#[test]
fn the_table_comes_and_goes_with_the_policy() {
    let mut world = world(&equal(1..=3));
    let before = places(&world);
    world.change(|it| it.traffic.hash = None);
    assert_ne!(places(&world), before);
    world.change(|it| it.traffic.hash = Some(HashKey::Source));
    assert_eq!(places(&world), before);
    world.change(|it| it.endpoints[0].locality.region = "r".into());
    assert_eq!(places(&world), before, "only who there is and what they weigh makes the table");
}
