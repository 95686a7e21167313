//! An epoch of regression on the processor, and gradients on processor and device: values of X a second, beside
//! what the same run gives a plain read (processor) or a copy (device) of as many bytes. The peers in
//! `benches/peers/` measure the same work.
//!
//! What is compared takes turns; medians of `ROUNDS`. With `-- --json` the rows are printed as the peers print
//! theirs.

use pulp::Arch;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};
use wgpu::util::DeviceExt;
use wgpu_optim::bench;
use wgpu_optim::cpu::gradient::Rows;
use wgpu_optim::cpu::parallel;
use wgpu_optim::cpu::synthetic::Options;
use wgpu_optim::gpu::{Gpu, Gradient, Samples, Shape, Span, SyntheticRows};
use wgpu_optim::regression::Problem;
use wgpu_optim::train::{CpuWorker, HostRows, Recipe, Worker};
use wgpu_optim::{Adam, Batch, Loss, Model};

const ROUNDS: usize = 15;
/// Of the epochs, as the peers have it.
const EPOCH: (u64, u32) = (200_000, 100);
const BATCHES: [u64; 2] = [4096, 256];
/// Rows and features of the gradients.
const GRADIENTS: [(u64, u32); 2] = [(1 << 20, 256), (1 << 16, 256)];
const DEVICE_GRADIENTS: [(u64, u32); 3] = [(1 << 20, 64), (1 << 18, 256), (1 << 14, 4096)];
/// Numbers that one task reads.
const TASK: usize = 1 << 14;

/// What took turns with what.
struct Measured {
    work: &'static str,
    size: String,
    values: f64,
    ours: Duration,
    beside: Duration,
}

fn main() {
    let mut rows = Vec::new();
    let (x, sides) = rows_of(EPOCH);
    for batch in BATCHES {
        rows.push(epoch(&x, &sides, batch));
    }
    drop((x, sides));
    rows.extend(GRADIENTS.map(gradient));
    let gpu = Gpu::open(None).expect("a GPU adapter to measure");
    rows.extend(DEVICE_GRADIENTS.map(|size| device_gradient(&gpu, size)));
    if std::env::args().any(|argument| argument == "--json") {
        return print_json(&rows);
    }
    println!("device: {} ({:?})\n", gpu.info.name, gpu.info.device_type);
    println!("work, size: G values of X a second, GB/s of X, share of what ran beside it");
    for Measured { work, size, values, ours, beside } in &rows {
        let rate = values / ours.as_secs_f64() / 1e9;
        let share = 100.0 * beside.as_secs_f64() / ours.as_secs_f64();
        println!("{work}, {size}: {rate:.2}, {:.1}, {share:.0} %", 4.0 * rate);
    }
}

fn print_json(rows: &[Measured]) {
    let row = |row: &Measured| {
        serde_json::json!({
            "work": row.work,
            "size": row.size,
            "threads": rayon::current_num_threads(),
            "median_s": row.ours.as_secs_f64(),
            "features_per_s": row.values / row.ours.as_secs_f64(),
            "beside_s": row.beside.as_secs_f64(),
        })
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    println!("{:#}", serde_json::json!({ "schema": 1, "peer": "wgpu-optim", "rows": rows }));
}

fn rows_of((rows, features): (u64, u32)) -> (Vec<f32>, Vec<f32>) {
    let options = Options { features, noise: 0.1, seed: 1, ..Options::default() };
    let problem = Problem::synthetic(rows, &options).expect("there are rows and features");
    problem.materialize().expect("the rows fit into memory")
}

/// The medians of two things that take turns.
fn in_turns(mut ours: impl FnMut(), mut beside: impl FnMut()) -> (Duration, Duration) {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        times[0].push(time(&mut ours));
        times[1].push(time(&mut beside));
    }
    times.iter_mut().for_each(|times| times.sort());
    (times[0][ROUNDS / 2], times[1][ROUNDS / 2])
}

/// The fastest thing that looks at every byte: no order to keep, no rounding.
fn read(x: &[f32]) {
    let arch = Arch::new();
    let sum = |x: &[f32]| x.iter().fold(0u32, |sum, x| sum.wrapping_add(x.to_bits()));
    let sums = x.par_chunks(TASK).map(|x| arch.dispatch(|| sum(x)));
    black_box(sums.reduce(|| 0, u32::wrapping_add));
}

fn epoch(x: &[f32], sides: &[f32], batch: u64) -> Measured {
    let (rows, features) = EPOCH;
    let recipe = Recipe::new(Model::new(features as usize, Loss::Mse), Adam::default().into());
    let start = vec![0.0; recipe.model.params()];
    let mut worker = CpuWorker::new(HostRows::Resident { x, sides }, &recipe, &start).expect("a recipe");
    let batches: Vec<Batch> =
        (0..rows).step_by(batch as usize).map(|at| Batch::new(at, batch.min(rows - at))).collect();
    let rates = vec![1e-3; batches.len()];
    let train = || drop(worker.run(&batches, &rates, None).expect("an epoch"));
    let (ours, beside) = in_turns(train, || read(x));
    let (size, values) = (format!("{rows} × {features} by {batch}"), x.len() as f64);
    Measured { work: "epoch_adam", size, values, ours, beside }
}

fn gradient(size: (u64, u32)) -> Measured {
    let (x, sides) = rows_of(size);
    let model = Model::new(size.1 as usize, Loss::Mse);
    let params = vec![0.5; model.params()];
    let mut grads = params.clone();
    let rows = Rows { x: &x, sides: &sides };
    let run = || {
        black_box(parallel::gradient(&model, rows, &params, &mut grads));
    };
    let (ours, beside) = in_turns(run, || read(&x));
    let name = format!("{} × {}", size.0, size.1);
    Measured { work: "gradient", size: name, values: x.len() as f64, ours, beside }
}

fn device_gradient(gpu: &Gpu, (rows, features): (u64, u32)) -> Measured {
    let Gpu { device, queue, .. } = gpu;
    let model = Model::new(features as usize, Loss::Mse);
    let shape = Shape::new(&model).expect("a valid model");
    let samples = Samples::new(device, shape, rows, rows).expect("the rows fit the device");
    let options = Options { features, noise: 0.1, seed: 1, ..Options::default() };
    let problem = Problem::synthetic(rows, &options).expect("there are rows and features");
    let generator = problem.generator().expect("it is synthetic");
    let made = SyntheticRows::new(device, &samples, generator).expect("as many features");
    let run = |record: &dyn Fn(&mut wgpu::ComputePass)| {
        let mut encoder = device.create_command_encoder(&Default::default());
        record(&mut encoder.begin_compute_pass(&Default::default()));
        gpu.submit(encoder).expect("the device is there");
    };
    (0..made.chunks()).for_each(|chunk| run(&|pass| made.record(pass, chunk)));
    let filled = |len: u64| {
        let contents: Vec<f32> = (0..len).map(|i| 0.5 + i as f32 * 1e-6).collect();
        Span::whole(&device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&contents),
            usage: wgpu::BufferUsages::STORAGE,
        }))
    };
    let (params, grads) = (filled(shape.padded_len()), filled(shape.padded_len()));
    let spans = (&params, &grads);
    let mut gradient =
        Gradient::new(device, &samples, &model, spans, (rows, 1), false).expect("one batch");
    gradient.prepare(queue, &[Batch::new(0, rows)]).expect("one batch");

    // Two streams of half as many bytes each, up to what every adapter binds; in as many rounds.
    let bytes = rows * shape.row_bytes();
    let each = (bytes / 2).min(1 << 27);
    let (source, target) = (filled(each / 4), filled(each / 4));
    let once = bench::copy(device, &source, &target);
    let copy = |pass: &mut wgpu::ComputePass| (0..bytes / 2 / each).for_each(|_| once.record(pass));
    let (ours, beside) = in_turns(|| run(&|pass| gradient.record(pass, 0)), || run(&copy));
    let (size, values) = (format!("{rows} × {features}"), (rows * u64::from(features)) as f64);
    Measured { work: "device_gradient", size, values, ours, beside }
}
