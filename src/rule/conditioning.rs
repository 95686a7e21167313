use crate::Error;
use crate::check::Check;

/// What is done to the gradients of a step before its rule takes them.
///
/// In this order: the mean over the micro-batches where gradients are accumulated; divided by
/// `grad_scale`; scaled down to the global norm; limited value by value. Then come the rule's `maximize`
/// and weight decay. What is free to do is done inside the update; `clip_norm` and `skip_nonfinite` ask
/// for one pass more, over the gradients only (with `skip_nonfinite` in every micro-batch).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub struct Conditioning {
    /// The largest norm that all gradients of the optimizer may have together. Default `None`.
    pub clip_norm: Option<ClipNorm>,
    /// The largest absolute value of an element, > 0 (`torch.nn.utils.clip_grad_value_`). Default `None`.
    pub clip_value: Option<f64>,
    /// What the gradients were multiplied by (the scale of the loss), > 0: they are divided by it.
    /// Default 1.
    pub grad_scale: f64,
    /// Whether the unscaled and clipped gradients are written back to the caller's, as PyTorch does with
    /// those of `grad_scale` and of its clipping. Costs 4 bytes a parameter. Default false.
    pub write_back: bool,
    /// Skips the whole step where any element of a gradient is infinite or not a number: nothing is
    /// written and no step is counted. Default false: what such an element does is then up to the device,
    /// which may assume that there is none.
    pub skip_nonfinite: bool,
}

/// Global-norm clipping. The norm is that of all gradients that are used in the step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "checkpoint", derive(serde::Serialize, serde::Deserialize))]
pub enum ClipNorm {
    /// g · min(1, max_norm / (norm + 1e-6)): `torch.nn.utils.clip_grad_norm_`.
    Torch(f64),
    /// g where norm < max_norm, else g · max_norm / norm: `optax.clip_by_global_norm`.
    Optax(f64),
}

impl ClipNorm {
    /// The largest norm.
    pub fn max_norm(&self) -> f64 {
        match *self {
            ClipNorm::Torch(max) | ClipNorm::Optax(max) => max,
        }
    }
}

impl Default for Conditioning {
    fn default() -> Self {
        Conditioning {
            clip_norm: None,
            clip_value: None,
            grad_scale: 1.0,
            write_back: false,
            skip_nonfinite: false,
        }
    }
}

impl Conditioning {
    /// Whether a pass over the gradients has to be made ahead of the update.
    pub fn measures(&self) -> bool {
        self.clip_norm.is_some() || self.skip_nonfinite
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::HyperParameter`], naming the first field out of its range, its value and the range.
    pub fn validate(&self) -> Result<(), Error> {
        let check = Check("conditioning");
        check.divisor("clip_norm", self.clip_norm.map_or(1.0, |clip| clip.max_norm()))?;
        check.divisor("clip_value", self.clip_value.unwrap_or(1.0))?;
        check.divisor("grad_scale", self.grad_scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        Conditioning::default().validate().unwrap();
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-40, 1e38] {
            let default = Conditioning::default();
            let message = |conditioning: Conditioning| conditioning.validate().unwrap_err().to_string();
            let clip_norm = Some(ClipNorm::Torch(bad));
            assert!(message(Conditioning { clip_norm, ..default }).contains("clip_norm"));
            assert!(message(Conditioning { clip_value: Some(bad), ..default }).contains("clip_value"));
            assert!(message(Conditioning { grad_scale: bad, ..default }).contains("grad_scale"));
        }
    }
}
