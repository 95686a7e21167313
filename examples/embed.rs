//! The smallest pipeline: your own WGSL writes gradients, and Adam is recorded after it.
//!
//!     cargo run --release --example embed
//!
//! A thousand walkers search the minimum of Rosenbrock's function from different points: a thousand steps in ten
//! submissions, without a wait in between.

use std::error::Error;
use wgpu::util::DeviceExt;
use wgpu::{BufferUsages, ComputePass, Device, Queue};
use wgpu_optim::gpu::{ReadBack, required_limits};
use wgpu_optim::schedule::CosineAnnealing;
use wgpu_optim::{Adam, Optimizer, Span};

const WALKERS: u32 = 1000;
const STEPS: u32 = 1000;
const SUBMISSIONS: u32 = 10;

/// The gradient of (1 − x)² + 100 (y − x²)² for every walker.
const GRADIENT: &str = "
@group(0) @binding(0) var<storage, read_write> params: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> grads: array<vec2f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&params) {
        let p = params[id.x];
        let valley = p.y - p.x * p.x;
        grads[id.x] = vec2f(-2.0 * (1.0 - p.x) - 400.0 * p.x * valley, 200.0 * valley);
    }
}
";

fn main() -> Result<(), Box<dyn Error>> {
    let (device, queue) = open()?;
    let ends = descend(&device, &queue)?;
    let arrived = ends.iter().filter(|end| distance(end) < 0.05).count();
    println!("{arrived} of {WALKERS} walkers are at (1, 1) after {STEPS} steps");
    Ok(())
}

/// Runs the walkers, and returns their final positions.
pub fn descend(device: &Device, queue: &Queue) -> Result<Vec<[f32; 2]>, Box<dyn Error>> {
    let params = buffer(device, &starts());
    let grads = buffer(device, &starts());
    let backward = backward(device, &params, &grads);

    let down = CosineAnnealing { t_max: STEPS.into(), eta_min: 0.0 }.schedule(0.3)?;
    let optimizer = Optimizer::new(device, Adam { betas: (0.9, 0.99), ..Adam::default() })
        .learning_rates(down.sample(STEPS as usize)?)
        .tensor(Span::whole(&params), Span::whole(&grads))
        .build()?;
    for _ in 0..SUBMISSIONS {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for _ in 0..STEPS / SUBMISSIONS {
            backward(&mut pass);
            optimizer.record(&mut pass);
        }
        drop(pass);
        queue.submit([encoder.finish()]);
    }
    read(device, queue, &Span::whole(&params))
}

/// The distance of a walker from the minimum.
pub fn distance([x, y]: &[f32; 2]) -> f32 {
    (x - 1.0).hypot(y - 1.0)
}

/// Points on a spiral around the origin, up to a distance of 1.5.
fn starts() -> Vec<[f32; 2]> {
    let start = |i: u32| {
        let (angle, radius) = (i as f32 * 2.4, 1.5 * i as f32 / WALKERS as f32);
        [radius * angle.cos(), radius * angle.sin()]
    };
    (0..WALKERS).map(start).collect()
}

fn open() -> Result<(Device, Queue), Box<dyn Error>> {
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = pollster::block_on(wgpu::Instance::default().request_adapter(&options))?;
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: required_limits(&adapter.limits()),
        ..Default::default()
    };
    Ok(pollster::block_on(adapter.request_device(&descriptor))?)
}

fn buffer(device: &Device, values: &[[f32; 2]]) -> wgpu::Buffer {
    device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(values),
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
    })
}

fn backward(device: &Device, params: &wgpu::Buffer, grads: &wgpu::Buffer) -> impl Fn(&mut ComputePass) {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("gradient"),
        source: wgpu::ShaderSource::Wgsl(GRADIENT.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("gradient"),
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
            wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: grads.as_entire_binding() },
        ],
    });
    move |pass| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        pass.dispatch_workgroups(WALKERS.div_ceil(64), 1, 1);
    }
}

fn read(device: &Device, queue: &Queue, span: &Span) -> Result<Vec<[f32; 2]>, Box<dyn Error>> {
    let mut read_back = ReadBack::new(device, span.len * 4)?;
    let mut encoder = device.create_command_encoder(&Default::default());
    read_back.copy(&mut encoder, span)?;
    queue.submit([encoder.finish()]);
    let reading = read_back.read();
    let mut reading = std::pin::pin!(reading);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(values) = reading.as_mut().poll(&mut context) {
            return Ok(values?);
        }
        device.poll(wgpu::PollType::wait_indefinitely())?;
    }
}
