//! Student's distribution, exactly, for tails that tables have not.

use std::f64::consts::FRAC_PI_2;

/// Strips of the integral; an even number.
const STRIPS: u32 = 400;

/// The quantile for a share of 0.5 or more, below 1; `degrees` of freedom must not be 0.
pub(super) fn quantile(degrees: usize, share: f64) -> f64 {
    // With t = sqrt(n) tan(angle) the density becomes a power of the cosine, and infinity a right angle.
    let all = area(degrees, FRAC_PI_2);
    let wanted = (share - 0.5) * 2.0;
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if area(degrees, middle) / all < wanted { low = middle } else { high = middle }
    }
    (degrees as f64).sqrt() * low.tan()
}

/// Simpson's rule for the cosine to the power of `degrees` - 1, from 0 to an angle.
fn area(degrees: usize, angle: f64) -> f64 {
    let step = angle / f64::from(STRIPS);
    let at = |place: u32| (f64::from(place) * step).cos().max(0.0).powf(degrees as f64 - 1.0);
    let weight = |place: u32| match place {
        0 | STRIPS => 1.0,
        it if it % 2 == 1 => 4.0,
        _ => 2.0,
    };
    (0..=STRIPS).map(|it| weight(it) * at(it)).sum::<f64>() * step / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (degrees, share, expected) in
            [(1, 0.975, 12.706), (5, 0.975, 2.571), (5, 0.9995, 6.869), (29, 0.995, 2.756)]
        {
            let found = quantile(degrees, share);
            assert!((found - expected).abs() < 2e-3, "{degrees} {share}: {found}, not {expected}");
        }
    }
}
