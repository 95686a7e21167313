//! Where a fit's results go.

use super::arguments::Arguments;
use super::checkpoints::CheckpointWriter;
use crate::command::{Failure, log, output, plot};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use wgpu_optim::checkpoint::Checkpoints;

/// The configuration of a run in its folder, and its reports.
const CONFIG: &str = "config.json";
pub const REPORT: &str = "report.json";
pub const VERIFICATION: &str = "verification.json";
const OF_FOLDER: [&str; 3] = [CONFIG, REPORT, VERIFICATION];

/// The files that are asked for one by one, or as a folder of a run.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    pub log: Option<PathBuf>,
    pub plot: Option<PathBuf>,
    pub out: Option<PathBuf>,
    pub checkpoints: Option<PathBuf>,
    /// The folder of the run, which has a configuration and reports besides.
    pub folder: Option<PathBuf>,
}

impl Outputs {
    /// Refuses, ahead of a long run, what could not be written after it or would overwrite something else.
    pub fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let (to, checkpoints) = (&arguments.output, &arguments.checkpoints);
        let given = [
            ("--checkpoint-every", checkpoints.checkpoint_every.is_some()),
            ("--checkpoint-seconds", checkpoints.checkpoint_seconds.is_some()),
            ("--resume", checkpoints.resume),
        ];
        let outputs = match &checkpoints.run_dir {
            None => Outputs {
                log: to.log.clone(),
                plot: to.plot.clone(),
                out: to.out.clone(),
                checkpoints: checkpoints.checkpoint.clone(),
                folder: None,
            },
            Some(folder) => {
                let file = |name: &str| Some(folder.join(name));
                Outputs {
                    log: file("log.csv"),
                    plot: file("loss.svg"),
                    out: file("model.safetensors"),
                    checkpoints: file("checkpoints"),
                    folder: Some(folder.clone()),
                }
            }
        };
        if let (None, Some((flag, _))) = (&outputs.checkpoints, given.iter().find(|(_, given)| *given)) {
            return Err(Failure::Input(format!("{flag} requires --checkpoint DIR or --run-dir DIR")));
        }
        if let Some(folder) = &outputs.folder {
            let made = std::fs::create_dir_all(folder);
            made.map_err(|error| Failure::Input(format!("--run-dir {}: {error}", folder.display())))?;
        }
        let mut seen: Vec<PathBuf> = [Path::new(&arguments.data)]
            .into_iter()
            .chain(arguments.y.as_deref())
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        let partial = outputs.log.as_deref().map(log::partial);
        let one = |flag, path: &Option<PathBuf>| path.clone().map(|path| (flag, path));
        let files = [
            one("--log", &outputs.log),
            one("--log", &partial),
            one("--plot", &outputs.plot),
            one("--out", &outputs.out),
        ];
        let of_folder = |folder: &PathBuf| OF_FOLDER.map(|name| ("--run-dir", folder.join(name)));
        let reports = outputs.folder.iter().flat_map(of_folder);
        for (flag, path) in files.into_iter().flatten().chain(reports) {
            output::check_file(flag, &path, &mut seen)?;
            outputs.check_beside_checkpoints(flag, &path)?;
        }
        if let Some(path) = &outputs.plot {
            plot::check_extension(path)?;
        }
        Ok(outputs)
    }

    /// Refuses a file that would be taken for one of the run's checkpoints, or for their lock.
    fn check_beside_checkpoints(&self, flag: &str, path: &Path) -> Result<(), Failure> {
        let full = |path: &Path| output::full_path(path).ok().flatten();
        let (Some(checkpoints), Some(file)) = (&self.checkpoints, full(path)) else { return Ok(()) };
        let folder = checkpoints.canonicalize().ok().or_else(|| full(checkpoints));
        let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else { return Ok(()) };
        let why = if folder.as_ref() == Some(&file) {
            "is the folder of the checkpoints"
        } else if folder.as_deref() == Some(parent) && name.to_str().is_some_and(Checkpoints::uses_name)
        {
            "has a name that the checkpoints in this folder use"
        } else {
            return Ok(());
        };
        Err(Failure::Input(format!("{flag} {}: {why}", path.display())))
    }

    /// Writes the configuration of the fit before it starts; the lock on the checkpoints keeps other runs out.
    pub fn configuration(&self, checkpoints: &CheckpointWriter) -> Result<(), Failure> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let runs = checkpoints.runs().iter().map(|run| {
            let fields = run.configuration.fields();
            json!({ "name": run.name, "updates": run.plan.batches.updates(), "configuration": fields })
        });
        let runs: Vec<_> = runs.collect();
        let command: Vec<_> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let version = env!("CARGO_PKG_VERSION");
        write(&folder.join(CONFIG), &json!({ "version": version, "command": command, "runs": runs }))
    }

    /// Writes a report into the folder of the run.
    pub fn report(&self, name: &str, report: &impl Serialize) -> Result<(), Failure> {
        match &self.folder {
            Some(folder) => write(&folder.join(name), report),
            None => Ok(()),
        }
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
    output::AtomicFile::write(path, |file| writeln!(file, "{text}"))?.name()
}
