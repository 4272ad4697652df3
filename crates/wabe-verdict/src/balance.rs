//! Choosing an endpoint.

use wabe_abi::{
    Affinity, AffinityKey, Balance, Be16, EndpointKey, EndpointRecord, Ip, ServiceKey, ServiceRecord, member,
    service_flag,
};

use crate::Tables;

/// 2^32 divided by the golden ratio: multiples of it modulo 2^32 spread evenly (Weyl's sequence; Knuth, TAOCP 6.4).
const GOLDEN: u32 = 0x9e37_79b9;

/// For how long at least a socket's datagrams to a service go where the last one went, in nanoseconds. Longer than QUIC
/// implementations keep an idle connection (30 s in most).
const STAY: u64 = 60_000_000_000;
/// How much more is noted each time, so that it need not be noted with each datagram.
const AHEAD: u64 = 30_000_000_000;

/// Two random numbers that name a place and a share of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Names the place.
    pub place: u32,
    /// Compared with the place's threshold.
    pub share: u32,
}

/// A service's port as callers of a locality see it: with the set that was made for them, if there is one.
#[inline(always)]
pub fn nearest<T: Tables>(tables: &T, dialled: &ServiceKey, locality: u32) -> Option<T::Row<ServiceRecord>> {
    let service = tables.service(dialled)?;
    if locality == 0 || service.flags & service_flag::LOCAL == 0 {
        return Some(service);
    }
    match tables.service(&ServiceKey { locality: locality as u8, ..*dialled }) {
        Some(near) => Some(near),
        None => Some(service),
    }
}

/// What a caller's address says about its place in a Maglev table: 32 well-mixed bits (the finalizer of MurmurHash3,
/// Appleby, once for each half of the address), different for each service.
#[inline(always)]
pub fn client_hash(service: u32, client: &Ip) -> u32 {
    let half = |high: usize| (client.words[high].host() as u64) << 32 | client.words[high + 1].host() as u64;
    mix(mix(service as u64 ^ half(0)).wrapping_add(half(2))) as u32
}

#[inline(always)]
const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let bits = (bits ^ bits >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ bits >> 33
}

/// By the caller's address; where it was before, if it is to stay and the endpoint is still one.
#[inline(always)]
fn consistent<T: Tables>(tables: &T, service: &ServiceRecord, client: &Ip) -> Option<T::Row<EndpointRecord>> {
    let key = AffinityKey { client: *client, service: service.service, ..AffinityKey::default() };
    let set = service.endpoint_set;
    let mut staying = None;
    if service.affinity != 0
        && let Some(known) = tables.affinity(&key)
        && known.until > tables.now()
    {
        staying = tables.endpoint(&member(set, known.endpoint));
    }
    let chosen = match staying {
        Some(endpoint) => endpoint,
        None => {
            let index = client_hash(service.service, client) % service.endpoints;
            tables.endpoint(&EndpointKey { set, index })?
        }
    };
    if service.affinity != 0 {
        let until = tables.now() + service.affinity as u64 * 1_000_000_000;
        tables.stay(&key, &Affinity { until, endpoint: chosen.endpoint, reserved: 0 });
    }
    Some(chosen)
}

/// Chooses an endpoint of a service by the service's own kind of balancing; `client` is the caller's own address.
///
/// `None` if the set is empty or a place of it is missing. Costs two table look-ups for one draw, four to six for two
/// choices, whatever the number of endpoints.
#[inline(always)]
pub fn choose<T: Tables>(tables: &T, service: &ServiceRecord, client: &Ip) -> Option<T::Row<EndpointRecord>> {
    if service.endpoints == 0 {
        return None;
    }
    let draw = match Balance::from_number(service.balance) {
        Some(Balance::RoundRobin) => {
            let turn = tables.turn(service.service);
            let round = (turn / u64::from(service.endpoints)) as u32;
            let place = (turn % u64::from(service.endpoints)) as u32;
            return drawn(tables, service, place, round.wrapping_mul(GOLDEN));
        }
        Some(Balance::Random | Balance::TwoChoices) => {
            Draw { place: tables.random(), share: tables.random() }
        }
        Some(Balance::Consistent) => return consistent(tables, service, client),
        None => return None,
    };
    let first = drawn(tables, service, draw.place % service.endpoints, draw.share)?;
    if service.balance != Balance::TwoChoices as u8 || service.endpoints == 1 {
        return Some(first);
    }
    let place = tables.random() % service.endpoints;
    let mut second = drawn(tables, service, place, tables.random())?;
    if second.endpoint == first.endpoint {
        let next = (place + 1) % service.endpoints;
        second = drawn(tables, service, next, u32::MIN)?;
    }
    let (one, two) = (tables.live(first.endpoint), tables.live(second.endpoint));
    if less_loaded(two, second.weight, one, first.weight) { Some(second) } else { Some(first) }
}

/// Chooses an endpoint for a datagram of the socket that is bound to `port`: where its last one went, if that was not long
/// ago and the endpoint is still one. Port 0 is a socket that has none yet.
#[inline(always)]
pub(crate) fn choose_again<T: Tables>(
    tables: &T,
    service: &ServiceRecord,
    client: &Ip,
    port: Be16,
) -> Option<T::Row<EndpointRecord>> {
    if port.host() == 0 || service.balance == Balance::Consistent as u8 {
        return choose(tables, service, client);
    }
    let key = AffinityKey { client: *client, service: service.service, port, reserved: 0 };
    let now = tables.now();
    let mut until = 0;
    let mut staying = None;
    if let Some(known) = tables.affinity(&key)
        && known.until > now
    {
        until = known.until;
        staying = tables.endpoint(&member(service.endpoint_set, known.endpoint));
    }
    let is_new = staying.is_none();
    let chosen = match staying {
        Some(endpoint) => endpoint,
        None => choose(tables, service, client)?,
    };
    // Not with each datagram: writing costs more than all the rest.
    if is_new || until < now + STAY {
        tables.stay(&key, &Affinity { until: now + STAY + AHEAD, endpoint: chosen.endpoint, reserved: 0 });
    }
    Some(chosen)
}

/// Whether an endpoint with `live` connections and `weight` should be preferred to the one that was drawn first.
///
/// Equal weights: fewer connections win (Mitzenmacher, "The Power of Two Choices"). Different weights: the first draw
/// already follows the weights, so it is overruled only if the other would still be the less loaded one after taking
/// the connection, and one connection of the first draw is not held against it: loads come in whole connections, and
/// a light endpoint that happens to hold one would else get less than its share.
#[inline(always)]
pub const fn less_loaded(live: u64, weight: u32, first_live: u64, first_weight: u32) -> bool {
    if weight == first_weight {
        return live < first_live;
    }
    (live + 1) * (first_weight as u64) < first_live.saturating_sub(1) * (weight as u64)
}

/// The endpoint at a place or, for the place's other share, its alias (Vose, "A linear algorithm for generating
/// random numbers with a given distribution", 1991).
#[inline(always)]
fn drawn<T: Tables>(
    tables: &T,
    service: &ServiceRecord,
    place: u32,
    share: u32,
) -> Option<T::Row<EndpointRecord>> {
    let set = service.endpoint_set;
    let here = tables.endpoint(&EndpointKey { set, index: place })?;
    if share <= here.threshold {
        Some(here)
    } else {
        tables.endpoint(&EndpointKey { set, index: here.alias })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use super::*;
    use crate::fake::Fake;

    fn shares(balance: Balance, weights: &[u32], draws: u32) -> BTreeMap<u32, u32> {
        let mut tables = Fake::default();
        let service = tables.service_with(balance, weights);
        let mut counts = BTreeMap::new();
        for _ in 0..draws {
            let chosen = choose(&tables, &service, &Ip::UNSPECIFIED).expect("an endpoint");
            *counts.entry(chosen.endpoint).or_insert(0) += 1;
        }
        counts
    }

    #[test]
    fn an_empty_set_has_no_endpoint() {
        let mut tables = Fake::default();
        let service = tables.service_with(Balance::TwoChoices, &[]);
        assert!(choose(&tables, &service, &Ip::UNSPECIFIED).is_none());
    }

    #[test]
    fn a_missing_place_is_no_endpoint() {
        let mut tables = Fake::default();
        let mut service = tables.service_with(Balance::Random, &[1]);
        service.endpoint_set += 1;
        assert!(choose(&tables, &service, &Ip::UNSPECIFIED).is_none());
    }

    #[test]
    fn weights_hold_within_two_percent_when_idle() {
        for balance in [Balance::Random, Balance::TwoChoices, Balance::RoundRobin] {
            let counts = shares(balance, &[900, 100, 500, 500], 50_000);
            for (endpoint, share) in [(1, 0.45), (2, 0.05), (3, 0.25), (4, 0.25)] {
                let got = f64::from(counts[&endpoint]) / 50_000.0;
                assert!((got - share).abs() < 0.02, "{balance:?} {endpoint}: {got} instead of {share}");
            }
        }
    }

    #[test]
    fn weights_hold_within_two_percent_while_connections_overlap() {
        for open in [1, 3, 7] {
            let mut tables = Fake::default();
            let service = tables.service_with(Balance::TwoChoices, &[600, 300, 100]);
            let mut connections = VecDeque::new();
            let mut counts = BTreeMap::new();
            for _ in 0..50_000 {
                let chosen = choose(&tables, &service, &Ip::UNSPECIFIED).expect("an endpoint").endpoint;
                *counts.entry(chosen).or_insert(0) += 1;
                *tables.live.entry(chosen).or_insert(0) += 1;
                connections.push_back(chosen);
                if connections.len() > open {
                    let ended = connections.pop_front().expect("just now");
                    *tables.live.entry(ended).or_insert(0) -= 1;
                }
            }
            for (endpoint, share) in [(1, 0.6), (2, 0.3), (3, 0.1)] {
                let got = f64::from(counts[&endpoint]) / 50_000.0;
                assert!((got - share).abs() < 0.02, "{open} open, {endpoint}: {got} instead of {share}");
            }
        }
    }

    #[test]
    fn turns_are_exact_with_equal_weights() {
        let counts = shares(Balance::RoundRobin, &[100, 100, 100], 30);
        assert_eq!(counts, BTreeMap::from([(1, 10), (2, 10), (3, 10)]));
    }

    #[test]
    fn the_first_round_is_nobody_s_alias() {
        let mut tables = Fake::default();
        let service = tables.service_with(Balance::RoundRobin, &[900, 100, 500, 500]);
        let turn = || choose(&tables, &service, &Ip::UNSPECIFIED).expect("an endpoint").endpoint;
        assert_eq!([turn(), turn(), turn(), turn()], [1, 2, 3, 4]);
    }

    #[test]
    fn only_two_choices_look_at_the_load_and_they_always_compare_two() {
        for (balance, loaded) in [(Balance::TwoChoices, false), (Balance::Random, true)] {
            for busy in [1, 2] {
                let mut tables = Fake::default();
                let service = tables.service_with(balance, &[100, 100]);
                tables.live.insert(busy, 1000);
                let mut chosen = (0..1000).map(|_| choose(&tables, &service, &Ip::UNSPECIFIED));
                let is_busy = chosen.any(|it| it.expect("an endpoint").endpoint == busy);
                assert_eq!(is_busy, loaded, "{balance:?}, endpoint {busy}");
            }
        }
    }

    #[test]
    fn a_slow_endpoint_of_ten_gets_nearly_nothing() {
        let mut tables = Fake::default();
        let service = tables.service_with(Balance::TwoChoices, &[100; 10]);
        // Endpoint 10 keeps each connection for 200 arrivals, the others for one.
        let mut slow = VecDeque::new();
        let (mut chosen_slow, total) = (0, 10_000);
        for now in 0..total {
            while slow.front().is_some_and(|since| now - since >= 200) {
                slow.pop_front();
            }
            tables.live.insert(10, slow.len() as u64);
            if choose(&tables, &service, &Ip::UNSPECIFIED).expect("an endpoint").endpoint == 10 {
                slow.push_back(now);
                chosen_slow += 1;
            }
        }
        assert!(chosen_slow * 100 < total * 3, "{chosen_slow} of {total}");
    }

    fn client(number: u32) -> Ip {
        Ip::v4((0x0a08_0000 + number).to_be())
    }

    /// Computed once, apart from this code, with MurmurHash3's published finalizer. Another value would move all clients
    /// at the upgrade.
    #[test]
    fn the_hash_of_a_client_is_what_it_was() {
        let hash = |service, client: &str| client_hash(service, &crate::fake::ip(client));
        assert_eq!(hash(1, "10.8.1.1"), 0xe795_787c);
        assert_eq!(hash(2, "10.8.1.1"), 0x0a74_41e9);
        assert_eq!(hash(1, "fd08::1:2:3"), 0x374f_3407);
        assert_eq!(hash(1, "2001:db8:1:2::9"), 0x938a_67fe);
        // The number and the address have a bit in common.
        assert_eq!(hash(3, "2001:db8:1:2::9"), 0xa7d8_89f5);
    }

    #[test]
    fn a_client_is_always_at_its_place_and_clients_are_spread() {
        let mut tables = Fake::default();
        let service = tables.service_with(Balance::Consistent, &[100; 4]);
        let mut counts = BTreeMap::new();
        for number in 0..10_000 {
            let chosen = || choose(&tables, &service, &client(number)).expect("an endpoint").endpoint;
            assert_eq!(chosen(), chosen());
            *counts.entry(chosen()).or_insert(0) += 1;
        }
        assert!(counts.values().all(|count| (2300..2700).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_client_stays_until_its_time_is_over_or_its_endpoint_gone() {
        let mut tables = Fake::default();
        let mut service = tables.service_with(Balance::Consistent, &[100; 4]);
        service.affinity = 10;
        let set = service.endpoint_set;
        let by_table = choose(&tables, &service, &client(1)).expect("an endpoint").endpoint;
        let other = by_table % 4 + 1;
        let listed = tables.endpoints[&EndpointKey { set, index: other - 1 }];
        tables.endpoints.insert(member(set, other), listed);
        let key = AffinityKey { client: client(1), service: service.service, ..AffinityKey::default() };
        let chosen = |tables: &Fake| choose(tables, &service, &client(1)).expect("an endpoint").endpoint;
        tables.stay(&key, &Affinity { until: 5_000_000_000, endpoint: other, reserved: 0 });
        assert_eq!(chosen(&tables), other, "it stays");
        tables.now.set(9_999_999_999);
        assert_eq!(chosen(&tables), other, "its last connection put the end off");
        tables.now.set(19_999_999_999);
        assert_eq!(chosen(&tables), by_table, "its time is over at the end exactly");
        tables.stay(&key, &Affinity { until: u64::MAX, endpoint: other, reserved: 0 });
        tables.endpoints.remove(&member(set, other));
        assert_eq!(chosen(&tables), by_table, "its endpoint is gone");
        assert_eq!(tables.affinities.borrow()[&key].endpoint, by_table, "and it stays there");
    }

    #[test]
    fn without_a_promise_nothing_is_noted() {
        let mut tables = Fake::default();
        let service = tables.service_with(Balance::Consistent, &[100; 4]);
        assert!(choose(&tables, &service, &client(1)).is_some());
        assert!(tables.affinities.borrow().is_empty());
    }

    #[test]
    fn callers_of_a_locality_get_its_set() {
        let mut tables = Fake::default();
        let mut all = tables.service_with(Balance::Random, &[100; 4]);
        let near = ServiceRecord { endpoint_set: 9, ..all };
        let key = ServiceKey::port(client(1), wabe_abi::Be16::new(80), wabe_abi::TCP);
        tables.services.insert(ServiceKey { locality: 2, ..key }, near);
        let set = |tables: &Fake, locality| nearest(tables, &key, locality).map(|it| it.endpoint_set);
        assert_eq!(set(&tables, 2), None, "the service itself is not there");
        tables.services.insert(key, all);
        assert_eq!(set(&tables, 2), Some(1), "the service does not say that there are others");
        all.flags = service_flag::LOCAL;
        tables.services.insert(key, all);
        assert_eq!((set(&tables, 0), set(&tables, 2), set(&tables, 3)), (Some(1), Some(9), Some(1)));
    }

    #[test]
    fn preference_table() {
        for (live, weight, first_live, first_weight, preferred) in [
            (0, 100, 1, 100, true),
            (1, 100, 1, 100, false),
            (2, 100, 1, 100, false),
            (0, 10, 1, 90, false),
            (0, 10, 9, 90, false),
            (0, 10, 10, 90, false),
            (0, 10, 11, 90, true),
            (0, 90, 1, 10, false),
            (7, 90, 2, 10, true),
            (8, 90, 2, 10, false),
        ] {
            assert_eq!(
                less_loaded(live, weight, first_live, first_weight),
                preferred,
                "{live}/{weight} against {first_live}/{first_weight}"
            );
        }
    }
}
