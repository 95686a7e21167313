use super::fields;
use crate::Error;
use crate::check::Check;

/// The conditioning of the gradients of a step, before the rule.
///
/// In this order: the mean over accumulated micro-batches, division by `grad_scale`, clipping to the global norm,
/// clipping by value. The rule's `maximize` and weight decay follow. The update does all of it without further memory
/// traffic, except that `clip_norm` and `skip_nonfinite` need one more pass over the gradients (`skip_nonfinite` in
/// every micro-batch).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Conditioning {
    /// The largest norm that all gradients of the optimizer may have together. As in PyTorch, an infinite norm
    /// clips nothing, and is still measured. Default `None`.
    pub clip_norm: Option<ClipNorm>,
    /// The largest absolute value of an element, > 0 (`torch.nn.utils.clip_grad_value_`). An infinite value clips
    /// nothing. Default `None`.
    #[cfg_attr(feature = "serde", serde(with = "limit::option"))]
    pub clip_value: Option<f64>,
    /// The factor of the loss, > 0, by which gradients are divided.
    /// Default 1.
    pub grad_scale: f64,
    /// Whether the unscaled and clipped gradients are written back to the caller's, as PyTorch does with
    /// those of `grad_scale` and of its clipping. Costs 4 bytes a parameter. Default false.
    pub write_back: bool,
    /// Skips the whole step where any element of a gradient is infinite or not a number: nothing is
    /// written and no step is counted. Default false: the effect of such an element then depends on the device,
    /// which may assume that none exists.
    pub skip_nonfinite: bool,
}

/// Global-norm clipping. The norm is that of all gradients that are used in the step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ClipNorm {
    /// g · min(1, max_norm / (norm + 1e-6)): `torch.nn.utils.clip_grad_norm_`.
    Torch(#[cfg_attr(feature = "serde", serde(with = "limit"))] f64),
    /// g where norm < max_norm, else g · max_norm / norm: `optax.clip_by_global_norm`.
    Optax(#[cfg_attr(feature = "serde", serde(with = "limit"))] f64),
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

fields!(Conditioning: clip_norm clip_value grad_scale write_back skip_nonfinite);

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
        check.limit("clip_norm", self.clip_norm.map_or(1.0, |clip| clip.max_norm()))?;
        check.limit("clip_value", self.clip_value.unwrap_or(1.0))?;
        check.divisor("grad_scale", self.grad_scale)
    }
}

/// A limit in a file. JSON has no number for one that is infinite: there it is a word.
#[cfg(feature = "serde")]
mod limit {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Limit {
        Finite(f64),
        Infinite(Word),
    }

    #[derive(Serialize, Deserialize)]
    enum Word {
        #[serde(rename = "inf")]
        Infinity,
    }

    impl From<f64> for Limit {
        fn from(value: f64) -> Self {
            if value == f64::INFINITY { Limit::Infinite(Word::Infinity) } else { Limit::Finite(value) }
        }
    }

    impl From<Limit> for f64 {
        fn from(limit: Limit) -> Self {
            match limit {
                Limit::Finite(value) => value,
                Limit::Infinite(Word::Infinity) => f64::INFINITY,
            }
        }
    }

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        Limit::from(*value).serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<f64, D::Error> {
        Limit::deserialize(from).map(f64::from)
    }

    pub mod option {
        use super::Limit;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
            value.map(Limit::from).serialize(to)
        }

        pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<f64>, D::Error> {
            Ok(Option::<Limit>::deserialize(from)?.map(f64::from))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        Conditioning::default().validate().unwrap();
        for bad in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-40, 1e38] {
            let default = Conditioning::default();
            let message = |conditioning: Conditioning| conditioning.validate().unwrap_err().to_string();
            let clip_norm = Some(ClipNorm::Torch(bad));
            assert!(message(Conditioning { clip_norm, ..default }).contains("clip_norm"));
            assert!(message(Conditioning { clip_value: Some(bad), ..default }).contains("clip_value"));
            assert!(message(Conditioning { grad_scale: bad, ..default }).contains("grad_scale"));
        }
    }

    #[test]
    fn a_limit_may_be_infinite_and_a_scale_may_not() {
        let default = Conditioning::default();
        let (clip_norm, clip_value) = (Some(ClipNorm::Optax(f64::INFINITY)), Some(f64::INFINITY));
        let infinite = Conditioning { clip_norm, clip_value, ..default };
        infinite.validate().unwrap();
        assert!(infinite.measures());
        let scaled = Conditioning { grad_scale: f64::INFINITY, ..default };
        assert!(scaled.validate().unwrap_err().to_string().contains("grad_scale is inf"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn limits_are_read_as_they_were_written() {
        for limit in [0.1, 5.0, 1.5e-38, f64::INFINITY] {
            for clip_norm in [None, Some(ClipNorm::Torch(limit)), Some(ClipNorm::Optax(limit))] {
                for clip_value in [None, Some(limit)] {
                    let written = Conditioning { clip_norm, clip_value, ..Conditioning::default() };
                    let json = serde_json::to_string(&written).unwrap();
                    assert_eq!(serde_json::from_str::<Conditioning>(&json).unwrap(), written, "{json}");
                }
            }
        }
        // As it was before there were infinite ones.
        let json = serde_json::json!({
            "clip_norm": { "Torch": 2.0 }, "clip_value": null, "grad_scale": 1.0, "write_back": false,
            "skip_nonfinite": false,
        });
        let read: Conditioning = serde_json::from_value(json).unwrap();
        assert_eq!(read.clip_norm, Some(ClipNorm::Torch(2.0)));
    }
}
