//! What runs over rows on a device: gradients, descent, evaluation, many updates in one dispatch, sweeps, and
//! synthetic rows.
//!
//! Everything here is made on a [`wgpu::Device`] and records into the caller's passes, like
//! [`Optimizer`](crate::Optimizer).

mod descent;
mod epochs;
mod evaluation;
mod gradient;
mod needs;
mod row_sums;
mod rows;
mod samples;
pub mod shader;
mod shape;
mod steps;
mod sweep;
mod synthetic;

pub use descent::{Descent, DescentOptions};
pub use epochs::{Fit, SmallBatchKernel};
pub use evaluation::Evaluator;
pub use gradient::Gradient;
pub(crate) use needs::check_limits;
pub(crate) use row_sums::Purpose;
pub use rows::Rows;
pub(crate) use rows::most_runs;
pub(crate) use samples::Layout;
pub use samples::{Chunk, DeviceDataset};
pub use shape::{GradientLayout, Reduction};
pub use sweep::{Sweep, SweepOptions};
pub use synthetic::{Generator, SyntheticRows};
