use super::Bounded;
use num_traits::Float;
use serde::{Deserialize, Deserializer, Serialize};

/// Results of the checks of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Number of checked updates.
    pub checks: u64,
    /// Number of compared values.
    pub values: u64,
    /// Largest error divided by its bound; 0 if every value was exact.
    pub worst_ratio: f64,
    /// The value with the largest ratio.
    pub worst: Option<Worst>,
    /// Whether every error is within its bound.
    pub pass: bool,
    /// Checked updates; of more than [`LISTED`](Self::LISTED) the first and the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<u64>,
    /// Terms of the update that a check covered, by PyTorch's names: their inputs were not zero.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<String>,
    /// Terms of the recipe that no check covered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms_not_seen: Vec<String>,
}

/// A compared value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Update, from 1.
    pub update: u64,
    /// `gradient`, `loss`, `params`, or a moment's name.
    pub quantity: String,
    /// Index of the element, in the order of the parameters.
    pub element: usize,
    /// Value of the device.
    #[serde(deserialize_with = "or_nan")]
    pub actual: f32,
    /// Value of the f64 definition.
    #[serde(deserialize_with = "or_nan")]
    pub expected: f64,
    /// Bound of their difference.
    #[serde(deserialize_with = "or_nan")]
    pub bound: f64,
}

/// Deserializes a number; `null` is NaN, because JSON has no non-finite numbers.
fn or_nan<'de, D: Deserializer<'de>, T: Deserialize<'de> + Float>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(T::nan))
}

impl Verification {
    /// Maximum number of listed updates.
    pub const LISTED: usize = 64;

    /// Counts a check of an update, and the terms that it covered.
    pub(super) fn checked(
        &mut self,
        update: u64,
        all: &[&str],
        seen: impl Iterator<Item = &'static str>,
    ) {
        self.checks += 1;
        if self.updates.len() == Self::LISTED {
            self.updates.remove(Self::LISTED / 2);
        }
        self.updates.push(update);
        seen.for_each(|term| self.see(term));
        let unseen = all.iter().filter(|term| self.terms.iter().all(|seen| seen != *term));
        self.terms_not_seen = unseen.map(|term| term.to_string()).collect();
    }

    /// Marks a term as covered.
    pub(super) fn see(&mut self, term: &str) {
        if !self.terms.iter().any(|known| known == term) {
            self.terms.push(term.into());
        }
        self.terms_not_seen.retain(|unseen| unseen != term);
    }

    /// Returns the last checked update; 0 for none.
    pub fn last_update(&self) -> u64 {
        self.updates.last().copied().unwrap_or(0)
    }

    /// Returns a report without checks.
    pub fn new() -> Self {
        Verification { pass: true, ..Self::default() }
    }

    /// Compares values with the expected values.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn compare(&mut self, update: u64, quantity: &str, actual: &[f32], expected: &[Bounded]) {
        assert_eq!(actual.len(), expected.len(), "a comparison of unequal lengths hides elements");
        self.values += actual.len() as u64;
        for (element, (&actual, &Bounded { value, error: bound })) in
            actual.iter().zip(expected).enumerate()
        {
            let error = (f64::from(actual) - value).abs();
            // NaN is not within any bound; equal values are within a bound of zero.
            let ratio = match error / bound {
                _ if error == 0.0 => 0.0,
                // WGSL does not specify results that overflow f32.
                _ if bound == f64::INFINITY && !value.is_nan() => 0.0,
                ratio if ratio.is_nan() => f64::MAX,
                // JSON has no infinity.
                ratio => ratio.min(f64::MAX),
            };
            if self.worst.is_none() || ratio > self.worst_ratio {
                self.worst_ratio = ratio;
                let quantity = quantity.to_string();
                self.worst = Some(Worst { update, quantity, element, actual, expected: value, bound });
            }
            self.pass &= ratio <= 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(actual: f32, value: f64, bound: f64) -> Verification {
        let mut report = Verification::new();
        report.compare(
            1,
            "params",
            &[1.0, actual],
            &[Bounded { value: 1.0, error: bound }, Bounded { value, error: bound }],
        );
        report
    }

    #[test]
    fn an_error_past_its_bound_fails_and_is_named() {
        let report = compare(1.5, 1.0, 0.25);
        assert!(!report.pass);
        assert_eq!(report.worst_ratio, 2.0);
        assert_eq!(report.worst.unwrap().element, 1);
        assert!(compare(1.5, 1.0, 0.5).pass);
    }

    #[test]
    fn what_is_not_finite_can_be_read_again() {
        for (actual, bound) in [(f32::NAN, 0.5), (f32::INFINITY, 0.5), (1.5, f64::INFINITY)] {
            let text = serde_json::json!(compare(actual, 1.0, bound)).to_string();
            let read: Verification = serde_json::from_str(&text).unwrap();
            assert_eq!((read.values, read.worst.is_some()), (2, true));
        }
    }

    #[test]
    fn what_is_not_a_number_fails() {
        assert!(!compare(f32::NAN, 1.0, 0.5).pass);
        assert!(!compare(1.0, f64::NAN, 0.5).pass);
        assert!(!compare(f32::INFINITY, 1.0, 0.5).pass);
        assert!(!compare(1.5, 1.0, 0.0).pass);
        assert!(compare(1.0, 1.0, 0.0).pass);
    }
}
