//! An interrupted and an uninterrupted run end with the same bits.
//!
//!     cargo run --release --example resume
//!
//! A snapshot of the optimizer and the parameters is recorded after the steps of a submission and written to a file. The
//! second half runs on another device, as after a device loss, and starts from the file alone.

use std::error::Error;
use std::path::Path;
use wgpu::util::DeviceExt;
use wgpu::{BufferUsages, Device, Queue};
use wgpu_optim::gpu::{OptimizerState, required_limits};
use wgpu_optim::schedule::CosineAnnealing;
use wgpu_optim::{Adam, Optimizer, Span};

const LEN: u32 = 1000;
const STEPS: u32 = 1000;
/// In the middle of a step, which has three micro-batches.
const CUT: u32 = 500;

/// The gradient of Σ (pᵢ² − i)².
const GRADIENT: &str = "
@group(0) @binding(0) var<storage, read> params: array<f32>;
@group(0) @binding(1) var<storage, read_write> grads: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&params) {
        let p = params[id.x];
        grads[id.x] = 4.0 * p * (p * p - f32(id.x));
    }
}
";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("run.safetensors");
    let through = through(open()?)?;
    let cut = cut(open()?, open()?, &file)?;
    let same = cut.iter().zip(&through).filter(|(a, b)| a.to_bits() == b.to_bits()).count();
    println!("{same} of {LEN} parameters have the same bits, {} bytes kept", file.metadata()?.len());
    Ok(())
}

/// Runs without an interruption, and returns the final parameters.
pub fn through(device: (Device, Queue)) -> Result<Vec<f32>, Box<dyn Error>> {
    let run = Run::new(device)?;
    let end = run.record(STEPS)?;
    end.tensors[0].params.clone().ok_or("no parameters".into())
}

/// Interrupts a run on one device, resumes it on another, and returns the final parameters.
pub fn cut(
    first: (Device, Queue),
    second: (Device, Queue),
    file: &Path,
) -> Result<Vec<f32>, Box<dyn Error>> {
    Run::new(first)?.record(CUT)?.save(file)?;

    let run = Run::new(second)?;
    run.optimizer.restore(&run.queue, &OptimizerState::load(file)?)?;
    let end = run.record(STEPS - CUT)?;
    end.tensors[0].params.clone().ok_or("no parameters".into())
}

struct Run {
    device: Device,
    queue: Queue,
    backward: (wgpu::ComputePipeline, wgpu::BindGroup),
    optimizer: Optimizer,
}

impl Run {
    /// Builds the same optimizer every time: `restore` checks that a state belongs to it.
    fn new((device, queue): (Device, Queue)) -> Result<Self, Box<dyn Error>> {
        let [params, grads] = ["params", "grads"].map(|label| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: Some(label),
                contents: bytemuck::cast_slice(&[1.0f32; LEN as usize]),
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            })
        });
        let down = CosineAnnealing { t_max: STEPS.into(), eta_min: 0.0 }.schedule(0.3)?;
        let optimizer = Optimizer::new(&device, Adam::default())
            .learning_rates(down.sample(STEPS as usize)?)
            .tensor(Span::whole(&params), Span::whole(&grads))
            .accumulate(3)
            .average(0.9)
            .build()?;
        let backward = backward(&device, &params, &grads);
        Ok(Run { device, queue, backward, optimizer })
    }

    /// Submits a number of micro-batches followed by a snapshot, and returns the state.
    fn record(&self, micro_batches: u32) -> Result<OptimizerState, Box<dyn Error>> {
        let mut snapshot = self.optimizer.snapshot(&self.device)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for _ in 0..micro_batches {
            pass.set_pipeline(&self.backward.0);
            pass.set_bind_group(0, &self.backward.1, &[]);
            pass.dispatch_workgroups(LEN.div_ceil(64), 1, 1);
            self.optimizer.record(&mut pass);
        }
        drop(pass);
        snapshot.record(&self.optimizer, &mut encoder)?;
        self.queue.submit([encoder.finish()]);

        let mut reading = std::pin::pin!(snapshot.read());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(state) = reading.as_mut().poll(&mut context) {
                return Ok(state?);
            }
            self.device.poll(wgpu::PollType::wait_indefinitely())?;
        }
    }
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

fn backward(
    device: &Device,
    params: &wgpu::Buffer,
    grads: &wgpu::Buffer,
) -> (wgpu::ComputePipeline, wgpu::BindGroup) {
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
    (pipeline, bindings)
}
