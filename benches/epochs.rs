//! The gain of many updates in one dispatch on small problems: updates per second of `SmallBatchKernel` against those of
//! `Descent`, which needs two dispatches per update.
//!
//! Both are interleaved, on the best adapter; the output has medians of a submission and the wait for it.

use pollster::block_on;
use std::time::{Duration, Instant};
use wgpu::{Device, DeviceType, Queue};
use wgpu_optim::gpu::required_limits;
use wgpu_optim::regression::kernels::{
    Descent, DescentOptions, DeviceDataset, GradientLayout, SmallBatchKernel,
};
use wgpu_optim::{Adam, Batch, Loss, Model, Penalty, Span};

const ROUNDS: usize = 9;
/// Updates of a submission of a `Descent`.
const SUBMISSION: u32 = 256;

/// Rows, features and rows of a batch.
const PROBLEMS: [(u64, usize, u64); 6] =
    [(100, 1, 10), (100, 1, 100), (442, 10, 32), (569, 30, 32), (1024, 64, 64), (1024, 256, 64)];

fn main() {
    let (device, queue, name) = open();
    println!("{name}\n");
    println!("rows × features, batch: updates/s of Epochs and of Descent, and their ratio");
    for (rows, features, batch) in PROBLEMS {
        let model = Model::new(features, Loss::Mse);
        let many = measure(&device, &queue, &model, rows, batch);
        let [epochs, descent] = many;
        let ratio = epochs / descent;
        println!("{rows} × {features}, {batch}: {epochs:.0} and {descent:.0}, {ratio:.1} : 1");
    }
}

fn open() -> (Device, Queue, String) {
    let instance = wgpu::Instance::default();
    let adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let rank = |adapter: &wgpu::Adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    let adapter = adapters.into_iter().min_by_key(rank).expect("a GPU adapter to measure");
    let required_limits = required_limits(&adapter.limits());
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    let (device, queue) = block_on(adapter.request_device(&descriptor)).expect("a device of it");
    let info = adapter.get_info();
    (device, queue, format!("{} ({:?}, {})", info.name, info.device_type, info.driver_info))
}

/// Updates per second of both.
fn measure(device: &Device, queue: &Queue, model: &Model, rows: u64, batch: u64) -> [f64; 2] {
    let shape = GradientLayout::new(model).expect("a valid model");
    let samples = DeviceDataset::new(device, shape, rows, batch).expect("a small problem");
    let features = model.features as u64;
    let value = |i: u64| (i.wrapping_mul(2_654_435_761) >> 8 & 0xffff) as f32 / 32768.0 - 1.0;
    let x: Vec<f32> = (0..rows * features).map(value).collect();
    let y: Vec<f32> = x.chunks(model.features).map(|x| 2.5 * x[0] + 1.0).collect();
    samples.write(queue, &x, &y).expect("as many values as rows");
    let batches: Vec<Batch> =
        (0..rows).step_by(batch as usize).map(|at| Batch::new(at, batch.min(rows - at))).collect();
    let some = |updates: u32| -> Vec<Batch> {
        batches.iter().copied().cycle().take(updates as usize).collect()
    };
    let params = || {
        let descriptor = wgpu::BufferDescriptor {
            label: None,
            size: shape.padded_len() * 4,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        };
        Span::whole(&device.create_buffer(&descriptor))
    };
    let options = |max_batches| DescentOptions {
        model: *model,
        rule: Adam::default().into(),
        penalty: Penalty::default(),
        average: None,
        max_batch: batch,
        max_batches,
        shuffled: false,
    };
    let mut descent =
        Descent::new(device, &samples, &params(), options(SUBMISSION)).expect("a small problem");
    // About ten milliseconds.
    let most = 20_000.min(100_000_000 / (batch * (features + 8)) as u32 / 100).max(64);
    let mut epochs = SmallBatchKernel::new(device, &samples, &params(), options(most), false)
        .expect("a small problem");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let rates = vec![1e-3; most as usize];
        let start = Instant::now();
        epochs.prepare(queue, &some(most), &rates).expect("valid batches");
        submit(device, queue, |pass| epochs.record(pass));
        times[0].push(start.elapsed() / most);
        let start = Instant::now();
        let rates = &rates[..SUBMISSION.min(most) as usize];
        descent.prepare(queue, &some(rates.len() as u32), rates).expect("valid batches");
        submit(device, queue, |pass| (0..rates.len()).for_each(|i| descent.record(pass, i)));
        times[1].push(start.elapsed() / rates.len() as u32);
    }
    times.map(|mut times| 1.0 / median(&mut times).as_secs_f64())
}

fn submit(device: &Device, queue: &Queue, record: impl FnOnce(&mut wgpu::ComputePass)) {
    let mut encoder = device.create_command_encoder(&Default::default());
    record(&mut encoder.begin_compute_pass(&Default::default()));
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is there");
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
