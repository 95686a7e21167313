use crate::check::Check;
use crate::{Error, Loss};

/// A generalised linear model: the scores zₖ = x·wₖ + bₖ (+ offset) of each row, and their loss.
///
/// Its parameters are the weights of each output, `features` at a time, and then the intercepts of all
/// outputs, where it has any.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Model {
    /// Columns of X.
    pub features: usize,
    /// Scores of a row: the classes of [`Loss::Softmax`]; several targets of the squared losses; else 1.
    pub outputs: usize,
    /// What a row costs.
    pub loss: Loss,
    /// Whether there are intercepts: trained like weights, and not penalised.
    pub intercept: bool,
    /// Whether each row has a weight ≥ 0. A batch's loss is then Σ sᵢ Lᵢ / Σ sᵢ.
    pub weighted: bool,
    /// Whether each row has an offset, which is added to its scores: the logarithm of an exposure.
    pub offset: bool,
}

impl Model {
    /// A model with one output (the classes of a softmax) and an intercept, for rows without weights.
    pub fn new(features: usize, loss: Loss) -> Self {
        let outputs = match loss {
            Loss::Softmax { classes } => classes as usize,
            _ => 1,
        };
        Model { features, outputs, loss, intercept: true, weighted: false, offset: false }
    }

    /// The number of parameters.
    pub fn params(&self) -> usize {
        self.weights() + if self.intercept { self.outputs } else { 0 }
    }

    /// How many of the parameters are weights: they come first.
    pub fn weights(&self) -> usize {
        self.features * self.outputs
    }

    /// Targets of a row: one for every output, and for a softmax the class alone.
    pub fn targets(&self) -> usize {
        if matches!(self.loss, Loss::Softmax { .. }) { 1 } else { self.outputs }
    }

    /// What lies beside the features of a row: its targets, then its weight, then its offset, where it has
    /// them.
    pub fn side(&self) -> usize {
        self.targets() + usize::from(self.weighted) + usize::from(self.offset)
    }

    /// Where a row's weight is beside its features.
    pub fn weight_at(&self) -> Option<usize> {
        self.weighted.then_some(self.targets())
    }

    /// Where a row's offset is beside its features.
    pub fn offset_at(&self) -> Option<usize> {
        self.offset.then_some(self.targets() + usize::from(self.weighted))
    }

    /// Checks that outputs and loss go together.
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
