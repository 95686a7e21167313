//! The device under test.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use wgpu::util::DeviceExt;
use wgpu::{Buffer, BufferUsages, CommandEncoder, ComputePass, Device, DeviceType, PollType, Queue};
use wgpu_optim::Span;
use wgpu_optim::gpu::{ReadBack, required_limits};

/// A device, hardware if there is any.
pub struct Gpu {
    pub device: Device,
    pub queue: Queue,
    /// Whether the device rounds every operation to nearest and contracts none, so that it computes the bits of the f32
    /// CPU path.
    pub exact: bool,
}

/// A kernel of the caller with its bindings.
pub struct Kernel {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
}

impl Kernel {
    /// Records a dispatch of `groups` workgroups.
    pub fn record(&self, pass: &mut ComputePass, groups: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(groups, 1, 1);
    }
}

static GPU: LazyLock<Option<Gpu>> =
    LazyLock::new(|| Gpu::open(|adapter| required_limits(&adapter.limits())));

impl Gpu {
    /// The device, the same one for all tests of a file.
    ///
    /// `None` only if there is no device and `WGPU_OPTIM_SKIP_GPU_TESTS=1` is set.
    pub fn get() -> Option<&'static Gpu> {
        if GPU.is_none() {
            let skip = std::env::var("WGPU_OPTIM_SKIP_GPU_TESTS").is_ok_and(|value| value == "1");
            assert!(skip, "no GPU adapter; WGPU_OPTIM_SKIP_GPU_TESTS=1 skips the tests that need one");
            eprintln!("skipped: no GPU adapter");
        }
        GPU.as_ref()
    }

    /// Another device of the same adapter.
    pub fn with_limits(limits: wgpu::Limits) -> Option<Gpu> {
        Self::open(|_| limits)
    }

    fn open(limits: impl FnOnce(&wgpu::Adapter) -> wgpu::Limits) -> Option<Gpu> {
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let rank = |adapter: &wgpu::Adapter| {
            let info = adapter.get_info();
            let kind = match info.device_type {
                DeviceType::DiscreteGpu => 0,
                DeviceType::IntegratedGpu => 1,
                DeviceType::VirtualGpu => 2,
                DeviceType::Other => 3,
                DeviceType::Cpu => 4,
            };
            // GL only guesses the kind of a card.
            (kind == 4, info.backend == wgpu::Backend::Gl, kind)
        };
        let adapter = adapters.into_iter().min_by_key(rank)?;
        let descriptor =
            wgpu::DeviceDescriptor { required_limits: limits(&adapter), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let info = adapter.get_info();
        let exact = info.device_type == DeviceType::Cpu && info.name.contains("llvmpipe");
        eprintln!("tests run on {} ({:?})", info.name, info.backend);
        Some(Gpu { device, queue, exact })
    }

    /// A buffer with these values.
    pub fn buffer(&self, values: &[f32]) -> Buffer {
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(values),
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        })
    }

    /// A span of a new buffer with these values.
    pub fn span(&self, values: &[f32]) -> Span {
        Span::whole(&self.buffer(values))
    }

    /// Writes the values of a span.
    pub fn write(&self, span: &Span, values: &[f32]) {
        assert_eq!(span.len, values.len() as u64);
        self.queue.write_buffer(&span.buffer, span.offset, bytemuck::cast_slice(values));
    }

    /// Creates a kernel of the caller over spans, which it binds as storage.
    pub fn kernel(&self, source: &str, spans: &[&Span]) -> Kernel {
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = wgpu::ShaderModuleDescriptor { label: None, source };
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &self.device.create_shader_module(module),
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let entries: Vec<_> = (0..)
            .zip(spans)
            .map(|(binding, span)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &span.buffer,
                    offset: span.offset,
                    size: std::num::NonZeroU64::new(span.len * 4),
                }),
            })
            .collect();
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        Kernel { pipeline, bindings }
    }

    /// Submits one pass.
    pub fn run(&self, record: impl FnOnce(&mut ComputePass)) {
        self.submit(|encoder| record(&mut encoder.begin_compute_pass(&Default::default())));
    }

    /// Submits an encoder's commands.
    pub fn submit(&self, record: impl FnOnce(&mut CommandEncoder)) {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        record(&mut encoder);
        self.queue.submit([encoder.finish()]);
    }

    /// Reads the values of these spans.
    pub fn read(&self, spans: &[&Span]) -> Vec<Vec<f32>> {
        let bytes = spans.iter().map(|span| span.len * 4).sum();
        let mut staging = ReadBack::new(&self.device, bytes).unwrap();
        self.submit(|encoder| {
            for span in spans {
                staging.copy(encoder, span).unwrap();
            }
        });
        let all: Vec<f32> = self.wait(&mut staging);
        let mut rest = all.as_slice();
        let take = |span: &&Span| rest.split_off(..span.len as usize).unwrap().to_vec();
        spans.iter().map(take).collect()
    }

    /// Waits for the copies to `staging`.
    pub fn wait<T: bytemuck::Pod>(&self, staging: &mut ReadBack) -> Vec<T> {
        let mut read = pin!(staging.read());
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(data) = read.as_mut().poll(&mut context) {
                return data.unwrap();
            }
            self.device.poll(PollType::wait_indefinitely()).unwrap();
        }
    }
}
