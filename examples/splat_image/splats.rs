//! The caller's side of the pipeline: its own buffers and kernels, independent of the optimizer.

use wgpu::util::DeviceExt;
use wgpu::{Buffer, BufferUsages, ComputePass, Device};

/// As in `splats.wgsl`: the side of a tile, the splats of a `Bin`, and the bytes of both structs.
const TILE: u32 = 16;
const BIN: u32 = 1024;
const SPLAT_BYTES: u64 = 32;
const BIN_BYTES: u64 = 132;

/// A picture with three floats per pixel, row by row from the top.
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub values: Vec<f32>,
}

/// The initial Gaussians: two, three and three floats for each.
pub struct Start {
    pub positions: Vec<f32>,
    pub colours: Vec<f32>,
    pub shapes: Vec<f32>,
}

/// Parameters and the gradients of the loss for them.
pub struct Tensor {
    pub params: Buffer,
    pub grads: Buffer,
}

pub struct Splats {
    pub positions: Tensor,
    pub colours: Tensor,
    pub shapes: Tensor,
    /// The picture rendered by [`record_picture`](Self::record_picture).
    pub picture: Buffer,
    forward: [Kernel; 3],
    backward: Kernel,
}

struct Kernel {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: [u32; 2],
}

impl Splats {
    pub fn new(device: &Device, goal: &Picture, start: &Start) -> Self {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let filled = |label, values: &[f32]| {
            let contents = bytemuck::cast_slice(values);
            let label = Some(label);
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label, contents, usage })
        };
        let empty = |label, size| {
            let label = Some(label);
            let mapped_at_creation = false;
            device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation })
        };
        let tensor = |label, values: &[f32]| Tensor {
            params: filled(label, values),
            grads: empty(label, size_of_val(values) as u64),
        };
        let count = start.positions.len() as u32 / 2;
        let blocks = count.div_ceil(BIN);
        let [tiles_x, tiles_y] = [goal.width, goal.height].map(|side| side.div_ceil(TILE));

        let positions = tensor("positions", &start.positions);
        let colours = tensor("colours", &start.colours);
        let shapes = tensor("shapes", &start.shapes);
        let goal_buffer = filled("goal", &goal.values);
        let picture = empty("picture", goal_buffer.size());
        let prepared = empty("splats", u64::from(count) * SPLAT_BYTES);
        let bins = empty("bins", u64::from(tiles_x * tiles_y * blocks) * BIN_BYTES);
        let buffers = [
            &positions.params,
            &colours.params,
            &shapes.params,
            &positions.grads,
            &colours.grads,
            &shapes.grads,
            &goal_buffer,
            &picture,
            &prepared,
            &bins,
        ];

        let module = device.create_shader_module(wgpu::include_wgsl!("splats.wgsl"));
        let size = [("WIDTH", goal.width.into()), ("HEIGHT", goal.height.into())];
        let kernel = |entry_point, uses: &[usize], groups| {
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry_point),
                layout: None, // derived from the kernel
                module: &module,
                entry_point: Some(entry_point),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &size,
                    ..Default::default()
                },
                cache: None,
            });
            let entry = |&i: &usize| wgpu::BindGroupEntry {
                binding: i as u32,
                resource: buffers[i].as_entire_binding(),
            };
            let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(entry_point),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &uses.iter().map(entry).collect::<Vec<_>>(),
            });
            Kernel { pipeline, bindings, groups }
        };
        let forward = [
            kernel("prepare", &[0, 2, 8], [count.div_ceil(64), 1]),
            kernel("bin", &[8, 9], [(tiles_x * tiles_y).div_ceil(64), blocks]),
            kernel("render", &[1, 7, 8, 9], [tiles_x, tiles_y]),
        ];
        let backward = kernel("backward", &[1, 3, 4, 5, 6, 7, 8], [count, 1]);
        Splats { positions, colours, shapes, picture, forward, backward }
    }

    /// Renders the picture.
    pub fn record_picture(&self, pass: &mut ComputePass) {
        self.forward.iter().for_each(|kernel| kernel.record(pass));
    }

    /// Renders the picture and writes all gradients.
    pub fn record_gradients(&self, pass: &mut ComputePass) {
        self.record_picture(pass);
        self.backward.record(pass);
    }
}

impl Kernel {
    fn record(&self, pass: &mut ComputePass) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(self.groups[0], self.groups[1], 1);
    }
}
