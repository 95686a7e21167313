//! A copy by a kernel, what memory-bound kernels are measured against: one stream read, one written, a vector a
//! thread.

use wgpu::{ComputePass, Device};
use wgpu_optim::Span;

const COPY: &str = "
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> destination: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.y * (groups.x * 64u) + id.x;
    if i < arrayLength(&destination) {
        destination[i] = source[i];
    }
}
";

/// Records a copy of as many elements as `source` has.
pub fn kernel(device: &Device, source: &Span, target: &Span) -> impl Fn(&mut ComputePass) + use<> {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(COPY.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: source.buffer.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: target.buffer.as_entire_binding() },
        ],
    });
    let groups = (source.len / 4).div_ceil(64) as u32;
    let y = groups.div_ceil(65_535);
    move |pass| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(groups.div_ceil(y), y, 1);
    }
}
