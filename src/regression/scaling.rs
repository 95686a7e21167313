use crate::cpu::Real;
use crate::regression::column::{Column, ColumnSums};

/// Mean and standard deviation of each feature.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Scaling {
    /// Mean of each feature.
    pub mean: Vec<f64>,
    /// Divisor of each feature: its standard deviation, or 1 if it is constant.
    pub scale: Vec<f64>,
}

/// Maximum number of rows n in the rule for constant columns.
const CONSTANT_ROWS: f64 = 1000.0;

/// The divisor of a column: its standard deviation, or 1 if it is constant up to rounding.
///
/// scikit-learn considers a column constant if its variance is at most n·u·var + (n·mean·u)², u = 2⁻⁵², the possible
/// rounding error of its sums. Here the sums are of differences and more accurate, so n is limited to
/// [`CONSTANT_ROWS`]: a long column of timestamps keeps its scale.
fn scale(mean: f64, variance: f64, rows: f64) -> f64 {
    let rounding = rows.min(CONSTANT_ROWS) * f64::EPSILON;
    let constant = variance <= rounding * variance + (mean * rounding).powi(2);
    if constant { 1.0 } else { variance.sqrt() }
}

/// The factor of sample weights that brings the largest into [1, 2). A weighted mean does not depend on it, but sums in
/// f32 could overflow or underflow. It is a power of two, so that weights are scaled exactly.
pub(super) fn of_weights(greatest: f64) -> f64 {
    if greatest == 0.0 {
        return 1.0;
    }
    const EXPONENT: u64 = 0x7ff << 52;
    let power = f64::from_bits(greatest.to_bits() & EXPONENT);
    1.0 / power.clamp(f64::MIN_POSITIVE, 2f64.powi(1022))
}

impl Scaling {
    /// Computes the scaling of the rows of `x` (row-major), with the population standard deviation (divisor n).
    pub fn fit<S: Real>(x: &[S], features: usize) -> Self {
        let mut sums = vec![ColumnSums::NONE; features];
        for row in x.chunks_exact(features) {
            sums.iter_mut().zip(row).for_each(|(sums, &value)| sums.add(value.f64()));
        }
        let columns: Vec<Column> = sums.iter().map(ColumnSums::column).collect();
        Self::of_columns(&columns, (x.len() / features) as u64)
    }

    /// Computes the scaling from column statistics.
    pub fn of_columns(columns: &[Column], rows: u64) -> Self {
        let mean = columns.iter().map(|column| column.mean).collect();
        let rows = rows as f64;
        let of = |column: &Column| scale(column.mean, column.squares / rows, rows);
        Scaling { mean, scale: columns.iter().map(of).collect() }
    }

    /// Scales rows in place.
    pub fn apply(&self, x: &mut [f64]) {
        for row in x.chunks_mut(self.mean.len()) {
            for ((x, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *x = (*x - mean) / scale;
            }
        }
    }

    /// Writes a scaled copy of a row.
    pub fn write<S: Real, R: Real>(&self, from: &[S], to: &mut [R]) {
        for (((to, from), mean), scale) in to.iter_mut().zip(from).zip(&self.mean).zip(&self.scale) {
            *to = R::of((from.f64() - mean) / scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Differences of multiples of 2⁻¹⁰ from 2³⁰ are exact, and so are all sums' inputs.
        #[test]
        fn an_offset_of_a_column_does_not_change_its_scale(
            values in prop::collection::vec(-1000i32..1000, 2..50), shift in -(1i64 << 30)..1 << 30,
        ) {
            let column = |shift: f64| -> Vec<f64> {
                values.iter().map(|&value| f64::from(value) / 1024.0 + shift).collect()
            };
            let (here, there) = (Scaling::fit(&column(0.0), 1), Scaling::fit(&column(shift as f64), 1));
            prop_assert_eq!(&here.scale, &there.scale);
            prop_assert!((there.mean[0] - shift as f64 - here.mean[0]).abs() <= shift.abs() as f64 * f64::EPSILON);
        }
    }

    #[test]
    fn the_largest_weight_is_scaled_between_one_and_two() {
        for weight in [1.0, 1.5, 7.0, 1e36, 1e-40, f64::MIN_POSITIVE, f64::MAX / 4.0] {
            let scaled = weight * of_weights(weight);
            assert!((1.0..2.0).contains(&scaled), "{weight}: {scaled}");
        }
        assert_eq!([0.0, 1.0, 1.99].map(of_weights), [1.0; 3]);
    }

    /// scikit-learn's rule, on both sides of it.
    #[test]
    fn a_column_is_constant_if_it_differs_by_rounding_alone() {
        let alternating = |mean: f64, deviation: f64, rows: usize| -> f64 {
            let sign = |i: usize| if i.is_multiple_of(2) { deviation } else { -deviation };
            Scaling::fit(&(0..rows).map(|i| mean + sign(i)).collect::<Vec<f64>>(), 1).scale[0]
        };
        // n·mean·u is 200 · 2⁶⁰ · 2⁻⁵² = 51 200.
        let mean = (1u64 << 60) as f64;
        assert_eq!(alternating(mean, 51_200.0 + 256.0, 200), 51_200.0 + 256.0);
        assert_eq!(alternating(mean, 51_200.0 - 256.0, 200), 1.0);
        // The square and the root are rounded.
        assert!((alternating(0.0, 1e-100, 200) / 1e-100 - 1.0).abs() < 4.0 * f64::EPSILON);
        // The threshold is constant from 1000 rows on.
        assert_eq!(alternating(mean, 256_000.0 + 256.0, 100_000), 256_000.0 + 256.0);
    }

    #[test]
    fn features_get_mean_zero_and_deviation_one_and_constants_stay_finite() {
        let x = [1.0, 0.1, 3.0, 0.1, 5.0, 0.1];
        let scaling = Scaling::fit(&x, 2);
        assert_eq!(scaling.mean[0], 3.0);
        assert!((scaling.scale[0] - (8.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(scaling.scale[1], 1.0);
        let mut scaled = [0.0f64; 6];
        scaled.chunks_mut(2).zip(x.chunks(2)).for_each(|(to, from)| scaling.write(from, to));
        let mut in_place = x;
        scaling.apply(&mut in_place);
        assert_eq!(scaled, in_place);
        assert_eq!(scaled[2], 0.0);
        assert!((scaled[0] + scaled[4]).abs() < 1e-15 && scaled[1].abs() < 1e-15);
    }
}
