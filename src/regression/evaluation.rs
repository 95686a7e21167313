/// What evaluates a model: sums over rows, weighted where they have weights, in f64. Those of parts of the
/// rows [`add`](Self::add) up to those of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Σ s L.
    pub loss: f64,
    /// Σ s: the number of rows, where they have no weights.
    pub weight: f64,
    /// Σ s over the rows whose likeliest class is theirs.
    pub correct: f64,
    /// Σ s L of a model that knows y.
    pub saturated: f64,
    /// Of each output Σ s · (r², |r|, y, y²), with r = μ − y; the last two relative to `shift`.
    pub outputs: Vec<[f64; 4]>,
    /// Near the targets' mean, so that their squares do not cancel.
    pub shift: f64,
}

impl Evaluation {
    /// Takes other rows in; both must have one `shift`.
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

    /// The mean loss.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.weight
    }

    /// Mean over outputs and rows of (μ − y)².
    pub fn mean_squared_error(&self) -> f64 {
        self.mean(|sums| sums[0] / self.weight)
    }

    /// Mean over outputs and rows of |μ − y|.
    pub fn mean_absolute_error(&self) -> f64 {
        self.mean(|sums| sums[1] / self.weight)
    }

    /// 1 − Σ (μ − y)² / Σ (y − ȳ)², the mean of the outputs, as scikit-learn's `r2_score`; a constant target
    /// has 1 if it is met exactly and 0 if not.
    pub fn r2(&self) -> f64 {
        self.mean(|&[squares, _, sum, sum_of_squares]| {
            if is_constant(sum, sum_of_squares, self.weight) {
                return if squares == 0.0 { 1.0 } else { 0.0 };
            }
            1.0 - squares / (sum_of_squares - sum * sum / self.weight)
        })
    }

    /// Whether the targets of an output are all alike, but for rounding: R² then tells no model from another.
    pub fn has_constant_target(&self) -> bool {
        self.outputs.iter().any(|&[_, _, sum, squares]| is_constant(sum, squares, self.weight))
    }

    /// The share of rows whose likeliest class is theirs.
    pub fn accuracy(&self) -> f64 {
        self.correct / self.weight
    }

    /// Twice what the mean loss is above that of a model that knows y: the mean deviance, which is 0 where rounding
    /// alone makes it less.
    pub fn mean_deviance(&self) -> f64 {
        let deviance = 2.0 * (self.loss - self.saturated) / self.weight;
        if deviance < 0.0 { 0.0 } else { deviance }
    }

    /// The mean Poisson deviance of a model that predicts the targets' mean for every row; not a number where
    /// they are all alike.
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

/// Whether rounding alone is left of Σ s (y − ȳ)², from Σ s y and Σ s y².
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
