//! burn's Adam over one tensor, and what it is checked against.

use crate::Failure;
use burn::optim::{self, AdamConfig, AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

/// Counted for a parameter: it, its gradient and two moments are read, it and they are written.
pub const BYTES: u64 = 28;
/// PyTorch's defaults. burn holds all but the first in f32.
const LR: f64 = 1e-3;
const BETAS: [f32; 2] = [0.9, 0.999];
const EPS: f32 = 1e-8;
/// Elements that are checked, drawn, besides the first and the last.
const DRAWN: usize = 4096;
/// What an element may be off by: 16 u of the terms of a moment; of a parameter 4 u, and 1e-4 of its step, because
/// burn has 1 - beta2 ** t in f32.
const U: f64 = 1.0 / (1 << 24) as f64;
const MOMENT: f64 = 16.0 * U;
const PARAMETER: f64 = 4.0 * U;
const STEP: f64 = 1e-4;

/// A tensor, its gradients and its state.
pub struct Adam {
    optimizer: optim::Adam,
    grads: Tensor<1>,
    /// The step takes them, and gives what it makes of them: no one else may have a share in their memory.
    params: Option<(Tensor<1>, AdamState<1>)>,
    drawn: Tensor<1, Int>,
    device: Device,
}

/// The drawn elements in f64.
struct Elements {
    params: Vec<f64>,
    grads: Vec<f64>,
    exp_avg: Vec<f64>,
    exp_avg_sq: Vec<f64>,
}

impl Adam {
    /// Of so many parameters.
    pub fn new(device: &Device, size: u64, seed: u64) -> Self {
        device.seed(seed);
        let random = |distribution| Tensor::<1>::random([size as usize], distribution, device);
        let normal = |deviation| random(Distribution::Normal(0.0, deviation));
        let moments =
            AdaptiveMomentumState::new(0, normal(1.0), random(Distribution::Uniform(0.0, 1.0)));
        // Parameters are of the size of a step: what is wrong with it is not rounded away.
        let params = normal(0.05);
        // The constant of a generator of 64 bits, whose upper bits are the better ones.
        let mut state = seed;
        let mut draw = || {
            state =
                state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 32) * size >> 32) as i32
        };
        let mut drawn: Vec<i32> = (0..DRAWN).map(|_| draw()).collect();
        drawn.extend([0, (size - 1) as i32]);
        Adam {
            optimizer: AdamConfig::new()
                .with_beta_1(BETAS[0])
                .with_beta_2(BETAS[1])
                .with_epsilon(EPS)
                .build(),
            grads: normal(1.0),
            params: Some((params, AdamState::new(moments))),
            drawn: Tensor::from_data(drawn.as_slice(), device),
            device: device.clone(),
        }
    }

    /// So many steps, each handed over by itself, and a wait until the device has done them. burn would make one kernel
    /// of steps that it holds back, which reads and writes them once: training has other gradients for each.
    pub fn steps(&mut self, steps: u32) -> Result<(), Failure> {
        for _ in 0..steps {
            let (params, state) = self.params.take().expect("every step puts them back");
            let (params, state) = self.optimizer.step(LR, params, self.grads.clone(), Some(state));
            self.params = Some((params, state.expect("Adam has a state")));
            self.device.flush().map_err(Failure::of)?;
        }
        self.device.sync().map_err(Failure::of)
    }

    /// One more step, of the drawn elements, against the formula in f64.
    pub fn check(&mut self, name: &str) -> Result<(), Failure> {
        let before = self.read();
        self.steps(1)?;
        let after = self.read();
        let t = self.state().momentum.time as i32;
        let [beta1, beta2] = BETAS.map(f64::from);
        for (i, (&p, &g)) in before.params.iter().zip(&before.grads).enumerate() {
            let (old, old_sq) = (before.exp_avg[i], before.exp_avg_sq[i]);
            let exp_avg = beta1 * old + (1.0 - beta1) * g;
            let exp_avg_sq = beta2 * old_sq + (1.0 - beta2) * g * g;
            let root = (exp_avg_sq / (1.0 - beta2.powi(t))).sqrt();
            let step = LR * exp_avg / (1.0 - beta1.powi(t)) / (root + f64::from(EPS));
            let compared = [
                ("params", after.params[i], p - step, PARAMETER * p.abs() + STEP * step.abs()),
                // Whose terms may have cancelled each other.
                ("exp_avg", after.exp_avg[i], exp_avg, MOMENT * (old.abs() + exp_avg.abs() + g.abs())),
                ("exp_avg_sq", after.exp_avg_sq[i], exp_avg_sq, MOMENT * (old_sq + exp_avg_sq)),
            ];
            for (what, found, exact, allowed) in compared {
                let error = (found - exact).abs() / allowed;
                if error.is_nan() || error > 1.0 {
                    let size = self.grads.dims()[0];
                    return Err(Failure::Wrong(format!(
                        "{name} of {size}, {what} in step {t}: {found:e}, in f64 {exact:e}, \
                         {error:.3} times what it may be off by"
                    )));
                }
            }
        }
        Ok(())
    }

    fn state(&self) -> &AdamState<1> {
        &self.params.as_ref().expect("every step puts them back").1
    }

    fn read(&self) -> Elements {
        let read = |tensor: &Tensor<1>| -> Vec<f64> {
            let data: TensorData = tensor.clone().select(0, self.drawn.clone()).into_data();
            data.iter::<f64>().collect()
        };
        let (params, state) = self.params.as_ref().expect("every step puts them back");
        Elements {
            params: read(params),
            grads: read(&self.grads),
            exp_avg: read(&state.momentum.moment_1),
            exp_avg_sq: read(&state.momentum.moment_2),
        }
    }
}
