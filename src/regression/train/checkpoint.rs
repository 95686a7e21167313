//! The state of a run in a file.

use super::state::{LoopState, Numbers, RunState, WorkerState};
use super::{Batches, TrainPlan};
use crate::checkpoint::{CheckpointError, ChecksummedFile, FileKind, Files, Tensor, TensorFile, json};
use crate::cpu::StepState;
use crate::regression::{Problem, ProblemError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const KIND: FileKind = FileKind { name: "a checkpoint of a run", key: "wgpu_optim_run", version: 1 };
/// The order of the sums over a batch, [`nodes`](crate::regression::nodes). Runs from before it had a name added up large
/// batches in another order, so they would not continue with the same bits.
const SUMS: &str = "tree";
const PARAMS: &str = "params";
const AVERAGE: &str = "average";

/// Everything that the bits of a run depend on, besides its state and its device: the problem, the model, the rule and
/// the plan, each value by its name. The number of updates is not part of it: a run may be extended.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    fields: BTreeMap<String, Value>,
}

/// The program and the device that wrote a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The version of this library.
    pub version: String,
    /// The device. A run can be resumed on another one, but the bits may differ.
    pub device: String,
}

/// The batch and learning rate of the next update: they show whether two programs read a configuration alike.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Position {
    epoch: u64,
    batch: u64,
    first_row: u64,
    rows: u64,
    lr: f64,
}

impl Configuration {
    /// The configuration of a plan. If the rows come from a file, this reads all of them.
    ///
    /// # Errors
    /// [`ProblemError`] if the rows cannot be read.
    pub fn new(problem: &Problem, plan: &TrainPlan) -> Result<Self, ProblemError> {
        let recipe = &plan.recipe;
        let mut fields = BTreeMap::new();
        let mut add = |name: &str, value: Value| flatten(&mut fields, name.into(), value);
        add("data", problem.identity()?);
        add("model", serde_json::json!(recipe.model));
        add("rule", serde_json::json!(recipe.rule));
        add("penalty", serde_json::json!(recipe.penalty));
        add("average", serde_json::json!(recipe.average));
        add("optimizer", recipe.rule.name().into());
        add("sums", SUMS.into());
        add("schedule", format!("{:?}", plan.learning_rate).into());
        add("rows", plan.rows.into());
        add("stopping", serde_json::json!(plan.stopping));
        add("max_skips", plan.max_skips.into());
        match &plan.batches {
            Batches::Epochs { size, shuffle, .. } => {
                add("batch_size", (*size).into());
                add("shuffle", serde_json::json!(shuffle));
            }
            Batches::Given(batches) => add("batches", format!("{batches:?}").into()),
        }
        Ok(Configuration { fields })
    }

    /// The value of every field.
    pub fn fields(&self) -> &BTreeMap<String, Value> {
        &self.fields
    }

    /// The first field that differs, with its value there and here; checksums come last, since other fields are more
    /// specific.
    fn difference(&self, there: &Self) -> Option<(String, String, String)> {
        let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
        let mut names: Vec<_> = self.fields.keys().chain(there.fields.keys()).collect();
        names.sort_by_key(|name| (name.ends_with("checksum"), *name));
        let differs = names.into_iter().find(|&name| self.fields.get(name) != there.fields.get(name))?;
        Some((differs.clone(), text(there.fields.get(differs)), text(self.fields.get(differs))))
    }
}

/// Flattens a structure into fields with dots in their names; lists are not flattened.
fn flatten(fields: &mut BTreeMap<String, Value>, name: String, value: Value) {
    match value {
        Value::Object(parts) => {
            for (part, value) in parts {
                flatten(fields, format!("{name}.{part}"), value);
            }
        }
        value => {
            fields.insert(name, value);
        }
    }
}

impl Position {
    fn of(plan: &TrainPlan, progress: &LoopState) -> Option<Self> {
        let update = progress.update;
        if update >= plan.batches.updates() {
            return None;
        }
        let (batch, epoch) = (plan.batches.get(update), plan.batches.epoch());
        let factor = progress.watched.as_ref().map_or(1.0, |watched| watched.factor);
        Some(Position {
            epoch: update / epoch,
            batch: update % epoch,
            first_row: batch.row(0),
            rows: batch.rows,
            lr: plan.learning_rate.at(update) * factor,
        })
    }
}

impl RunState {
    /// Writes a safetensors file, atomically: `params`, a tensor for each of [`Rule::moments`](crate::Rule::moments), and
    /// `average` if there is one. The same state gives the same bytes.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn write(
        &self,
        files: &dyn Files,
        path: &Path,
        plan: &TrainPlan,
        configuration: &Configuration,
        made_by: &Provenance,
    ) -> Result<(), CheckpointError> {
        let names = names(plan);
        let tensors = names.iter().zip(self.worker.vectors()).map(|(name, values)| {
            let tensor = match values {
                Numbers::Single(values) => Tensor::single(values),
                Numbers::Double(values) => Tensor::double(values),
            };
            (name.to_string(), tensor)
        });
        let texts = [
            ("step", json(&self.worker.step)),
            ("progress", json(&self.progress)),
            ("position", json(&Position::of(plan, &self.progress))),
            ("configuration", json(&configuration.fields)),
            ("made_by", json(made_by)),
        ];
        let texts = texts.map(|(key, value)| (key.to_string(), value)).into();
        KIND.write(files, path, TensorFile { texts, tensors: tensors.collect() })
    }

    /// The largest possible file of such a run: all numbers as f64, and 64 MiB of metadata. A smaller file of another
    /// run is read, and refused with the field that differs.
    pub fn most_bytes(plan: &TrainPlan) -> u64 {
        let numbers = (names(plan).len() as u64).saturating_mul(plan.recipe.model.params() as u64);
        numbers.saturating_mul(8).saturating_add(1 << 26)
    }

    /// Reads a state, with the checksums of all tensors, and the program that wrote it.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] for changed bytes; [`CheckpointError::Kind`] for another kind of file;
    /// [`CheckpointError::Mismatch`], with the field, for a run of another configuration.
    pub fn read(
        path: &Path,
        bytes: &[u8],
        plan: &TrainPlan,
        configuration: &Configuration,
    ) -> Result<(Self, Provenance), CheckpointError> {
        let file = KIND.read(path, bytes)?;
        let there = Configuration { fields: file.json("configuration")? };
        if let Some((field, kept, asked)) = configuration.difference(&there) {
            return Err(file.mismatch(&field, kept, asked));
        }
        let progress: LoopState = file.json("progress")?;
        let updates = plan.batches.updates();
        if progress.update > updates {
            return Err(file.mismatch(
                "update",
                progress.update.to_string(),
                format!("at most {updates}"),
            ));
        }
        let there: Option<Position> = file.json("position")?;
        if let (Some(there), Some(here)) = (there, Position::of(plan, &progress))
            && there != here
        {
            return Err(file.mismatch("position", format!("{there:?}"), format!("{here:?}")));
        }
        let state = RunState { worker: worker(&file, plan)?, progress };
        state.check().map_err(|reason| file.kind_error(reason))?;
        Ok((state, file.json("made_by")?))
    }

    /// Checks that the counts are possible, whoever wrote them.
    ///
    /// # Errors
    /// The count that is not, and its limit.
    fn check(&self) -> Result<(), String> {
        /// More than any run reaches.
        const FAR: u64 = 1 << 62;
        let LoopState { update, skips, .. } = self.progress;
        let LoopState { best, watched, verification, .. } = &self.progress;
        let LoopState { training, verifying, timed_rows, .. } = self.progress;
        let (rows, without_change) =
            watched.as_ref().map_or((0, 0), |watched| (watched.rows, watched.without_change()));
        let (checks, values) =
            verification.as_ref().map_or((0, 0), |checked| (checked.checks, checked.values));
        for (name, value, most) in [
            ("skips", skips.total, update),
            ("skips in a row", skips.in_a_row.into(), skips.total),
            ("updates up to the best loss", best.map_or(0, |best| best.update), update),
            ("epochs without change", without_change.into(), update),
            ("checks", checks, update),
            ("values that were checked", values, FAR),
            ("rows of the epoch", rows, FAR),
            ("rows that were timed", timed_rows, FAR),
            ("seconds of training", training.as_secs(), FAR),
            ("seconds of verification", verifying.as_secs(), FAR),
            ("steps", self.worker.step.t, FAR),
        ] {
            if value > most {
                return Err(format!("{name} are {value}, and can be at most {most}"));
            }
        }
        Ok(())
    }
}

/// The names of the vectors of a worker's state.
fn names(plan: &TrainPlan) -> Vec<&'static str> {
    let average = plan.recipe.average.map(|_| AVERAGE);
    [PARAMS].iter().chain(plan.recipe.rule.moments()).copied().chain(average).collect()
}

fn worker(file: &ChecksummedFile, plan: &TrainPlan) -> Result<WorkerState, CheckpointError> {
    let (names, params) = (names(plan), plan.recipe.model.params());
    if let Some(other) = file.names().find(|name| !names.contains(name)) {
        return Err(file.kind_error(format!("it has an unknown tensor `{other}`")));
    }
    let mut vectors = Vec::new();
    for name in names {
        let missing = || file.kind_error(format!("it has no tensor `{name}`"));
        let tensor = file.tensor(name).ok_or_else(missing)?;
        let numbers =
            tensor.singles().map(Numbers::Single).or_else(|_| tensor.doubles().map(Numbers::Double));
        let numbers = numbers.map_err(|reason| file.kind_error(format!("`{name}` {reason}")))?;
        if numbers.len() != params {
            let found = numbers.len();
            return Err(file.kind_error(format!("`{name}` has {found} elements, and not {params}")));
        }
        vectors.push(numbers);
    }
    let average = plan.recipe.average.and_then(|_| vectors.pop());
    let moments = vectors.split_off(1);
    let params = vectors.swap_remove(0);
    let step: StepState = file.json("step")?;
    Ok(WorkerState { params, moments, average, step })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Disk;
    use crate::regression::reference::synthetic::Options;
    use crate::regression::train::{Backend, CheckpointPolicy, Observer, Progress, Recipe, Trainer};
    use crate::{Adam, Loss, Model};

    #[derive(Default)]
    struct Saved(Vec<RunState>);

    impl Observer for Saved {
        fn save(&mut self, state: &RunState) -> Result<(), String> {
            self.0.push(state.clone());
            Ok(())
        }

        fn progress(&mut self, _: Progress) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn a_run_whose_sums_had_another_order_is_refused() {
        let problem = Problem::synthetic(9, &Options { features: 2, ..Options::default() }).unwrap();
        let recipe = Recipe::new(Model::new(2, Loss::Mse), Adam::default().into());
        let plan = TrainPlan::new(&problem, recipe).unwrap();
        let mut saved = Saved::default();
        let trainer = Trainer::new(&problem, &plan, Backend::Cpu).observer(&mut saved);
        trainer.checkpoints(CheckpointPolicy::every(1)).run().unwrap();
        let configuration = Configuration::new(&problem, &plan).unwrap();
        let mut before = configuration.clone();
        assert_eq!(before.fields.remove("sums"), Some(SUMS.into()));

        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a");
        let read = |written: &Configuration| {
            saved.0[0].write(&Disk, &path, &plan, written, &Provenance::default()).unwrap();
            RunState::read(&path, &std::fs::read(&path).unwrap(), &plan, &configuration)
        };
        assert_eq!(read(&configuration).unwrap().0.worker, saved.0[0].worker);
        let error = read(&before).unwrap_err().to_string();
        let reason = "configuration mismatch: sums was nothing in the checkpoint and is \"tree\" now";
        assert!(error.ends_with(reason), "{error}");
    }
}
