use super::output;
use std::fmt;
use std::process::ExitCode;
use wgpu_optim::Error;
use wgpu_optim::regression::ProblemError;
use wgpu_optim::regression::data::DataError;
use wgpu_optim::regression::device::OpenError;
use wgpu_optim::regression::train::TrainError;

/// The reason for an exit code other than 0.
#[derive(Debug)]
pub enum Failure {
    /// A check failed, or training diverged.
    Check(String),
    /// Bad usage, bad input, no device, or a result that could not be written.
    Input(String),
    /// A signal interrupted the command; with the exit code of the signal.
    Interrupted(String, u8),
    /// Several failures.
    Several(Vec<Failure>),
}

impl Failure {
    /// Reports the failure on standard error, and returns the exit code.
    pub fn report(self) -> ExitCode {
        self.each().into_iter().for_each(|failure| output::note(&format!("error: {failure}")));
        ExitCode::from(self.code())
    }

    /// Combines the failures of independent parts of the work; none is `Ok`.
    pub fn of_all(mut failures: Vec<Failure>) -> Result<(), Failure> {
        match failures.len() {
            0 => Ok(()),
            1 => failures.pop().map_or(Ok(()), Err),
            _ => Err(Failure::Several(failures)),
        }
    }

    /// The exit code. Of several failures, bad input or a result that could not be written (2) takes precedence over an
    /// interruption, and that over a failed check: a second run makes sense only once its results can be written.
    fn code(&self) -> u8 {
        match self {
            Failure::Check(_) => 1,
            Failure::Input(_) => 2,
            Failure::Interrupted(_, code) => *code,
            Failure::Several(failures) => {
                let codes: Vec<u8> = failures.iter().map(Failure::code).collect();
                if codes.contains(&2) { 2 } else { codes.into_iter().max().unwrap_or(1) }
            }
        }
    }

    fn each(&self) -> Vec<&Failure> {
        match self {
            Failure::Several(failures) => failures.iter().flat_map(Failure::each).collect(),
            one => vec![one],
        }
    }

    /// Prefixes the message with a name.
    pub fn of(self, name: &str) -> Self {
        self.with(|message| format!("{name}: {message}"))
    }

    /// Appends a text to the message.
    pub fn and(self, more: &str) -> Self {
        self.with(|message| format!("{message}; {more}"))
    }

    fn with(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Failure::Check(message) => Failure::Check(change(message)),
            Failure::Input(message) => Failure::Input(change(message)),
            Failure::Interrupted(message, code) => Failure::Interrupted(change(message), code),
            Failure::Several(mut failures) => {
                let last = failures.pop().map(|last| last.with(change));
                failures.extend(last);
                Failure::Several(failures)
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Check(message) | Failure::Input(message) | Failure::Interrupted(message, _) => {
                f.write_str(message)
            }
            Failure::Several(failures) => {
                let all: Vec<String> = failures.iter().map(Failure::to_string).collect();
                f.write_str(&all.join("; "))
            }
        }
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

impl From<wgpu_optim::regression::model_file::ModelFileError> for Failure {
    fn from(error: wgpu_optim::regression::model_file::ModelFileError) -> Self {
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

impl From<crate::bench::BenchError> for Failure {
    fn from(error: crate::bench::BenchError) -> Self {
        let message = error.to_string();
        match error {
            crate::bench::BenchError::Wrong { .. } => Failure::Check(message),
            _ => Failure::Input(message),
        }
    }
}
