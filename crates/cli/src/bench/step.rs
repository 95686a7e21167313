//! Benchmark of the optimizer step: random parameters and gradients, and moments from a first step.

use super::BenchError;
use super::device::{Copy, Device};
use super::processor::{Processor, random};
use super::sampling::{Interleaved, Timed};
use super::streams::{self, Stream};
use super::validation::{self, places};
use std::ops::Range;
use wgpu::ComputePass;
use wgpu_optim::cpu::{RuleConstants, StepState, Strict, parallel};
use wgpu_optim::gpu::{Optimizer, Span};
use wgpu_optim::regression::device::block_on;
use wgpu_optim::regression::verification::{Snapshot, Verification};
use wgpu_optim::{Arithmetic, Penalty, Rule};

/// Binary exponents of parameters (about 1) and gradients (about 0.001).
const EXPONENTS: (i32, i32) = (0, -10);
/// Number of verified steps: the first, and one from non-zero moments.
const CHECKED: u64 = 2;

/// The memory in bytes of a step with `size` parameters.
pub fn memory(rule: &Rule, size: u64) -> u64 {
    size.saturating_mul(4 * (2 + rule.moments().len() as u64))
}

/// The step on an adapter.
pub struct OnDevice<'a> {
    device: &'a Device<'a>,
    optimizer: Optimizer,
    copy: Copy,
    same_streams: Vec<Stream>,
}

impl<'a> OnDevice<'a> {
    /// Allocates the data, and verifies the first steps.
    pub fn new(
        device: &'a Device<'a>,
        (rule, arithmetic): (&Rule, Arithmetic),
        size: u64,
        seed: u64,
    ) -> Result<(Self, Verification), BenchError> {
        let params = device.random(size, seed, EXPONENTS.0)?;
        let grads = device.random(size, seed ^ u64::MAX, EXPONENTS.1)?;
        let gpu = &device.gpu.device;
        let memory = gpu.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let parts = params.iter().cloned().zip(grads.iter().cloned());
        let optimizer =
            Optimizer::new(gpu, *rule).arithmetic(arithmetic).tensor_in_parts(parts).build()?;
        if let Some(error) = block_on(memory.pop()) {
            let reason = error.to_string();
            return Err(wgpu_optim::Error::OutOfMemory { what: "moments", reason }.into());
        }
        let copy = device.copy_of(rule.bytes_per_parameter() * size);
        let same_streams = same_streams(device, &optimizer, &grads);
        let work = OnDevice { device, optimizer, copy, same_streams };
        let report = work.check(rule, &places(size, seed), &grads)?;
        Ok((work, report))
    }

    fn check(
        &self,
        rule: &Rule,
        places: &[Range<u64>],
        grads: &[Span],
    ) -> Result<Verification, BenchError> {
        let tensor = &self.optimizer.tensors()[0];
        let snapshot = || {
            let moments = tensor.moments.iter().map(|moment| self.device.read(moment, places));
            Ok::<_, BenchError>(Snapshot {
                params: self.device.read(&tensor.params, places)?,
                moments: moments.collect::<Result<_, _>>()?,
            })
        };
        let grads = self.device.read(grads, places)?;
        let mut report = Verification::new();
        let mut before = snapshot()?;
        for t in 1..=CHECKED {
            self.device.run(|pass| self.optimizer.record(pass))?;
            let after = snapshot()?;
            validation::step(&mut report, rule, t, &grads, (&before, &after));
            before = after;
        }
        Ok(report)
    }
}

impl Interleaved for OnDevice<'_> {
    fn work(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        self.device.time(repeats, |pass| self.optimizer.record(pass))
    }

    fn copy(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        self.device.time(repeats, |pass| self.copy.record(pass))
    }

    fn limit(&mut self, repeats: u32) -> Result<Option<Timed>, BenchError> {
        let record = |pass: &mut ComputePass| self.same_streams.iter().for_each(|s| s.record(pass));
        Ok(Some(self.device.time(repeats, record)?))
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.device.flush()
    }
}

/// Streams over the step's gradients, parameters and moments, split wherever one of them is split.
fn same_streams(device: &Device, optimizer: &Optimizer, grads: &[Span]) -> Vec<Stream> {
    let tensor = &optimizer.tensors()[0];
    let all: Vec<&[Span]> =
        [grads, &tensor.params].into_iter().chain(tensor.moments.iter().map(Vec::as_slice)).collect();
    // Pairs of the start of a part and the part.
    let placed = |parts: &[Span]| -> Vec<(u64, Span)> {
        let mut next = 0;
        let place = |part: &Span| {
            next += part.len;
            (next - part.len, part.clone())
        };
        parts.iter().map(place).collect()
    };
    let all: Vec<Vec<(u64, Span)>> = all.into_iter().map(placed).collect();
    let end: u64 = grads.iter().map(|part| part.len).sum();
    let mut cuts: Vec<u64> = all.iter().flatten().map(|(first, _)| *first).chain([end]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let piece = |cut: &[u64]| {
        let within = |parts: &Vec<(u64, Span)>| {
            let (first, part) = &parts[parts.partition_point(|(first, _)| *first <= cut[0]) - 1];
            Span::new(&part.buffer, part.offset + 4 * (cut[0] - first), cut[1] - cut[0])
        };
        let spans: Vec<Span> = all.iter().map(within).collect();
        let others: Vec<&Span> = spans[1..].iter().collect();
        streams::same_streams(&device.gpu.device, &spans[0], &others)
    };
    cuts.windows(2).map(piece).collect()
}

/// The step on the processor.
pub struct OnProcessor<'a> {
    processor: &'a Processor<'a>,
    rule: Rule,
    arithmetic: Arithmetic,
    state: StepState,
    params: Vec<f32>,
    grads: Vec<f32>,
    moments: Vec<Vec<f32>>,
}

impl<'a> OnProcessor<'a> {
    /// Allocates the data, and verifies the first steps.
    pub fn new(
        processor: &'a Processor<'a>,
        (rule, arithmetic): (&Rule, Arithmetic),
        size: u64,
        seed: u64,
    ) -> (Self, Verification) {
        let len = size as usize;
        let mut work = OnProcessor {
            processor,
            rule: *rule,
            arithmetic,
            state: StepState::default(),
            params: random(len, seed, EXPONENTS.0),
            grads: random(len, seed ^ u64::MAX, EXPONENTS.1),
            moments: vec![vec![0.0; len]; rule.moments().len()],
        };
        let report = work.check(&places(size, seed));
        (work, report)
    }

    fn check(&mut self, places: &[Range<u64>]) -> Verification {
        let drawn = |values: &[f32]| -> Vec<f32> {
            let part = |place: &Range<u64>| &values[place.start as usize..place.end as usize];
            places.iter().flat_map(part).copied().collect()
        };
        let snapshot = |work: &Self| Snapshot {
            params: drawn(&work.params),
            moments: work.moments.iter().map(|moment| drawn(moment)).collect(),
        };
        let grads = drawn(&self.grads);
        let mut report = Verification::new();
        let mut before = snapshot(self);
        for t in 1..=CHECKED {
            self.step(1);
            let after = snapshot(self);
            validation::step(&mut report, &self.rule, t, &grads, (&before, &after));
            before = after;
        }
        report
    }

    fn step(&mut self, repeats: u32) -> Timed {
        let OnProcessor { processor, rule, arithmetic, state, params, grads, moments } = self;
        let constants = RuleConstants::new(rule);
        if arithmetic.is_reproducible() {
            let (params, grads) = (Strict::of_slice_mut(params), Strict::of_slice(grads));
            let mut moments: Vec<&mut [Strict]> =
                moments.iter_mut().map(|moment| Strict::of_slice_mut(moment)).collect();
            return processor.time(repeats, || {
                let step = state.advance_in(&constants, Strict::new(rule.lr() as f32));
                let none = Penalty::default();
                parallel::update_penalized(rule, &none, &step, params, grads, &mut moments);
            });
        }
        processor.time(repeats, || {
            let step = state.advance(&constants, rule.lr() as f32);
            parallel::update(rule, &step, params, grads, moments);
        })
    }
}

impl Interleaved for OnProcessor<'_> {
    fn work(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        Ok(self.step(repeats))
    }

    fn copy(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        let bytes = self.rule.bytes_per_parameter() * self.params.len() as u64;
        Ok(self.processor.copy(bytes, repeats))
    }

    fn limit(&mut self, repeats: u32) -> Result<Option<Timed>, BenchError> {
        let bytes = self.rule.bytes_per_parameter() * self.params.len() as u64;
        Ok(Some(self.processor.triad(bytes, repeats)))
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.processor.memory.flush();
        Ok(())
    }
}
