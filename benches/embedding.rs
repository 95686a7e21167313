//! The costs of embedding: the CPU time to record a step, its dispatches, and ten thousand small tensors against one large
//! one. (`wgpu-optim bench step` measures a step against a copy of as many bytes.)
//!
//! Compared measurements are interleaved; the output has medians and their ratio. Device times are those of a submission
//! and the wait for it, on the best adapter.

use std::hint::black_box;
use std::time::{Duration, Instant};
use wgpu::util::DeviceExt;
use wgpu::{BufferUsages, ComputePass, Device};
use wgpu_optim::gpu::Arena;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::{Adam, ClipNorm, Conditioning, Optimizer, Span};

/// Number of parameters: 117 MB for a step of Adam.
const PARAMETERS: u64 = 1 << 22;
const SMALL_TENSORS: u64 = 10_000;
const ROUNDS: usize = 25;

fn main() {
    let gpu = block_on(Gpu::open(None)).expect("a GPU adapter to measure");
    println!("{} ({:?}, {})\n", gpu.info.name, gpu.info.device_type, gpu.info.driver_info);
    recording(&gpu.device);
    small_tensors(&gpu);
    conditioning(&gpu);
}

/// Measures the recording of a step, without its submission.
fn recording(device: &Device) {
    let optimizers = [
        ("one tensor", 1, Conditioning::default()),
        ("one tensor, clipped by norm", 1, clipped()),
        ("100 tensors", 100, Conditioning::default()),
    ];
    for (name, tensors, conditioning) in optimizers {
        let mut builder = Optimizer::new(device, Adam::default()).conditioning(conditioning);
        for _ in 0..tensors {
            builder = builder.tensor(filled(device, 1024), filled(device, 1024));
        }
        let optimizer = builder.build().expect("a kilobyte fits");
        const STEPS: u32 = 200;
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..ROUNDS {
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let start = Instant::now();
            for _ in 0..STEPS {
                black_box(&optimizer).record(&mut pass);
            }
            times.push(start.elapsed() / STEPS);
        }
        let dispatches = optimizer.dispatches();
        println!("record, {name}: {dispatches} dispatches, {:?} a step", median(&mut times));
    }
}

fn small_tensors(gpu: &Gpu) {
    // Sizes from 1 to 799, with a mean of 400.
    let sizes: Vec<[u64; 1]> = (0..SMALL_TENSORS).map(|i| [1 + i * 7919 % 799]).collect();
    let names: Vec<String> = (0..SMALL_TENSORS).map(|i| format!("tensor {i}")).collect();
    let shapes = names.iter().zip(&sizes).map(|(name, size)| (name.as_str(), size.as_slice()));
    let arena = Arena::new(&gpu.device, BufferUsages::empty(), shapes).expect("16 MB fit");
    let many =
        Optimizer::new(&gpu.device, Adam::default()).arena(&arena).build().expect("a valid arena");
    let elements: u64 = sizes.iter().map(|[size]| size).sum();
    let one = adam(gpu, elements);
    println!("\n10 000 tensors are {} dispatches, one tensor {}", many.dispatches(), one.dispatches());
    let names = ["10 000 tensors in an arena", "one tensor of as many elements"];
    compare(gpu, names, 28 * elements, &|pass| many.record(pass), &|pass| one.record(pass));
}

fn conditioning(gpu: &Gpu) {
    let plain = adam(gpu, PARAMETERS);
    let clipping = Optimizer::new(&gpu.device, Adam::default())
        .tensor(filled(&gpu.device, PARAMETERS), filled(&gpu.device, PARAMETERS))
        .conditioning(clipped())
        .build()
        .expect("2^22 parameters fit");
    let names = ["Adam, clipped by norm, non-finite skipped", "Adam"];
    compare(gpu, names, 28 * PARAMETERS, &|pass| clipping.record(pass), &|pass| plain.record(pass));
}

fn clipped() -> Conditioning {
    let clip_norm = Some(ClipNorm::Torch(1.0));
    Conditioning { clip_norm, skip_nonfinite: true, ..Conditioning::default() }
}

/// Times two kinds of work, interleaved, that both move `bytes` bytes.
fn compare(
    gpu: &Gpu,
    names: [&str; 2],
    bytes: u64,
    first: &dyn Fn(&mut ComputePass),
    second: &dyn Fn(&mut ComputePass),
) {
    let run = |record: &dyn Fn(&mut ComputePass)| {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        record(&mut encoder.begin_compute_pass(&Default::default()));
        let start = Instant::now();
        block_on(gpu.submit(encoder)).expect("the device is there");
        start.elapsed()
    };
    // wgpu clears a buffer at its first use.
    for _ in 0..2 {
        run(first);
        run(second);
    }
    let (mut a, mut b): (Vec<_>, Vec<_>) = (0..ROUNDS).map(|_| (run(first), run(second))).unzip();
    let medians = [median(&mut a), median(&mut b)];
    println!();
    for (name, time) in names.iter().zip(medians) {
        let rate = bytes as f64 / time.as_secs_f64() / 1e9;
        println!("{name}: {time:?}, {rate:.2} GB/s by {bytes} bytes");
    }
    println!("time {:.2} : 1", medians[0].as_secs_f64() / medians[1].as_secs_f64());
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn adam(gpu: &Gpu, len: u64) -> Optimizer {
    Optimizer::new(&gpu.device, Adam::default())
        .tensor(filled(&gpu.device, len), filled(&gpu.device, len))
        .build()
        .expect("it fits")
}

/// Values that are neither zero nor equal.
fn filled(device: &Device, len: u64) -> Span {
    let value = |i: u32| 0.5 + (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 3.4e7;
    let values: Vec<f32> = (0..len as u32).map(value).collect();
    let contents = bytemuck::cast_slice(&values);
    let descriptor =
        wgpu::util::BufferInitDescriptor { label: None, contents, usage: BufferUsages::STORAGE };
    Span::whole(&device.create_buffer_init(&descriptor))
}
