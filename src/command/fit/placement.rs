//! Where the rows of a fit are while it is trained.

use super::super::{Failure, output};
use super::Fit;
use wgpu_optim::Error;
use wgpu_optim::bench::available_memory;
use wgpu_optim::gpu::{Gpu, Shape};
use wgpu_optim::regression::Problem;
use wgpu_optim::train::{Batches, GpuData, Placement};
use wgpu_optim::wgpu::DeviceType;

/// Bytes of a chunk where nothing else is asked for.
pub const CHUNK: u64 = 1 << 26;

impl Fit<'_> {
    /// The rows where they can be trained on: on the device if they fit, else in chunks.
    pub fn on_gpu<'b>(&'b self, gpu: &'b Gpu, batches: &Batches) -> Result<GpuData<'b>, Failure> {
        let make = |placement| GpuData::new(gpu, &self.problem, &self.model, batches, placement);
        if self.is_small() {
            return Ok(make(Placement::Resident)?);
        }
        if self.arguments.synthetic.is_virtual {
            return Ok(make(Placement::Virtual)?);
        }
        if let Some(bytes) = self.arguments.file.device_memory {
            self.check_chunks(bytes, batches)?;
            return Ok(make(Placement::Streamed { chunk: bytes / 2 })?);
        }
        if self.problem.is_streamed() {
            return Ok(make(Placement::Streamed { chunk: CHUNK })?);
        }
        // A software adapter's memory is the host's.
        if gpu.info.device_type == DeviceType::Cpu {
            self.check_memory()?;
        }
        match make(Placement::Resident) {
            Err(wgpu_optim::regression::ProblemError::Library(Error::OutOfMemory { .. })) => {
                output::note(
                    "The rows do not fit into the device's memory: they are uploaded in chunks.",
                );
                Ok(make(Placement::Streamed { chunk: CHUNK })?)
            }
            data => Ok(data?),
        }
    }

    /// Refuses chunks that do not hold what is summed, or changes places, together.
    fn check_chunks(&self, bytes: u64, batches: &Batches) -> Result<(), Failure> {
        let shape = Shape::new(&self.model)?;
        let together = batches.unit().min(shape.run_rows()).min(self.problem.rows);
        let needed = 2 * shape.x_bytes(together).max(together * u64::from(shape.side) * 4);
        if bytes >= needed {
            return Ok(());
        }
        let hint = match batches {
            Batches::Epochs { shuffle: Some(_), .. } => "are shuffled together",
            _ => "are a batch, or what of one is summed at a time",
        };
        Err(Failure::Input(format!(
            "--device-memory {bytes} is too little: {together} rows {hint}, and two chunks of them take {needed} \
             bytes"
        )))
    }

    /// All rows in the host's memory.
    pub fn in_memory(&self) -> Result<(Vec<f32>, Vec<f32>), Failure> {
        self.check_memory()?;
        Ok(self.problem.materialize::<f32>()?)
    }

    fn check_memory(&self) -> Result<(), Failure> {
        let Problem { rows, features, .. } = self.problem;
        let needed = u128::from(rows) * (features + self.problem.side()) as u128 * 4;
        let available = available_memory();
        if needed <= u128::from(available) {
            return Ok(());
        }
        let hint = match self.problem.generator() {
            Some(_) => ": --virtual needs none",
            None => "",
        };
        Err(Failure::Input(format!(
            "{rows} rows × {features} features need {:.1} GB of memory, and {:.1} GB are available{hint}",
            needed as f64 / 1e9,
            available as f64 / 1e9,
        )))
    }
}
