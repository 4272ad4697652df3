//! Alias tables: draw by weight with one comparison (Walker's method in Vose's form, "A linear algorithm for
//! generating random numbers with a given distribution", 1991), in whole numbers throughout.

/// One place of an alias table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// A draw up to this (of 0 to `u32::MAX`) stays here; `u32::MAX` always does.
    pub threshold: u32,
    /// Where other draws go.
    pub alias: u32,
}

/// The alias table of some weights, in their order. A weight of 0 counts as 1, so that no endpoint of a set is out of
/// reach by mistake. Costs time and memory in proportion to the number of weights.
pub fn table(weights: &[u32]) -> Vec<Place> {
    let count = weights.len() as u128;
    let weights: Vec<u128> = weights.iter().map(|weight| u128::from((*weight).max(1))).collect();
    let full: u128 = weights.iter().sum();
    // Each place holds `full`; a weight fills `weight * count` of all places together.
    let mut rest: Vec<u128> = weights.iter().map(|weight| weight * count).collect();
    let mut places: Vec<Place> =
        (0..rest.len()).map(|index| Place { threshold: u32::MAX, alias: index as u32 }).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..rest.len()).partition(|index| rest[*index] < full);
    while let (Some(low), Some(high)) = (small.pop(), large.pop()) {
        places[low] = Place { threshold: share(rest[low], full), alias: high as u32 };
        rest[high] -= full - rest[low];
        if rest[high] < full { small.push(high) } else { large.push(high) }
    }
    places
}

/// `part / full` of the draws, as the largest draw that is among them.
fn share(part: u128, full: u128) -> u32 {
    ((part << 32) / full).saturating_sub(1) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of 2^32 * places draws lead to each index.
    fn reached(places: &[Place]) -> Vec<f64> {
        let mut sums = vec![0.0; places.len()];
        for (index, place) in places.iter().enumerate() {
            let stays = f64::from(place.threshold) + 1.0;
            sums[index] += stays;
            sums[place.alias as usize] += 4_294_967_296.0 - stays;
        }
        sums
    }

    #[test]
    fn equal_weights_never_go_elsewhere() {
        for place in table(&[100; 7]) {
            assert_eq!(place.threshold, u32::MAX);
        }
        assert!(table(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn shares_follow_the_weights(weights in prop::collection::vec(1u32..=1000, 1..60)) {
            let places = table(&weights);
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let all = 4_294_967_296.0 * weights.len() as f64;
            for (weight, sum) in weights.iter().zip(reached(&places)) {
                let (want, got) = (f64::from(*weight) / total, sum / all);
                prop_assert!((want - got).abs() < 1e-6, "{} instead of {}", got, want);
            }
        }
    }
}
