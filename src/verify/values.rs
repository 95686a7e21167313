//! The values of an optimizer's tensors on the device.

use super::Rig;
use crate::gpu::Tensor;
use crate::{Error, Optimizer, Span};

/// The values of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorValues {
    pub params: Vec<f32>,
    pub grads: Vec<f32>,
    pub moments: Vec<Vec<f32>>,
    pub accumulator: Vec<f32>,
    pub average: Vec<f32>,
}

impl TensorValues {
    /// All values of all tensors.
    pub fn read(rig: &Rig, optimizer: &Optimizer) -> Result<Vec<Self>, Error> {
        optimizer.tensors().iter().map(|tensor| Self::of(rig, tensor)).collect()
    }

    fn of(rig: &Rig, tensor: &Tensor) -> Result<Self, Error> {
        let joined = |parts: &[Span]| -> Result<Vec<f32>, Error> {
            Ok(rig.read(&parts.iter().collect::<Vec<_>>())?.concat())
        };
        Ok(TensorValues {
            params: joined(&tensor.params)?,
            grads: joined(&tensor.grads)?,
            moments: tensor.moments.iter().map(|parts| joined(parts)).collect::<Result<_, _>>()?,
            accumulator: joined(&tensor.accumulator)?,
            average: joined(&tensor.average)?,
        })
    }

    /// Each vector under its name.
    pub fn named<'a>(
        &'a self,
        moments: &'a [&'static str],
    ) -> impl Iterator<Item = (&'static str, &'a Vec<f32>)> {
        let before = [("params", &self.params), ("grads", &self.grads)];
        let moments = moments.iter().copied().zip(&self.moments);
        let after = [("accumulator", &self.accumulator), ("average", &self.average)];
        before.into_iter().chain(moments).chain(after)
    }
}
