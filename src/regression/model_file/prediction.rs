use super::SavedModel;
use crate::Loss;
use crate::regression::TargetKind;

impl SavedModel {
    /// Computes the scores z of rows, rows × outputs, from unscaled features.
    ///
    /// # Panics
    /// If `x` does not consist of whole rows, or the number of offsets is not the number of rows.
    pub fn scores(&self, x: &[f64], offsets: Option<&[f64]>) -> Vec<f64> {
        let (features, outputs) = (self.model.features, self.model.outputs);
        let rows = x.len() / features;
        assert_eq!(x.len(), rows * features, "not whole rows");
        assert!(offsets.is_none_or(|offsets| offsets.len() == rows), "not an offset for each row");
        let mut scaled = Vec::with_capacity(features);
        let mut scores = Vec::with_capacity(rows * outputs);
        for (i, row) in x.chunks(features).enumerate() {
            scaled.clear();
            scaled.extend(row);
            if let Some(scaling) = &self.scaling {
                scaling.apply(&mut scaled);
            }
            let offset = offsets.map_or(0.0, |offsets| offsets[i]);
            for (k, weights) in self.coef.chunks(features).enumerate() {
                let sum: f64 = scaled.iter().zip(weights).map(|(x, w)| x * w).sum();
                scores.push(sum + self.intercept.get(k).unwrap_or(&0.0) + offset);
            }
        }
        scores
    }

    /// Computes the predictions of rows: the [means](SavedModel::means) of their scores.
    ///
    /// # Panics
    /// As [`SavedModel::scores`].
    pub fn predictions(&self, x: &[f64], offsets: Option<&[f64]>) -> Vec<f64> {
        self.means(&self.scores(x, offsets))
    }

    /// Converts scores to means μ(z): the score itself; the probability of the second class; the probabilities of all
    /// classes; or e^z, limited to the largest f64.
    pub fn means(&self, scores: &[f64]) -> Vec<f64> {
        match self.model.loss {
            Loss::Logistic => scores.iter().map(|&z| logistic(z)).collect(),
            Loss::Poisson => scores.iter().map(|&z| power(z)).collect(),
            Loss::Softmax { .. } => scores.chunks(self.model.outputs).flat_map(softmax).collect(),
            _ => scores.to_vec(),
        }
    }

    /// Converts scores to the probabilities of all classes; `None` if the loss has none.
    pub fn probabilities(&self, scores: &[f64]) -> Option<Vec<f64>> {
        match self.model.loss {
            // 1 − p would lose all precision for p near 1.
            Loss::Logistic => Some(scores.iter().flat_map(|&z| [logistic(-z), logistic(z)]).collect()),
            Loss::Softmax { .. } => Some(self.means(scores)),
            _ => None,
        }
    }

    /// Returns the most probable class of each row as a target value; `None` if the model is not a classifier.
    pub fn labels(&self, scores: &[f64]) -> Option<Vec<f64>> {
        let values = self.class_values();
        Some(self.most_probable_classes(scores)?.into_iter().map(|class| values[class]).collect())
    }

    /// Returns the most probable class of each row as an index of the labels; `None` if the model is not a classifier.
    pub fn most_probable_classes(&self, scores: &[f64]) -> Option<Vec<usize>> {
        match self.model.loss.target_kind() {
            TargetKind::Binary => Some(scores.iter().map(|&z| usize::from(z > 0.0)).collect()),
            TargetKind::Class => Some(scores.chunks(self.model.outputs).map(first_of_largest).collect()),
            TargetKind::Real | TargetKind::Count => None,
        }
    }
}

/// eᶻ, finite for finite z.
fn power(z: f64) -> f64 {
    let power = z.exp();
    if power == f64::INFINITY { f64::MAX } else { power }
}

/// 1 / (1 + e⁻ᶻ), without overflow.
fn logistic(z: f64) -> f64 {
    let power = (-z.abs()).exp();
    if z < 0.0 { power / (1.0 + power) } else { 1.0 / (1.0 + power) }
}

/// The softmax of scores, relative to the largest score.
fn softmax(z: &[f64]) -> Vec<f64> {
    // Differences from a score that overflowed are finite.
    let finite = |z: f64| z.clamp(f64::MIN, f64::MAX);
    let largest = z.iter().fold(f64::MIN, |largest, &z| largest.max(z)).min(f64::MAX);
    let powers: Vec<f64> = z.iter().map(|&z| (finite(z) - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

fn first_of_largest(z: &[f64]) -> usize {
    (1..z.len()).fold(0, |best, k| if z[k] > z[best] { k } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_exact_where_powers_overflow() {
        assert_eq!([-1e300, -800.0, 0.0, 800.0, f64::INFINITY].map(logistic), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert_eq!(logistic(-700.0), (-700f64).exp());
        assert_eq!(softmax(&[1e308, -1e308, 1e308]), [0.5, 0.0, 0.5]);
        assert_eq!(softmax(&[f64::INFINITY, 0.0]), [1.0, 0.0]);
        assert_eq!(softmax(&[-1e9, -1e9 - 1.0])[1], logistic(-1.0));
        assert_eq!(first_of_largest(&[1.0, 3.0, 3.0]), 1);
    }
}
