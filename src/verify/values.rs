//! The values of an optimizer's tensors on the device.

use super::{Compared, Rig};
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
    /// All values of all tensors, in one read-back.
    pub async fn read(rig: &Rig<'_>, optimizer: &Optimizer) -> Result<Vec<Self>, Error> {
        let tensors = optimizer.tensors();
        let mut lists: Vec<&[Span]> = Vec::new();
        for tensor in tensors {
            lists.extend([&tensor.params[..], &tensor.grads]);
            lists.extend(tensor.moments.iter().map(Vec::as_slice));
            lists.extend([&tensor.accumulator[..], &tensor.average]);
        }
        let mut values = rig.read_joined(&lists).await?.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let tensor = |tensor: &Tensor| TensorValues {
            params: next(),
            grads: next(),
            moments: tensor.moments.iter().map(|_| next()).collect(),
            accumulator: next(),
            average: next(),
        };
        Ok(tensors.iter().map(tensor).collect())
    }

    /// These values of the device beside the expected ones.
    pub fn compared(&self, expected: &Self, moments: &[&'static str], at: &str) -> Vec<Compared<f32>> {
        let pairs = self.named(moments).zip(expected.named(moments));
        let compared = |((name, found), (_, expected)): ((_, &Vec<f32>), (_, &Vec<f32>))| {
            Compared::new(format!("{name}{at}"), &found[..], &expected[..])
        };
        pairs.map(compared).collect()
    }

    /// Each vector under its name.
    fn named<'a>(
        &'a self,
        moments: &'a [&'static str],
    ) -> impl Iterator<Item = (&'static str, &'a Vec<f32>)> {
        let before = [("params", &self.params), ("grads", &self.grads)];
        let moments = moments.iter().copied().zip(&self.moments);
        let after = [("accumulator", &self.accumulator), ("average", &self.average)];
        before.into_iter().chain(moments).chain(after)
    }
}
