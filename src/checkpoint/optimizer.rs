//! The state of an optimizer in a file.

use super::disk::Disk;
use super::files::Files;
use super::{CheckpointError, ChecksummedFile, Kind, Tensor, TensorFile, json};
use crate::cpu::StepState;
use crate::gpu::{Control, GroupState, OptimizerState, TensorState};
use std::path::Path;

const KIND: Kind = Kind { name: "state of an optimizer", key: "wgpu_optim_state", version: 1 };

/// What the values of tensor 7 are called: `7.params`, `7.exp_avg` …
const PARAMS: &str = "params";
const ACCUMULATOR: &str = "accumulator";
const AVERAGE: &str = "average";
/// And the learning rates of group 0: `group.0.learning_rates`.
const LEARNING_RATES: &str = "learning_rates";
/// Of a control block, which is kept bit by bit: a norm may be infinite, which JSON has no word for.
const WORDS: usize = size_of::<Control>() / 4;

impl OptimizerState {
    /// Writes the state to a file, which has its name only once it is whole and on the disk: safetensors, with a
    /// checksum of every tensor. (`Checkpoints` keeps the last few in a folder.)
    ///
    /// # Errors
    /// [`CheckpointError::File`] with what could not be done.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        self.write(&Disk, path)
    }

    /// Reads a state from a file, every bit of which is checked.
    ///
    /// # Errors
    /// [`CheckpointError::File`], and those of [`read`](Self::read).
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = Disk.read(path, u64::MAX).map_err(CheckpointError::doing("reading", path))?;
        Self::read(path, &bytes)
    }

    /// [`save`](Self::save) to anything that keeps files.
    ///
    /// # Errors
    /// [`CheckpointError::File`] with what could not be done.
    pub fn write(&self, files: &dyn Files, path: &Path) -> Result<(), CheckpointError> {
        let control: [u32; WORDS] = bytemuck::cast(self.control);
        let steps: Vec<StepState> = self.tensors.iter().map(|tensor| tensor.step).collect();
        let groups: Vec<usize> = self.tensors.iter().map(|tensor| tensor.group).collect();
        let texts = [
            ("control", json(&control)),
            ("groups", json(&self.groups)),
            ("steps", json(&steps)),
            ("group_of_tensor", json(&groups)),
            ("conditioning", json(&self.conditioning)),
            ("micro_batches", json(&self.micro_batches)),
            ("average", json(&self.average)),
        ];
        let mut tensors = Vec::new();
        for (i, group) in self.groups.iter().enumerate() {
            tensors.push((format!("group.{i}.{LEARNING_RATES}"), &group.learning_rates));
        }
        for (i, tensor) in self.tensors.iter().enumerate() {
            let of = |name: &str| format!("{i}.{name}");
            tensors.extend(tensor.params.iter().map(|params| (of(PARAMS), params)));
            tensors.extend(tensor.moments.iter().map(|(name, values)| (of(name), values)));
            let kept = [(ACCUMULATOR, &tensor.accumulator), (AVERAGE, &tensor.average)];
            let kept = kept.into_iter().filter(|(_, values)| !values.is_empty());
            tensors.extend(kept.map(|(name, values)| (of(name), values)));
        }
        let tensors = tensors.into_iter().map(|(name, values)| (name, Tensor::single(values)));
        let texts = texts.map(|(key, value)| (key.to_string(), value)).into();
        KIND.write(files, path, TensorFile { texts, tensors: tensors.collect() })
    }

    /// The state that the bytes of a file hold; `path` is for messages.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if they are not what was written; [`CheckpointError::Kind`] if that was something
    /// else.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let file = KIND.read(path, bytes)?;
        let control: [u32; WORDS] = file.json("control")?;
        let steps: Vec<StepState> = file.json("steps")?;
        let groups: Vec<usize> = file.json("group_of_tensor")?;
        if steps.len() != groups.len() {
            let (steps, groups) = (steps.len(), groups.len());
            return Err(file.no_such(format!("it has the steps of {steps} tensors of {groups}")));
        }
        let tensor = |(step, group)| TensorState {
            group,
            step,
            params: None,
            moments: Default::default(),
            accumulator: Vec::new(),
            average: Vec::new(),
        };
        let mut state = OptimizerState {
            control: bytemuck::cast(control),
            groups: file.json("groups")?,
            tensors: steps.into_iter().zip(groups).map(tensor).collect(),
            conditioning: file.json("conditioning")?,
            micro_batches: file.json("micro_batches")?,
            average: file.json("average")?,
        };
        file.names().try_for_each(|name| state.take(&file, name))?;
        Ok(state)
    }

    /// Puts a tensor of the file in its place.
    fn take(&mut self, file: &ChecksummedFile, name: &str) -> Result<(), CheckpointError> {
        let unknown = || file.no_such(format!("`{name}` is no tensor of it"));
        let values = file.tensor(name).ok_or_else(unknown)?.singles();
        let values = values.map_err(|reason| file.no_such(format!("`{name}` {reason}")))?;
        if let Some(name) = name.strip_prefix("group.") {
            let (group, what) = name.split_once('.').ok_or_else(unknown)?;
            let group: &mut GroupState =
                group.parse().ok().and_then(|i: usize| self.groups.get_mut(i)).ok_or_else(unknown)?;
            if what != LEARNING_RATES {
                return Err(unknown());
            }
            group.learning_rates = values;
            return Ok(());
        }
        let (tensor, what) = name.split_once('.').ok_or_else(unknown)?;
        let tensor: &mut TensorState =
            tensor.parse().ok().and_then(|i: usize| self.tensors.get_mut(i)).ok_or_else(unknown)?;
        match what {
            PARAMS => tensor.params = Some(values),
            ACCUMULATOR => tensor.accumulator = values,
            AVERAGE => tensor.average = values,
            moment => drop(tensor.moments.insert(moment.into(), values)),
        }
        Ok(())
    }
}
