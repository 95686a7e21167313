//! Training on a GPU.

use super::Worker;
use crate::gpu::{Batch, Gpu, LinearGradient, Optimizer, ReadBack, Samples, Shape, Span, SyntheticRows};
use crate::regression::Problem;
use crate::verify::{ObservedGradient, ObservedStep, Snapshot};
use crate::{Error, Rule};
use wgpu::{BufferUsages, CommandEncoder};

/// Updates in one submission: as many, and fewer where so many traces of parameters would take memory.
const MAX_UPDATES: u64 = 256;
const MIN_UPDATES: u64 = 16;
const TRACE: u64 = 1 << 22;
/// Rows whose loss is taken by one dispatch, if a chunk has as many, and how many such dispatches make a submission.
const EVAL_ROWS: u64 = 1 << 18;
const EVAL_AT_ONCE: u32 = 32;

/// A problem's rows on a device, to be trained on any number of times.
#[derive(Debug)]
pub struct GpuData<'a> {
    gpu: &'a Gpu,
    samples: Samples,
}

impl<'a> GpuData<'a> {
    /// Makes or uploads the rows. `batch` is the size of the batches to come, which should not be cut.
    ///
    /// # Errors
    /// [`Error`] if the problem does not fit the device's limits.
    pub fn new(gpu: &'a Gpu, problem: &Problem, batch: u64) -> Result<Self, Error> {
        let shape = Shape::new(problem.features)?;
        let memory = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let samples = Samples::new(&gpu.device, shape, problem.rows, batch)?;
        if let Some(error) = pollster::block_on(memory.pop()) {
            return Err(Error::OutOfMemory { what: "the rows", reason: error.to_string() });
        }
        match problem.generator() {
            Some(generator) => {
                let rows = SyntheticRows::new(&gpu.device, &samples, generator)?;
                for chunk in 0..rows.chunks() {
                    let mut encoder = gpu.device.create_command_encoder(&Default::default());
                    rows.record(&mut encoder.begin_compute_pass(&Default::default()), chunk);
                    gpu.submit(encoder)?;
                }
            }
            None => {
                let (x, y) = problem.materialize::<f32>()?;
                samples.write(&gpu.queue, &x, &y)?;
                gpu.submit(gpu.device.create_command_encoder(&Default::default()))?;
            }
        }
        Ok(GpuData { gpu, samples })
    }

    /// Where rows are wide a chunk has few of them, and many partial sums for each.
    fn eval_rows(&self) -> u64 {
        let chunk = self.samples.chunks().first().map_or(1, |chunk| u64::from(chunk.rows));
        EVAL_ROWS.min(chunk)
    }
}

/// Training on a device: every update is recorded ahead, none waits for the host.
#[derive(Debug)]
pub struct GpuWorker<'a> {
    data: &'a GpuData<'a>,
    optimizer: Optimizer,
    gradient: LinearGradient,
    evaluation: LinearGradient,
    params: Span,
    grads: Span,
    sample_grads: Span,
    read_back: ReadBack,
    max_updates: usize,
    updates: u64,
}

impl<'a> GpuWorker<'a> {
    /// A model that starts at `params` (the intercept last), for batches of at most `max_batch` rows.
    ///
    /// # Errors
    /// [`Error`] if the rule is not valid or the device's limits are too low.
    pub fn new(data: &'a GpuData, rule: &Rule, params: &[f64], max_batch: u64) -> Result<Self, Error> {
        Self::with_rule_file(data, rule, params, max_batch, None)
    }

    /// [`new`](Self::new) with another shader file in the place of the rule's.
    pub(crate) fn with_rule_file(
        data: &'a GpuData,
        rule: &Rule,
        params: &[f64],
        max_batch: u64,
        rule_file: Option<&'static str>,
    ) -> Result<Self, Error> {
        let Gpu { device, queue, .. } = data.gpu;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let len = params.len() as u64;
        // Rounded up to whole vectors, so that an update is one dispatch; gradients past the end stay 0.
        let padded = len.next_multiple_of(4);
        let buffer = |label| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: padded * 4,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let (params_buffer, grads_buffer) = (buffer("params"), buffer("grads"));
        let start: Vec<f32> = params.iter().map(|&p| p as f32).collect();
        queue.write_buffer(&params_buffer, 0, bytemuck::cast_slice(&start));
        let params = Span::new(&params_buffer, 0, len);
        let grads = Span::new(&grads_buffer, 0, len);

        let mut builder = Optimizer::new(device, *rule)
            .tensor(Span::whole(&params_buffer), Span::whole(&grads_buffer));
        if let Some(file) = rule_file {
            builder = builder.rule_file(file);
        }
        let optimizer = builder.build()?;
        let max_updates = (TRACE / len).clamp(MIN_UPDATES, MAX_UPDATES);
        let max_batches = max_updates as u32;
        let gradient =
            LinearGradient::new(device, &data.samples, &params, &grads, max_batch, max_batches)?;
        // Losses over all rows and samples must not touch the gradient that is in use.
        let sample_grads = Span::new(&buffer("gradient of a sample"), 0, len);
        let evaluation = LinearGradient::new(
            device,
            &data.samples,
            &params,
            &sample_grads,
            data.eval_rows(),
            EVAL_AT_ONCE,
        )?;
        let states = 2 * (1 + rule.moments().len() as u64) + 2;
        let bytes = 4 * (max_updates * (len + 1)).max(states * padded + 2);
        let read_back = ReadBack::new(device, bytes)?;
        if let Some(error) = pollster::block_on(memory.pop()) {
            let (what, reason) = ("the model and its gradient", error.to_string());
            return Err(Error::OutOfMemory { what, reason });
        }
        Ok(GpuWorker {
            data,
            optimizer,
            gradient,
            evaluation,
            params,
            grads,
            sample_grads,
            read_back,
            max_updates: max_updates as usize,
            updates: 0,
        })
    }

    fn encoder(&self) -> CommandEncoder {
        self.data.gpu.device.create_command_encoder(&Default::default())
    }

    /// Records one update from the `index`-th prepared batch.
    fn record(&self, encoder: &mut CommandEncoder, index: usize) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.gradient.record(&mut pass, index);
        self.optimizer.record(&mut pass);
    }

    fn copy_state(&mut self, encoder: &mut CommandEncoder) -> Result<(), Error> {
        self.read_back.copy(encoder, &self.params)?;
        // A model is one tensor, in one part: what a batch's gradient can be made of is.
        for moment in self.optimizer.tensors().iter().flat_map(|tensor| tensor.moments.iter().flatten())
        {
            let unpadded = Span { len: self.params.len, ..moment.clone() };
            self.read_back.copy(encoder, &unpadded)?;
        }
        Ok(())
    }

    fn read(&mut self, encoder: CommandEncoder) -> Result<Vec<f32>, Error> {
        self.data.gpu.submit(encoder)?;
        self.data.gpu.wait(self.read_back.read())
    }
}

/// The losses of the first `batches` prepared batches.
fn losses(of: &LinearGradient, batches: usize) -> Span {
    Span::new(of.losses(), 0, batches as u64)
}

impl Worker for GpuWorker<'_> {
    fn run(&mut self, batches: &[Batch], trace: Option<&mut Vec<Vec<f64>>>) -> Result<Vec<f64>, Error> {
        self.gradient.prepare(&self.data.gpu.queue, batches)?;
        let mut encoder = self.encoder();
        for index in 0..batches.len() {
            self.record(&mut encoder, index);
            if trace.is_some() {
                self.read_back.copy(&mut encoder, &self.params)?;
            }
        }
        self.read_back.copy(&mut encoder, &losses(&self.gradient, batches.len()))?;
        let values = self.read(encoder)?;
        self.updates += batches.len() as u64;
        let (params, losses) = values.split_at(values.len() - batches.len());
        if let Some(trace) = trace {
            let widen = |params: &[f32]| params.iter().map(|&p| p.into()).collect();
            trace.extend(params.chunks(self.params.len as usize).map(widen));
        }
        Ok(losses.iter().map(|&loss| loss.into()).collect())
    }

    fn run_observed(&mut self, batch: Batch, sample: Option<Batch>) -> Result<ObservedStep, Error> {
        let queue = &self.data.gpu.queue;
        self.gradient.prepare(queue, &[batch])?;
        self.evaluation.prepare(queue, sample.as_slice())?;
        let mut encoder = self.encoder();
        self.copy_state(&mut encoder)?;
        self.evaluation.record(&mut encoder.begin_compute_pass(&Default::default()), 0);
        self.record(&mut encoder, 0);
        self.copy_state(&mut encoder)?;
        self.read_back.copy(&mut encoder, &self.grads)?;
        self.read_back.copy(&mut encoder, &self.sample_grads)?;
        self.read_back.copy(&mut encoder, &losses(&self.gradient, 1))?;
        self.read_back.copy(&mut encoder, &losses(&self.evaluation, 1))?;
        let mut values = self.read(encoder)?;
        self.updates += 1;

        let losses = values.split_off(values.len() - 2);
        let mut parts = values.chunks(self.params.len as usize).map(<[f32]>::to_vec);
        let mut next = || parts.next().unwrap_or_default();
        let moments = self.optimizer.rule().moments().len();
        let mut snapshot =
            || Snapshot { params: next(), moments: (0..moments).map(|_| next()).collect() };
        let (before, after) = (snapshot(), snapshot());
        let observed = |of: &LinearGradient, batch, grads, loss| ObservedGradient {
            batch,
            depths: of.depths(batch),
            grads,
            loss,
        };
        let gradient = observed(&self.gradient, batch, next(), losses[0]);
        let sample_grads = next();
        let sample = sample.map(|batch| observed(&self.evaluation, batch, sample_grads, losses[1]));
        Ok(ObservedStep { t: self.updates, before, gradient, sample, after })
    }

    fn params(&mut self) -> Result<Vec<f64>, Error> {
        let mut encoder = self.encoder();
        self.read_back.copy(&mut encoder, &self.params)?;
        Ok(self.read(encoder)?.into_iter().map(f64::from).collect())
    }

    fn moments(&mut self) -> Result<Vec<Vec<f64>>, Error> {
        let mut encoder = self.encoder();
        self.copy_state(&mut encoder)?;
        let values = self.read(encoder)?;
        let widen = |values: &[f32]| values.iter().map(|&v| v.into()).collect();
        Ok(values.chunks(self.params.len as usize).skip(1).map(widen).collect())
    }

    fn loss(&mut self) -> Result<f64, Error> {
        let (rows, eval_rows) = (self.data.samples.rows(), self.data.eval_rows());
        let starts: Vec<u64> = (0..rows).step_by(eval_rows as usize).collect();
        let mut sum = 0.0;
        for starts in starts.chunks(EVAL_AT_ONCE as usize) {
            let batch = |&first: &u64| Batch { first, rows: eval_rows.min(rows - first) };
            let batches: Vec<Batch> = starts.iter().map(batch).collect();
            self.evaluation.prepare(&self.data.gpu.queue, &batches)?;
            let mut encoder = self.encoder();
            for index in 0..batches.len() {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                self.evaluation.record(&mut pass, index);
            }
            self.read_back.copy(&mut encoder, &losses(&self.evaluation, batches.len()))?;
            let losses = self.read(encoder)?;
            sum += losses.iter().zip(&batches).map(|(&l, b)| f64::from(l) * b.rows as f64).sum::<f64>();
        }
        Ok(sum / rows as f64)
    }

    fn max_updates(&self) -> usize {
        self.max_updates
    }
}
