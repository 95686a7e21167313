//! Steps on the processor, in f32 and f64, with the decisions of `shaders/step_state.wgsl`.

use super::files::Element;
use super::state::Parameter;
use super::{Counters, Grads, Plan};
use wgpu_optim::Penalty;
use wgpu_optim::cpu::{self, StepState, clip_factor, condition};
use wgpu_optim::regression::train::Float;

/// An optimizer over parameters on the processor.
pub struct Processor<'a, R> {
    plan: &'a Plan,
    parameters: Vec<Parameter<R>>,
    states: Vec<StepState>,
    counters: Counters,
}

impl<'a, R: Element + Float> Processor<'a, R> {
    pub fn new(plan: &'a Plan, parameters: Vec<Parameter<R>>) -> Self {
        let states = parameters.iter().map(|p| StepState::after(&plan.rule, p.step)).collect();
        Processor { plan, parameters, states, counters: Counters::default() }
    }

    /// Applies one step to the parameters that have a gradient.
    pub fn step(&mut self, mut grads: Grads<R>) {
        let Plan { rule, conditioning, rates } = self.plan;
        let mut factor = 1.0 / conditioning.grad_scale;
        let used = || grads.iter().flatten().map(Vec::as_slice);
        if self.plan.conditioning.measures() {
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
        // Skipped steps do not advance the position in the table; past its end, the last entry applies.
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
            let step = R::step(&mut self.states[i], rule, rates[position]);
            let parameter = &mut self.parameters[i];
            let mut moments: Vec<&mut [R]> =
                parameter.moments.iter_mut().map(Vec::as_mut_slice).collect();
            let penalty = Penalty::default();
            R::update(rule, &penalty, &step, &mut parameter.values, grads, &mut moments);
            parameter.step += 1;
            parameter.taken += 1;
        }
    }

    pub fn finish(self) -> (Vec<Parameter<R>>, Counters) {
        (self.parameters, self.counters)
    }
}
