//! Statistics of a column of numbers.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_column_are_correct() {
        let values = [1e6 + 4.0, 1e6 + 7.0, 1e6 + 13.0, 1e6 + 16.0];
        let mut sums = ColumnSums::NONE;
        values.into_iter().for_each(|value| sums.add(value));
        assert_eq!(
            sums.column(),
            Column { mean: 1e6 + 10.0, squares: 90.0, min: 1e6 + 4.0, max: 1e6 + 16.0 }
        );
    }
}
