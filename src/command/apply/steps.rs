//! The steps on the processor, in f32 and in f64: the twin of what `shaders/step_state.wgsl` decides.

use super::files::Element;
use super::state::Parameter;
use super::{Counters, Grads, Plan};
use wgpu_optim::Rule;
use wgpu_optim::cpu::{
    self, RuleConstants, Step, StepState, clip_factor, condition, exact_step, parallel,
};

/// How a number type makes the steps of one parameter.
pub trait Steps: Element {
    /// What the constants of the next step are made from.
    type State;

    fn state(rule: &Rule, step: u64) -> Self::State;
    fn advance(rule: &Rule, state: &mut Self::State, lr: f64) -> Step<Self>;
    fn update(
        rule: &Rule,
        step: &Step<Self>,
        params: &mut [Self],
        grads: &[Self],
        moments: &mut [Vec<Self>],
    );
}

/// As fast as this processor can, with the roundings of the device.
impl Steps for f32 {
    type State = (RuleConstants, StepState);

    fn state(rule: &Rule, step: u64) -> Self::State {
        (RuleConstants::new(rule), StepState::after(rule, step))
    }

    fn advance(_: &Rule, (constants, state): &mut Self::State, lr: f64) -> Step<f32> {
        state.advance(constants, lr as f32)
    }

    fn update(
        rule: &Rule,
        step: &Step<f32>,
        params: &mut [f32],
        grads: &[f32],
        moments: &mut [Vec<f32>],
    ) {
        parallel::update(rule, step, params, grads, moments);
    }
}

/// The definition.
impl Steps for f64 {
    type State = u64;

    fn state(_: &Rule, step: u64) -> u64 {
        step
    }

    fn advance(rule: &Rule, step: &mut u64, lr: f64) -> Step<f64> {
        *step += 1;
        exact_step(rule, *step, lr)
    }

    fn update(
        rule: &Rule,
        step: &Step<f64>,
        params: &mut [f64],
        grads: &[f64],
        moments: &mut [Vec<f64>],
    ) {
        let mut moments: Vec<&mut [f64]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
        cpu::update(rule, step, params, grads, &mut moments);
    }
}

/// An optimizer over parameters on the processor.
pub struct Processor<'a, R: Steps> {
    plan: &'a Plan,
    parameters: Vec<Parameter<R>>,
    states: Vec<R::State>,
    counters: Counters,
}

impl<'a, R: Steps> Processor<'a, R> {
    pub fn new(plan: &'a Plan, parameters: Vec<Parameter<R>>) -> Self {
        let states = parameters.iter().map(|p| R::state(&plan.rule, p.step)).collect();
        Processor { plan, parameters, states, counters: Counters::default() }
    }

    /// One step, with a gradient for some of the parameters.
    pub fn step(&mut self, mut grads: Grads<R>) {
        let Plan { rule, conditioning, rates } = self.plan;
        let mut factor = 1.0 / conditioning.grad_scale;
        let used = || grads.iter().flatten().map(Vec::as_slice);
        if self.plan.measures() {
            let norm = cpu::norm(used()) * factor;
            if let Some(clip) = conditioning.clip_norm {
                factor *= clip_factor(clip, norm);
            }
            self.counters.norm = Some(norm);
        }
        if conditioning.skip_nonfinite && used().flatten().any(|g| !g.is_finite()) {
            self.counters.skipped += 1;
            return;
        }
        // Steps that are skipped leave the position in the table where it is, and its last entry holds.
        let position = (self.counters.taken as usize).min(rates.len() - 1);
        self.counters.taken += 1;

        let scaled = conditioning.clip_norm.is_some() || conditioning.grad_scale != 1.0;
        let factor = R::of(if scaled { factor } else { 1.0 });
        let clip_value = conditioning.clip_value.map(R::of);
        for (i, grads) in grads.iter_mut().enumerate() {
            let Some(grads) = grads else { continue };
            if scaled || clip_value.is_some() {
                grads.iter_mut().for_each(|g| *g = condition(*g, factor, clip_value));
            }
            let step = R::advance(rule, &mut self.states[i], rates[position]);
            let parameter = &mut self.parameters[i];
            R::update(rule, &step, &mut parameter.values, grads, &mut parameter.moments);
            parameter.step += 1;
            parameter.taken += 1;
        }
    }

    pub fn finish(self) -> (Vec<Parameter<R>>, Counters) {
        (self.parameters, self.counters)
    }
}
