//! Where the rows of a fit are while it is trained.

use super::Fit;
use crate::command::{Failure, output};
use serde::Serialize;
use wgpu_optim::Error;
use wgpu_optim::regression::ProblemError;
use wgpu_optim::regression::device::Gpu;
use wgpu_optim::regression::train::{
    CHUNK, Memory, MemoryError, MemoryFootprint, MemoryPlanner, Placement, Recipe,
};

/// What a report tells of memory, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryReport {
    needed: u64,
    /// Null where nobody says.
    available: Option<u64>,
    placement: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_bytes: Option<u64>,
    #[serde(flatten)]
    needs: MemoryFootprint,
}

impl MemoryReport {
    fn new(
        needs: MemoryFootprint,
        memory: &Memory,
        placement: &'static str,
        chunk_bytes: Option<u64>,
    ) -> Self {
        let needed = if needs.device() > 0 { needs.device() } else { needs.host };
        let available = memory.device.or(memory.shared.then_some(memory.host));
        MemoryReport { needed, available, placement, chunk_bytes, needs }
    }
}

/// Why training on a device ends before it has begun, or in the middle.
pub enum Stopped {
    /// There was no memory for what it is made of.
    NoMemory(Error),
    Failed(Failure),
}

impl Stopped {
    /// What became of an allocation.
    pub fn allocating(error: impl Into<ProblemError>) -> Self {
        match error.into() {
            ProblemError::Library(error @ Error::OutOfMemory { .. }) => Stopped::NoMemory(error),
            error => Stopped::Failed(error.into()),
        }
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failed(failure)
    }
}

/// Features, and what lies beside them.
pub type Held = (Vec<f32>, Vec<f32>);

impl Fit<'_> {
    /// Does `work` with the rows where the plan has them, and in smaller chunks as long as the device has no
    /// memory for it.
    pub fn placed(
        &self,
        gpu: &Gpu,
        mut work: impl FnMut(Placement, &MemoryReport) -> Result<(), Stopped>,
    ) -> Result<(), Failure> {
        let recipes = self.recipes();
        let fitting = self.fitting(&recipes);
        let (limits, memory) = (gpu.device.limits(), Memory::of(Some(gpu), self.device_memory()));
        let mut plan = fitting.plan(&limits, &memory, self.wanted())?;
        if let (Placement::Streamed { chunk }, None) = (plan.placement, self.wanted()) {
            let hint = if self.problem.generator().is_some() {
                " (--on-the-fly generates them in the kernels)"
            } else {
                ""
            };
            output::note(&format!(
                "The rows do not fit into the memory there is: they take turns on the device, {chunk} bytes at a \
                 time{hint}."
            ));
        }
        loop {
            let (placement, chunk) = match plan.placement {
                Placement::Resident => ("resident", None),
                Placement::Virtual => ("virtual", None),
                Placement::Streamed { chunk } => ("streamed", Some(chunk)),
            };
            let report = MemoryReport::new(plan.needs, &memory, placement, chunk);
            let error = match work(plan.placement, &report) {
                Ok(()) => return Ok(()),
                Err(Stopped::Failed(failure)) => return Err(failure),
                Err(Stopped::NoMemory(error)) => error,
            };
            let needed = plan.needs.device();
            plan = match fitting.smaller(&limits, &plan)? {
                Some(plan) => plan,
                None => {
                    let available = match report.available {
                        Some(available) => format!(", and {available} are available"),
                        None => String::new(),
                    };
                    let message =
                        format!("{error}; the fit needs {needed} bytes on the device{available}");
                    return Err(Failure::Input(message));
                }
            };
            let Placement::Streamed { chunk } = plan.placement else { continue };
            output::note(&format!(
                "Out of device memory ({needed} bytes): retrying with double-buffered chunks of {chunk} bytes."
            ));
        }
    }

    /// An adapter that cannot be opened for want of memory does not say of how much.
    pub fn without_device(&self, failure: Failure) -> Failure {
        if !failure.to_string().to_lowercase().contains("memory") {
            return failure;
        }
        let recipes = self.recipes();
        let placement = self.wanted().unwrap_or(Placement::Resident);
        let Ok(needs) = self.fitting(&recipes).needs(&Default::default(), placement) else {
            return failure;
        };
        let (needed, available) = (needs.total(), Memory::of(None, None).host);
        let hint =
            if self.problem.generator().is_some() { " (--on-the-fly needs none for rows)" } else { "" };
        failure.and(&format!(
            "besides the device the fit needs {needed} bytes of memory, and {available} are available{hint}"
        ))
    }

    /// All rows in the host's memory, unless they are made or read when they are needed.
    pub fn in_memory(&self) -> Result<(Option<Held>, MemoryReport), Failure> {
        let on_demand = self.arguments.synthetic.is_virtual || self.problem.is_streamed();
        let memory = Memory::of(None, None);
        let needs = self.fitting(&self.recipes()).plan_on_host(&memory, !on_demand)?;
        let placement = if on_demand { "on demand" } else { "resident" };
        let report = MemoryReport::new(needs, &memory, placement, None);
        Ok(match on_demand {
            true => (None, report),
            false => (Some(self.problem.materialize::<f32>()?), report),
        })
    }

    fn recipes(&self) -> Vec<Recipe> {
        self.plans.iter().map(|plan| plan.recipe).collect()
    }

    fn fitting<'b>(&'b self, recipes: &'b [Recipe]) -> MemoryPlanner<'b> {
        MemoryPlanner { problem: &self.problem, recipes, batches: &self.plans[0].batches }
    }

    fn device_memory(&self) -> Option<u64> {
        self.arguments.placement.device_memory
    }

    /// Where the rows must be, whatever fits.
    fn wanted(&self) -> Option<Placement> {
        match self.arguments.synthetic.is_virtual {
            true => Some(Placement::Virtual),
            false => self.problem.is_streamed().then_some(Placement::Streamed { chunk: CHUNK }),
        }
    }
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Self {
        Failure::Input(error.to_string())
    }
}
