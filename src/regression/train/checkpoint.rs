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
const PARAMS: &str = "params";
const AVERAGE: &str = "average";

/// All that a run's bits depend on, besides where it stands and what computes it: the problem, the model, the rule
/// and the plan, each number by its name. How many updates there are to be is not among it: a run may be made
/// longer.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    fields: BTreeMap<String, Value>,
}

/// What made a checkpoint, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The version of this library.
    pub version: String,
    /// What computed. On another device a run goes on, but not to the same bits.
    pub device: String,
}

/// What follows from the number of the next update: it says whether two programs mean the same by a configuration.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Position {
    epoch: u64,
    batch: u64,
    first_row: u64,
    rows: u64,
    lr: f64,
}

impl Configuration {
    /// Of what is to be trained. Where the rows come from a file it takes a pass over them.
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

    /// The first field that is another one there, and what it is there and here; checksums come last, as all
    /// else says more.
    fn difference(&self, there: &Self) -> Option<(String, String, String)> {
        let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
        let mut names: Vec<_> = self.fields.keys().chain(there.fields.keys()).collect();
        names.sort_by_key(|name| (name.ends_with("checksum"), *name));
        let differs = names.into_iter().find(|&name| self.fields.get(name) != there.fields.get(name))?;
        Some((differs.clone(), text(there.fields.get(differs)), text(self.fields.get(differs))))
    }
}

/// A structure as fields with dots in their names; lists stay whole.
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
    /// Writes it as a safetensors file, which has its name only once it is whole: `params`, a tensor for each of
    /// [`Rule::moments`](crate::Rule::moments), and `average` where one is kept. The same state gives the same
    /// bytes.
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

    /// More bytes than the file of such a run has: numbers that are all f64, and 64 MiB for what describes them. A
    /// smaller file of another run is read, and refused by what differs.
    pub fn most_bytes(plan: &TrainPlan) -> u64 {
        let numbers = (names(plan).len() as u64).saturating_mul(plan.recipe.model.params() as u64);
        numbers.saturating_mul(8).saturating_add(1 << 26)
    }

    /// The state that the bytes of a file hold, every one of which is checked, and what made it.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if they are not what was written; [`CheckpointError::Kind`] if that was
    /// something else; [`CheckpointError::Mismatch`] with the field, if it was a run of another configuration.
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
}

/// What the vectors of a worker's state are called.
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
