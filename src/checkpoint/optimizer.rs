//! Optimizer state in a file.

use super::disk::Disk;
use super::files::Files;
use super::{CheckpointError, ChecksummedFile, FileKind, Tensor, TensorFile, json};
use crate::Arithmetic;
use crate::cpu::StepState;
use crate::gpu::{Control, GroupState, OptimizerState, TensorState};
use std::path::Path;

const KIND: FileKind = FileKind { name: "an optimizer state", key: "wgpu_optim_state", version: 1 };

// The tensors in the file have names like `7.params` and `7.exp_avg`.
const PARAMS: &str = "params";
const ACCUMULATOR: &str = "accumulator";
const AVERAGE: &str = "average";
/// Name of the learning rates of a group, as in `group.0.learning_rates`.
const LEARNING_RATES: &str = "learning_rates";
/// Words of a control block. It is stored as words because a norm may be infinite, which JSON cannot express.
const WORDS: usize = size_of::<Control>() / 4;

impl OptimizerState {
    /// Writes the state to a file atomically: safetensors, with a checksum of every tensor. (`Checkpoints` manages a
    /// directory of files.)
    ///
    /// # Errors
    /// [`CheckpointError::File`] with the operation that failed.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        self.write(&Disk, path)
    }

    /// Reads a state from a file, and verifies its checksums.
    ///
    /// # Errors
    /// [`CheckpointError::File`], and those of [`read`](Self::read).
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = Disk.read(path, u64::MAX).map_err(CheckpointError::doing("reading", path))?;
        Self::read(path, &bytes)
    }

    /// Writes the state like [`save`](Self::save), to another file system.
    ///
    /// # Errors
    /// [`CheckpointError::File`] with the operation that failed.
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
            ("arithmetic", json(&self.arithmetic)),
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
            let others = [(ACCUMULATOR, &tensor.accumulator), (AVERAGE, &tensor.average)];
            let others = others.into_iter().filter(|(_, values)| !values.is_empty());
            tensors.extend(others.map(|(name, values)| (of(name), values)));
        }
        let tensors = tensors.into_iter().map(|(name, values)| (name, Tensor::single(values)));
        let texts = texts.map(|(key, value)| (key.to_string(), value)).into();
        KIND.write(files, path, TensorFile { texts, tensors: tensors.collect() })
    }

    /// Parses the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if a checksum does not match; [`CheckpointError::Kind`] if the file is not an
    /// optimizer state.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let file = KIND.read(path, bytes)?;
        let control: [u32; WORDS] = file.json("control")?;
        let steps: Vec<StepState> = file.json("steps")?;
        let groups: Vec<usize> = file.json("group_of_tensor")?;
        if steps.len() != groups.len() {
            let (steps, groups) = (steps.len(), groups.len());
            return Err(file.kind_error(format!("it has steps for {steps} of {groups} tensors")));
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
            // States of an older version were of fast steps.
            arithmetic: match file.text("arithmetic") {
                Ok(_) => file.json("arithmetic")?,
                Err(_) => Arithmetic::Fast,
            },
            micro_batches: file.json("micro_batches")?,
            average: file.json("average")?,
        };
        file.names().try_for_each(|name| state.take(&file, name))?;
        Ok(state)
    }

    /// Stores a tensor of the file in the state.
    fn take(&mut self, file: &ChecksummedFile, name: &str) -> Result<(), CheckpointError> {
        let unknown = || file.kind_error(format!("it has an unknown tensor `{name}`"));
        let values = file.tensor(name).ok_or_else(unknown)?.singles();
        let values = values.map_err(|reason| file.kind_error(format!("`{name}` {reason}")))?;
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
