//! An adapter that burn has opened, and copies on it by a kernel of ours on burn's own wgpu device.

use crate::Failure;
use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{Device, DeviceKind};

const THREADS: u64 = 64;
const VECTOR: u64 = 16;
const KERNEL: &str = "
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4f>;

@compute @workgroup_size(64)
fn copy(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.y * groups.x * 64u + id.x;
    if i < arrayLength(&copied) {
        copied[i] = source[i];
    }
}";

/// An adapter, by burn and by wgpu.
pub struct Adapter {
    /// As burn knows it.
    pub burn: Device,
    /// What it says of itself.
    pub info: wgpu::AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

/// A copy, so many times.
pub struct Copy {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: [u32; 2],
    times: u64,
}

impl Adapter {
    /// The one whose name contains this, or the one that burn takes by itself.
    pub fn open(name: Option<&str>) -> Result<Self, Failure> {
        let mut options = Device::wgpu_options();
        if let Some(name) = name {
            let (kind, api) = find(name)?;
            options = options.device_kind(kind).graphics_api(api);
        }
        let opened = options.init_with_setup();
        let (burn, setup) = opened.map_err(Failure::of)?;
        let info = setup.adapter.get_info();
        if name.is_some_and(|name| !is_called(&info, name)) {
            return Err(Failure::Impossible(format!("burn took the adapter {}", info.name)));
        }
        Ok(Adapter { burn, info, device: setup.device, queue: setup.queue })
    }

    /// Bytes that a binding has at most.
    pub fn most(&self) -> u64 {
        let limits = self.device.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / VECTOR * VECTOR
    }

    /// What moves `bytes` by copying: half of them read, half of them written.
    pub fn copy_of(&self, bytes: u64) -> Copy {
        let times = (bytes / 2).div_ceil(self.most());
        let size = (bytes / 2 / times).next_multiple_of(VECTOR);
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let label = Some("copy");
        let [source, copied] = [(); 2].map(|()| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size,
                usage,
                mapped_at_creation: false,
            })
        });
        // Not zeros, which a driver may have no memory behind.
        let words: Vec<u8> =
            (0..1u32 << 20).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        for at in (0..size).step_by(words.len()) {
            self.queue.write_buffer(&source, at, &words[..words.len().min((size - at) as usize)]);
        }
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(KERNEL.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let entries = [(0, &source), (1, &copied)].map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding,
            resource: buffer.as_entire_binding(),
        });
        let layout = &pipeline.get_bind_group_layout(0);
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label,
            layout,
            entries: &entries,
        });
        let groups = (size / VECTOR).div_ceil(THREADS);
        let x = groups.min(self.device.limits().max_compute_workgroups_per_dimension.into());
        Copy { pipeline, bindings, groups: [x, groups.div_ceil(x)].map(|n| n as u32), times }
    }

    /// Submits it and waits.
    pub fn copy(&self, copy: &Copy) -> Result<(), Failure> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&copy.pipeline);
        pass.set_bind_group(0, &copy.bindings, &[]);
        for _ in 0..copy.times {
            pass.dispatch_workgroups(copy.groups[0], copy.groups[1], 1);
        }
        drop(pass);
        self.queue.submit([encoder.finish()]);
        let done = self.device.poll(wgpu::PollType::wait_indefinitely());
        done.map(|_| ()).map_err(Failure::of)
    }
}

fn is_called(info: &wgpu::AdapterInfo, name: &str) -> bool {
    info.name.to_lowercase().contains(&name.to_lowercase())
}

/// The first adapter of that name, in burn's words: it counts those of a kind on each API.
fn find(name: &str) -> Result<(DeviceKind, WgpuBackend), Failure> {
    let apis = [
        (wgpu::Backends::VULKAN, WgpuBackend::Vulkan),
        (wgpu::Backends::METAL, WgpuBackend::Metal),
        (wgpu::Backends::DX12, WgpuBackend::Dx12),
        (wgpu::Backends::GL, WgpuBackend::Gl),
    ];
    let mut names = Vec::new();
    for (backends, api) in apis {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(backends));
        let infos: Vec<_> = adapters.iter().map(wgpu::Adapter::get_info).collect();
        if let Some(at) = infos.iter().position(|info| is_called(info, name)) {
            let kind = infos[at].device_type;
            let index = infos[..at].iter().filter(|info| info.device_type == kind).count();
            return match kind {
                wgpu::DeviceType::DiscreteGpu => Ok((DeviceKind::DiscreteGpu(index), api)),
                wgpu::DeviceType::IntegratedGpu => Ok((DeviceKind::IntegratedGpu(index), api)),
                wgpu::DeviceType::VirtualGpu => Ok((DeviceKind::VirtualGpu(index), api)),
                wgpu::DeviceType::Cpu => Ok((DeviceKind::Cpu, api)),
                wgpu::DeviceType::Other => {
                    Err(Failure::Impossible(format!("burn cannot be told to take {}", infos[at].name)))
                }
            };
        }
        names.extend(infos.into_iter().map(|info| info.name));
    }
    Err(Failure::Impossible(format!("no adapter is called {name}: there are {}", names.join(", "))))
}
