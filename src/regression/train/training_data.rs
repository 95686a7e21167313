//! The rows of a problem where a backend reads them, and the choice of the worker.

use super::error::PlacementError;
use super::observer::{MemoryRetry, Observer};
use super::{
    Batches, CHUNK, CpuWorker, Float, GpuData, GpuWorker, HostRows, Memory, MemoryFootprint, MemoryPlan,
    MemoryPlanner, Placement, Recipe, StreamTimes, Submissions, TrainPlan, Trainer, Worker,
};
use crate::Error;
use crate::regression::device::{Gpu, OpenError};
use crate::regression::{Problem, ProblemError};

/// The backend of a run.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a run has one backend, and `Gpu(Box::new(..))` is no use to callers"
)]
pub enum Backend {
    /// A device, with the f32 kernels.
    Gpu(Gpu),
    /// The processor, in f32 on all threads.
    Cpu,
    /// The processor, in f64: the definition.
    F64,
}

/// Where the rows of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// On a device.
    Device(Placement),
    /// In host memory, all of them.
    Host,
    /// Generated or read from a file by the processor, whenever they are needed.
    OnDemand,
}

/// Where the rows of a run are, and the memory it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataPlacement {
    /// The location of the rows.
    pub location: Location,
    /// Bytes needed.
    pub needs: MemoryFootprint,
    /// Bytes available.
    pub memory: Memory,
}

impl DataPlacement {
    /// Bytes available where the run needs them most, as far as is known: no one reports the memory of hardware.
    pub fn available(&self) -> Option<u64> {
        self.memory.device.or(self.memory.shared.then_some(self.memory.host))
    }
}

/// The rows of a problem on a backend, for any number of runs of one model over the same batches.
///
/// The rows are placed by the first run: on a device all of them if they fit, else in two chunks that are streamed
/// (double buffering). If the device refuses an allocation, the chunks become smaller; if it is lost, it is opened
/// again.
#[derive(Debug)]
pub struct TrainingData {
    pub(super) problem: Problem,
    recipes: Vec<Recipe>,
    batches: Batches,
    pub(super) backend: Backend,
    device_memory: Option<u64>,
    requested: Option<Placement>,
    /// Whether a run makes its updates in two halves.
    pub(super) split: bool,
    pub(super) placement: Option<DataPlacement>,
    pub(super) rows: Option<PlacedRows>,
}

/// Rows that a worker can read.
#[derive(Debug)]
pub(super) enum PlacedRows {
    Device(Box<GpuData>),
    Single(HeldRows<f32>),
    Double(HeldRows<f64>),
}

/// All rows and their auxiliary columns; `None` if they are generated or read when they are needed.
type HeldRows<R> = Option<(Vec<R>, Vec<R>)>;

impl TrainingData {
    /// The rows of a problem for runs of these plans, which have one model and the same batches. The memory for the
    /// largest of them is planned.
    pub fn new<'p>(
        problem: &Problem,
        plans: impl IntoIterator<Item = &'p TrainPlan>,
        backend: Backend,
    ) -> Self {
        let (mut recipes, mut batches) = (Vec::new(), Batches::Given(Vec::new()));
        for plan in plans {
            if recipes.is_empty() {
                batches = plan.batches.clone();
            }
            recipes.push(plan.recipe);
        }
        TrainingData {
            problem: problem.clone(),
            recipes,
            batches,
            backend,
            device_memory: None,
            requested: None,
            split: false,
            placement: None,
            rows: None,
        }
    }

    /// Limits the bytes on the device: wgpu does not report the memory of hardware.
    pub fn device_memory(self, bytes: impl Into<Option<u64>>) -> Self {
        TrainingData { device_memory: bytes.into(), ..self }
    }

    /// Places the rows here, whether or not all of them would fit. On the processor, rows that are not
    /// [`Placement::Resident`] are generated or read when they are needed.
    pub fn placement(self, placement: impl Into<Option<Placement>>) -> Self {
        TrainingData { requested: placement.into(), ..self }
    }

    /// A trainer of one of the plans.
    pub fn trainer<'a>(&'a mut self, plan: &'a TrainPlan) -> Trainer<'a> {
        Trainer::on(self, plan)
    }

    /// The requested placement; a file that is larger than it may be in memory is always streamed.
    fn requested(&self) -> Option<Placement> {
        let streamed = Placement::Streamed { chunk: CHUNK };
        self.requested.or(self.problem.is_streamed().then_some(streamed))
    }

    fn planner(&self) -> MemoryPlanner<'_> {
        let TrainingData { problem, recipes, batches, split, .. } = self;
        MemoryPlanner { problem, recipes, batches, split: *split }
    }

    /// Checks that a plan is of the model and the batches that the rows are placed for.
    pub(super) fn check(&self, plan: &TrainPlan) -> Result<(), Error> {
        plan.validate(&self.problem)?;
        let model = self.recipes.first().map(|recipe| &recipe.model);
        let of = |batches: &Batches| (batches.max_rows(), batches.unit(), batches.shuffled());
        let placed = format!("{:?}", (model, of(&self.batches)));
        let given = format!("{:?}", (Some(&plan.recipe.model), of(&plan.batches)));
        match placed == given {
            true => Ok(()),
            false => {
                Err(Error::Mismatch { field: "model and batches".into(), saved: placed, current: given })
            }
        }
    }

    /// Places the rows, unless they are placed.
    pub(super) async fn place(&mut self, observer: &mut dyn Observer) -> Result<(), PlacementError> {
        while self.rows.is_none() {
            let placement = match self.placement {
                Some(placement) => placement,
                None => {
                    let placement = self.plan()?;
                    observer.placed(&placement);
                    *self.placement.insert(placement)
                }
            };
            match self.open(placement.location).await {
                Ok(rows) => self.rows = Some(rows),
                Err(error) => self.smaller(error, observer)?,
            }
        }
        Ok(())
    }

    /// Plans the memory.
    fn plan(&self) -> Result<DataPlacement, PlacementError> {
        let planner = self.planner();
        let (gpu, number) = match &self.backend {
            Backend::Gpu(gpu) => (Some(gpu), size_of::<f32>()),
            Backend::Cpu => (None, size_of::<f32>()),
            Backend::F64 => (None, size_of::<f64>()),
        };
        let memory = Memory::of(gpu, self.device_memory.filter(|_| gpu.is_some()));
        if let Some(gpu) = gpu {
            let MemoryPlan { placement, needs } =
                planner.plan(&gpu.device.limits(), &memory, self.requested())?;
            return Ok(DataPlacement { location: Location::Device(placement), needs, memory });
        }
        let resident = matches!(self.requested(), None | Some(Placement::Resident));
        let needs = planner.plan_on_host(&memory, resident, number)?;
        let location = if resident { Location::Host } else { Location::OnDemand };
        Ok(DataPlacement { location, needs, memory })
    }

    async fn open(&self, location: Location) -> Result<PlacedRows, ProblemError> {
        let TrainingData { problem, recipes, batches, .. } = self;
        if let (Backend::Gpu(gpu), Location::Device(placement)) = (&self.backend, location) {
            let data = GpuData::new(gpu, problem, &recipes[0].model, batches, placement).await?;
            return Ok(PlacedRows::Device(Box::new(data)));
        }
        let held = location == Location::Host;
        Ok(match &self.backend {
            Backend::F64 => PlacedRows::Double(held.then(|| problem.materialize::<f64>()).transpose()?),
            _ => PlacedRows::Single(held.then(|| problem.materialize::<f32>()).transpose()?),
        })
    }

    /// After an allocation that the device refused: the next smaller plan.
    pub(super) fn smaller(
        &mut self,
        error: impl Into<ProblemError>,
        observer: &mut dyn Observer,
    ) -> Result<(), PlacementError> {
        let (error, gpu, at) = match (error.into(), &self.backend, self.placement) {
            (ProblemError::Library(error @ Error::OutOfMemory { .. }), Backend::Gpu(gpu), Some(at)) => {
                (error, gpu, at)
            }
            (error, ..) => return Err(error.into()),
        };
        let Location::Device(placement) = at.location else { return Err(error.into()) };
        let (needed, available) = (at.needs.device(), at.available());
        let plan = MemoryPlan { placement, needs: at.needs };
        let Some(next) = self.planner().smaller(&gpu.device.limits(), &plan)? else {
            return Err(PlacementError::OutOfMemory { error, needed, available });
        };
        self.rows = None;
        let (location, needs) = (Location::Device(next.placement), next.needs);
        self.placement = Some(DataPlacement { location, needs, ..at });
        if let Placement::Streamed { chunk } = next.placement {
            observer.retrying(&MemoryRetry { needed, chunk });
        }
        Ok(())
    }

    /// Opens a lost device again; the rows are placed anew by the next run.
    pub(super) async fn reopen(&mut self, lost: &Gpu) -> Result<Gpu, OpenError> {
        (self.rows, self.placement) = (None, None);
        let gpu = Gpu::open(Some(&format!("{}:{}", lost.info.backend, lost.info.name))).await?;
        self.backend = Backend::Gpu(gpu.clone());
        Ok(gpu)
    }
}

fn on_processor<'a, R: Float>(
    problem: &'a Problem,
    held: &'a HeldRows<R>,
    plan: &TrainPlan,
    start: &[f64],
) -> Result<Box<dyn Worker + 'a>, Error> {
    let rows = match held {
        Some((x, aux)) => HostRows::Resident { x, aux },
        None => HostRows::OnDemand(problem),
    };
    Ok(Box::new(CpuWorker::new(rows, &plan.recipe, start)?))
}

impl PlacedRows {
    /// The worker of a run, which may have to [split](Worker::split) updates: the one place that chooses among all
    /// of them.
    pub(super) async fn worker<'a>(
        &'a self,
        problem: &'a Problem,
        (plan, split): (&TrainPlan, bool),
        start: &[f64],
    ) -> Result<Box<dyn Worker + 'a>, Error> {
        match self {
            // One kernel for many updates has no gradient in between.
            PlacedRows::Device(data) if split => {
                Ok(Box::new(GpuWorker::split_descent(data, &plan.recipe, start, &plan.batches).await?))
            }
            PlacedRows::Device(data) => {
                Ok(Box::new(GpuWorker::new(data, &plan.recipe, start, &plan.batches).await?))
            }
            PlacedRows::Single(held) => on_processor(problem, held, plan, start),
            PlacedRows::Double(held) => on_processor(problem, held, plan, start),
        }
    }

    pub(super) fn stream_times(&self) -> Option<StreamTimes> {
        match self {
            PlacedRows::Device(data) => data.stream_times(),
            _ => None,
        }
    }

    pub(super) fn take_submissions(&self) -> Option<Submissions> {
        match self {
            PlacedRows::Device(data) => Some(data.take_submissions()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regression::train::Progress;
    use crate::{Adam, Loss};
    use wgpu::{AdapterInfo, Device, DeviceType};

    /// The chunks of every retry.
    #[derive(Default)]
    struct Chunks(Vec<u64>);

    impl Observer for Chunks {
        fn retrying(&mut self, retry: &MemoryRetry) {
            self.0.push(retry.chunk);
        }

        fn progress(&mut self, _: Progress) -> Result<(), String> {
            unreachable!("nothing is trained")
        }
    }

    #[test]
    fn chunks_are_halved_until_the_device_has_refused_the_smallest() {
        let (device, queue) = Device::noop(&Default::default());
        let info = AdapterInfo::new(DeviceType::DiscreteGpu, wgpu::Backend::Noop);
        let backend = Backend::Gpu(Gpu::new(device, queue, info));
        let mut problem = Problem::table("t", 50, vec![0.5; 50 * 4000], vec![1.0; 4000]);
        let model = problem.model(Loss::Mse, true).unwrap();
        let plan = TrainPlan::new(&problem, Recipe::new(model, Adam::default().into())).unwrap();
        let mut data = TrainingData::new(&problem, [&plan], backend);
        let mut chunks = Chunks::default();
        data.placement = Some(data.plan().unwrap());
        assert_eq!(data.placement.unwrap().location, Location::Device(Placement::Resident));
        let refused = || Error::OutOfMemory { what: "the rows", reason: "refused".into() };
        let error = loop {
            let before = data.placement.unwrap();
            if let Err(error) = data.smaller(refused(), &mut chunks) {
                break error;
            }
            let after = data.placement.unwrap();
            assert!(after.needs.rows <= before.needs.rows && data.rows.is_none());
            let Location::Device(Placement::Streamed { chunk }) = after.location else { panic!() };
            assert_eq!(chunks.0.last(), Some(&chunk));
        };
        // Rows of 50 numbers take 52 on the device, and 32 of them are a batch.
        assert_eq!(chunks.0.last(), Some(&(32 * 52 * 4)), "{:?}", chunks.0);
        assert!(chunks.0.len() > 3 && chunks.0.is_sorted_by(|a, b| a > b), "{:?}", chunks.0);
        let needed = data.placement.unwrap().needs.device();
        assert_eq!(
            error.to_string(),
            format!("out of memory for the rows: refused; the fit needs {needed} bytes on the device")
        );
        // Any other error ends the run.
        let lost = data.smaller(Error::DeviceLost("gone".into()), &mut chunks).unwrap_err();
        assert!(matches!(lost, PlacementError::Problem(_)), "{lost}");
    }
}
