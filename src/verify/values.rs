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
    pub async fn read(rig: &Rig<'_>, optimizer: &Optimizer) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for tensor in optimizer.tensors() {
            all.push(Self::of(rig, tensor).await?);
        }
        Ok(all)
    }

    async fn of(rig: &Rig<'_>, tensor: &Tensor) -> Result<Self, Error> {
        let mut moments = Vec::new();
        for parts in &tensor.moments {
            moments.push(joined(rig, parts).await?);
        }
        Ok(TensorValues {
            params: joined(rig, &tensor.params).await?,
            grads: joined(rig, &tensor.grads).await?,
            moments,
            accumulator: joined(rig, &tensor.accumulator).await?,
            average: joined(rig, &tensor.average).await?,
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

async fn joined(rig: &Rig<'_>, parts: &[Span]) -> Result<Vec<f32>, Error> {
    Ok(rig.read(&parts.iter().collect::<Vec<_>>()).await?.concat())
}
