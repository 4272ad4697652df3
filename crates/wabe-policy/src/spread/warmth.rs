//! New endpoints get their share little by little.

use std::time::Duration;

/// What a new endpoint begins with, in percent of its weight; Istio's default.
const LEAST: u128 = 10;

/// How much of its weight an endpoint gets at this age, 10 to 100 percent, growing evenly: Envoy's slow start with an
/// aggression of 1.
#[must_use]
pub fn warmth(age: Duration, warmup: Duration) -> u32 {
    if age >= warmup {
        return 100;
    }
    let percent = age.as_nanos() * 100 / warmup.as_nanos().max(1);
    percent.clamp(LEAST, 100) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_evenly_from_ten_percent() {
        let at = |seconds| warmth(Duration::from_secs(seconds), Duration::from_secs(100));
        assert_eq!([0, 5, 10, 50, 99, 100, 1000].map(at), [10, 10, 10, 50, 99, 100, 100]);
        assert_eq!(warmth(Duration::ZERO, Duration::ZERO), 100);
    }
}
