//! The distinct values of a target.

/// The distinct values of a column, up to a maximum number.
pub struct Distinct(Option<Vec<f64>>);

impl Distinct {
    pub const MAX: usize = 4096;

    pub fn new(enabled: bool) -> Self {
        Distinct(enabled.then(Vec::new))
    }

    pub fn add(&mut self, value: f64) {
        let Some(values) = &mut self.0 else { return };
        // −0 becomes 0: they are equal.
        let value = value + 0.0;
        if let Err(place) = values.binary_search_by(|other| other.total_cmp(&value)) {
            if values.len() == Self::MAX {
                self.0 = None;
            } else {
                values.insert(place, value);
            }
        }
    }

    /// The values in ascending order; `None` if there were too many.
    pub fn values(self) -> Option<Vec<f64>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_values_are_kept_in_order_until_they_are_many() {
        let distinct = |values: &mut dyn Iterator<Item = f64>| {
            let mut distinct = Distinct::new(true);
            values.for_each(|value| distinct.add(value));
            distinct.values()
        };
        assert_eq!(distinct(&mut [2.0, -0.0, 0.0, 2.0, -1.0].into_iter()), Some(vec![-1.0, 0.0, 2.0]));
        assert_eq!(distinct(&mut (0..4096).rev().map(f64::from)).map(|values| values.len()), Some(4096));
        assert_eq!(distinct(&mut (0..4097).map(f64::from)), None);
    }
}
