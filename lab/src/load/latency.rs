//! Distributions as results have them.

use anyhow::{Context, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2DeflateSerializer},
};

use crate::results::Latency;

impl Latency {
    /// Of a histogram of nanoseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| if histogram.is_empty() { 0 } else { histogram.value_at_quantile(quantile) };
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(histogram, &mut bytes)
            .expect("invariant: writing into memory does not fail");
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            deviation: histogram.stdev(),
            min: if histogram.is_empty() { 0 } else { histogram.min() },
            p5: at(0.05),
            p25: at(0.25),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            histogram: STANDARD.encode(bytes),
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// The text is no histogram.
    pub fn decode(&self) -> Result<Histogram<u64>> {
        let bytes = STANDARD.decode(&self.histogram).context("a histogram that is not base64")?;
        Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| anyhow!("a histogram that can't be read: {error:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_comes_back_as_it_was() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("bounds");
        for value in 1..=10_000_u64 {
            histogram.saturating_record(value * 1_000);
        }
        let latency = Latency::of(&histogram);
        assert_eq!(latency.decode().expect("a histogram"), histogram);
        assert_eq!(latency.count, 10_000);
        for (value, expected) in
            [(latency.p5, 5e5), (latency.p50, 5e6), (latency.p99, 9.9e6), (latency.max, 1e7)]
        {
            assert!((value as f64 / expected - 1.0).abs() < 2e-3, "{value} {expected}");
        }
    }

    #[test]
    fn nothing_is_a_distribution_too() {
        let empty = Histogram::<u64>::new_with_bounds(1, 1_000, 3).expect("bounds");
        let latency = Latency::of(&empty);
        assert_eq!((latency.count, latency.p50, latency.max), (0, 0, 0));
        assert!(latency.decode().expect("a histogram").is_empty());
        assert!(Latency { histogram: "!".to_owned(), ..latency }.decode().is_err());
    }
}
