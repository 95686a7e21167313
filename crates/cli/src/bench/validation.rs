//! Verification before timing: a benchmark with a wrong result reports no speed.

use super::BenchError;
use std::ops::Range;
use wgpu_optim::Rule;
use wgpu_optim::cpu::random::philox;
use wgpu_optim::cpu::{self, Bounded, exact_step};
use wgpu_optim::regression::verification::{Snapshot, Verification, exactly};

/// Number of elements of a tensor that are verified; a tensor of at most twice as many is verified as a whole.
const DRAWN: u64 = 1 << 14;
/// Length of the contiguous ranges in which elements are drawn.
const RUN: u64 = 1 << 9;

/// The verified ranges of a tensor: all of a small one; else its first and last elements, and random ranges between.
pub fn places(len: u64, seed: u64) -> Vec<Range<u64>> {
    if len <= 2 * DRAWN {
        return std::iter::once(0..len).collect();
    }
    let key = [seed as u32, (seed >> 32) as u32];
    let stretch = len / (DRAWN / RUN);
    let place = |i: u64| {
        let [low, high, ..] = philox([i as u32, 0, 0, 1], key);
        let first = i * stretch + (u64::from(high) << 32 | u64::from(low)) % (stretch - RUN);
        first..first + RUN
    };
    let drawn = (1..DRAWN / RUN - 1).map(place);
    std::iter::once(0..RUN).chain(drawn).chain(std::iter::once(len - RUN..len)).collect()
}

/// Compares step `t` of a rule with its definition, from the state and the gradient of the device.
pub fn step(
    report: &mut Verification,
    rule: &Rule,
    t: u64,
    grads: &[f32],
    (before, after): (&Snapshot, &Snapshot),
) {
    report.checks += 1;
    let (mut params, grads) = (exactly(&before.params), exactly(grads));
    let mut moments: Vec<_> = before.moments.iter().map(|moment| exactly(moment)).collect();
    let mut slices: Vec<_> = moments.iter_mut().map(Vec::as_mut_slice).collect();
    let constants = exact_step::<Bounded>(rule, t, rule.lr());
    cpu::update(rule, &constants, &mut params, &grads, &mut slices);
    report.compare(t, "params", &after.params, &params);
    for ((name, actual), expected) in rule.moments().iter().zip(&after.moments).zip(&moments) {
        report.compare(t, name, actual, expected);
    }
}

/// Returns the report if every value is within its bound.
pub fn passed(work: &str, report: Verification) -> Result<Verification, BenchError> {
    match (report.pass, &report.worst) {
        (true, _) => Ok(report),
        (false, worst) => {
            Err(BenchError::Wrong { work: work.into(), worst: worst.clone().map(Box::new) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::processor::random;
    use wgpu_optim::cpu::{RuleConstants, StepState, parallel};
    use wgpu_optim::{Adam, Sgd};

    /// A correct first step of `rule`: gradients, state before and state after.
    fn taken(rule: &Rule) -> (Vec<f32>, Snapshot, Snapshot) {
        let (params, grads) = (random(1000, 1, 0), random(1000, 2, -10));
        let moments = vec![vec![0.0; 1000]; rule.moments().len()];
        let before = Snapshot { params, moments };
        let mut after = before.clone();
        let step = StepState::default().advance(&RuleConstants::new(rule), rule.lr() as f32);
        parallel::update(rule, &step, &mut after.params, &grads, &mut after.moments);
        (grads, before, after)
    }

    fn verdict(rule: &Rule, t: u64, spoil: impl Fn(&mut Snapshot)) -> Result<Verification, BenchError> {
        let (grads, before, mut after) = taken(rule);
        spoil(&mut after);
        let mut report = Verification::new();
        step(&mut report, rule, t, &grads, (&before, &after));
        passed("a step", report)
    }

    #[test]
    fn a_right_step_passes() {
        for rule in [Adam::default().into(), Rule::from(Sgd::default())] {
            let report = verdict(&rule, 1, |_| ()).unwrap();
            assert!(report.worst_ratio > 0.0 && report.values >= 1000);
        }
    }

    #[test]
    fn a_wrong_step_is_an_error_that_names_the_element() {
        let adam = Adam::default().into();
        let error = verdict(&adam, 1, |after| after.params[999] += 1e-5).unwrap_err().to_string();
        assert!(error.contains("a step") && error.contains("params[999]"), "{error}");
        let error = verdict(&adam, 1, |after| after.moments[1][3] = 0.0).unwrap_err().to_string();
        assert!(error.contains("exp_avg_sq[3]"), "{error}");
        verdict(&adam, 2, |_| ()).unwrap_err();
        verdict(&adam, 1, |after| after.params[0] = f32::NAN).unwrap_err();
    }

    #[test]
    fn places_are_within_the_tensor_and_have_both_ends() {
        for len in [1, 5, 1 << 14, (1 << 15) + 1, 1 << 20, (1 << 24) + 3, 1 << 32] {
            let places = places(len, 7);
            assert_eq!((places[0].start, places.last().unwrap().end), (0, len));
            assert!(places.windows(2).all(|pair| pair[0].end <= pair[1].start), "{len}: {places:?}");
            let drawn: u64 = places.iter().map(|place| place.end - place.start).sum();
            assert!(drawn == len.min(DRAWN) || len <= 2 * DRAWN && drawn == len);
        }
    }
}
