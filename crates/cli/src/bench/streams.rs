//! The kernels of `streams.wgsl`: reference streams and random numbers.

use wgpu::util::DeviceExt;
use wgpu::{
    BindGroup, BindGroupEntry, BindingResource, BufferBinding, BufferUsages, ComputePass,
    ComputePipeline, Device,
};
use wgpu_optim::gpu::span::{Limits, grid};
use wgpu_optim::gpu::{Span, workgroup};

/// A kernel over one or several streams, in pieces that fit a binding.
pub struct Stream {
    pipeline: ComputePipeline,
    pieces: Vec<(BindGroup, [u32; 2])>,
}

const VECTOR: u64 = 16;

impl Stream {
    /// Records the kernel once.
    pub fn record(&self, pass: &mut ComputePass) {
        pass.set_pipeline(&self.pipeline);
        for (bindings, [x, y]) in &self.pieces {
            pass.set_bind_group(0, bindings, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
    }

    /// Creates a kernel over spans of equal length, at these bindings.
    fn new(device: &Device, entry_point: &str, spans: &[(u32, &Span)], drawn: Option<[u32; 4]>) -> Self {
        let pipeline = pipeline(device, entry_point);
        let layout = pipeline.get_bind_group_layout(0);
        let limits = Limits::of(device);
        // Offsets remain multiples of the alignment.
        let most = limits.max_binding / limits.quantum() * limits.quantum();
        let len = spans.first().map_or(0, |(_, span)| span.len);
        let bytes = (4 * len).next_multiple_of(VECTOR);
        let piece = |(number, at): (u32, u64)| {
            let len = most.min(bytes - at);
            let uniform = drawn.map(|[x, y, z, w]| {
                let words = [x ^ number.wrapping_mul(0x9e37_79b9), y, z, w];
                device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                    label: Some("drawn"),
                    contents: bytemuck::bytes_of(&words),
                    usage: BufferUsages::UNIFORM,
                })
            });
            let size = std::num::NonZeroU64::new(len);
            let mut entries = Vec::new();
            for &(binding, Span { buffer, offset, .. }) in spans {
                let resource =
                    BindingResource::Buffer(BufferBinding { buffer, offset: offset + at, size });
                entries.push(BindGroupEntry { binding, resource });
            }
            if let Some(uniform) = &uniform {
                entries.push(BindGroupEntry { binding: 2, resource: uniform.as_entire_binding() });
            }
            let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(entry_point),
                layout: &layout,
                entries: &entries,
            });
            let [x, y, _] = grid(len / VECTOR, workgroup(device), limits.max_groups);
            (bindings, [x, y])
        };
        let starts = (0..bytes).step_by(most.max(VECTOR) as usize);
        Stream { pieces: (0..).zip(starts).map(piece).collect(), pipeline }
    }
}

/// Creates a copy from `source` to `target`, which have equal lengths: one stream read, one written.
pub fn copy(device: &Device, source: &Span, target: &Span) -> Stream {
    Stream::new(device, "copy", &[(0, source), (1, target)], None)
}

/// Creates a triad `target ← target + ½ · source`: two streams read, one of them written.
pub fn triad(device: &Device, source: &Span, target: &Span) -> Stream {
    Stream::new(device, "triad", &[(0, source), (1, target)], None)
}

/// Creates the memory accesses of an optimizer step without its arithmetic: one stream read, up to four others read and
/// written in place, all of equal length.
pub fn same_streams(device: &Device, grads: &Span, others: &[&Span]) -> Stream {
    let others = (0..).zip(others).map(|(i, &span)| (if i == 0 { 1 } else { 2 + i }, span));
    let spans: Vec<_> = std::iter::once((0, grads)).chain(others).collect();
    Stream::new(device, &format!("in_place_{}", spans.len() - 1), &spans, None)
}

/// Creates a generator of random numbers of either sign with magnitudes in [1, 2) · 2^exponent.
pub fn fill(device: &Device, target: &Span, seed: u64, exponent: i32) -> Stream {
    let drawn = [seed as u32, (seed >> 32) as u32, exponent as u32, 0];
    Stream::new(device, "fill", &[(1, target)], Some(drawn))
}

/// Creates the pipeline of an empty kernel.
pub fn empty(device: &Device) -> ComputePipeline {
    pipeline(device, "empty")
}

fn pipeline(device: &Device, entry_point: &str) -> ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("streams"),
        source: wgpu::ShaderSource::Wgsl(include_str!("streams.wgsl").into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(entry_point),
        layout: None,
        module: &module,
        entry_point: Some(entry_point),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[("WORKGROUP", f64::from(workgroup(device)))],
            ..Default::default()
        },
        cache: None,
    })
}
