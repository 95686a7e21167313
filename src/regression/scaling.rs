/// Mean and standard deviation of each feature.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Scaling {
    /// What is subtracted from each feature.
    pub mean: Vec<f64>,
    /// What the difference is divided by; 1 for a constant feature.
    pub scale: Vec<f64>,
}

impl Scaling {
    /// Over all rows of `x`, dividing by their number (not by one less).
    pub fn fit(x: &[f64], features: usize) -> Self {
        let rows = (x.len() / features) as f64;
        let column = |j: usize| x.iter().skip(j).step_by(features);
        let mean: Vec<f64> = (0..features).map(|j| column(j).sum::<f64>() / rows).collect();
        let deviation = |(j, mean): (usize, &f64)| {
            let variance = column(j).map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
            // A constant column differs from its mean by rounding alone.
            let constant = variance.sqrt() <= 1e-12 * mean.abs();
            if constant { 1.0 } else { variance.sqrt() }
        };
        let scale = mean.iter().enumerate().map(deviation).collect();
        Scaling { mean, scale }
    }

    /// Scales rows in place.
    pub fn apply(&self, x: &mut [f64]) {
        for row in x.chunks_mut(self.mean.len()) {
            for ((x, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *x = (*x - mean) / scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_get_mean_zero_and_deviation_one_and_constants_stay_finite() {
        let mut x = vec![1.0, 0.1, 3.0, 0.1, 5.0, 0.1];
        let scaling = Scaling::fit(&x, 2);
        assert_eq!(scaling.mean[0], 3.0);
        assert!((scaling.scale[0] - (8.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(scaling.scale[1], 1.0);
        scaling.apply(&mut x);
        assert_eq!(x[2], 0.0);
        assert!((x[0] + x[4]).abs() < 1e-15 && x[1].abs() < 1e-15);
    }
}
