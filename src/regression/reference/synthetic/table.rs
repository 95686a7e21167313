//! Tables of a response: its probabilities at the points of a grid of scores.
//!
//! They are computed with sums, products and quotients in f64, which give the same bits on every machine.

use super::Response;

/// The grid has 2⁸ points per unit of the score.
pub const GRID_BITS: u32 = 8;

/// The grid of a response's table, as integers in units of 2⁻⁸; scores outside it are clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// First point.
    pub first: i32,
    /// Number of points after the first.
    pub last: u32,
    /// Words of the table per point, a power of two.
    pub width: u32,
}

impl Grid {
    pub fn of(response: Response) -> Grid {
        let (low, high, width) = match response {
            Response::Linear => (0, 0, 1),
            Response::Bernoulli => (-16, 16, 1),
            // With a mean of e⁴, probabilities beyond 128 events are below 2⁻³².
            Response::Poisson => (-8, 4, 128),
            Response::Categorical => (-16, 16, 2),
        };
        Grid { first: low << GRID_BITS, last: ((high - low) << GRID_BITS) as u32, width }
    }

    /// Computes the table of a response, point by point.
    ///
    /// For Bernoulli and Poisson: the probabilities that y > 0, y > 1, …, in units of 2⁻³². For categorical: eᶻ in units
    /// of 2⁻²⁴, low word first.
    pub fn table(self, response: Response) -> Vec<u32> {
        let mut table = Vec::new();
        for point in self.first..=self.first + self.last as i32 {
            let z = f64::from(point) / f64::from(1 << GRID_BITS);
            match response {
                Response::Linear => table.push(0),
                Response::Bernoulli => table.push(probability(1.0 / (1.0 + exp(-z)))),
                Response::Poisson => table.extend(above(exp(z), self.width as usize)),
                Response::Categorical => {
                    let mass = (exp(z) * f64::from(1 << 24)).round() as u64;
                    table.extend([mass as u32, (mass >> 32) as u32]);
                }
            }
        }
        table
    }
}

/// A probability in units of 2⁻³², at most 1 − 2⁻³².
pub fn probability(p: f64) -> u32 {
    (p * 2f64.powi(32)).round() as u32
}

/// The probabilities that a count with this mean is above 0, above 1, ….
fn above(mean: f64, width: usize) -> Vec<u32> {
    let mut masses = vec![exp(-mean)];
    for k in 1..2 * width {
        masses.push(masses[k - 1] * mean / k as f64);
    }
    // From the end, where the terms are small.
    let mut sum = 0.0;
    let mut above: Vec<u32> = (1..2 * width)
        .rev()
        .map(|k| {
            sum += masses[k];
            probability(sum)
        })
        .collect();
    above.reverse();
    above.truncate(width);
    above
}

/// eˣ to about 12 digits for |x| < 100.
pub fn exp(x: f64) -> f64 {
    let x = x / 1024.0;
    let series = (1..=12).rev().fold(1.0, |sum, k| 1.0 + sum * x / f64::from(k));
    (0..10).fold(series, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_has_twelve_digits() {
        for i in -1000..=1000 {
            let x = f64::from(i) / 17.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-12, "{x}");
        }
    }

    #[test]
    fn counts_have_their_mean_and_variance() {
        for mean in [3e-4, 0.1, 1.0, 7.5, 54.6] {
            let above: Vec<f64> =
                above(mean, 128).iter().map(|&p| f64::from(p) / 2f64.powi(32)).collect();
            // E[y] = Σ P(y > k), E[y²] = Σ (2k + 1) P(y > k).
            let first: f64 = above.iter().sum();
            let second: f64 = above.iter().enumerate().map(|(k, p)| (2 * k + 1) as f64 * p).sum();
            // 128 roundings of half a unit.
            assert!((first - mean).abs() < 64.0 * 2f64.powi(-32), "{mean}: {first}");
            assert!((second - first * first - mean).abs() < 128.0 * 128.0 * 2f64.powi(-32), "{mean}");
        }
    }

    #[test]
    fn tables_are_as_long_as_their_grids() {
        for response in [Response::Linear, Response::Bernoulli, Response::Poisson, Response::Categorical]
        {
            let grid = Grid::of(response);
            assert!(grid.width.is_power_of_two());
            assert_eq!(grid.table(response).len() as u32, (grid.last + 1) * grid.width);
        }
    }
}
