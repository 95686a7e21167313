//! The processor's fast f32 path against the plain functions.
#![cfg(feature = "cpu")]

use crate::common;

use common::step::rules;
use common::{Random, assert_bits};
use wgpu_optim::cpu::{self, RuleConstants, StepState};

/// One task of the parallel path is 2¹⁴ elements.
#[test]
fn a_parallel_step_gives_the_bits_of_a_serial_one() {
    for rule in rules() {
        let mut random = Random(3);
        let len = 2 * (1 << 14) + 77;
        let grads = random.values(len);
        let mut parallel: Vec<_> = (0..=rule.moments().len()).map(|_| random.values(len)).collect();
        parallel.iter_mut().skip(1).flatten().for_each(|x| *x = x.abs());
        let mut serial = parallel.clone();
        let mut state = StepState::default();
        for _ in 0..2 {
            let step = state.advance(&RuleConstants::new(&rule), 0.25);
            let (params, moments) = parallel.split_first_mut().unwrap();
            cpu::parallel::update(&rule, &step, params, &grads, moments);
            let (params, moments) = serial.split_first_mut().unwrap();
            let mut moments: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            cpu::update(&rule, &step, params, &grads, &mut moments);
        }
        for (parallel, serial) in parallel.iter().zip(&serial) {
            assert_bits(&format!("{rule:?}"), parallel, serial);
        }
    }
}
