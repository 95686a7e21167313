//! Synthetic problems, generated on the device.

use super::{Chunk, DeviceDataset, GradientLayout};
use super::{needs, shader};
use crate::gpu::bindings::{BufferAccess, buffer_with, check_limit, group, layout, pipeline_over};
use crate::gpu::dispatch::{Dispatch, flag};
use crate::gpu::shader::Module;
use crate::gpu::span::{Limits, grid};
use crate::regression::reference::synthetic::{Grid, Response, Synthetic, Truth};
use crate::{Error, Loss, Model};
use wgpu::{
    BindGroup, BindGroupLayout, BindingResource, Buffer, BufferUsages, ComputePass, ComputePipeline,
    Device,
};

const WORKGROUP: u32 = 64;
/// Blocks of eight features that a thread takes before another joins it: the noise, which one thread generates for
/// all, costs as much as two.
const BLOCKS: u32 = 4;
/// The rows of a part are a multiple of this: their bytes then start at the alignment of a binding.
const PART_ROWS: u64 = 64;
/// The most numbers of a part, and the most products behind its targets, unless `PART_ROWS` rows have more.
const PART_NUMBERS: u64 = 1 << 20;
const PART_PRODUCTS: u64 = 1 << 22;
/// Bytes from one part's description to the next: WebGPU's alignment of bindings.
const SLOT: usize = 256;

/// `struct Problem` in `shaders/synthetic/generator.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Problem {
    key: [u32; 2],
    features: u32,
    mix: [i32; 2],
    noise: u32,
    outliers: u32,
    padding: u32,
}

/// `struct Order` in `shaders/synthetic/in_order.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Order {
    first_row: u64,
    rows: u32,
    padding: u32,
}

/// A [`Synthetic`] problem on the device, for every kernel that is composed with
/// `shaders/synthetic/generator.wgsl`: group 1 of that file and of `targets.wgsl`.
#[derive(Clone, Debug)]
pub struct Generator {
    problem: Synthetic,
    layout: BindGroupLayout,
    bind_group: BindGroup,
}

impl Generator {
    /// Prepares the problem's truth and uploads it.
    ///
    /// # Errors
    /// [`Error::Limit`] if the device cannot bind it, [`Error::Shape`] for no features or more than
    /// [`GradientLayout::MAX_FEATURES`].
    pub fn new(device: &Device, problem: &Synthetic) -> Result<Self, Error> {
        GradientLayout::new(&Model::new(problem.features() as usize, Loss::default()))?;
        needs::SYNTHETIC.check(device)?;
        let layout = layout(
            device,
            "synthetic problem",
            &[BufferAccess::Uniform, BufferAccess::Read, BufferAccess::Read],
        );
        let uniform = Problem {
            key: problem.key(),
            features: problem.features(),
            mix: problem.mix(),
            noise: problem.noise_units(),
            outliers: problem.outlier_units(),
            padding: 0,
        };
        let truth = problem.truth();
        let weights = padded_weights(problem, &truth);
        let (weights, table) = (bytemuck::cast_slice(&weights), bytemuck::cast_slice(truth.table()));
        let available = Limits::of(device).max_binding;
        for bytes in [weights, table] {
            let hint = " for the truth of a synthetic problem";
            check_limit("max_storage_buffer_binding_size", available, bytes.len() as u64, hint)?;
        }
        let uniform = buffer_with(
            device,
            "synthetic problem",
            BufferUsages::UNIFORM,
            bytemuck::bytes_of(&uniform),
        );
        let weights = buffer_with(device, "true weights", BufferUsages::STORAGE, weights);
        let table = buffer_with(device, "response", BufferUsages::STORAGE, table);
        let buffers = [&uniform, &weights, &table];
        let resources = buffers.map(|buffer| buffer.as_entire_binding()).into();
        let bind_group = group(device, "synthetic problem", &layout, resources);
        Ok(Generator { problem: *problem, layout, bind_group })
    }

    /// Bytes on the device.
    pub(crate) fn bytes_of(problem: &Synthetic) -> u64 {
        let truth = problem.truth();
        let words = padded_weights(problem, &truth).len();
        (size_of::<Problem>() + 4 * words + size_of_val(truth.table())) as u64
    }

    /// The problem.
    pub fn problem(&self) -> &Synthetic {
        &self.problem
    }

    /// The layout of group 1.
    pub fn layout(&self) -> &BindGroupLayout {
        &self.layout
    }

    /// Group 1.
    pub fn bind_group(&self) -> &BindGroup {
        &self.bind_group
    }

    /// The overrides of `generator.wgsl`.
    pub fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![flag("CORRELATED", self.problem.mix()[0] != 0)]
    }

    /// The overrides of `generator.wgsl`, `response.wgsl` and `targets.wgsl`.
    pub fn target_constants(&self) -> Vec<(&'static str, f64)> {
        let problem = &self.problem;
        let response = match problem.response() {
            Response::Linear => 0,
            Response::Bernoulli | Response::Poisson => 1,
            Response::Categorical => 2,
        };
        let grid = Grid::of(problem.response());
        let mut constants = self.constants();
        constants.extend([
            ("RESPONSE", f64::from(response)),
            ("OUTPUTS", problem.outputs().into()),
            ("LANES", self.lanes().into()),
            ("INTERCEPT_SHIFT", problem.intercept_shift().into()),
            ("GRID_SHIFT", problem.grid_shift().into()),
            ("GRID_FIRST", grid.first.into()),
            ("GRID_LAST", grid.last.into()),
            ("GRID_WIDTH", grid.width.into()),
        ]);
        constants
    }

    /// The workgroups of `targets.wgsl` for `rows` rows, each dimension of the grid at most `max_groups`.
    pub fn target_grid(&self, rows: u32, max_groups: u32) -> [u32; 3] {
        grid(rows.into(), WORKGROUP / self.lanes(), max_groups)
    }

    /// Threads that share a row's targets.
    fn lanes(&self) -> u32 {
        self.problem.features().div_ceil(8 * BLOCKS).next_power_of_two().min(WORKGROUP)
    }
}

/// Output by output a row of whole vec4, and then the intercepts in whole vec4.
fn padded_weights(problem: &Synthetic, truth: &Truth) -> Vec<i32> {
    let features = problem.features() as usize;
    let (weights, intercepts) = (truth.weight_units(), truth.intercept_units());
    let padded = |row: &[i32]| {
        let mut row = row.to_vec();
        row.resize(row.len().next_multiple_of(4), 0);
        row
    };
    let mut all: Vec<i32> = weights.chunks(features.max(1)).flat_map(padded).collect();
    all.extend(padded(intercepts));
    all
}

/// Fills a data set on the device with the rows of a [`Synthetic`] problem, bit for bit those of
/// [`Synthetic::fill_row`] on the CPU.
#[derive(Debug)]
pub struct SyntheticRows {
    generator: Generator,
    /// Of each its features and its targets.
    parts: Vec<[Dispatch; 2]>,
}

impl SyntheticRows {
    /// Makes the pipelines and bind groups that fill `samples` from row 0 on.
    ///
    /// # Errors
    /// [`Error::Length`] if the problem's features or targets are not those of `samples`, and the errors of
    /// [`Generator::new`].
    pub fn new(device: &Device, samples: &DeviceDataset, problem: &Synthetic) -> Result<Self, Error> {
        let (actual, expected) = (problem.features().into(), samples.shape().features.into());
        if actual != expected {
            let what = "features of the synthetic problem".into();
            return Err(Error::Length { what, actual, expected });
        }
        Self::of_chunks(device, samples.chunks(), problem)
    }

    #[doc(hidden)]
    /// [`new`](Self::new) for rows in any buffers; a chunk's rows are those from its `first_row` on.
    ///
    /// # Errors
    /// [`Error::Length`] if a buffer is not as long as its rows, and the errors of [`Generator::new`].
    pub fn of_chunks(device: &Device, chunks: &[Chunk], problem: &Synthetic) -> Result<Self, Error> {
        let generator = Generator::new(device, problem)?;
        let layout = layout(device, "synthetic rows", &[BufferAccess::Uniform, BufferAccess::Write]);
        let layouts = [Some(&layout), Some(generator.layout())];
        let pipeline = |module: Module, constants: &[_]| {
            pipeline_over(device, &module, "main", &layouts, constants)
        };
        let shape = GradientLayout::new(&Model::new(problem.features() as usize, Loss::default()))?;
        let mut constants = generator.constants();
        constants.push(("STRIDE", shape.stride.into()));
        let blocks = u64::from(shape.stride.div_ceil(8));
        let features = pipeline(shader::synthetic_features(), &constants);
        let targets = pipeline(shader::synthetic_targets(), &generator.target_constants());
        let max_groups = Limits::of(device).max_groups;
        let targets_width = u64::from(problem.targets());
        for chunk in chunks {
            let rows = u64::from(chunk.rows);
            check_length("features of a chunk", &chunk.x, shape.x_bytes(rows) / 4)?;
            check_length("targets of a chunk", &chunk.aux, rows * targets_width)?;
        }
        let numbers = u64::from(shape.stride);
        let products = numbers * u64::from(problem.outputs());
        let most = (PART_NUMBERS / numbers).min(PART_PRODUCTS / products) / PART_ROWS * PART_ROWS;
        let most = most.max(PART_ROWS);
        let places: Vec<(&Chunk, u64, u64)> = chunks
            .iter()
            .flat_map(|chunk| {
                let rows = u64::from(chunk.rows);
                (0..rows).step_by(most as usize).map(move |at| (chunk, at, most.min(rows - at)))
            })
            .collect();
        let mut orders = vec![0; places.len().max(1) * SLOT];
        for (slot, &(chunk, at, rows)) in orders.chunks_mut(SLOT).zip(&places) {
            let order = Order { first_row: chunk.first_row + at, rows: rows as u32, padding: 0 };
            slot[..size_of::<Order>()].copy_from_slice(bytemuck::bytes_of(&order));
        }
        let orders = buffer_with(device, "synthetic rows", BufferUsages::UNIFORM, &orders);
        let part = |(i, (chunk, at, rows)): (usize, (&Chunk, u64, u64))| {
            let order = binding(&orders, (i * SLOT) as u64, size_of::<Order>() as u64);
            let last = at + rows == u64::from(chunk.rows);
            let dispatch = |pipeline: &ComputePipeline, buffer: &Buffer, row_bytes: u64, grid| {
                let offset = at * row_bytes;
                // The last part includes the padding of the last vec4.
                let size = if last { buffer.size() - offset } else { rows * row_bytes };
                let resources = vec![order.clone(), binding(buffer, offset, size)];
                let bindings = group(device, "synthetic rows", &layout, resources);
                Dispatch { pipeline: pipeline.clone(), bindings, grid }
            };
            let features_grid = grid(rows * blocks, WORKGROUP, max_groups);
            let targets_grid = generator.target_grid(rows as u32, max_groups);
            [
                dispatch(&features, &chunk.x, shape.row_bytes(), features_grid),
                dispatch(&targets, &chunk.aux, targets_width * 4, targets_grid),
            ]
        };
        let parts = places.into_iter().enumerate().map(part).collect();
        Ok(SyntheticRows { generator, parts })
    }

    /// The number of parts, each within a chunk: each can be recorded and submitted by itself, so that no
    /// submission is long.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Records the making of one part's rows; nothing if there is no such part.
    pub fn record(&self, pass: &mut ComputePass, part: usize) {
        let Some(dispatches) = self.parts.get(part) else { return };
        pass.set_bind_group(1, self.generator.bind_group(), &[]);
        dispatches.iter().for_each(|dispatch| dispatch.record(pass));
    }
}

fn binding(buffer: &Buffer, offset: u64, size: u64) -> BindingResource<'_> {
    let size = std::num::NonZeroU64::new(size);
    BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
}

fn check_length(what: &str, buffer: &Buffer, expected: u64) -> Result<(), Error> {
    let actual = buffer.size() / 4;
    let error = || Error::Length { what: what.into(), actual, expected };
    if actual == expected { Ok(()) } else { Err(error()) }
}
