/// Sums over rows that evaluate a model, weighted by sample weights, in f64. Evaluations of disjoint rows can be
/// [added](Self::add).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Σ s L.
    pub loss: f64,
    /// Σ s; without weights the number of rows.
    pub weight: f64,
    /// Σ s over the rows whose most probable class is correct.
    pub correct: f64,
    /// Σ s L of the saturated model, which predicts every y.
    pub saturated: f64,
    /// For each output Σ s · (r², |r|, y, y²), with r = μ − y; the last two of y − `shift`.
    pub outputs: Vec<[f64; 4]>,
    /// A value near the targets' mean, which avoids cancellation in their squares.
    pub shift: f64,
}

impl Evaluation {
    /// Adds the sums of other rows, which must have the same `shift`.
    pub fn add(&mut self, other: &Evaluation) {
        self.loss += other.loss;
        self.weight += other.weight;
        self.correct += other.correct;
        self.saturated += other.saturated;
        self.shift = other.shift;
        self.outputs.resize(self.outputs.len().max(other.outputs.len()), [0.0; 4]);
        for (sums, other) in self.outputs.iter_mut().zip(&other.outputs) {
            sums.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
    }

    /// Returns the mean loss.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.weight
    }

    /// Returns the mean of (μ − y)² over outputs and rows.
    pub fn mean_squared_error(&self) -> f64 {
        self.mean(|sums| sums[0] / self.weight)
    }

    /// Returns the mean of |μ − y| over outputs and rows.
    pub fn mean_absolute_error(&self) -> f64 {
        self.mean(|sums| sums[1] / self.weight)
    }

    /// Returns R² = 1 − Σ (μ − y)² / Σ (y − ȳ)², averaged over outputs, as scikit-learn's `r2_score`. For a constant
    /// target it is 1 if all predictions are exact, else 0.
    pub fn r2(&self) -> f64 {
        self.mean(|&[squares, _, sum, sum_of_squares]| {
            if is_constant(sum, sum_of_squares, self.weight) {
                return if squares == 0.0 { 1.0 } else { 0.0 };
            }
            1.0 - squares / (sum_of_squares - sum * sum / self.weight)
        })
    }

    /// Whether the targets of an output are constant up to rounding, so that R² is meaningless.
    pub fn has_constant_target(&self) -> bool {
        self.outputs.iter().any(|&[_, _, sum, squares]| is_constant(sum, squares, self.weight))
    }

    /// Returns the share of rows whose most probable class is correct.
    pub fn accuracy(&self) -> f64 {
        self.correct / self.weight
    }

    /// Returns the mean deviance: twice the difference of the mean loss from that of the saturated model, at least 0.
    pub fn mean_deviance(&self) -> f64 {
        let deviance = 2.0 * (self.loss - self.saturated) / self.weight;
        if deviance < 0.0 { 0.0 } else { deviance }
    }

    /// Returns the mean Poisson deviance of the model that always predicts the targets' mean; NaN for constant targets.
    pub fn null_poisson_deviance(&self) -> f64 {
        let sum: f64 = self.outputs.iter().map(|sums| sums[2]).sum();
        let squares: f64 = self.outputs.iter().map(|sums| sums[3]).sum();
        if squares - sum * sum / self.weight <= 1e-6 * squares {
            return f64::NAN;
        }
        let mean = self.shift + sum / self.weight;
        2.0 * (mean - mean * mean.ln() - self.saturated / self.weight)
    }

    fn mean(&self, of: impl Fn(&[f64; 4]) -> f64) -> f64 {
        self.outputs.iter().map(of).sum::<f64>() / self.outputs.len() as f64
    }
}

/// Whether Σ s (y − ȳ)², computed from Σ s y and Σ s y², is only rounding error.
fn is_constant(sum: f64, sum_of_squares: f64, weight: f64) -> bool {
    let total = sum_of_squares - sum * sum / weight;
    total <= 1e-12 * sum_of_squares || total <= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_and_a_constant_model_have_the_r2_they_should() {
        // y = 1, 2, 3 relative to 2.
        let sums = |squares| Evaluation {
            weight: 3.0,
            outputs: vec![[squares, 0.0, 0.0, 2.0]],
            ..Evaluation::default()
        };
        assert_eq!((sums(0.0).r2(), sums(2.0).r2()), (1.0, 0.0));
        let constant = Evaluation { weight: 3.0, outputs: vec![[0.0; 4]], ..Evaluation::default() };
        assert_eq!(constant.r2(), 1.0);
        assert!(constant.has_constant_target() && !sums(1.0).has_constant_target());
    }
}
