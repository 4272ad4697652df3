//! Shares, by each kind of balancing.

use std::collections::VecDeque;

use super::*;

const ALL: [Balance; 4] = [Balance::TwoChoices, Balance::Random, Balance::RoundRobin, Balance::PeakEwma];

#[test]
fn weights_hold_within_two_percent_when_idle() {
    for balance in ALL {
        let world = World::new(kind(balance), &[(1, 900), (2, 100), (3, 500), (4, 500)]);
        let shares = world.shares(50_000);
        for (endpoint, share) in [(1, 0.45), (2, 0.05), (3, 0.25), (4, 0.25)] {
            let got = shares[&endpoint];
            assert!((got - share).abs() < 0.02, "{balance:?} {endpoint}: {got} instead of {share}");
        }
    }
}

#[test]
fn turns_are_exact_and_no_crowd() {
    let world = World::new(kind(Balance::RoundRobin), &[(1, 500), (2, 100), (3, 100)]);
    let turns: Vec<u32> = (0..14).map(|_| world.next()).collect();
    assert_eq!(turns, [1, 1, 2, 1, 3, 1, 1, 1, 1, 2, 1, 3, 1, 1]);
}

#[test]
fn only_two_choices_and_peak_ewma_look_at_the_load_and_they_always_compare_two() {
    for (balance, looks) in ALL.into_iter().zip([true, false, false, true]) {
        for busy in [1, 2] {
            let world = World::new(kind(balance), &[(1, 100), (2, 100)]);
            for endpoint in [1, 2] {
                world.ask(endpoint, OK);
            }
            let answers = world.now + Duration::from_millis(10);
            for endpoint in [1, 2] {
                world.begin(endpoint).done(answers, OK);
            }
            let _under_way: Vec<_> = (0..1000).map(|_| world.begin(busy)).collect();
            let chosen = (0..1000).any(|_| world.next() == busy);
            assert_eq!(chosen, !looks, "{balance:?}, endpoint {busy}");
        }
    }
}

#[test]
fn a_slow_endpoint_of_ten_gets_nearly_nothing() {
    for balance in [Balance::TwoChoices, Balance::PeakEwma] {
        let endpoints: Vec<_> = (1..=10).map(|id| (id, 100)).collect();
        let mut world = World::new(kind(balance), &endpoints);
        let (mut under_way, mut slow) = (VecDeque::new(), 0);
        for _ in 0..10_000 {
            world.pass(0.005);
            let endpoint = world.next();
            let takes = if endpoint == 10 { 1.0 } else { 0.004 };
            slow += u32::from(endpoint == 10);
            under_way.push_back((world.now + Duration::from_secs_f64(takes), world.begin(endpoint)));
            under_way.retain(|(end, it): &(Instant, UnderWay)| {
                if *end <= world.now {
                    it.done(*end, OK);
                }
                *end > world.now
            });
        }
        assert!(slow < 300, "{balance:?}: {slow} of 10 000");
    }
}

/// Requests one after the other for so long, each endpoint as slow as told; the share of endpoint 3.
fn share_of_third(world: &mut World, seconds: f64, milliseconds: [f64; 3]) -> f64 {
    let (end, mut all, mut third) = (world.now + Duration::from_secs_f64(seconds), 0.0, 0.0);
    while world.now < end {
        let endpoint = world.next();
        let under_way = world.begin(endpoint);
        world.pass(milliseconds[endpoint as usize - 1] / 1000.0);
        under_way.done(world.now, OK);
        all += 1.0;
        third += f64::from(u32::from(endpoint == 3));
    }
    third / all
}

#[test]
fn peak_ewma_leaves_who_gets_slow_and_comes_back_when_it_is_fast_again() {
    let mut world = World::new(kind(Balance::PeakEwma), &[(1, 100), (2, 100), (3, 100)]);
    let fast = share_of_third(&mut world, 30.0, [10.0, 10.0, 10.0]);
    assert!((0.2..0.5).contains(&fast), "{fast}");
    let slow = share_of_third(&mut world, 30.0, [10.0, 10.0, 200.0]);
    assert!(slow < 0.01, "{slow}");
    share_of_third(&mut world, 60.0, [10.0, 10.0, 10.0]);
    let again = share_of_third(&mut world, 60.0, [10.0, 10.0, 10.0]);
    assert!((0.2..0.5).contains(&again), "{again}");
}

#[test]
fn peak_ewma_is_not_drawn_to_who_fails_fast() {
    let mut world = World::new(kind(Balance::PeakEwma), &[(1, 100), (2, 100)]);
    let mut failed = 0;
    for _ in 0..10_000 {
        let endpoint = world.next();
        let under_way = world.begin(endpoint);
        world.pass(if endpoint == 2 { 0.0001 } else { 0.01 });
        under_way.done(world.now, if endpoint == 2 { Outcome::ConnectFailed } else { OK });
        failed += u32::from(endpoint == 2);
    }
    assert!(failed < 50, "{failed}");
}

#[test]
fn a_new_endpoint_gets_its_share_little_by_little() {
    for balance in ALL {
        let warmup = Some(Duration::from_secs(100));
        let mut world = World::new(TrafficPolicy { warmup, ..kind(balance) }, &[(1, 100), (2, 100)]);
        world.pass(1000.0);
        world.change(|it| it.endpoints.push(endpoint(3, 100)));
        let mut last = 0.0;
        for (after, wanted) in
            [(0.0, 0.1 / 2.1), (20.0, 0.2 / 2.2), (30.0, 0.5 / 2.5), (50.0, 1.0 / 3.0), (99.0, 1.0 / 3.0)]
        {
            world.pass(after);
            let got = world.shares(20_000)[&3];
            assert!((got - wanted).abs() < 0.015, "{balance:?}: {got} instead of {wanted}");
            assert!(got > last - 0.015, "it never gets less: {got} after {last}");
            last = got;
        }
    }
}

#[test]
fn endpoints_that_are_all_new_share_alike() {
    let warmup = Some(Duration::from_secs(100));
    let world = World::new(TrafficPolicy { warmup, ..kind(Balance::Random) }, &[(1, 300), (2, 100)]);
    assert!((world.shares(20_000)[&1] - 0.75).abs() < 0.015);
}
