use super::output;
use std::process::ExitCode;
use wgpu_optim::Error;
use wgpu_optim::data::DataError;
use wgpu_optim::gpu::OpenError;
use wgpu_optim::regression::ProblemError;
use wgpu_optim::train::TrainError;

/// Why the command ends with something other than 0.
#[derive(Debug)]
pub enum Failure {
    /// A check failed, or training diverged.
    Check(String),
    /// Bad usage or bad input, or nothing to run it on.
    Input(String),
    /// Somebody pressed Ctrl-C.
    Interrupted(String),
}

impl Failure {
    /// Says what is wrong on standard error, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let (message, code) = match self {
            Failure::Check(message) => (message, 1),
            Failure::Input(message) => (message, 2),
            Failure::Interrupted(message) => (message, 130),
        };
        output::note(&format!("error: {message}"));
        ExitCode::from(code)
    }

    /// The same, with the name of what failed.
    pub fn of(self, name: &str) -> Self {
        match self {
            Failure::Check(message) => Failure::Check(format!("{name}: {message}")),
            Failure::Input(message) => Failure::Input(format!("{name}: {message}")),
            Failure::Interrupted(message) => Failure::Interrupted(format!("{name}: {message}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<ProblemError> for Failure {
    fn from(error: ProblemError) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<wgpu_optim::saved::SavedError> for Failure {
    fn from(error: wgpu_optim::saved::SavedError) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<super::plot::PlotError> for Failure {
    fn from(error: super::plot::PlotError) -> Self {
        Failure::Input(error.to_string())
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        let message = error.to_string();
        match error {
            TrainError::Diverged { .. } => Failure::Check(message),
            TrainError::Interrupted { .. } => Failure::Interrupted(message),
            _ => Failure::Input(message),
        }
    }
}

impl From<wgpu_optim::bench::BenchError> for Failure {
    fn from(error: wgpu_optim::bench::BenchError) -> Self {
        let message = error.to_string();
        match error {
            wgpu_optim::bench::BenchError::Wrong { .. } => Failure::Check(message),
            _ => Failure::Input(message),
        }
    }
}
