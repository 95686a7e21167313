//! The kernels on the best adapter: one step over 2²⁴ parameters and the gradient of 2²⁰ × 64 rows, in
//! GB/s by counted bytes, next to a kernel that copies as much memory as it can.
//!
//! Times are those of a submission and the wait for it. Without any adapter this fails; a software
//! adapter is named for what it is.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wgpu::util::DeviceExt;
use wgpu::{BufferUsages, ComputePass};
use wgpu_optim::bench;
use wgpu_optim::gpu::{Gpu, Gradient, Samples, Shape, SyntheticRows};
use wgpu_optim::{Adam, Batch, Loss, Model, Optimizer, RmsProp, Rule, Sgd, Span};

const PARAMETERS: u64 = 1 << 24;
const ROWS: u64 = 1 << 20;
const FEATURES: u32 = 64;

fn open() -> Gpu {
    let gpu = Gpu::open(None).expect("a GPU adapter to measure");
    eprintln!("on {} ({:?})", gpu.info.name, gpu.info.device_type);
    gpu
}

/// Submits what is recorded, and waits.
fn run(gpu: &Gpu, record: impl FnOnce(&mut ComputePass)) {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    record(&mut encoder.begin_compute_pass(&Default::default()));
    gpu.submit(encoder).expect("the device is there");
}

/// Values that are neither zero nor equal.
fn filled(gpu: &Gpu, len: u64, scale: f32) -> Span {
    let values: Vec<f32> = (0..len as u32)
        .map(|i| scale * (0.5 + (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 3.4e7))
        .collect();
    let buffer = gpu.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(&values),
        usage: BufferUsages::STORAGE,
    });
    Span::whole(&buffer)
}

/// A copy by a kernel, submitted and waited for.
fn copy(gpu: &Gpu, source: &Span, target: &Span) -> impl Fn() {
    let (gpu, copy) = (gpu.clone(), bench::copy(&gpu.device, source, target));
    move || run(&gpu, |pass| copy.record(pass))
}

fn step(criterion: &mut Criterion) {
    let gpu = open();
    let mut group = criterion.benchmark_group("step of 2^24 parameters, device");
    group.sample_size(20);
    let (source, target) = (filled(&gpu, PARAMETERS, 1.0), filled(&gpu, PARAMETERS, 2.0));
    group.throughput(Throughput::BytesDecimal(8 * PARAMETERS));
    let copy = copy(&gpu, &source, &target);
    group.bench_function("copy", |bencher| bencher.iter(&copy));

    let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
    let rules: [Rule; 4] =
        [Adam::default().into(), RmsProp::default().into(), momentum.into(), Sgd::default().into()];
    let grads = filled(&gpu, PARAMETERS, 1e-3);
    for rule in rules {
        let optimizer = Optimizer::new(&gpu.device, rule)
            .tensor(filled(&gpu, PARAMETERS, 1.0), grads.clone())
            .build()
            .expect("2^24 parameters fit");
        group.throughput(Throughput::BytesDecimal(rule.bytes_per_parameter() * PARAMETERS));
        group.bench_function(BenchmarkId::from_parameter(rule.name()), |bencher| {
            bencher.iter(|| run(&gpu, |pass| optimizer.record(pass)));
        });
    }
    group.finish();
}

fn gradient(criterion: &mut Criterion) {
    let gpu = open();
    let mut group = criterion.benchmark_group("gradient of 2^20 x 64 rows, device");
    group.sample_size(20);
    let model = Model::new(FEATURES as usize, Loss::Mse);
    let shape = Shape::new(&model).expect("64 features");
    let samples = Samples::new(&gpu.device, shape, ROWS, ROWS).expect("268 MB fit");
    let problem = wgpu_optim::cpu::synthetic::Synthetic::new(FEATURES, 0.1, 1);
    let rows = SyntheticRows::new(&gpu.device, &samples, &problem).expect("as many features");
    for part in 0..rows.parts() {
        run(&gpu, |pass| rows.record(pass, part));
    }
    let len = shape.padded_len();
    let (params, grads) = (filled(&gpu, len, 1.0), filled(&gpu, len, 1.0));
    let (spans, most) = ((&params, &grads), (ROWS, 1));
    let mut gradient = Gradient::new(&gpu.device, &samples, &model, spans, most, false)
        .expect("a batch of all rows fits");
    gradient.prepare(&gpu.queue, &[Batch::new(0, ROWS)]).expect("one batch");
    group.throughput(Throughput::BytesDecimal(4 * ROWS * u64::from(FEATURES)));
    group.bench_function("gradient", |bencher| {
        bencher.iter(|| run(&gpu, |pass| gradient.record(pass, 0)));
    });

    // Two streams of 128 MiB, the most that every adapter binds: as many bytes as X has.
    let elements = ROWS * u64::from(FEATURES) / 2;
    let (source, target) = (filled(&gpu, elements, 1.0), filled(&gpu, elements, 2.0));
    let copy = copy(&gpu, &source, &target);
    group.bench_function("copy", |bencher| bencher.iter(&copy));
    group.finish();
}

criterion_group!(benches, step, gradient);
criterion_main!(benches);
