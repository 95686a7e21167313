//! The f32 path of the processor: one Adam step over 2²⁴ parameters and the gradient of 2²⁰ × 64 rows,
//! in GB/s by counted bytes, next to what the same memory gives a read and an in-place triad.
//!
//! Compare figures of one run only: memory is shared with whatever else the machine does.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pulp::Arch;
use rayon::prelude::*;
use std::hint::black_box;
use wgpu_optim::cpu::gradient::Rows;
use wgpu_optim::cpu::synthetic::Options;
use wgpu_optim::cpu::{RuleConstants, StepState, parallel};
use wgpu_optim::regression::Problem;
use wgpu_optim::{Adam, Adamax, Lion, Loss, Model, NAdam, RmsProp, Rule, Sgd};

const PARAMETERS: usize = 1 << 24;
const ROWS: u64 = 1 << 20;
const FEATURES: u32 = 64;
/// Elements of one task.
const TASK: usize = 1 << 14;

/// Values that are neither zero nor equal.
fn values(len: usize, scale: f32) -> Vec<f32> {
    (0..len as u32)
        .map(|i| scale * (0.5 + (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 3.4e7))
        .collect()
}

fn step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step of 2^24 parameters, processor");
    group.sample_size(20);

    // a ← a + s · b: two streams read, one written.
    let (mut a, b) = (values(2 * PARAMETERS, 1.0), values(2 * PARAMETERS, 1e-9));
    group.throughput(Throughput::BytesDecimal(3 * 4 * a.len() as u64));
    let arch = Arch::new();
    group.bench_function("in-place triad", |bencher| {
        bencher.iter(|| {
            a.par_chunks_mut(TASK).zip(b.par_chunks(TASK)).for_each(|(a, b)| {
                arch.dispatch(|| a.iter_mut().zip(b).for_each(|(a, &b)| *a += 0.5 * b));
            });
        });
    });
    drop((a, b));

    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let rules: [Rule; 8] = [
        Adam::default().into(),
        Adam::adamw().into(),
        RmsProp::default().into(),
        momentum.into(),
        Sgd::default().into(),
        NAdam::default().into(),
        Adamax::default().into(),
        Lion::default().into(),
    ];
    for rule in rules {
        let mut params = values(PARAMETERS, 1.0);
        let grads = values(PARAMETERS, 1e-3);
        let mut moments = vec![values(PARAMETERS, 1e-4); rule.moments().len()];
        let (mut state, constants) = (StepState::default(), RuleConstants::new(&rule));
        group.throughput(Throughput::BytesDecimal(rule.bytes_per_parameter() * PARAMETERS as u64));
        group.bench_function(BenchmarkId::from_parameter(rule.name()), |bencher| {
            bencher.iter(|| {
                let step = state.advance(&constants, 1e-6);
                parallel::update(&rule, &step, &mut params, &grads, &mut moments);
            });
        });
    }
    group.finish();
}

fn gradient(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gradient of 2^20 x 64 rows, processor");
    group.sample_size(20);
    let options = Options { features: FEATURES, noise: 0.1, seed: 1, ..Options::default() };
    let problem = Problem::synthetic(ROWS, &options).expect("there are rows and features");
    let (x, sides) = problem.materialize::<f32>().expect("268 MB fit");
    group.throughput(Throughput::BytesDecimal(4 * x.len() as u64));

    // The fastest thing that looks at every byte: no order to keep, no rounding.
    let arch = Arch::new();
    let sum = |x: &[f32]| x.iter().fold(0u32, |sum, x| sum.wrapping_add(x.to_bits()));
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let sums = x.par_chunks(TASK).map(|x| arch.dispatch(|| sum(x)));
            black_box(sums.reduce(|| 0, u32::wrapping_add))
        });
    });

    let model = Model::new(FEATURES as usize, Loss::Mse);
    let params = values(model.params(), 1.0);
    let mut grads = params.clone();
    group.bench_function("gradient", |bencher| {
        bencher.iter(|| parallel::gradient(&model, Rows { x: &x, sides: &sides }, &params, &mut grads));
    });
    group.finish();
}

criterion_group!(benches, step, gradient);
criterion_main!(benches);
