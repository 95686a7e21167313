//! Training on a GPU.

use super::{Batches, Recipe, Worker};
use crate::batch::Batch;
use crate::gpu::{
    Descending, Descent, Evaluator, Gpu, Gradient, ReadBack, Rows, Samples, Shape, Span, SyntheticRows,
};
use crate::regression::{Problem, ProblemError};
use crate::verify::{ObservedGradient, ObservedStep, Snapshot};
use crate::{Error, Evaluation, Model};
use std::cell::RefCell;
use std::time::{Duration, Instant};
use wgpu::{BufferUsages, CommandEncoder, ComputePass, PollType, SubmissionIndex};

/// Updates in one submission: as many, and fewer where so many traces of parameters would take memory or so
/// many runs would be described.
const MAX_UPDATES: u64 = 256;
const MIN_UPDATES: u64 = 4;
const TRACE: u64 = 1 << 22;
const MAX_RUNS: u64 = 1 << 14;
/// Batches whose evaluation makes a submission.
const EVAL_AT_ONCE: u32 = 16;

/// Where the rows of a problem are while it is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All of them on the device.
    Resident,
    /// Nowhere: they are made inside the kernels that read them. For synthetic problems.
    Virtual,
    /// On the device in two chunks of at most so many bytes, one of which is written while the other is
    /// computed with.
    Streamed {
        /// Bytes of a chunk.
        chunk: u64,
    },
}

/// A problem's rows on a device, to be trained on any number of times.
#[derive(Debug)]
pub struct GpuData<'a> {
    gpu: &'a Gpu,
    problem: &'a Problem,
    rows: Rows,
    /// What is in the two buffers that chunks take turns in.
    stream: Option<RefCell<Stream>>,
}

#[derive(Debug)]
struct Stream {
    samples: Samples,
    held: [Option<usize>; 2],
    /// What last read each of them.
    last: [Option<SubmissionIndex>; 2],
    x: Vec<f32>,
    sides: Vec<f32>,
    times: StreamTimes,
}

/// What streaming came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamTimes {
    /// Time spent reading or making rows and handing them over.
    pub loading: Duration,
    /// Of that, while the device had nothing to compute.
    pub exposed: Duration,
    /// Time spent waiting for the device before a chunk's place was free.
    pub waiting: Duration,
    /// Bytes of rows that were handed over.
    pub bytes: u64,
}

impl<'a> GpuData<'a> {
    /// Makes or uploads the rows, for batches as they are to come.
    ///
    /// # Errors
    /// [`ProblemError`] if the problem does not fit the device's limits, or cannot be read.
    pub fn new(
        gpu: &'a Gpu,
        problem: &'a Problem,
        model: &Model,
        batches: &Batches,
        placement: Placement,
    ) -> Result<Self, ProblemError> {
        let shape = Shape::new(model)?;
        let Gpu { device, queue, .. } = gpu;
        let unit = batches.unit();
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let mut stream = None;
        let rows = match (placement, problem.generator()) {
            (Placement::Virtual, Some(generator)) => {
                Rows::unstored(device, shape, generator, problem.rows)?
            }
            (Placement::Virtual, None) => {
                let reason = "rows that are not stored are made, and these are not synthetic".into();
                return Err(ProblemError::Targets { name: problem.name.clone(), reason });
            }
            (Placement::Streamed { chunk }, _) => {
                let samples = Samples::in_turns(device, shape, problem.rows, unit, chunk)?;
                let rows = Rows::from(&samples);
                stream = Some(RefCell::new(Stream::new(samples)));
                rows
            }
            (Placement::Resident, _) => Rows::from(&Samples::new(device, shape, problem.rows, unit)?),
        };
        if let Some(error) = pollster::block_on(memory.pop()) {
            return Err(Error::OutOfMemory { what: "the rows", reason: error.to_string() }.into());
        }
        let data = GpuData { gpu, problem, rows, stream };
        if let (Placement::Resident, Some(samples)) = (placement, data.rows.samples()) {
            match problem.generator() {
                Some(generator) => {
                    let rows = SyntheticRows::new(device, samples, generator)?;
                    for chunk in 0..rows.chunks() {
                        let mut encoder = device.create_command_encoder(&Default::default());
                        rows.record(&mut encoder.begin_compute_pass(&Default::default()), chunk);
                        gpu.submit(encoder)?;
                    }
                }
                None => {
                    for (i, chunk) in samples.chunks().iter().enumerate() {
                        let (x, sides) =
                            problem.rows_of(&Batch::new(chunk.first_row, chunk.rows.into()))?;
                        samples.write_part(queue, i, 0, &x, &sides)?;
                        gpu.submit(device.create_command_encoder(&Default::default()))?;
                    }
                }
            }
        }
        Ok(data)
    }

    /// What streaming has come to so far, where rows are streamed.
    pub fn stream_times(&self) -> Option<StreamTimes> {
        self.stream.as_ref().map(|stream| stream.borrow().times)
    }

    /// Records work on a chunk into `encoder`, whose earlier work is submitted if the chunk must be written
    /// first.
    fn on_chunk(
        &self,
        encoder: &mut CommandEncoder,
        chunk: usize,
        record: impl FnOnce(&mut ComputePass),
    ) -> Result<(), ProblemError> {
        if let Some(stream) = &self.stream {
            let mut stream = stream.borrow_mut();
            if stream.held[chunk % 2] != Some(chunk) {
                let fresh = self.gpu.device.create_command_encoder(&Default::default());
                let before = std::mem::replace(encoder, fresh);
                let index = self.gpu.queue.submit([before.finish()]);
                stream.load(self, chunk, index)?;
            }
        }
        record(&mut encoder.begin_compute_pass(&Default::default()));
        Ok(())
    }
}

impl Stream {
    fn new(samples: Samples) -> Self {
        Stream {
            samples,
            held: [None; 2],
            last: [None, None],
            x: Vec::new(),
            sides: Vec::new(),
            times: StreamTimes::default(),
        }
    }

    /// Brings a chunk into its place. `submitted` is the device's work so far: the last that read the other
    /// place, which goes on meanwhile.
    fn load(
        &mut self,
        data: &GpuData,
        chunk: usize,
        submitted: SubmissionIndex,
    ) -> Result<(), ProblemError> {
        let Gpu { device, queue, .. } = data.gpu;
        let (place, other) = (chunk % 2, 1 - chunk % 2);
        let shape = *self.samples.shape();
        let part = &self.samples.chunks()[chunk];
        let (first, rows) = (part.first_row, part.rows as usize);
        let poll = |poll| device.poll(poll).map_err(|e| Error::ReadBack(e.to_string()));
        let started = Instant::now();
        self.x.resize(rows * shape.features as usize, 0.0);
        self.sides.resize(rows * shape.side as usize, 0.0);
        data.problem.fill(first, &mut self.x, &mut self.sides)?;
        let filled = Instant::now();
        // Rows are staged on the host: not more than two chunks at a time.
        if let Some(index) = self.last[place].take() {
            poll(PollType::Wait { submission_index: Some(index), timeout: None })?;
        }
        let free = Instant::now();
        self.samples.write_part(queue, chunk, 0, &self.x, &self.sides)?;
        // Whether the device still computes tells whether it was kept waiting.
        let idle = poll(PollType::Poll)?.is_queue_empty();
        let loading = (filled - started) + free.elapsed();
        self.times.loading += loading;
        self.times.waiting += free - filled;
        self.times.exposed += if idle { loading } else { Duration::ZERO };
        self.times.bytes += rows as u64 * (shape.row_bytes() + u64::from(shape.side) * 4);
        self.last[other] = Some(submitted);
        self.held[place] = Some(chunk);
        Ok(())
    }
}

/// Training on a device: every update is recorded ahead, none waits for the host.
#[derive(Debug)]
pub struct GpuWorker<'a> {
    data: &'a GpuData<'a>,
    recipe: Recipe,
    shape: Shape,
    descent: Descent,
    /// Checks are made apart from what is trained.
    gradient: Gradient,
    evaluator: Evaluator,
    params: Span,
    grads: Span,
    read_back: ReadBack,
    max_updates: usize,
    eval_rows: u64,
}

impl<'a> GpuWorker<'a> {
    /// A model that starts at `params`, as [`Model::params`] counts them, for these batches.
    ///
    /// # Errors
    /// [`Error`] if the recipe is not valid or the device's limits are too low.
    pub fn new(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
    ) -> Result<Self, Error> {
        Self::with_rule_file(data, recipe, params, batches, None)
    }

    /// [`new`](Self::new) with another shader file in the place of the rule's.
    pub(crate) fn with_rule_file(
        data: &'a GpuData,
        recipe: &Recipe,
        params: &[f64],
        batches: &Batches,
        rule_file: Option<&'static str>,
    ) -> Result<Self, Error> {
        recipe.validate()?;
        let Gpu { device, queue, .. } = data.gpu;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let Recipe { model, rule, penalty, average } = *recipe;
        let shape = Shape::new(&model)?;
        let padded = shape.padded_len();
        let buffer = |label| {
            Span::whole(&device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: padded * 4,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }))
        };
        let (params_span, grads) = (buffer("params"), buffer("grads"));
        let start: Vec<f32> = params.iter().map(|&p| p as f32).collect();
        queue.write_buffer(&params_span.buffer, 0, bytemuck::cast_slice(&shape.pad(&start)));

        let (max_batch, shuffled) = (batches.max_rows(), batches.shuffled());
        let runs = data.rows.most_runs(max_batch);
        let max_updates = (TRACE / padded).min(MAX_RUNS / runs).clamp(MIN_UPDATES, MAX_UPDATES);
        let max_batches = max_updates as u32;
        let options = Descending { model, rule, penalty, average, max_batch, max_batches, shuffled };
        let descent = Descent::with_rule_file(device, &data.rows, &params_span, options, rule_file)?;
        let spans = (&params_span, &grads);
        let gradient = Gradient::new(device, &data.rows, &model, spans, (max_batch, 2), shuffled)?;
        // Of the same cut as the batches, so that how rows are cut into chunks changes nothing.
        let (unit, run) = (batches.unit(), shape.run_rows());
        let eval_rows = if unit <= run { run / unit * unit } else { unit };
        let evaluator =
            Evaluator::new(device, &data.rows, &model, &params_span, (eval_rows, EVAL_AT_ONCE))?;
        let states = 2 * (1 + rule.moments().len() as u64) + 2;
        let bytes = 4 * (max_updates * (padded + 1)).max(states * padded + 3);
        let evaluations = u64::from(EVAL_AT_ONCE) * 16 * (u64::from(shape.outputs) + 1);
        let read_back = ReadBack::new(device, bytes.max(evaluations))?;
        if let Some(error) = pollster::block_on(memory.pop()) {
            let (what, reason) = ("the model and its gradient", error.to_string());
            return Err(Error::OutOfMemory { what, reason });
        }
        Ok(GpuWorker {
            data,
            recipe: *recipe,
            shape,
            descent,
            gradient,
            evaluator,
            params: params_span,
            grads,
            read_back,
            max_updates: max_updates as usize,
            eval_rows,
        })
    }

    fn encoder(&self) -> CommandEncoder {
        self.data.gpu.device.create_command_encoder(&Default::default())
    }

    /// Records the `index`-th prepared update.
    fn record(&self, encoder: &mut CommandEncoder, index: usize) -> Result<(), ProblemError> {
        for run in 0..self.descent.runs(index) {
            let chunk = self.descent.chunk(index, run);
            self.data.on_chunk(encoder, chunk, |pass| self.descent.record_run(pass, index, run))?;
        }
        Ok(())
    }

    /// Records the `index`-th prepared gradient of a check.
    fn record_gradient(&self, encoder: &mut CommandEncoder, index: usize) -> Result<(), ProblemError> {
        for run in 0..self.gradient.runs(index) {
            let chunk = self.gradient.chunk(index, run);
            self.data.on_chunk(encoder, chunk, |pass| self.gradient.record_run(pass, index, run))?;
        }
        Ok(())
    }

    /// The moments without the average.
    fn moment_spans(&self) -> Vec<Span> {
        let mut state = self.descent.state();
        state.truncate(self.recipe.rule.moments().len());
        state
    }

    fn copy_state(&mut self, encoder: &mut CommandEncoder) -> Result<(), Error> {
        self.read_back.copy(encoder, &self.params)?;
        for moment in self.moment_spans() {
            self.read_back.copy(encoder, &moment)?;
        }
        Ok(())
    }

    fn read(&mut self, encoder: CommandEncoder) -> Result<Vec<f32>, Error> {
        self.data.gpu.submit(encoder)?;
        self.data.gpu.wait(self.read_back.read())
    }

    fn unpadded(&self, values: &[f32]) -> Vec<f64> {
        self.shape.unpad(values).into_iter().map(f64::from).collect()
    }
}

impl Worker for GpuWorker<'_> {
    fn run(
        &mut self,
        batches: &[Batch],
        learning_rates: &[f64],
        trace: Option<&mut Vec<Vec<f64>>>,
    ) -> Result<Vec<f64>, ProblemError> {
        let rates: Vec<f32> = learning_rates.iter().map(|&lr| lr as f32).collect();
        self.descent.prepare(&self.data.gpu.queue, batches, &rates)?;
        let mut encoder = self.encoder();
        for index in 0..batches.len() {
            self.record(&mut encoder, index)?;
            if trace.is_some() {
                self.read_back.copy(&mut encoder, &self.params)?;
            }
        }
        let losses = Span::new(self.descent.losses(), 0, batches.len() as u64);
        self.read_back.copy(&mut encoder, &losses)?;
        let values = self.read(encoder)?;
        let (params, losses) = values.split_at(values.len() - batches.len());
        if let Some(trace) = trace {
            let params = params.chunks(self.params.len as usize);
            trace.extend(params.map(|params| self.unpadded(params)));
        }
        Ok(losses.iter().map(|&loss| loss.into()).collect())
    }

    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> Result<ObservedStep, ProblemError> {
        let queue = &self.data.gpu.queue;
        // The gradient that the update applies is never in memory: the same kernels make it once more.
        let batches: Vec<Batch> = std::iter::once(batch).chain(sample).collect();
        self.gradient.prepare(queue, &batches)?;
        self.descent.prepare(queue, &[batch], &[lr as f32])?;
        let mut encoder = self.encoder();
        self.copy_state(&mut encoder)?;
        for index in 0..batches.len() {
            self.record_gradient(&mut encoder, index)?;
            self.read_back.copy(&mut encoder, &self.grads)?;
        }
        self.record(&mut encoder, 0)?;
        self.copy_state(&mut encoder)?;
        let losses = Span::new(self.gradient.losses(), 0, batches.len() as u64);
        self.read_back.copy(&mut encoder, &losses)?;
        self.read_back.copy(&mut encoder, &Span::new(self.descent.losses(), 0, 1))?;
        let mut values = self.read(encoder)?;

        let losses = values.split_off(values.len() - batches.len() - 1);
        let mut parts = values.chunks(self.params.len as usize).map(|part| self.shape.unpad(part));
        let mut next = || parts.next().unwrap_or_default();
        let moments = self.recipe.rule.moments().len();
        let mut snapshot =
            || Snapshot { params: next(), moments: (0..moments).map(|_| next()).collect() };
        let before = snapshot();
        let observed = |batch: Batch, grads, loss| ObservedGradient {
            batch,
            depths: self.gradient.depths(batch),
            grads,
            loss,
        };
        let mut next = || parts.next().unwrap_or_default();
        // The loss is that of the update itself.
        let gradient = observed(batch, next(), losses[losses.len() - 1]);
        let sample = sample.map(|batch| observed(batch, next(), losses[1]));
        let mut snapshot =
            || Snapshot { params: next(), moments: (0..moments).map(|_| next()).collect() };
        let after = snapshot();
        Ok(ObservedStep { t: self.descent.step_state().t, lr, before, gradient, sample, after })
    }

    fn params(&mut self) -> Result<Vec<f64>, ProblemError> {
        let mut encoder = self.encoder();
        self.read_back.copy(&mut encoder, &self.params)?;
        let values = self.read(encoder)?;
        Ok(self.unpadded(&values))
    }

    fn moments(&mut self) -> Result<Vec<Vec<f64>>, ProblemError> {
        let mut encoder = self.encoder();
        self.copy_state(&mut encoder)?;
        let values = self.read(encoder)?;
        let moments = values.chunks(self.params.len as usize).skip(1);
        Ok(moments.map(|values| self.unpadded(values)).collect())
    }

    fn take_average(&mut self) -> Result<(), ProblemError> {
        let moments = self.recipe.rule.moments().len();
        let Some(average) = self.descent.state().into_iter().nth(moments) else { return Ok(()) };
        let mut encoder = self.encoder();
        let Span { buffer, offset, len } = average;
        encoder.copy_buffer_to_buffer(&buffer, offset, &self.params.buffer, 0, len * 4);
        self.data.gpu.submit(encoder)?;
        Ok(())
    }

    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> Result<Evaluation, ProblemError> {
        let starts: Vec<u64> = (first..first + rows).step_by(self.eval_rows as usize).collect();
        let mut all = Evaluation { shift, ..Evaluation::default() };
        for starts in starts.chunks(EVAL_AT_ONCE as usize) {
            let end = first + rows;
            let batch = |&at: &u64| Batch::new(at, self.eval_rows.min(end - at));
            let batches: Vec<Batch> = starts.iter().map(batch).collect();
            self.evaluator.prepare(&self.data.gpu.queue, &batches, shift as f32)?;
            let mut encoder = self.encoder();
            let mut width = 1;
            for index in 0..batches.len() {
                for run in 0..self.evaluator.runs(index) {
                    let chunk = self.evaluator.chunk(index, run);
                    self.data.on_chunk(&mut encoder, chunk, |pass| {
                        self.evaluator.record_run(pass, index, run);
                    })?;
                }
                let Some(sums) = self.evaluator.sums(index) else { continue };
                width = sums.len as usize;
                self.read_back.copy(&mut encoder, &sums)?;
            }
            let values = self.read(encoder)?;
            for sums in values.chunks(width) {
                all.add(&Evaluation { shift, ..self.evaluator.read(sums) });
            }
        }
        Ok(all)
    }

    fn max_updates(&self) -> usize {
        self.max_updates
    }
}
