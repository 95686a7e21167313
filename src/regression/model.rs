use crate::check::Check;
use crate::{Error, Loss};

/// A generalised linear model: scores zₖ = x·wₖ + bₖ (+ offset), and a loss.
///
/// Its parameters are the weights, outputs × features in row-major order, followed by the intercepts of all outputs, if
/// it has intercepts.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Model {
    /// Columns of X.
    pub features: usize,
    /// Number of scores of a row: the classes of [`Loss::Softmax`], the targets of the squared losses, else 1.
    pub outputs: usize,
    /// Loss function.
    pub loss: Loss,
    /// Whether there are intercepts, which are trained like weights, but not penalised.
    pub intercept: bool,
    /// Whether rows have weights ≥ 0. The loss of a batch is then Σ sᵢ Lᵢ / Σ sᵢ.
    pub weighted: bool,
    /// Whether rows have offsets, which are added to their scores, such as logarithms of exposures.
    pub offset: bool,
}

impl Model {
    /// Returns a model with one output (for softmax one per class) and an intercept, without weights and offsets.
    pub fn new(features: usize, loss: Loss) -> Self {
        let outputs = match loss {
            Loss::Softmax { classes } => classes as usize,
            _ => 1,
        };
        Model { features, outputs, loss, intercept: true, weighted: false, offset: false }
    }

    /// Returns the number of parameters.
    pub fn params(&self) -> usize {
        self.weights() + if self.intercept { self.outputs } else { 0 }
    }

    /// Returns the number of weights, which precede the intercepts.
    pub fn weights(&self) -> usize {
        self.features * self.outputs
    }

    /// Returns the number of targets of a row: one per output, but only the class for softmax.
    pub fn targets(&self) -> usize {
        if matches!(self.loss, Loss::Softmax { .. }) { 1 } else { self.outputs }
    }

    /// Returns the number of auxiliary columns: targets, sample weight, offset.
    pub fn aux_columns(&self) -> usize {
        self.targets() + usize::from(self.weighted) + usize::from(self.offset)
    }

    /// Returns the auxiliary column of the sample weight.
    pub fn weight_at(&self) -> Option<usize> {
        self.weighted.then_some(self.targets())
    }

    /// Returns the auxiliary column of the offset.
    pub fn offset_at(&self) -> Option<usize> {
        self.offset.then_some(self.targets() + usize::from(self.weighted))
    }

    /// Checks the loss, and that the number of outputs matches it.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] for the loss's parameter or the number of outputs.
    pub fn validate(&self) -> Result<(), Error> {
        self.loss.validate()?;
        let outputs = self.outputs as f64;
        let (holds, range) = match self.loss {
            Loss::Mse | Loss::SquaredError => {
                let holds = (1..=Loss::MAX_OUTPUTS as usize).contains(&self.outputs);
                (holds, "1 ≤ value ≤ 4096")
            }
            Loss::Softmax { classes } => (self.outputs == classes as usize, "as many as classes"),
            _ => (self.outputs == 1, "1"),
        };
        Check(self.loss.name()).that(holds, "outputs", outputs, range)
    }
}
