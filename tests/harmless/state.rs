//! The state of an optimizer of two tensors in a file.

use super::{checksummed, with_file};
use std::sync::LazyLock;
use wgpu_optim::checkpoint::CheckpointError;
use wgpu_optim::cpu::StepState;
use wgpu_optim::gpu::{GroupState, OptimizerState, TensorState};
use wgpu_optim::{Adam, Arithmetic, Conditioning, Rule};

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let rule: Rule = Adam::default().into();
    let tensor = |len: usize| TensorState {
        group: 0,
        step: StepState::after(&rule, 3),
        params: Some(vec![1.0; len]),
        moments: rule.moments().iter().map(|name| (name.to_string(), vec![0.5; len])).collect(),
        accumulator: vec![0.25; len],
        average: Vec::new(),
    };
    written(&OptimizerState {
        control: bytemuck::Zeroable::zeroed(),
        groups: vec![GroupState { rule, learning_rates: vec![0.1, 0.05], position: 1 }],
        tensors: vec![tensor(2), tensor(1)],
        conditioning: Conditioning::default(),
        arithmetic: Arithmetic::Strict,
        micro_batches: 2,
        average: None,
    })
});

fn written(state: &OptimizerState) -> Vec<u8> {
    with_file("state", b"", |path| {
        state.save(path).unwrap();
        std::fs::read(path).unwrap()
    })
}

fn read(bytes: &[u8]) -> Result<OptimizerState, CheckpointError> {
    checksummed::read(bytes, |path| OptimizerState::read(path, bytes))
}

/// The bytes of a valid state.
pub fn whole() -> &'static [u8] {
    &WHOLE
}

/// Reads these bytes as a state, and checks that a valid state can be written again.
pub fn check(bytes: &[u8]) -> Result<OptimizerState, CheckpointError> {
    if let Some(state) = checksummed::with_corrected_checksums(bytes, read) {
        // A number may be NaN, which is not equal to itself.
        assert_eq!(format!("{:?}", read(&written(&state)).unwrap()), format!("{state:?}"));
    }
    read(bytes)
}
