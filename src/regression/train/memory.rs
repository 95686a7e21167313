//! The memory of a fit, counted before anything is allocated, and the placement of the rows that fits.

use super::gpu::GpuWorker;
use super::gpu_data::{Cut, Placement, UPLOAD};
use super::gpu_evaluation::DeviceEvaluator;
use super::gpu_state::read_back_bytes;
use super::{Batches, Recipe, gpu_descent, gpu_small_batch};
use crate::regression::Problem;
use crate::regression::device::Gpu;
use crate::regression::kernels::{
    Descent, DescentOptions, Generator, GradientLayout, Layout, Purpose, RowKernel, SmallBatchKernel,
    most_segments,
};
use crate::regression::machine::available_memory;
use crate::regression::reference::gradient::SLICE;
use crate::{Error, Model};
use serde::Serialize;
use wgpu::DeviceType;

/// Default bytes of a streamed chunk.
pub const CHUNK: u64 = 1 << 26;

/// The memory of a fit, in bytes. On the device every buffer is counted, without the rounding of drivers; on the host,
/// everything that grows with the rows, the batches or the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryFootprint {
    /// On the device: the rows, or two chunks of them.
    pub rows: u64,
    /// On the device: parameters, gradient, moments, average, and all sums.
    pub model: u64,
    /// On the device: the buffers through which results are read.
    pub read_back: u64,
    /// On the host: rows, resident or on their way; on the processor also the model.
    pub host: u64,
}

impl MemoryFootprint {
    /// Bytes on the device.
    pub fn device(&self) -> u64 {
        self.rows + self.model + self.read_back
    }

    /// Bytes on device and host.
    pub fn total(&self) -> u64 {
        self.device() + self.host
    }

    fn max(self, other: MemoryFootprint) -> MemoryFootprint {
        MemoryFootprint {
            rows: self.rows.max(other.rows),
            model: self.model.max(other.model),
            read_back: self.read_back.max(other.read_back),
            host: self.host.max(other.host),
        }
    }
}

/// Available memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// On the device; `None` if unknown, as for hardware.
    pub device: Option<u64>,
    /// On the host.
    pub host: u64,
    /// Whether the device uses host memory.
    pub shared: bool,
}

impl Memory {
    /// The memory of a device, or of the processor; `device` limits the bytes on the device.
    pub fn of(gpu: Option<&Gpu>, device: Option<u64>) -> Self {
        let shared = gpu.is_none_or(|gpu| gpu.info.device_type == DeviceType::Cpu);
        Memory { device, host: available_memory(), shared }
    }

    /// The first need that exceeds the memory: bytes needed, bytes available, and the place.
    fn lacks(&self, needs: &MemoryFootprint) -> Option<(u64, u64, &'static str)> {
        let on_device = (needs.device(), self.device.unwrap_or(u64::MAX), "on the device");
        let on_host = if self.shared { needs.total() } else { needs.host };
        let on_host = (on_host, self.host, "");
        [on_device, on_host].into_iter().find(|(needed, available, _)| needed > available)
    }
}

/// Why no plan fits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The smallest plan does not fit either.
    #[error(
        "{rows} rows × {features} features need {} of memory{}{}, and {} are available{hint}",
        bytes(*.needed), if .place.is_empty() { "" } else { " " }, .place, bytes(*.available)
    )]
    TooLittle {
        /// Rows of the problem.
        rows: u64,
        /// Features of the problem.
        features: usize,
        /// Bytes that the smallest plan needs.
        needed: u64,
        /// Bytes available.
        available: u64,
        /// The place.
        place: &'static str,
        /// A way out, or the reason for the size.
        hint: String,
    },
    /// A limit of the device or of the library.
    #[error(transparent)]
    Library(#[from] Error),
}

/// A number of bytes with a unit.
fn bytes(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        10_000_000.. => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{bytes} bytes"),
    }
}

/// The input of a memory plan: recipes that are trained one after the other.
#[derive(Clone, Copy, Debug)]
pub struct MemoryPlanner<'a> {
    /// The rows.
    pub problem: &'a Problem,
    /// The recipes, all of one model.
    pub recipes: &'a [Recipe],
    /// The batches of each recipe.
    pub batches: &'a Batches,
    /// Whether updates are made [in two halves](super::SplitUpdate).
    pub split: bool,
}

/// A placement of the rows, and the memory that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The placement.
    pub placement: Placement,
    /// The memory.
    pub needs: MemoryFootprint,
}

impl MemoryPlanner<'_> {
    fn model(&self) -> Result<&Model, Error> {
        let (what, range) = ("the number of recipes", "at least 1");
        self.recipes.first().map(|recipe| &recipe.model).ok_or(Error::Shape { what, value: 0, range })
    }

    /// Whether one dispatch makes many updates.
    fn is_small(&self) -> bool {
        let is_small = |recipe| GpuWorker::is_small_batch(self.problem, recipe, self.batches);
        !self.split && self.recipes.iter().all(is_small)
    }

    /// Bytes and number of the rows that must be in one chunk.
    fn least(&self) -> Result<(u64, u64), Error> {
        let shape = GradientLayout::new(self.model()?)?;
        let rows = self.batches.unit().min(shape.segment_rows()).min(self.problem.rows);
        Ok((Cut::bytes_of(&shape, rows), rows))
    }

    /// The memory on a device of these limits.
    ///
    /// # Errors
    /// [`Error`] for a buffer beyond the limits.
    pub fn needs(&self, limits: &wgpu::Limits, placement: Placement) -> Result<MemoryFootprint, Error> {
        let each = self.recipes.iter().map(|recipe| self.needs_of(limits, recipe, placement));
        each.reduce(|a, b| Ok(a?.max(b?))).unwrap_or(Ok(MemoryFootprint::default()))
    }

    fn needs_of(
        &self,
        limits: &wgpu::Limits,
        recipe: &Recipe,
        placement: Placement,
    ) -> Result<MemoryFootprint, Error> {
        let Recipe { model, rule, penalty, average } = *recipe;
        let MemoryPlanner { problem, batches, .. } = *self;
        let shape = GradientLayout::new(&model)?;
        let (mut rows, mut host, mut cut) = (0, 0, None);
        let row_bytes = shape.row_bytes() + 4 * u64::from(shape.aux_columns);
        // Files are read in f64.
        let read = if problem.generator().is_some() { 1 } else { 3 };
        match (placement, problem.generator()) {
            (Placement::Virtual, Some(generator)) => {
                let made = shape.segment_rows().min(problem.rows.max(1));
                rows = Generator::bytes_of(generator) + made * 4 * u64::from(shape.aux_columns);
            }
            (Placement::Virtual, None) => {}
            (Placement::Resident | Placement::Streamed { .. }, generator) => {
                let Cut { unit, chunk, resident } =
                    Cut::new(limits, &shape, problem.rows, batches, placement);
                let layout = Layout::new(limits, shape, (problem.rows, unit), chunk, resident)?;
                rows = layout.bytes();
                cut = layout.cuts.first().filter(|_| layout.cuts.len() > 1).map(|&(_, rows)| rows);
                let on_the_way = match placement {
                    // Read, and staged twice.
                    Placement::Streamed { .. } => rows / 2 * (read + 2),
                    _ if generator.is_some() => 0,
                    _ => UPLOAD.min(problem.rows * row_bytes) * (read + 3),
                };
                host += on_the_way;
            }
        }
        let len = shape.padded_len();
        let max_batch = batches.max_rows().clamp(1, problem.rows.max(1));
        let segments = most_segments(&shape, max_batch, cut);
        let moments = rule.moments().len() as u64;
        let descending = |updates: u64| DescentOptions {
            model,
            rule,
            penalty,
            average,
            max_batch,
            max_batches: updates as u32,
            shuffled: batches.shuffled(),
        };
        let (mut held, updates) = if self.is_small() {
            let updates = gpu_small_batch::max_updates(len);
            (4 * len + SmallBatchKernel::bytes_of(&shape, &descending(updates)), updates)
        } else {
            let updates = gpu_descent::max_updates(len, segments);
            let descent = Descent::bytes_of(&shape, segments, &descending(updates), self.split);
            let shuffled = batches.shuffled();
            let purpose = Purpose { metrics: false, shuffled, max_batch, max_batches: 2 };
            (8 * len + descent + RowKernel::bytes_of(&shape, segments, &purpose, false), updates)
        };
        let (evaluating, read) = DeviceEvaluator::bytes_of(&shape, batches, problem.rows, cut);
        held += evaluating;
        let read_back = read + read_back_bytes(len, moments, updates);
        // Results are copied once in f32 and, for the model, in f64.
        host += read_back + 8 * len * (2 + moments);
        Ok(MemoryFootprint { rows, model: held, read_back, host })
    }

    /// The memory on the processor, in numbers of `number` bytes, with all rows resident or on demand.
    ///
    /// # Errors
    /// Those of [`Model::validate`].
    pub fn needs_on_host(&self, resident: bool, number: usize) -> Result<MemoryFootprint, Error> {
        let model = self.model()?;
        let MemoryPlanner { problem, batches, .. } = *self;
        let number = number as u64;
        let row_bytes = number * (model.features + model.aux_columns()) as u64;
        let rows = problem.rows.saturating_mul(row_bytes);
        let read = if problem.generator().is_some() { 1 } else { 3 };
        let slice = (SLICE as u64).min(problem.rows) * row_bytes;
        let gathered = match (resident, batches.shuffled()) {
            (true, false) => 0,
            (true, true) => slice,
            (false, false) => slice * read,
            (false, true) => slice + batches.unit().min(problem.rows) * row_bytes * read,
        };
        let moments = self.recipes.iter().map(|recipe| recipe.rule.moments().len()).max();
        let params = number * model.params() as u64;
        let model = params * (4 + moments.unwrap_or(0) as u64);
        let held = if resident { rows } else { 0 };
        Ok(MemoryFootprint { host: held.saturating_add(gathered + model), ..MemoryFootprint::default() })
    }

    /// The placement on a device of these limits: resident if all rows fit, else streamed in the largest chunks that
    /// fit, up to 64 MiB unless more rows must be in one chunk. `wanted` overrides whether they fit.
    ///
    /// # Errors
    /// [`MemoryError`] with the bytes that the smallest plan needs, and those available.
    pub fn plan(
        &self,
        limits: &wgpu::Limits,
        memory: &Memory,
        wanted: Option<Placement>,
    ) -> Result<MemoryPlan, MemoryError> {
        let first =
            if self.is_small() { Placement::Resident } else { wanted.unwrap_or(Placement::Resident) };
        let mut plan = MemoryPlan { placement: first, needs: self.needs(limits, first)? };
        // Smaller chunks make more segments, which are described on the device: the last plan is not the least.
        let mut least: Option<(u64, u64, &'static str)> = None;
        while let Some(lack) = memory.lacks(&plan.needs) {
            let least = least.insert(least.filter(|least| least.0 < lack.0).unwrap_or(lack));
            match self.smaller(limits, &plan)? {
                Some(smaller) => plan = smaller,
                None => return Err(self.too_little(*least)?),
            }
        }
        Ok(plan)
    }

    /// The next plan that needs less memory on the device, down to the smallest chunks.
    ///
    /// # Errors
    /// Those of [`needs`](Self::needs).
    pub fn smaller(
        &self,
        limits: &wgpu::Limits,
        plan: &MemoryPlan,
    ) -> Result<Option<MemoryPlan>, Error> {
        let (least, _) = self.least()?;
        let chunk = match plan.placement {
            Placement::Resident if !self.is_small() => CHUNK.min(plan.needs.rows / 4),
            Placement::Streamed { chunk } if chunk > least => chunk / 2,
            _ => return Ok(None),
        };
        let placement = Placement::Streamed { chunk: chunk.max(least) };
        Ok(Some(MemoryPlan { placement, needs: self.needs(limits, placement)? }))
    }

    /// The [needs on the processor](Self::needs_on_host), if they fit.
    ///
    /// # Errors
    /// [`MemoryError`] with the bytes needed and available.
    pub fn plan_on_host(
        &self,
        memory: &Memory,
        resident: bool,
        number: usize,
    ) -> Result<MemoryFootprint, MemoryError> {
        let needs = self.needs_on_host(resident, number)?;
        match memory.lacks(&needs) {
            None => Ok(needs),
            Some(lack) => Err(self.too_little(lack)?),
        }
    }

    fn too_little(
        &self,
        (needed, available, place): (u64, u64, &'static str),
    ) -> Result<MemoryError, Error> {
        let Problem { rows, features, .. } = *self.problem;
        let (_, together) = self.least()?;
        let why = match self.batches {
            Batches::Epochs { shuffle: Some(_), .. } => "are shuffled together",
            _ => "are a batch, or what of one is summed at a time",
        };
        let hint = match self.problem.generator() {
            Some(_) => ": --on-the-fly needs none for rows".into(),
            None if place.is_empty() => String::new(),
            None => format!(": {together} rows {why}"),
        };
        Ok(MemoryError::TooLittle { rows, features, needed, available, place, hint })
    }
}
