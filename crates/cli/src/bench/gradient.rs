//! Benchmark of the gradient of a linear regression over all rows.

use super::BenchError;
use super::device::{Copy, Device};
use super::processor::{Processor, random, read};
use super::sampling::{Interleaved, Timed};
use std::hint::black_box;
use wgpu_optim::gpu::Span;
use wgpu_optim::regression::Batch;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::device::Gpu;
use wgpu_optim::regression::device::block_on;
use wgpu_optim::regression::kernels::{DeviceDataset, Gradient, GradientLayout, SyntheticRows};
use wgpu_optim::regression::reference::BoundedSums;
use wgpu_optim::regression::reference::gradient::{Rows, SLICE, depth, dot_depth};
use wgpu_optim::regression::reference::parallel;
use wgpu_optim::regression::reference::synthetic::Options;
use wgpu_optim::regression::verification::{self, Verification};
use wgpu_optim::{Loss, Model};

/// Maximum number of elements of X that are verified in f64; of larger X a random range of rows is verified.
const CHECKED: u64 = 1 << 24;

/// The data, the same on every device.
pub fn problem(rows: u64, features: u32, seed: u64) -> Result<Problem, BenchError> {
    let options = Options { features, noise: 0.1, seed, ..Options::default() };
    Ok(Problem::synthetic(rows, &options)?)
}

/// The size of rows in bytes.
pub fn memory(rows: u64, features: u64) -> u64 {
    rows.saturating_mul(4 * (features + 1))
}

/// The verified rows: all, or a random range.
fn checked(problem: &Problem) -> Batch {
    let all = Batch::new(0, problem.rows);
    if problem.rows * problem.features as u64 <= CHECKED {
        return all;
    }
    verification::sample(all, problem.features, 1).unwrap_or(all)
}

/// Compares a gradient with its definition.
fn check(
    problem: &Problem,
    model: &Model,
    params: &[f32],
    (batch, depths): (Batch, (u32, u32)),
    (grads, loss): (&[f32], f32),
) -> Result<Verification, BenchError> {
    let mut sums = BoundedSums::zero(model);
    for at in (0..batch.rows).step_by(SLICE) {
        let slice = Batch::new(batch.first + at, batch.rows.min(at + SLICE as u64) - at);
        let (x, aux) = problem.rows_of::<f32>(&slice)?;
        sums = sums.with(verification::sums(model, Rows { x: &x, aux: &aux }, params, depths.1));
    }
    let (exact, exact_loss) = sums.finish(depths.0);
    let mut report = Verification::new();
    report.checks = 1;
    report.compare(1, "gradient", grads, &exact);
    report.compare(1, "loss", &[loss], &[exact_loss]);
    Ok(report)
}

fn model(problem: &Problem) -> Model {
    Model::new(problem.features, Loss::Mse)
}

/// The gradient on an adapter.
pub struct OnDevice<'a> {
    device: &'a Device<'a>,
    gradient: Gradient,
    copy: Copy,
}

impl<'a> OnDevice<'a> {
    /// Generates the rows on the device, and verifies the gradient.
    pub fn new(
        device: &'a Device<'a>,
        problem: &Problem,
        seed: u64,
    ) -> Result<(Self, Verification), BenchError> {
        let (model, rows) = (model(problem), problem.rows);
        let Gpu { device: gpu, queue, .. } = device.gpu;
        let shape = GradientLayout::new(&model)?;
        let memory = gpu.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let samples = DeviceDataset::new(gpu, shape, rows, rows)?;
        if let Some(error) = block_on(memory.pop()) {
            return Err(
                wgpu_optim::Error::OutOfMemory { what: "the rows", reason: error.to_string() }.into()
            );
        }
        if let Some(generator) = problem.generator() {
            let made = SyntheticRows::new(gpu, &samples, generator)?;
            for part in 0..made.parts() {
                device.run(|pass| made.record(pass, part))?;
            }
        }
        let start = random(model.params(), seed, -1);
        let len = shape.padded_len();
        let [params, grads] =
            ["params", "grads"].map(|what| super::device::allocate(device.gpu, len, what));
        let (params, grads) = (Span::whole(&params?), Span::whole(&grads?));
        queue.write_buffer(&params.buffer, 0, bytemuck::cast_slice(&shape.pad(&start)));
        let mut gradient = Gradient::new(gpu, &samples, &model, (&params, &grads), (rows, 1), false)?;
        let batch = checked(problem);
        gradient.prepare(queue, &[batch])?;
        device.run(|pass| gradient.record(pass, 0))?;
        let loss = device.read(&[Span::new(gradient.losses(), 0, 1)], std::slice::from_ref(&(0..1)))?[0];
        let found = shape.unpad(&device.read(&[grads], std::slice::from_ref(&(0..len)))?);
        let what = (batch, gradient.depths(batch));
        let report = check(problem, &model, &start, what, (&found, loss))?;
        gradient.prepare(queue, &[Batch::new(0, rows)])?;
        let copy = device.copy_of(4 * rows * problem.features as u64);
        Ok((OnDevice { device, gradient, copy }, report))
    }
}

impl Interleaved for OnDevice<'_> {
    fn work(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        self.device.time(repeats, |pass| self.gradient.record(pass, 0))
    }

    fn copy(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        self.device.time(repeats, |pass| self.copy.record(pass))
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.device.flush()
    }
}

/// The gradient on the processor.
pub struct OnProcessor<'a> {
    processor: &'a Processor<'a>,
    model: Model,
    rows: Rows<'a, f32>,
    params: Vec<f32>,
    grads: Vec<f32>,
}

impl<'a> OnProcessor<'a> {
    /// Verifies the gradient of rows in memory.
    pub fn new(
        processor: &'a Processor<'a>,
        problem: &Problem,
        rows: Rows<'a, f32>,
        seed: u64,
    ) -> Result<(Self, Verification), BenchError> {
        let model = model(problem);
        let params = random(model.params(), seed, -1);
        let mut grads = vec![0.0; params.len()];
        let batch = checked(problem);
        let part = rows.part(&model, batch.first as usize, batch.rows as usize);
        let loss = processor.run(|| parallel::gradient(&model, part, &params, &mut grads));
        let depths = (depth(batch.rows as usize), dot_depth(model.features));
        let report = check(problem, &model, &params, (batch, depths), (&grads, loss))?;
        Ok((OnProcessor { processor, model, rows, params, grads }, report))
    }
}

impl Interleaved for OnProcessor<'_> {
    fn work(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        let OnProcessor { processor, model, rows, params, grads } = self;
        Ok(processor.time(repeats, || {
            black_box(parallel::gradient(model, *rows, params, grads));
        }))
    }

    fn copy(&mut self, repeats: u32) -> Result<Timed, BenchError> {
        Ok(self.processor.copy(4 * self.rows.x.len() as u64, repeats))
    }

    fn limit(&mut self, repeats: u32) -> Result<Option<Timed>, BenchError> {
        Ok(Some(self.processor.time(repeats, || read(self.rows.x))))
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.processor.memory.flush();
        Ok(())
    }
}
