//! The CPU's optimizers against PyTorch's, after every step of every case in `golden/optimizers.json`.

mod common;

use common::assert_within;
use serde::Deserialize;
use std::collections::HashMap;
use wgpu_optim::cpu::{self, exact_step};
use wgpu_optim::{Adam, RmsProp, Rule, Sgd};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    rule: Options,
    start: Vec<f64>,
    grads: Vec<Vec<f64>>,
    steps: Vec<State>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Options {
    Sgd { lr: f64, momentum: f64, dampening: f64, nesterov: bool },
    RmsProp { lr: f64, alpha: f64, eps: f64 },
    Adam { lr: f64, betas: (f64, f64), eps: f64 },
}

#[derive(Deserialize)]
struct State {
    params: Vec<f64>,
    moments: HashMap<String, Vec<f64>>,
}

impl Case {
    fn rule(&self) -> Rule {
        match self.rule {
            Options::Sgd { lr, momentum, dampening, nesterov } => {
                Sgd { lr, momentum, dampening, nesterov }.into()
            }
            Options::RmsProp { lr, alpha, eps } => RmsProp { lr, alpha, eps }.into(),
            Options::Adam { lr, betas, eps } => Adam { lr, betas, eps }.into(),
        }
    }

    /// Parameters and moments before step `t` (from 0).
    fn before(&self, t: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
        let zeros = vec![0.0; self.start.len()];
        match t.checked_sub(1) {
            Some(last) => (self.steps[last].params.clone(), self.moments(last)),
            None => (self.start.clone(), vec![zeros; self.rule().moments().len()]),
        }
    }

    /// The moments after step `t` (from 0), in the library's order.
    fn moments(&self, t: usize) -> Vec<Vec<f64>> {
        let moments = &self.steps[t].moments;
        let rule = self.rule();
        assert_eq!(moments.len(), rule.moments().len(), "{}", self.name);
        rule.moments().iter().map(|name| moments[*name].clone()).collect()
    }
}

fn cases() -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("golden/optimizers.json")).unwrap();
    assert_eq!(golden.cases.len(), 13);
    golden.cases
}

/// The largest size that each element has had: what its rounding errors are relative to.
fn grow(sizes: &mut [f64], values: &[f64]) {
    sizes.iter_mut().zip(values).for_each(|(size, value)| *size = size.max(value.abs()));
}

#[test]
fn every_case_is_a_valid_rule_of_its_own() {
    let cases = cases();
    for case in &cases {
        case.rule().validate().unwrap();
        assert_eq!(case.steps.len(), case.grads.len());
    }
    let names: std::collections::HashSet<_> = cases.iter().map(|case| case.rule().name()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
}

#[test]
fn f64_steps_are_pytorchs() {
    for case in cases() {
        let rule = case.rule();
        // PyTorch takes 1 − beta2ᵗ as it stands: at beta2 = 1 − 1e-7 nine digits are left of it.
        let relative = if rule.bias_corrected_betas().1 > 0.999_999 { 1e-9 } else { 1e-12 };
        let (mut params, mut moments) = case.before(0);
        let mut sizes = vec![vec![0.0; params.len()]; 1 + moments.len()];
        grow(&mut sizes[0], &params);
        for (t, grads) in case.grads.iter().enumerate() {
            let constants = exact_step(&rule, t as u64 + 1, rule.lr());
            let old = params.clone();
            let mut slices: Vec<&mut [f64]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            cpu::update(&rule, &constants, &mut params, grads, &mut slices);

            let what = format!("{}, step {}", case.name, t + 1);
            let changes: Vec<f64> = params.iter().zip(&old).map(|(new, old)| new - old).collect();
            grow(&mut sizes[0], &params);
            grow(&mut sizes[0], &changes);
            let bounds: Vec<f64> = sizes[0].iter().map(|size| relative * size).collect();
            assert_within(&format!("{what}: params"), &params, &case.steps[t].params, &bounds);

            let golden = case.moments(t);
            for (k, name) in rule.moments().iter().enumerate() {
                grow(&mut sizes[1 + k], &moments[k]);
                let bounds: Vec<f64> = sizes[1 + k].iter().map(|size| 1e-12 * size).collect();
                assert_within(&format!("{what}: {name}"), &moments[k], &golden[k], &bounds);
            }
        }
    }
}

/// The parallel path of f32.
#[cfg(feature = "cpu")]
mod f32_path {
    use super::*;
    use common::step::{U, rules, step};
    use common::{Random, assert_bits, widen};
    use wgpu_optim::cpu::StepState;

    /// Every step starts from PyTorch's state, rounded to f32: the bounds are those of one step, and what
    /// that rounding adds.
    #[test]
    fn f32_steps_are_pytorchs_within_the_bounds_of_one_step() {
        let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        for case in cases() {
            let rule = case.rule();
            let mut state = StepState::new(&rule);
            for (t, grads) in case.grads.iter().enumerate() {
                let constants = state.advance(&[rule.lr() as f32]);
                let (before, old_moments) = case.before(t);
                let mut params = narrow(&before);
                let mut moments: Vec<Vec<f32>> = old_moments.iter().map(|m| narrow(m)).collect();
                cpu::parallel::update(
                    &rule,
                    &constants.step(),
                    &mut params,
                    &narrow(grads),
                    &mut moments,
                );

                let what = format!("{}, step {}", case.name, t + 1);
                let exact = exact_step(&rule, t as u64 + 1, rule.lr());
                let bounded = step(&rule, &exact, &before, grads, &old_moments);
                let bounds: Vec<f64> = bounded[0]
                    .bounds
                    .iter()
                    .zip(&before)
                    .map(|(bound, old)| bound + U * old.abs())
                    .collect();
                let golden = &case.steps[t].params;
                assert_within(&format!("{what}: params"), &widen(&params), golden, &bounds);
                // Their bounds count fewer roundings than they allow: there is room for one more.
                for ((name, moment), (golden, bounded)) in
                    rule.moments().iter().zip(&moments).zip(case.moments(t).iter().zip(&bounded[1..]))
                {
                    assert_within(&format!("{what}: {name}"), &widen(moment), golden, &bounded.bounds);
                }
            }
        }
    }

    /// One task of the parallel path is 2¹⁴ elements.
    #[test]
    fn the_parallel_path_gives_the_bits_of_the_serial_one() {
        for rule in rules() {
            let mut random = Random(3);
            let len = 2 * (1 << 14) + 77;
            let (params, grads) = (random.values(len), random.values(len));
            let mut parallel = vec![random.values(len); 1 + rule.moments().len()];
            parallel.iter_mut().skip(1).flatten().for_each(|x| *x = x.abs());
            parallel[0] = params;
            let mut serial = parallel.clone();
            let constants = StepState::new(&rule).advance(&[0.25]).step();

            let (params, moments) = parallel.split_first_mut().unwrap();
            cpu::parallel::update(&rule, &constants, params, &grads, moments);
            let (params, moments) = serial.split_first_mut().unwrap();
            let mut moments: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            cpu::update(&rule, &constants, params, &grads, &mut moments);
            for (parallel, serial) in parallel.iter().zip(&serial) {
                assert_bits(rule.name(), parallel, serial);
            }
        }
    }
}
