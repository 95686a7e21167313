//! Synthetic problems, made on the device.

use super::bindings::{Use, buffer_with, group, layout, pipeline};
use super::span::{Limits, grid};
use super::{Samples, shader};
use crate::Error;
use crate::cpu::random::Synthetic;
use wgpu::{BindGroup, BufferUsages, ComputePass, ComputePipeline, Device};

const WORKGROUP: u32 = 64;

/// What the kernel knows of a chunk; `struct Problem` in `shaders/random.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Problem {
    key: [u32; 2],
    first_row: u64,
    rows: u32,
    features: u32,
    noise: u32,
    padding: u32,
}

/// Fills a data set on the device with the rows of a [`Synthetic`] problem, bit for bit what
/// [`Synthetic::row`] gives on the CPU.
#[derive(Debug)]
pub struct SyntheticRows {
    features: ComputePipeline,
    targets: ComputePipeline,
    chunks: Vec<(BindGroup, [u32; 3], [u32; 3])>,
}

impl SyntheticRows {
    /// Makes the pipelines and bind groups that fill `samples` from row 0 on.
    ///
    /// # Errors
    /// [`Error::Length`] if the problem's features are not those of `samples`.
    pub fn new(device: &Device, samples: &Samples, problem: &Synthetic) -> Result<Self, Error> {
        let shape = samples.shape();
        if problem.features() != shape.features {
            let (what, actual) = ("features of the synthetic problem".into(), problem.features().into());
            return Err(Error::Length { what, actual, expected: shape.features.into() });
        }
        let layout =
            layout(device, "synthetic rows", &[Use::Uniform, Use::Read, Use::Write, Use::Write]);
        let lanes = shape.features.div_ceil(8).next_power_of_two().min(WORKGROUP);
        let constants = [("VECTORS", f64::from(shape.vectors)), ("LANES", f64::from(lanes))];
        let module = shader::synthetic();
        let [features, targets] =
            ["features", "targets"].map(|entry| pipeline(device, &module, entry, &layout, &constants));
        let units = problem.weight_units();
        let units = bytemuck::cast_slice(&units);
        let weights = buffer_with(device, "true weights", BufferUsages::STORAGE, units);
        let max_groups = Limits::of(device).max_groups;
        let chunk = |chunk: &super::Chunk| {
            let uniform = Problem {
                key: problem.key(),
                first_row: chunk.first_row,
                rows: chunk.rows,
                features: problem.features(),
                noise: problem.noise_units(),
                padding: 0,
            };
            let bytes = bytemuck::bytes_of(&uniform);
            let uniform = buffer_with(device, "synthetic rows", BufferUsages::UNIFORM, bytes);
            let resources = vec![
                uniform.as_entire_binding(),
                weights.as_entire_binding(),
                chunk.x.as_entire_binding(),
                chunk.sides.as_entire_binding(),
            ];
            let rows = u64::from(chunk.rows);
            (
                group(device, "synthetic rows", &layout, resources),
                grid(rows * u64::from(shape.vectors.div_ceil(2)), WORKGROUP, max_groups),
                grid(rows, WORKGROUP / lanes, max_groups),
            )
        };
        let chunks = samples.chunks().iter().map(chunk).collect();
        Ok(SyntheticRows { features, targets, chunks })
    }

    /// The number of chunks: each can be recorded and submitted by itself, so that no submission is long.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Records the making of one chunk's rows; nothing if there is no such chunk.
    pub fn record(&self, pass: &mut ComputePass, chunk: usize) {
        let Some((bindings, features, targets)) = self.chunks.get(chunk) else { return };
        pass.set_bind_group(0, bindings, &[]);
        for (pipeline, [x, y, z]) in [(&self.features, features), (&self.targets, targets)] {
            pass.set_pipeline(pipeline);
            pass.dispatch_workgroups(*x, *y, *z);
        }
    }
}
