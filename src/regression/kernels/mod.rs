//! Kernels over rows on a device: gradients, descent, evaluation, many updates in one dispatch, sweeps, and
//! synthetic rows.
//!
//! Like an [`Optimizer`](crate::Optimizer), a kernel is built on a [`wgpu::Device`] and records into the passes of the
//! caller.

mod descent;
mod evaluation;
mod gradient;
mod needs;
mod row_kernel;
mod row_source;
mod row_sums;
mod samples;
mod segments;
pub mod shader;
mod shape;
mod small_batch;
mod steps;
mod sweep;
mod synthetic;

pub use descent::{Descent, DescentOptions};
pub use evaluation::Evaluator;
pub use gradient::Gradient;
pub(crate) use needs::check_limits;
pub use row_kernel::RowKernel;
pub use row_source::RowSource;
pub(crate) use row_source::most_segments;
pub(crate) use samples::Layout;
pub use samples::{Chunk, DeviceDataset};
pub(crate) use segments::Purpose;
pub use segments::RowSegment;
pub use shape::{GradientLayout, Reduction};
pub use small_batch::{Fit, SmallBatchKernel};
pub use sweep::{Sweep, SweepOptions};
pub use synthetic::{Generator, SyntheticRows};
