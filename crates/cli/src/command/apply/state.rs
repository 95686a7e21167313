//! Optimizer state of each parameter, as tensors `<parameter>.<name>`.

use super::files::{Element, Output, Raw, TensorFile};
use crate::command::Failure;
use safetensors::tensor::Dtype;
use std::borrow::Cow;
use wgpu_optim::Rule;

const STEP: &str = "step";
/// NAdam's product mu₁ · … · muₜ, which PyTorch stores. It follows from the step, so it is ignored on reading.
const MU_PRODUCT: &str = "mu_product";

/// A parameter with its optimizer state.
pub struct Parameter<R> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<R>,
    /// The values of each of [`Rule::moments`].
    pub moments: Vec<Vec<R>>,
    /// Steps taken in all, including those of the restored state.
    pub step: u64,
    /// Steps taken in this run.
    pub taken: u64,
    /// Whether the state file has its state.
    restored: bool,
    /// The original bytes, if the file's type differs from the type of the computation.
    original: Option<Raw>,
}

impl<R: Element> Parameter<R> {
    /// Reads the parameters of a file, and their states.
    pub fn read_all(
        rule: &Rule,
        params: &TensorFile,
        state: Option<&TensorFile>,
    ) -> Result<Vec<Self>, Failure> {
        if let Some(state) = state {
            check_names(rule, params, state)?;
        }
        let read = |name: String| {
            let mut parameter = Self::read(rule, params, name)?;
            if let Some(state) = state {
                parameter.restore(rule, state)?;
            }
            Ok(parameter)
        };
        let names = params.names().into_iter();
        names.filter(|name| params.dtype(name).is_ok_and(R::holds)).map(read).collect()
    }

    fn read(rule: &Rule, params: &TensorFile, name: String) -> Result<Self, Failure> {
        let values: Vec<R> = params.elements(&name)?;
        let moments = vec![vec![R::of(0.0); values.len()]; rule.moments().len()];
        let shape = params.shape(&name)?.to_vec();
        let is_other = params.dtype(&name)? != R::DTYPE;
        let original = is_other.then(|| params.raw(&name)).transpose()?;
        Ok(Parameter { name, shape, values, moments, step: 0, taken: 0, restored: false, original })
    }

    /// Restores the state of this parameter, which must be complete or absent.
    fn restore(&mut self, rule: &Rule, state: &TensorFile) -> Result<(), Failure> {
        let names = rule.moments().iter().chain([&STEP]).map(|kept| format!("{}.{kept}", self.name));
        let (found, missing): (Vec<_>, Vec<_>) = names.partition(|name| state.has(name));
        if found.is_empty() {
            return Ok(());
        }
        let step = format!("{}.{STEP}", self.name);
        let has_begun = missing == [step.clone()] && !counts(rule);
        if !missing.is_empty() && !has_begun {
            let missing = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return Err(state.error(&found[0], &format!("is present without {missing}")));
        }
        for (moment, kept) in self.moments.iter_mut().zip(rule.moments()) {
            *moment = state.elements_of(&format!("{}.{kept}", self.name), &self.shape)?;
        }
        self.step = if has_begun { 1 } else { state.count(&step)? };
        self.restored = true;
        Ok(())
    }

    /// The output tensor: the original bytes if no step was taken.
    pub fn output(&self) -> Output<'_> {
        if let Some(original) = self.original.as_ref().filter(|_| self.taken == 0) {
            return original.output();
        }
        let (name, bytes) = (self.name.clone(), Cow::Borrowed(R::bytes(&self.values)));
        Output { name, dtype: R::DTYPE, shape: &self.shape, bytes }
    }

    /// The output tensors of its state: none without a restored state and without steps, as in PyTorch.
    pub fn state(&self, rule: &Rule) -> Vec<Output<'_>> {
        if self.taken == 0 && !self.restored {
            return Vec::new();
        }
        let name = |kept: &str| format!("{}.{kept}", self.name);
        let mut state = Vec::new();
        for (kept, values) in rule.moments().iter().zip(&self.moments) {
            let bytes = Cow::Borrowed(R::bytes(values));
            state.push(Output { name: name(kept), dtype: R::DTYPE, shape: &self.shape, bytes });
        }
        let product = mu_product(rule, self.step).map(|product| (MU_PRODUCT, product));
        for (kept, number) in product.into_iter().chain([(STEP, self.step as f64)]) {
            let bytes = Cow::Owned(number.to_le_bytes().to_vec());
            state.push(Output { name: name(kept), dtype: Dtype::F64, shape: &[], bytes });
        }
        state
    }
}

/// Whether a rule needs the step count beyond the first step. PyTorch's SGD and the common implementations of Lion store
/// no count: their state exists only after a first step.
fn counts(rule: &Rule) -> bool {
    !matches!(rule, Rule::Sgd(_) | Rule::Lion(_))
}

/// Checks that every state tensor belongs to one of these parameters and to this rule.
fn check_names(rule: &Rule, params: &TensorFile, state: &TensorFile) -> Result<(), Failure> {
    for name in state.names() {
        let Some((parameter, kept)) = name.rsplit_once('.').filter(|(p, _)| params.has(p)) else {
            return Err(state.error(&name, "is a state without a parameter"));
        };
        let of_nadam = kept == MU_PRODUCT && matches!(rule, Rule::NAdam(_));
        if kept != STEP && !of_nadam && !rule.moments().contains(&kept) {
            let known = rule.moments().iter().chain([&STEP]).copied().collect::<Vec<_>>().join(", ");
            let why = format!(
                "is not part of the state of {} for `{parameter}`, which is {known}",
                rule.name()
            );
            return Err(state.error(&name, &why));
        }
    }
    Ok(())
}

fn mu_product(rule: &Rule, step: u64) -> Option<f64> {
    let Rule::NAdam(nadam) = rule else { return None };
    let mut product = 1.0;
    for t in 1..=step {
        let decay = nadam.momentum_decay.map_or(0.0, |decay| 0.96f64.powf(t as f64 * decay));
        product *= nadam.betas.0 * (1.0 - 0.5 * decay);
        if product == 0.0 {
            break;
        }
    }
    Some(product)
}
