use crate::cpu::Real;
use crate::data::Column;

/// Mean and standard deviation of each feature.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Scaling {
    /// What is subtracted from each feature.
    pub mean: Vec<f64>,
    /// What the difference is divided by; 1 for a constant feature.
    pub scale: Vec<f64>,
}

/// What to divide by: a constant column differs from its mean by rounding alone.
fn scale(mean: f64, variance: f64) -> f64 {
    let deviation = variance.sqrt();
    if deviation <= 1e-12 * mean.abs() { 1.0 } else { deviation }
}

impl Scaling {
    /// Over all rows of `x`, dividing by their number (not by one less).
    pub fn fit(x: &[f64], features: usize) -> Self {
        let rows = (x.len() / features) as f64;
        let column = |j: usize| x.iter().skip(j).step_by(features);
        let mean: Vec<f64> = (0..features).map(|j| column(j).sum::<f64>() / rows).collect();
        let of = |(j, &mean): (usize, &f64)| {
            scale(mean, column(j).map(|x| (x - mean).powi(2)).sum::<f64>() / rows)
        };
        let scale = mean.iter().enumerate().map(of).collect();
        Scaling { mean, scale }
    }

    /// Of columns whose values have been seen.
    pub fn of_columns(columns: &[Column], rows: u64) -> Self {
        let mean = columns.iter().map(|column| column.mean).collect();
        let of = |column: &Column| scale(column.mean, column.squares / rows as f64);
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

    /// Scales one row to another place.
    pub fn write<R: Real>(&self, from: &[f64], to: &mut [R]) {
        for (((to, from), mean), scale) in to.iter_mut().zip(from).zip(&self.mean).zip(&self.scale) {
            *to = R::of((from - mean) / scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
