//! One step of a rule: by its definition in f64, with the error that f32 may make; and the CPU twin of
//! an optimizer on the device.

use super::gpu::Gpu;
use super::{assert_bits, assert_within, widen};
use wgpu_optim::cpu::{self, Step, StepState, exact_step};
use wgpu_optim::gpu::Tensor;
use wgpu_optim::{Adam, RmsProp, Rule, Sgd, Span};

/// Every path through the kernels.
pub fn rules() -> [Rule; 6] {
    let sgd = Sgd { lr: 0.125, ..Sgd::default() };
    let momentum = Sgd { lr: 0.03, momentum: 0.9, ..sgd };
    [
        sgd.into(),
        momentum.into(),
        Sgd { dampening: 0.3, ..momentum }.into(),
        Sgd { nesterov: true, ..momentum }.into(),
        RmsProp { lr: 0.01, alpha: 0.95, eps: 1e-6 }.into(),
        Adam { lr: 0.02, betas: (0.8, 0.99), eps: 1e-7 }.into(),
    ]
}

/// Half an ulp of one in f32.
pub const U: f64 = 1.0 / (1 << 24) as f64;

/// What may be flushed to zero.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// Values, and how far from them an f32 result may be.
#[derive(Clone, Debug, Default)]
pub struct Bounded {
    pub values: Vec<f64>,
    pub bounds: Vec<f64>,
}

impl Bounded {
    #[track_caller]
    pub fn assert(&self, what: &str, actual: &[f32]) {
        assert_within(what, &widen(actual), &self.values, &self.bounds);
    }
}

/// One step in f64: the parameters and then each moment, with the bounds of f32 arithmetic as inexact
/// as WGSL allows. In units of U these count the roundings behind each term: two for every + − ·,
/// five for a quotient, nine for a root, one for every constant.
pub fn step(
    rule: &Rule,
    step: &Step<f64>,
    params: &[f64],
    grads: &[f64],
    moments: &[Vec<f64>],
) -> Vec<Bounded> {
    let (mut new_params, mut new_moments) = (params.to_vec(), moments.to_vec());
    let mut slices: Vec<&mut [f64]> = new_moments.iter_mut().map(Vec::as_mut_slice).collect();
    cpu::update(rule, step, &mut new_params, grads, &mut slices);

    let mut bounds = vec![Vec::new(); 1 + moments.len()];
    for i in 0..params.len() {
        let g = grads[i].abs();
        let moment = |k: usize| moments[k][i].abs();
        let new_moment = |k: usize| new_moments[k][i].abs();
        let update = match rule {
            Rule::Sgd(sgd) if sgd.momentum == 0.0 => 3.0 * step.lr * g,
            Rule::Sgd(sgd) => {
                let weight = if step.first { 1.0 } else { 1.0 - sgd.dampening };
                let buffer = sgd.momentum * moment(0) + weight * g;
                bounds[1].push(6.0 * U * buffer + TINY);
                let ahead = g + sgd.momentum * buffer;
                step.lr * if sgd.nesterov { 14.0 * ahead } else { 9.0 * buffer }
            }
            Rule::RmsProp(rule) => {
                bounds[1].push(8.0 * U * new_moment(0) + TINY);
                24.0 * step.lr * g / (new_moment(0).sqrt() + rule.eps)
            }
            Rule::Adam(adam) => {
                let (beta1, _) = adam.betas;
                let exp_avg = beta1 * moment(0) + (1.0 - beta1) * g;
                bounds[1].push(8.0 * U * exp_avg + TINY);
                bounds[2].push(8.0 * U * new_moment(1) + TINY);
                let root = (new_moment(1) * step.inv_bias_correction2).sqrt();
                32.0 * step.step_size * exp_avg / (root + adam.eps)
            }
            other => panic!("no bound for {other:?}"),
        };
        bounds[0].push(2.0 * U * new_params[i].abs() + U * update + TINY);
    }
    let values = std::iter::once(new_params).chain(new_moments);
    values.zip(bounds).map(|(values, bounds)| Bounded { values, bounds }).collect()
}

/// The CPU's copy of what an optimizer on the device keeps: for each tensor its parameters and then
/// each moment.
#[derive(Clone)]
pub struct Twin {
    pub rule: Rule,
    pub state: StepState,
    pub rates: Vec<f32>,
    pub tensors: Vec<Vec<Vec<f32>>>,
}

impl Twin {
    /// Before the first step, with the rule's own learning rate.
    pub fn new(rule: Rule, params: &[Vec<f32>]) -> Self {
        let moments = rule.moments().len();
        let tensor = |params: &Vec<f32>| {
            let mut values = vec![vec![0.0; params.len()]; 1 + moments];
            values[0].clone_from(params);
            values
        };
        let tensors = params.iter().map(tensor).collect();
        Twin { rule, state: StepState::new(&rule), rates: vec![rule.lr() as f32], tensors }
    }

    /// Takes one step with `grads` and compares it with the `actual` values on the device: bit for bit
    /// where the device is exact; else within the bounds, and the next step starts from what the
    /// device has.
    #[track_caller]
    pub fn follow(&mut self, gpu: &Gpu, grads: &[Vec<f32>], actual: Vec<Vec<Vec<f32>>>) {
        let constants = self.state.advance(&self.rates);
        for (i, grads) in grads.iter().enumerate() {
            let tensor = &mut self.tensors[i];
            let names = std::iter::once("params").chain(self.rule.moments().iter().copied());
            let what = names.map(|n| {
                format!(
                    "{}, step {}, tensor {i} of {}: {n}",
                    self.rule.name(),
                    self.state.t,
                    grads.len()
                )
            });
            if gpu.exact {
                let (params, moments) = tensor.split_first_mut().unwrap();
                let mut moments: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
                cpu::update(&self.rule, &constants.step(), params, grads, &mut moments);
                what.zip(tensor.iter().zip(&actual[i])).for_each(|(w, (e, a))| assert_bits(&w, a, e));
            } else {
                let exact = exact_step(&self.rule, self.state.t, f64::from(constants.lr));
                let old: Vec<_> = tensor.iter().map(|values| widen(values)).collect();
                let new = step(&self.rule, &exact, &old[0], &widen(grads), &old[1..]);
                what.zip(new.iter().zip(&actual[i])).for_each(|(w, (e, a))| e.assert(&w, a));
            }
        }
        self.tensors = actual;
    }
}

/// What the device keeps of each tensor, as in [`Twin::tensors`].
pub fn read_tensors(gpu: &Gpu, tensors: &[Tensor]) -> Vec<Vec<Vec<f32>>> {
    let all: Vec<&Span> = tensors
        .iter()
        .flat_map(|tensor| std::iter::once(&tensor.params).chain(&tensor.moments))
        .collect();
    let mut values = gpu.read(&all).into_iter();
    tensors.iter().map(|tensor| values.by_ref().take(1 + tensor.moments.len()).collect()).collect()
}
