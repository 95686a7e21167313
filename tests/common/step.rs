//! The definition of a step with f32 error bounds, and a CPU model of an optimizer on the device.

use super::gpu::Gpu;
use super::{assert_bits, assert_within, widen};
use wgpu_optim::cpu::{self, Bounded, RuleConstants, Step, StepState, exact_step};
use wgpu_optim::gpu::Tensor;
use wgpu_optim::{Rule, Span};

/// Every path through the kernels.
pub fn rules() -> Vec<Rule> {
    Rule::variants().into_iter().map(|(_, rule)| rule).collect()
}

/// Values and bounds of f32 results.
#[derive(Clone, Debug, Default)]
pub struct Expected(pub Vec<Bounded>);

impl Expected {
    pub fn exactly(values: &[f32]) -> Self {
        Expected(values.iter().map(|&x| Bounded::exactly(x)).collect())
    }

    #[track_caller]
    pub fn assert(&self, what: &str, actual: &[f32]) {
        let values: Vec<f64> = self.0.iter().map(|b| b.value).collect();
        let errors: Vec<f64> = self.0.iter().map(|b| b.error).collect();
        assert_within(what, &widen(actual), &values, &errors);
    }
}

/// The definition of a step from f32 inputs: the parameters, then each moment.
pub fn step(rule: &Rule, step: &Step<Bounded>, before: &[Vec<f32>], grads: &[f32]) -> Vec<Expected> {
    let mut values: Vec<Expected> = before.iter().map(|values| Expected::exactly(values)).collect();
    let (params, moments) = values.split_first_mut().unwrap();
    let mut moments: Vec<&mut [Bounded]> = moments.iter_mut().map(|m| m.0.as_mut_slice()).collect();
    cpu::update(rule, step, &mut params.0, &Expected::exactly(grads).0, &mut moments);
    values
}

/// The CPU model of an optimizer's state on the device: for each tensor its parameters, then each moment.
#[derive(Clone)]
pub struct Twin {
    pub rule: Rule,
    pub states: Vec<StepState>,
    pub rates: Vec<f32>,
    pub steps: usize,
    pub tensors: Vec<Vec<Vec<f32>>>,
}

impl Twin {
    /// Creates the model before the first step, with the rule's learning rate.
    pub fn new(rule: Rule, params: &[Vec<f32>]) -> Self {
        let moments = rule.moments().len();
        let tensor = |params: &Vec<f32>| {
            let mut values = vec![vec![0.0; params.len()]; 1 + moments];
            values[0].clone_from(params);
            values
        };
        let tensors: Vec<_> = params.iter().map(tensor).collect();
        let states = vec![StepState::default(); tensors.len()];
        Twin { rule, states, rates: vec![rule.lr() as f32], steps: 0, tensors }
    }

    /// Takes one step with `grads`, and compares it with the `actual` values of the device: bit for bit if the device is
    /// exact; else within the bounds, and the next step starts from the device's values.
    #[track_caller]
    pub fn follow(&mut self, gpu: &Gpu, grads: &[Vec<f32>], actual: Vec<Vec<Vec<f32>>>) {
        let grads: Vec<_> = grads.iter().map(|grads| Some(grads.as_slice())).collect();
        self.follow_some(gpu, &grads, actual);
    }

    /// Takes one step in which some tensors have no gradient.
    #[track_caller]
    pub fn follow_some(&mut self, gpu: &Gpu, grads: &[Option<&[f32]>], actual: Vec<Vec<Vec<f32>>>) {
        let lr = self.rates[self.steps.min(self.rates.len() - 1)];
        self.steps += 1;
        let constants = RuleConstants::new(&self.rule);
        for (i, grads) in grads.iter().enumerate() {
            let tensor = &mut self.tensors[i];
            let t = self.states[i].t + 1;
            let names = std::iter::once("params").chain(self.rule.moments().iter().copied());
            let what = names.map(|name| format!("{:?}, step {t}, tensor {i}: {name}", self.rule));
            let Some(grads) = grads else {
                what.zip(tensor.iter().zip(&actual[i])).for_each(|(w, (e, a))| assert_bits(&w, a, e));
                continue;
            };
            let step_constants = self.states[i].advance(&constants, lr);
            let exact = exact_step(&self.rule, t, f64::from(lr));
            let expected = step(&self.rule, &exact, tensor, grads);
            if gpu.exact {
                let (params, moments) = tensor.split_first_mut().unwrap();
                let mut moments: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
                cpu::update(&self.rule, &step_constants, params, grads, &mut moments);
                for (w, (e, a)) in what.clone().zip(tensor.iter().zip(&actual[i])) {
                    assert_bits(&w, a, e);
                }
            }
            what.zip(expected.iter().zip(&actual[i])).for_each(|(w, (e, a))| e.assert(&w, a));
        }
        self.tensors = actual;
    }
}

/// The spans of a tensor's parameters, then of its moments.
fn spans(tensor: &Tensor) -> impl Iterator<Item = &Vec<Span>> {
    std::iter::once(&tensor.params).chain(&tensor.moments)
}

/// Reads the state of each tensor, in the layout of [`Twin::tensors`].
pub fn read_tensors(gpu: &Gpu, tensors: &[Tensor]) -> Vec<Vec<Vec<f32>>> {
    let all: Vec<&Span> = tensors.iter().flat_map(|tensor| spans(tensor).flatten()).collect();
    let mut values = gpu.read(&all).into_iter();
    let mut joined = |parts: &Vec<Span>| values.by_ref().take(parts.len()).flatten().collect();
    tensors.iter().map(|tensor| spans(tensor).map(&mut joined).collect()).collect()
}
