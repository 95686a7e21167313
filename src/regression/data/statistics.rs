/// Statistics of a feature.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Column {
    /// The mean.
    pub mean: f64,
    /// The sum of the squared deviations from the mean (Welford 1962).
    pub squares: f64,
    /// The least value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

/// The sums of a [`Column`]. They are of differences from the first value, so that a large common offset (as in
/// timestamps) costs no precision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnSums {
    count: f64,
    first: f64,
    /// The mean difference from the first value.
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
}

impl ColumnSums {
    pub const NONE: ColumnSums = ColumnSums {
        count: 0.0,
        first: 0.0,
        mean: 0.0,
        squares: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
    };

    pub fn add(&mut self, value: f64) {
        if self.count == 0.0 {
            self.first = value;
        }
        self.count += 1.0;
        let value_from_first = value - self.first;
        let from = value_from_first - self.mean;
        self.mean += from / self.count;
        self.squares += from * (value_from_first - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    pub fn column(&self) -> Column {
        let ColumnSums { first, mean, squares, min, max, .. } = *self;
        Column { mean: first + mean, squares, min, max }
    }
}

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
    fn a_column_is_what_its_values_are() {
        let values = [1e6 + 4.0, 1e6 + 7.0, 1e6 + 13.0, 1e6 + 16.0];
        let mut sums = ColumnSums::NONE;
        values.into_iter().for_each(|value| sums.add(value));
        assert_eq!(
            sums.column(),
            Column { mean: 1e6 + 10.0, squares: 90.0, min: 1e6 + 4.0, max: 1e6 + 16.0 }
        );
    }

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
