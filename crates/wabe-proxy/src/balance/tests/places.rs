//! Near endpoints first.

use wabe_model::OutlierDetection;

use super::*;

fn place(region: &str, zone: &str, subzone: &str) -> Locality {
    Locality { region: region.into(), zone: zone.into(), subzone: subzone.into() }
}

/// Endpoint 1 in the caller's subzone, 2 in its zone, 3 in its region, 4 elsewhere, 5 nowhere.
fn spread(near: bool) -> World {
    let outliers = OutlierDetection { failures: 1, max_percent: 100, ..Default::default() };
    let traffic = TrafficPolicy { near, outliers: Some(outliers), ..kind(Balance::Random) };
    let mut world = World::new(traffic, &[(1, 100), (2, 100), (3, 100), (4, 100), (5, 100)]);
    world.change(|it| {
        let places = [place("r", "z", "s"), place("r", "z", "t"), place("r", "y", "s"), place("q", "z", "s")];
        for (endpoint, place) in it.endpoints.iter_mut().zip(places) {
            endpoint.locality = place;
        }
    });
    world
}

fn chosen(world: &World, wish: &Wish<'_>) -> Vec<u32> {
    let mut chosen: Vec<_> = (0..200).filter_map(|_| world.choose(wish).ok()).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[test]
fn the_nearest_level_with_somebody_left_is_taken() {
    let (world, caller) = (spread(true), place("r", "z", "s"));
    for (tried, wanted) in
        [(&[][..], &[1][..]), (&[1], &[2]), (&[1, 2], &[3]), (&[1, 2, 3], &[4, 5]), (&[1, 2, 3, 4, 5], &[])]
    {
        let wish = Wish { tried, locality: Some(&caller), hash: None };
        assert_eq!(chosen(&world, &wish), wanted, "{tried:?}");
    }
}

#[test]
fn a_region_that_is_named_comes_after_the_callers_own() {
    let (mut world, caller) = (spread(true), place("r", "z", "s"));
    world.change(|it| it.traffic.failover = [("r".to_owned(), "q".to_owned())].into());
    for (tried, wanted) in [(&[1, 2][..], &[3][..]), (&[1, 2, 3], &[4]), (&[1, 2, 3, 4], &[5])] {
        let wish = Wish { tried, locality: Some(&caller), hash: None };
        assert_eq!(chosen(&world, &wish), wanted, "{tried:?}");
    }
}

#[test]
fn a_level_whose_endpoints_are_ejected_is_none() {
    let (mut world, caller) = (spread(true), place("r", "z", "s"));
    let wish = Wish { locality: Some(&caller), ..Wish::default() };
    world.ask(1, Outcome::ConnectFailed);
    assert_eq!(chosen(&world, &wish), [2]);
    world.ask(2, Outcome::ConnectFailed);
    assert_eq!(chosen(&world, &wish), [3]);
    world.pass(31.0);
    assert_eq!(chosen(&world, &wish), [1], "it is back");
}

#[test]
fn callers_of_nowhere_and_backends_without_the_wish_get_all() {
    let (nowhere, here) = (Locality::default(), place("r", "z", "s"));
    for (world, caller) in [
        (spread(true), None),
        (spread(true), Some(&nowhere)),
        (spread(false), Some(&here)),
        (spread(true), Some(&place("x", "z", "s"))),
    ] {
        let wish = Wish { locality: caller, ..Wish::default() };
        assert_eq!(chosen(&world, &wish), [1, 2, 3, 4, 5], "{caller:?}");
    }
}
