//! The memory of a fit, in reports and errors.

use super::Fit;
use crate::command::Failure;
use serde::Serialize;
use wgpu_optim::regression::train::{
    CHUNK, DataPlacement, Location, Memory, MemoryFootprint, MemoryPlanner, Placement, PlacementError,
    Recipe,
};

/// Memory of a run, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryReport {
    needed: u64,
    /// Null if unknown.
    available: Option<u64>,
    placement: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_bytes: Option<u64>,
    #[serde(flatten)]
    needs: MemoryFootprint,
}

impl From<&DataPlacement> for MemoryReport {
    fn from(data: &DataPlacement) -> Self {
        let (placement, chunk_bytes) = match data.location {
            Location::Device(Placement::Resident) | Location::Host => ("resident", None),
            Location::Device(Placement::Virtual) => ("virtual", None),
            Location::Device(Placement::Streamed { chunk }) => ("streamed", Some(chunk)),
            Location::OnDemand => ("on demand", None),
        };
        let needs = data.needs;
        let needed = if needs.device() > 0 { needs.device() } else { needs.host };
        MemoryReport { needed, available: data.available(), placement, chunk_bytes, needs }
    }
}

impl Fit<'_> {
    /// Adds the memory of the fit to the failure of an adapter that cannot be opened for lack of memory.
    pub fn without_device(&self, failure: Failure) -> Failure {
        if !failure.to_string().to_lowercase().contains("memory") {
            return failure;
        }
        let recipes: Vec<Recipe> = self.plans.iter().map(|plan| plan.recipe).collect();
        let batches = &self.plans[0].batches;
        let planner = MemoryPlanner { problem: &self.problem, recipes: &recipes, batches, split: false };
        let placement = match self.arguments.synthetic.is_virtual {
            true => Placement::Virtual,
            false if self.problem.is_streamed() => Placement::Streamed { chunk: CHUNK },
            false => Placement::Resident,
        };
        let Ok(needs) = planner.needs(&Default::default(), placement) else { return failure };
        let (needed, available) = (needs.total(), Memory::of(None, None).host);
        let hint =
            if self.problem.generator().is_some() { " (--on-the-fly needs none for rows)" } else { "" };
        failure.and(&format!(
            "besides the device the fit needs {needed} bytes of memory, and {available} are available{hint}"
        ))
    }
}

impl From<PlacementError> for Failure {
    fn from(error: PlacementError) -> Self {
        Failure::Input(error.to_string())
    }
}
