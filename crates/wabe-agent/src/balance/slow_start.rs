//! New endpoints get their share little by little.

use std::time::{Duration, Instant};

use wabe_policy::spread::warmth;

use crate::snapshot::DesiredEndpoint;

/// So that shares of small weights can be told apart while something warms up.
const FINER: u32 = 100;

/// Scales the weights of a set whose endpoints became ready at these times (`None`: long ago). Returns whether one of
/// them still warms up; if none does, nothing is changed.
pub(crate) fn scale(
    endpoints: &mut [DesiredEndpoint],
    ready_since: impl Fn(u32) -> Option<Instant>,
    warmup: Duration,
    now: Instant,
) -> bool {
    let share = |endpoint: &DesiredEndpoint| {
        let since = ready_since(endpoint.workload);
        since.map_or(100, |since| warmth(now.saturating_duration_since(since), warmup))
    };
    let shares: Vec<u32> = endpoints.iter().map(share).collect();
    let warming = shares.iter().any(|share| *share < 100);
    if warming {
        for (endpoint, share) in endpoints.iter_mut().zip(shares) {
            endpoint.weight = (endpoint.weight * FINER / 100 * share).max(1);
        }
    }
    warming
}

#[cfg(test)]
mod tests {
    use wabe_abi::{Be16, Ip};

    use super::*;

    #[test]
    fn weights_are_scaled_only_while_something_warms_up() {
        let endpoint = |workload, weight| DesiredEndpoint {
            workload,
            address: Ip::UNSPECIFIED,
            port: Be16::new(1),
            weight,
        };
        let start = Instant::now();
        let since = |id| (id == 2).then_some(start);
        let warmup = Duration::from_secs(10);
        let mut set = [endpoint(1, 1), endpoint(2, 1)];
        assert!(scale(&mut set, since, warmup, start + Duration::from_secs(5)));
        assert_eq!(set.each_ref().map(|it| it.weight), [100, 50]);
        let mut set = [endpoint(1, 1), endpoint(2, 1)];
        assert!(!scale(&mut set, since, warmup, start + warmup));
        assert_eq!(set.each_ref().map(|it| it.weight), [1, 1]);
    }
}
