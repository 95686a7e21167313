//! Steps on a GPU: one arena for all parameters, one optimizer, one submission per step.

use super::state::Parameter;
use super::{Counters, Grads, Plan};
use bytemuck::Pod;
use wgpu_optim::cpu::StepState;
use wgpu_optim::gpu::{Arena, Control, ReadBack};
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::wgpu::{self, BufferUsages};
use wgpu_optim::{Error, Optimizer, Span};

/// Bytes per transfer when reading back.
const READ_BACK: u64 = 64 << 20;

/// An optimizer over parameters on a GPU.
pub struct Device<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan,
    parameters: Vec<Parameter<f32>>,
    arena: Arena,
    optimizer: Optimizer,
}

impl<'a> Device<'a> {
    pub fn new(gpu: &'a Gpu, plan: &'a Plan, parameters: Vec<Parameter<f32>>) -> Result<Self, Error> {
        let memory = gpu.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let extents = |p: &Parameter<f32>| p.shape.iter().map(|&extent| extent as u64).collect();
        let shapes: Vec<Vec<u64>> = parameters.iter().map(extents).collect();
        let named = parameters.iter().zip(&shapes).map(|(p, shape)| (p.name.as_str(), shape.as_slice()));
        let arena = Arena::new(&gpu.device, BufferUsages::empty(), named)?;
        let optimizer = Optimizer::new(&gpu.device, plan.rule)
            .learning_rates(plan.rates.iter().map(|&lr| lr as f32).collect())
            .arena(&arena)
            .conditioning(plan.conditioning)
            .build()?;
        let of = Device { gpu, plan, parameters, arena, optimizer };
        of.upload()?;
        if let Some(error) = block_on(memory.pop()) {
            let (what, reason) = ("the parameters and their state", error.to_string());
            return Err(Error::OutOfMemory { what, reason });
        }
        Ok(of)
    }

    fn upload(&self) -> Result<(), Error> {
        for (i, parameter) in self.parameters.iter().enumerate() {
            self.write(&self.arena.tensors()[i].params, &parameter.values);
            for (spans, values) in self.optimizer.tensors()[i].moments.iter().zip(&parameter.moments) {
                self.write(spans, values);
            }
            self.optimizer.set_step(&self.gpu.queue, i, parameter.step)?;
        }
        block_on(self.gpu.submit(self.encoder()))
    }

    /// Applies one step to the parameters that have a gradient.
    pub fn step(&self, grads: &Grads<f32>) -> Result<(), Error> {
        for (i, grads) in grads.iter().enumerate() {
            let Some(grads) = grads else { continue };
            self.write(&self.arena.tensors()[i].grads, grads);
        }
        let selection = self.optimizer.selection(&self.gpu.device, |i| grads[i].is_some());
        let mut encoder = self.encoder();
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.optimizer.record_selected(&mut pass, &selection);
        drop(pass);
        block_on(self.gpu.submit(encoder))
    }

    pub fn finish(mut self) -> Result<(Vec<Parameter<f32>>, Counters), Error> {
        let mut parameters = std::mem::take(&mut self.parameters);
        let states: Vec<StepState> = self.read(&[Span::whole(self.optimizer.state())])?;
        for (i, parameter) in parameters.iter_mut().enumerate() {
            parameter.values = self.read(&self.arena.tensors()[i].params)?;
            let moments = self.optimizer.tensors()[i].moments.iter();
            parameter.moments = moments.map(|spans| self.read(spans)).collect::<Result<_, _>>()?;
            parameter.taken = states[i].t - parameter.step;
            parameter.step = states[i].t;
        }
        let control: Vec<Control> = self.read(&[Span::whole(self.optimizer.control())])?;
        let norm = self.plan.conditioning.measures().then_some(f64::from(control[0].norm));
        let counters = Counters { taken: control[0].steps, skipped: control[0].skipped, norm };
        Ok((parameters, counters))
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.gpu.device.create_command_encoder(&Default::default())
    }

    fn write(&self, spans: &[Span], values: &[f32]) {
        let mut rest = values;
        for span in spans {
            let (part, after) = rest.split_at(span.len as usize);
            self.gpu.queue.write_buffer(&span.buffer, span.offset, bytemuck::cast_slice(part));
            rest = after;
        }
    }

    /// Reads these spans, concatenated.
    fn read<T: Pod>(&self, spans: &[Span]) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let longest = spans.iter().map(|span| span.len * 4).max().unwrap_or(0);
        let mut staging = ReadBack::new(&self.gpu.device, longest.min(READ_BACK))?;
        for span in spans {
            let mut first = 0;
            while first < span.len {
                let len = (span.len - first).min(READ_BACK / 4);
                let mut encoder = self.encoder();
                staging.copy(&mut encoder, &Span::new(&span.buffer, span.offset + first * 4, len))?;
                self.gpu.queue.submit([encoder.finish()]);
                all.extend(block_on(self.gpu.wait(staging.read::<u32>()))?);
                first += len;
            }
        }
        Ok(bytemuck::pod_collect_to_vec(&all))
    }
}
