use super::output;
use std::fmt;
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
    /// Somebody pressed Ctrl-C, or the like; with the exit code that says what.
    Interrupted(String, u8),
}

impl Failure {
    /// Says what is wrong on standard error, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let code = match &self {
            Failure::Check(_) => 1,
            Failure::Input(_) => 2,
            Failure::Interrupted(_, code) => *code,
        };
        output::note(&format!("error: {self}"));
        ExitCode::from(code)
    }

    /// The same, with the name of what failed.
    pub fn of(self, name: &str) -> Self {
        self.with(|message| format!("{name}: {message}"))
    }

    /// The same, and this to say besides.
    pub fn and(self, more: &str) -> Self {
        self.with(|message| format!("{message}; {more}"))
    }

    fn with(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Failure::Check(message) => Failure::Check(change(message)),
            Failure::Input(message) => Failure::Input(change(message)),
            Failure::Interrupted(message, code) => Failure::Interrupted(change(message), code),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (Failure::Check(message) | Failure::Input(message) | Failure::Interrupted(message, _)) =
            self;
        f.write_str(message)
    }
}

impl From<wgpu_optim::checkpoint::CheckpointError> for Failure {
    fn from(error: wgpu_optim::checkpoint::CheckpointError) -> Self {
        Failure::Input(error.to_string())
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
            TrainError::Diverged { .. } | TrainError::Overflow { .. } | TrainError::Skipped { .. } => {
                Failure::Check(message)
            }
            TrainError::Interrupted { .. } => Failure::Interrupted(message, 130),
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
