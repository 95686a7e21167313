//! Training of all settings: concurrently on the device, or one per thread of the processor.

use super::draw::{Checks, Draw};
use super::grid::Setting;
use crate::command::Failure;
use rayon::prelude::*;
use std::cell::Cell;
use wgpu_optim::gpu::ReadBack;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::kernels::{
    DeviceDataset, Fit, GradientLayout, SmallBatchKernel, Sweep, SweepOptions,
};
use wgpu_optim::regression::train::{
    Batches, CpuWorker, HostRows, Recipe, SubmissionQueue, Submissions, ThroughputEstimate, Worker,
};
use wgpu_optim::regression::verification::{ObservedGradient, ObservedStep, Snapshot};
use wgpu_optim::{Batch, Error, Model, Penalty, Span};

/// Device memory for the state of the fits of a part, and for prepared updates, in bytes.
const STATE_BYTES: u64 = 1 << 28;
const PREPARED_BYTES: u64 = 1 << 26;
/// Maximum number of settings in a part: the largest dispatch in one dimension.
const MAX: u64 = 65_535;

/// The problem, batches and checks that all settings share.
pub struct Plan<'a> {
    pub problem: &'a Problem,
    pub model: Model,
    pub settings: &'a [Setting],
    /// The batches of each row order.
    pub orders: Vec<Batches>,
    pub draw: Draw,
}

impl Plan<'_> {
    /// The number of updates of each fit.
    pub fn updates(&self) -> u64 {
        self.orders[0].updates()
    }

    pub fn fits(&self) -> usize {
        self.settings.len() * self.orders.len()
    }

    fn recipe(&self, fit: usize) -> Recipe {
        Recipe::new(self.model, self.settings[fit / self.orders.len()].rule)
    }

    /// The learning rate of a fit, rounded to f32.
    fn lr(&self, fit: usize) -> f64 {
        f64::from(self.recipe(fit).rule.lr() as f32)
    }

    /// The end of the next range of updates, which begins at `update`: a sampled update is a range of its own.
    fn next_end(&self, update: u64, most: u64) -> u64 {
        let drawn = &self.draw.updates;
        let end = (update + most).min(self.updates());
        match drawn.range(update..).next() {
            Some(&next) if next == update => update + 1,
            Some(&next) => next.min(end),
            None => end,
        }
    }
}

/// Trains all fits on the processor, and returns their parameters by setting and row order.
pub fn on_processor(plan: &Plan, checks: &mut Checks) -> Result<Vec<Vec<f32>>, Failure> {
    let (x, aux) = plan.problem.materialize::<f32>()?;
    let start = vec![0.0; plan.model.params()];
    let one = |fit: usize| -> Result<(Vec<f32>, Vec<ObservedStep>), Failure> {
        let batches = &plan.orders[fit % plan.orders.len()];
        let rows = HostRows::Resident { x: &x, aux: &aux };
        let mut worker = CpuWorker::<f32>::new(rows, &plan.recipe(fit), &start)?;
        let (lr, drawn) = (plan.lr(fit), plan.draw.fits.contains(&fit));
        let mut seen = Vec::new();
        let mut update = 0;
        while update < plan.updates() {
            if drawn && plan.draw.updates.contains(&update) {
                seen.push(block_on(worker.run_observed(batches.get(update), lr, None))?);
                update += 1;
                continue;
            }
            let end = plan.next_end(update, 1024);
            let run: Vec<Batch> = (update..end).map(|i| batches.get(i)).collect();
            block_on(worker.run(&run, &vec![lr; run.len()], None))?;
            update = end;
        }
        let params = block_on(worker.params())?.iter().map(|&p| p as f32).collect();
        Ok((params, seen))
    };
    let all: Vec<_> = (0..plan.fits()).into_par_iter().map(one).collect::<Result<_, _>>()?;
    let mut params = Vec::with_capacity(all.len());
    for (fit, (found, seen)) in all.into_iter().enumerate() {
        for step in &seen {
            checks.check(&plan.recipe(fit), plan.problem, step)?;
        }
        params.push(found);
    }
    Ok(params)
}

/// Trains all fits on a device, in parts that fit its memory, and returns their parameters by setting and row order.
pub fn on_device(gpu: &Gpu, plan: &Plan, checks: &mut Checks) -> Result<Vec<Vec<f32>>, Failure> {
    let Plan { problem, model, settings, orders, .. } = plan;
    let max_batch = orders.iter().map(Batches::max_rows).max().unwrap_or(1);
    if !SmallBatchKernel::fits(model, max_batch) {
        return Err(Failure::Input(format!(
            "a batch of {max_batch} rows × {} features is too large for a sweep on a GPU: use a smaller \
             --batch-size, or --device cpu",
            model.features
        )));
    }
    let shape = GradientLayout::new(model)?;
    let samples = DeviceDataset::new(&gpu.device, shape, problem.rows, problem.rows)?;
    let (x, aux) = problem.materialize::<f32>()?;
    samples.write(&gpu.queue, &x, &aux)?;

    let each = orders.len() as u64;
    // Parameters, gradient, and at most three moments.
    let most = (STATE_BYTES / (shape.padded_len() * 4 * 5 * each)).clamp(1, MAX);
    let mut params = Vec::with_capacity(plan.fits());
    for (part, settings) in settings.chunks(most as usize).enumerate() {
        let rules: Vec<_> = settings.iter().map(|setting| setting.rule).collect();
        let count = rules.len() as u64;
        let an_update = 32 * count + 4 * count * each + each * (16 + 4 * max_batch);
        let max_updates = (PREPARED_BYTES / an_update).clamp(1, plan.updates()) as u32;
        let sweeping = SweepOptions {
            model: *model,
            penalty: Penalty::default(),
            orders: orders.len(),
            max_batch,
            max_updates,
            shuffled: orders.iter().any(Batches::shuffled),
        };
        let start = vec![0.0; model.params()];
        let mut part = Part {
            gpu,
            plan,
            sweep: Sweep::new(&gpu.device, &samples, &rules, &start, sweeping)?,
            rate: ThroughputEstimate::default(),
            submissions: Cell::default(),
            first: part * most as usize,
            settings: settings.len(),
        };
        part.train(max_updates.into(), checks)?;
        let spans = part.sweep.params();
        let read = part.read(&spans)?;
        params.extend(part.sweep.sort(&read));
    }
    Ok(params)
}

/// Settings that are on the device at the same time.
struct Part<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan<'a>,
    sweep: Sweep,
    rate: ThroughputEstimate,
    submissions: Cell<Submissions>,
    /// Index of the first setting, and the number of settings.
    first: usize,
    settings: usize,
}

impl Part<'_> {
    fn train(&mut self, max_updates: u64, checks: &mut Checks) -> Result<(), Failure> {
        let orders = self.plan.orders.len();
        let own = self.first * orders..(self.first + self.settings) * orders;
        let drawn: Vec<usize> = self.plan.draw.fits.range(own).copied().collect();
        let mut update = 0;
        while update < self.plan.updates() {
            let end = self.plan.next_end(update, max_updates);
            if drawn.is_empty() || !self.plan.draw.updates.contains(&update) {
                self.run(update, end)?;
            } else {
                let before = drawn.iter().map(|&fit| self.look(fit)).collect::<Result<Vec<_>, _>>()?;
                self.run(update, end)?;
                for (&fit, (before, ..)) in drawn.iter().zip(before) {
                    let step = self.observed(fit, update, before)?;
                    checks.check(&self.plan.recipe(fit), self.plan.problem, &step)?;
                }
            }
            update = end;
        }
        Ok(())
    }

    fn run(&mut self, first: u64, end: u64) -> Result<(), Failure> {
        let of = |batches: &Batches| (first..end).map(|i| batches.get(i)).collect::<Vec<Batch>>();
        let orders: Vec<Vec<Batch>> = self.plan.orders.iter().map(of).collect();
        let orders: Vec<&[Batch]> = orders.iter().map(Vec::as_slice).collect();
        self.sweep.prepare(&self.gpu.queue, &orders)?;
        let mut work = SubmissionQueue::new(self.gpu, &self.submissions, &self.rate);
        for part in 0..self.sweep.parts() {
            let encoder = block_on(work.encoder(1))?;
            self.sweep.record_part(&mut encoder.begin_compute_pass(&Default::default()), part);
        }
        Ok(block_on(work.finish())?)
    }

    /// Reads parameters and moments of a fit, and its last gradient and loss.
    fn look(&self, fit: usize) -> Result<(Snapshot, Vec<f32>, f32), Failure> {
        let orders = self.plan.orders.len();
        let Fit { params, moments, gradient, loss } =
            self.sweep.fit(fit / orders - self.first, fit % orders)?;
        let spans: Vec<Span> = [params, gradient].into_iter().chain(moments).chain([loss]).collect();
        let mut read = self.read(&spans)?;
        let loss = read.pop().unwrap_or(f32::NAN);
        let shape = self.sweep.shape();
        let mut values = read.chunks(shape.padded_len() as usize).map(|padded| shape.unpad(padded));
        let (params, grads) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
        Ok((Snapshot { params, moments: values.collect() }, grads, loss))
    }

    /// The inputs and outputs of an update of a fit.
    fn observed(&self, fit: usize, update: u64, before: Snapshot) -> Result<ObservedStep, Failure> {
        let (after, grads, loss) = self.look(fit)?;
        let batch = self.plan.orders[fit % self.plan.orders.len()].get(update);
        let gradient = ObservedGradient { batch, depths: self.sweep.depths(batch), grads, loss };
        let (t, lr) = (update + 1, self.plan.lr(fit));
        Ok(ObservedStep { t, lr, before, gradient, sample: None, after })
    }

    fn read(&self, spans: &[Span]) -> Result<Vec<f32>, Error> {
        let bytes = spans.iter().map(|span| span.len * 4).sum();
        let mut staging = ReadBack::new(&self.gpu.device, bytes)?;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        spans.iter().try_for_each(|span| staging.copy(&mut encoder, span))?;
        self.gpu.queue.submit([encoder.finish()]);
        block_on(self.gpu.wait(staging.read()))
    }
}
