//! Bind group layouts, bind groups and pipelines.

use super::shader::Module;
use crate::Error;
use wgpu::{
    BindGroupLayout, BindGroupLayoutEntry, BindingType, BufferBindingType, ComputePipeline, Device,
};

/// The access of a kernel to a buffer.
#[derive(Clone, Copy)]
pub enum BufferAccess {
    /// A uniform with a fixed offset.
    Uniform,
    /// A uniform with a dynamic offset.
    #[cfg(feature = "regression")]
    DynamicUniform,
    /// Read-only storage.
    Read,
    /// Read-write storage.
    Write,
}

/// Checks that a limit of the device is sufficient. `hint` is appended to the message.
pub fn check_limit(
    limit: &'static str,
    available: impl Into<u64>,
    needed: impl Into<u64>,
    hint: &'static str,
) -> Result<(), Error> {
    let (available, needed) = (available.into(), needed.into());
    if needed <= available { Ok(()) } else { Err(Error::Limit { limit, available, needed, hint }) }
}

/// Creates a layout with the bindings 0, 1, 2 …
pub fn layout(device: &Device, label: &str, uses: &[BufferAccess]) -> BindGroupLayout {
    let numbered: Vec<_> = (0..).zip(uses.iter().copied()).collect();
    layout_of(device, label, &numbered)
}

/// Creates a layout with numbered bindings.
pub fn layout_of(device: &Device, label: &str, uses: &[(u32, BufferAccess)]) -> BindGroupLayout {
    let entries: Vec<_> = uses.iter().map(|&(binding, kind)| entry(binding, kind)).collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(label),
        entries: &entries,
    })
}

fn entry(binding: u32, kind: BufferAccess) -> BindGroupLayoutEntry {
    let (ty, has_dynamic_offset) = match kind {
        BufferAccess::Uniform => (BufferBindingType::Uniform, false),
        #[cfg(feature = "regression")]
        BufferAccess::DynamicUniform => (BufferBindingType::Uniform, true),
        BufferAccess::Read => (BufferBindingType::Storage { read_only: true }, false),
        BufferAccess::Write => (BufferBindingType::Storage { read_only: false }, false),
    };
    BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    }
}

/// Creates a bind group with the resources 0, 1, 2 …
pub fn group(
    device: &Device,
    label: &str,
    layout: &BindGroupLayout,
    resources: Vec<wgpu::BindingResource>,
) -> wgpu::BindGroup {
    group_of(device, label, layout, (0..).zip(resources))
}

/// Creates a bind group with numbered resources.
pub fn group_of<'a>(
    device: &Device,
    label: &str,
    layout: &BindGroupLayout,
    resources: impl IntoIterator<Item = (u32, wgpu::BindingResource<'a>)>,
) -> wgpu::BindGroup {
    let entry = |(binding, resource)| wgpu::BindGroupEntry { binding, resource };
    let entries: Vec<_> = resources.into_iter().map(entry).collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(label),
        layout,
        entries: &entries,
    })
}

/// Creates a buffer with initial content, without a queue.
pub fn buffer_with(
    device: &Device,
    label: &str,
    usage: wgpu::BufferUsages,
    bytes: &[u8],
) -> wgpu::Buffer {
    use wgpu::util::DeviceExt;
    device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some(label),
        contents: bytes,
        usage,
    })
}

/// Creates the pipeline of an entry point with one bind group.
pub fn pipeline(
    device: &Device,
    module: &Module,
    entry_point: &str,
    layout: &BindGroupLayout,
    constants: &[(&str, f64)],
) -> ComputePipeline {
    pipeline_over(device, module, entry_point, &[Some(layout)], constants)
}

/// Creates the pipeline of an entry point with several bind groups.
pub fn pipeline_over(
    device: &Device,
    module: &Module,
    entry_point: &str,
    layouts: &[Option<&BindGroupLayout>],
    constants: &[(&str, f64)],
) -> ComputePipeline {
    let label = Some(module.name);
    let source = module.source();
    #[cfg(feature = "verify")]
    let source = super::seeded::edited(source);
    let source = wgpu::ShaderSource::Wgsl(source.into());
    let descriptor = wgpu::ShaderModuleDescriptor { label, source };
    // Bounds stay checked. A counter in every loop, which guarantees termination, would prevent drivers from unrolling:
    // the gradient of 4096 rows would take a third longer on llvmpipe.
    let checks =
        wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: every loop of shaders/ counts a u32 towards a bound that does not change in the loop, by
    // a step that is at least one and cannot pass u32::MAX: bounds are below 2³¹ (rows and vectors of a
    // chunk, which is a binding of at most 2 GiB) and steps below 2¹⁶; or it halves a number down to 0.
    let shader = unsafe { device.create_shader_module_trusted(descriptor, checks) };
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: layouts,
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &shader,
        entry_point: Some(entry_point),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            // Kernels write workgroup memory before they read it.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    })
}
