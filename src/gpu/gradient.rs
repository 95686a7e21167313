//! The recorded gradient of a linear model's mean squared error.

use super::bindings::{Use, check_device, check_limit, group, layout, pipeline};
use super::span::{Limits, Span, grid};
use super::{Samples, Shape, shader, shape::THREADS};
use crate::Error;
use wgpu::{BindGroup, Buffer, BufferUsages, ComputePass, ComputePipeline, Device, Queue};

/// Bytes from one batch's description to the next: WebGPU's alignment of dynamic offsets.
const SLOT: u64 = 256;

/// Storage buffers that the kernels bind.
const STORAGE_BUFFERS: u32 = 5;
/// Columns that a workgroup of `reduce.wgsl` adds up.
const REDUCE_COLUMNS: u32 = 4;

/// Consecutive rows of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The first row.
    pub first: u64,
    /// How many rows there are; at least one.
    pub rows: u64,
}

/// What a kernel knows of a run of rows; `struct Run` in `shaders/gradient/batch.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Run {
    first_row: u32,
    rows: u32,
    first_partial: u32,
    partials: u32,
    scale: f32,
    mean: f32,
    loss_slot: u32,
    padding: u32,
}

/// The gradient of the mean squared error 1/N Σ (xᵢ·w + b − yᵢ)² over batches of a data set on the
/// device: 2/N Σ xᵢⱼ rᵢ for each weight and 2/N Σ rᵢ for the intercept, which comes last.
///
/// X is read once up to 4096 features, twice beyond. Sums have a fixed shape: the same device, driver
/// and batch give the same bits.
#[derive(Debug)]
pub struct LinearGradient {
    samples: Samples,
    kernels: Kernels,
    rows: Vec<BindGroup>,
    reduce: ComputePipeline,
    reduce_bindings: BindGroup,
    runs: Buffer,
    losses: Buffer,
    max_batch: u64,
    max_batches: u32,
    max_groups: u32,
    /// The dispatches of each batch that is prepared.
    prepared: Vec<Vec<Dispatch>>,
}

/// One run's place in [`LinearGradient::runs`] and in the data set.
#[derive(Clone, Copy, Debug)]
struct Dispatch {
    offset: u32,
    chunk: usize,
    rows: u32,
}

#[derive(Debug)]
enum Kernels {
    OnePass(ComputePipeline),
    TwoPass { residuals: ComputePipeline, columns: ComputePipeline },
}

impl LinearGradient {
    /// The gradient over `samples` of the model in `params`, written to `grads`: features + 1 elements
    /// each, the intercept last.
    ///
    /// Up to `max_batches` batches of at most `max_batch` rows can be prepared at a time.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::OutOfBounds`], [`Error::Misaligned`], [`Error::MissingUsage`] and
    /// [`Error::Overlap`] for the spans; [`Error::Limit`] for what the device does not offer.
    pub fn new(
        device: &Device,
        samples: &Samples,
        params: &Span,
        grads: &Span,
        max_batch: u64,
        max_batches: u32,
    ) -> Result<Self, Error> {
        let limits = Limits::of(device);
        let shape = samples.shape;
        let max_batch = max_batch.clamp(1, samples.rows().max(1));
        check(&shape, params, grads, &limits)?;

        // A batch meets at most as many chunks as there are, and one at each end only in part.
        let runs_per_batch = samples.chunks.len().min(most_runs(samples, max_batch)).max(1) as u64;
        let partials = runs_per_batch * u64::from(shape.groups(max_batch.min(1 << 31) as u32));
        let partial_bytes = partials * (shape.row_bytes() + 16);
        let residual_bytes = if shape.one_pass() { 4 } else { max_batch * 4 };
        check_device(device, THREADS, STORAGE_BUFFERS)?;
        let hint = " for a batch's partial sums: use smaller batches";
        let (limit, available) = ("max_storage_buffer_binding_size", limits.max_binding);
        check_limit(limit, available, partial_bytes.max(residual_bytes), hint)?;
        let run_bytes = u64::from(max_batches.max(1)) * runs_per_batch * SLOT;
        // Offsets into the descriptions are u32. Losses are a sixty-fourth of them, and fit where they do.
        let available = device.limits().max_buffer_size.min(u32::MAX.into());
        let hint = " for the descriptions of batches: prepare fewer at a time";
        check_limit("max_buffer_size", available, run_bytes, hint)?;

        let storage = |label, size, more| {
            let usage = BufferUsages::STORAGE | more;
            let label = Some(label);
            device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let partials = storage("partial sums", partial_bytes, BufferUsages::empty());
        let residuals = storage("residuals", residual_bytes, BufferUsages::empty());
        let losses = storage("losses", u64::from(max_batches.max(1)) * 4, BufferUsages::COPY_SRC);
        let runs = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("batches"),
            size: run_bytes,
            usage: BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let run = || {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &runs,
                offset: 0,
                size: std::num::NonZeroU64::new(size_of::<Run>() as u64),
            })
        };
        use Use::{DynamicUniform, Read, Write};
        // Bindings of one buffer in one dispatch must be of one kind: grads are not bound with params.
        let rows_layout = layout(device, "gradient", &[DynamicUniform, Read, Read, Read, Write, Write]);
        let rows = samples.chunks.iter().map(|chunk| {
            let resources = vec![
                run(),
                chunk.x.as_entire_binding(),
                chunk.y.as_entire_binding(),
                params.whole_binding(),
                partials.as_entire_binding(),
                residuals.as_entire_binding(),
            ];
            group(device, "gradient", &rows_layout, resources)
        });
        let rows = rows.collect();
        let reduce_layout = layout(device, "gradient sum", &[DynamicUniform, Read, Write, Write]);
        let resources =
            vec![run(), partials.as_entire_binding(), grads.whole_binding(), losses.as_entire_binding()];
        let reduce_bindings = group(device, "gradient sum", &reduce_layout, resources);

        let width = [("VECTORS", f64::from(shape.vectors)), ("FEATURES", f64::from(shape.features))];
        let kernels = if shape.one_pass() {
            let mut constants = width.to_vec();
            constants.push(("LANES", f64::from(shape.lanes)));
            constants.push(("BLOCKS", f64::from(shape.blocks)));
            constants.push(("ROWS", f64::from(shape.rows)));
            let module = shader::gradient_one_pass();
            Kernels::OnePass(pipeline(device, &module, "main", &rows_layout, &constants))
        } else {
            let two = [shader::gradient_residuals(), shader::gradient_columns()];
            let [residuals, columns] =
                two.map(|module| pipeline(device, &module, "main", &rows_layout, &width));
            Kernels::TwoPass { residuals, columns }
        };
        let reduce = pipeline(device, &shader::gradient_reduce(), "main", &reduce_layout, &width);
        Ok(LinearGradient {
            samples: samples.clone(),
            kernels,
            rows,
            reduce,
            reduce_bindings,
            runs,
            losses,
            max_batch,
            max_batches,
            max_groups: limits.max_groups,
            prepared: Vec::new(),
        })
    }

    /// Describes the batches that are to be recorded next, in place of the last ones. The queue makes
    /// the copy ahead of its next submission, so the last ones must have been submitted.
    ///
    /// # Errors
    /// [`Error::Shape`] for too many batches, or for one that is empty, too long, or past the data's end.
    pub fn prepare(&mut self, queue: &Queue, batches: &[Batch]) -> Result<(), Error> {
        let shape_error = |what, value, range| Err(Error::Shape { what, value, range });
        if batches.len() > self.max_batches as usize {
            let range = "no more than the gradient was made for";
            return shape_error("the number of batches", batches.len() as u64, range);
        }
        let mut bytes = Vec::new();
        let mut prepared = Vec::new();
        for (slot, batch) in batches.iter().enumerate() {
            if batch.rows == 0 || batch.rows > self.max_batch {
                let range = "at least 1 and no more than the gradient was made for";
                return shape_error("the number of rows in a batch", batch.rows, range);
            }
            let end = batch.first.saturating_add(batch.rows);
            if end > self.samples.rows() {
                return shape_error("the end of a batch", end, "within the data");
            }
            let runs: Vec<_> = self.samples.runs(batch.first, batch.rows).collect();
            let groups = |rows| self.samples.shape.groups(rows);
            let partials = runs.iter().map(|&(_, _, rows)| groups(rows)).sum();
            let mut first_partial = 0;
            let mut dispatches = Vec::new();
            for (chunk, first_row, rows) in runs {
                dispatches.push(Dispatch { offset: bytes.len() as u32, chunk, rows });
                let run = Run {
                    first_row,
                    rows,
                    first_partial,
                    partials,
                    scale: (2.0 / batch.rows as f64) as f32,
                    mean: (1.0 / batch.rows as f64) as f32,
                    loss_slot: slot as u32,
                    padding: 0,
                };
                bytes.extend_from_slice(bytemuck::bytes_of(&run));
                bytes.resize(bytes.len().next_multiple_of(SLOT as usize), 0);
                first_partial += groups(rows);
            }
            prepared.push(dispatches);
        }
        queue.write_buffer(&self.runs, 0, &bytes);
        self.prepared = prepared;
        Ok(())
    }

    /// Records the gradient of the `index`-th prepared batch; nothing if there is none.
    pub fn record(&self, pass: &mut ComputePass, index: usize) {
        let Some(dispatches) = self.prepared.get(index) else { return };
        let shape = &self.samples.shape;
        for run in dispatches {
            pass.set_bind_group(0, &self.rows[run.chunk], &[run.offset]);
            let groups = shape.groups(run.rows);
            match &self.kernels {
                Kernels::OnePass(kernel) => {
                    pass.set_pipeline(kernel);
                    pass.dispatch_workgroups(groups, 1, 1);
                }
                Kernels::TwoPass { residuals, columns } => {
                    pass.set_pipeline(residuals);
                    let [x, y, _] = grid(u64::from(run.rows), 1, self.max_groups);
                    pass.dispatch_workgroups(x, y, 1);
                    pass.set_pipeline(columns);
                    pass.dispatch_workgroups(groups, shape.vectors.div_ceil(THREADS), 1);
                }
            }
        }
        if let Some(run) = dispatches.first() {
            pass.set_pipeline(&self.reduce);
            pass.set_bind_group(0, &self.reduce_bindings, &[run.offset]);
            let [x, y, _] = grid(u64::from(shape.vectors) + 1, REDUCE_COLUMNS, self.max_groups);
            pass.dispatch_workgroups(x, y, 1);
        }
    }

    /// The loss of each prepared batch after its gradient has run, one f32 each; usage `COPY_SRC`.
    pub fn losses(&self) -> &Buffer {
        &self.losses
    }

    /// The longest chains of additions behind an element of the gradient of `batch` and behind a
    /// residual, for error bounds.
    pub fn depths(&self, batch: Batch) -> (u32, u32) {
        let runs: Vec<u32> =
            self.samples.runs(batch.first, batch.rows).map(|(_, _, rows)| rows).collect();
        (self.samples.shape.depth(&runs), self.samples.shape.dot_depth())
    }
}

/// The most chunks that a batch of `max_batch` rows can meet, wherever it starts.
fn most_runs(samples: &Samples, max_batch: u64) -> usize {
    match samples.chunks.first() {
        Some(chunk) => (max_batch / u64::from(chunk.rows)) as usize + 2,
        None => 0,
    }
}

fn check(shape: &Shape, params: &Span, grads: &Span, limits: &Limits) -> Result<(), Error> {
    let expected = u64::from(shape.features) + 1;
    for (what, span) in [("params", params), ("grads", grads)] {
        span.check(|| what.into(), limits.quantum(), BufferUsages::STORAGE)?;
        if span.len != expected {
            return Err(Error::Length { what: what.into(), actual: span.len, expected });
        }
    }
    if params.overlaps(grads) {
        return Err(Error::Overlap { first: "params".into(), second: "grads".into() });
    }
    Ok(())
}
