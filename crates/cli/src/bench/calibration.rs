//! Calibration: the bandwidth of plain streams on a device, before and after the benchmarks.

use super::device::Device;
use super::processor::{self, Processor};
use super::report::Rates;
use super::statistics::Summary;
use super::{BenchError, streams};
use std::time::Instant;
use wgpu_optim::gpu::ReadBack;
use wgpu_optim::regression::device::block_on;

/// Number of measurements, of which the median is used.
const ROUNDS: usize = 5;
/// Size of uploads and read-backs in bytes.
const TRANSFER: u64 = 1 << 26;
const EMPTY: u32 = 1000;

/// The median of several calls, after a warm-up call.
fn median(mut run: impl FnMut() -> Result<f64, BenchError>) -> Result<f64, BenchError> {
    run()?;
    let times = (0..ROUNDS).map(|_| run()).collect::<Result<Vec<f64>, BenchError>>()?;
    Ok(Summary::of(&times).map_or(f64::NAN, |summary| summary.median))
}

/// Measures the rates of an adapter.
pub fn of_device(device: &Device) -> Result<Rates, BenchError> {
    let gpu = device.gpu;
    let [source, target] = device.streams();
    let bytes = (4 * source.len) as f64;
    let copy = streams::copy(&gpu.device, source, target);
    let triad = streams::triad(&gpu.device, source, target);
    let empty = streams::empty(&gpu.device);
    let nothing = |pass: &mut wgpu::ComputePass| {
        pass.set_pipeline(&empty);
        pass.dispatch_workgroups(1, 1, 1);
    };
    let contents = vec![1u8; TRANSFER.min(bytes as u64) as usize];
    let upload = || {
        let started = Instant::now();
        gpu.queue.write_buffer(&target.buffer, 0, &contents);
        device.run(|_| ())?;
        Ok(started.elapsed().as_secs_f64())
    };
    let mut read_back = ReadBack::new(&gpu.device, contents.len() as u64)?;
    let part = wgpu_optim::Span::new(&source.buffer, 0, contents.len() as u64 / 4);
    let read = || {
        let started = Instant::now();
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        read_back.copy(&mut encoder, &part)?;
        block_on(gpu.submit(encoder))?;
        block_on(gpu.wait(read_back.read::<f32>()))?;
        Ok(started.elapsed().as_secs_f64())
    };
    let wall = |repeats, record: &dyn Fn(&mut wgpu::ComputePass)| {
        median(|| Ok(device.time(repeats, record)?.wall))
    };
    let transfer = contents.len() as f64 * 1e-9;
    Ok(Rates {
        device: gpu.info.name.clone(),
        threads: None,
        copy_gb_s: 2e-9 * bytes / wall(1, &|pass| copy.record(pass))?,
        triad_gb_s: 3e-9 * bytes / wall(1, &|pass| triad.record(pass))?,
        read_gb_s: None,
        empty_dispatch_s: Some(wall(EMPTY, &nothing)?),
        submit_and_wait_s: Some(wall(1, &|_| ())?),
        upload_gb_s: Some(transfer / median(upload)?),
        readback_gb_s: Some(transfer / median(read)?),
    })
}

/// Measures the rates of the processor with its number of threads.
pub fn of_processor(processor: &Processor) -> Result<Rates, BenchError> {
    processor.memory.with(|[source, target]| {
        let bytes = (4 * source.len()) as f64;
        let copy = median(|| Ok(processor.time(1, || processor::copy(source, target)).wall))?;
        let triad = median(|| Ok(processor.time(1, || processor::triad(source, target)).wall))?;
        let read = median(|| Ok(processor.time(1, || processor::read(source)).wall))?;
        Ok(Rates {
            device: "cpu".into(),
            threads: Some(processor.threads),
            copy_gb_s: 2e-9 * bytes / copy,
            triad_gb_s: 3e-9 * bytes / triad,
            read_gb_s: Some(1e-9 * bytes / read),
            ..Rates::default()
        })
    })
}
