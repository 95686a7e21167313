//! Tensors of a type that rules do not step, such as counters: they are copied unchanged.

use super::files::{Element, Output, Raw, TensorFile, needed};
use crate::command::Failure;
use std::path::Path;

/// A tensor that is copied unchanged, with its state.
pub struct Passed {
    tensor: Raw,
    state: Vec<Raw>,
    /// Steps taken before, according to the state.
    pub step: u64,
}

impl Passed {
    /// Reads the tensors whose elements do not convert to `R`.
    pub fn read_all<R: Element>(
        params: &TensorFile,
        state: Option<&TensorFile>,
    ) -> Result<Vec<Self>, Failure> {
        let mut all = Vec::new();
        for name in params.names() {
            if R::holds(params.dtype(&name)?) {
                continue;
            }
            let mut passed = Passed { tensor: params.raw(&name)?, state: Vec::new(), step: 0 };
            if let Some(state) = state {
                let of_it = |kept: &String| kept.rsplit_once('.').is_some_and(|(of, _)| of == name);
                let kept = state.names().into_iter().filter(of_it);
                passed.state = kept.map(|kept| state.raw(&kept)).collect::<Result<_, _>>()?;
                let step = format!("{name}.step");
                passed.step = state.has(&step).then(|| state.count(&step)).transpose()?.unwrap_or(0);
            }
            all.push(passed);
        }
        Ok(all)
    }

    pub fn name(&self) -> &str {
        &self.tensor.name
    }

    pub fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    pub fn output(&self) -> Output<'_> {
        self.tensor.output()
    }

    pub fn state(&self) -> impl Iterator<Item = Output<'_>> {
        self.state.iter().map(Raw::output)
    }

    /// The error for a gradient of this tensor.
    pub fn refuse<R: Element>(&self, params: &Path, grads: &Path) -> Failure {
        let (name, needed) = (self.name(), needed::<R>(self.tensor.dtype));
        let of = grads.display();
        Failure::Input(format!("{}: `{name}` {needed}, because {of} has its gradient", params.display()))
    }
}
