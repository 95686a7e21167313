//! Trained models in files, and predictions.

mod error;
mod file;
mod prediction;

pub use error::ModelFileError;

use crate::regression::Scaling;
use crate::regression::TargetKind;
use crate::regression::data::Columns;
use crate::{Loss, Model};
use std::collections::{BTreeMap, HashSet};

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedModel {
    /// The model: shape and loss.
    pub model: Model,
    /// Weights, outputs × features, row-major; for scaled features if there is a scaling.
    pub coef: Vec<f64>,
    /// Intercept of each output; empty without intercepts.
    pub intercept: Vec<f64>,
    /// Stored type of weights and intercepts.
    pub precision: Precision,
    /// Names of the features.
    pub names: Vec<String>,
    /// Names of the targets.
    pub target_names: Vec<String>,
    /// Target values of the classes; `None` for 0, 1, ….
    pub classes: Option<Vec<f64>>,
    /// Names of the classes, if labels are words.
    pub class_names: Option<Vec<String>>,
    /// Columns of the training file, if it had no names.
    pub columns: Option<Columns>,
    /// Scaling of the features.
    pub scaling: Option<Scaling>,
    /// Description of the training, for people.
    pub training: BTreeMap<String, String>,
}

/// Stored type of a model's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// `F32`, exact for models trained in f32.
    Single,
    /// `F64`.
    #[default]
    Double,
}

impl SavedModel {
    /// Returns the target values of the classes; empty if the model is not a classifier.
    pub fn class_values(&self) -> Vec<f64> {
        self.classes.clone().unwrap_or_else(|| (0..self.class_count()).map(f64::from).collect())
    }

    /// Returns the labels of the classes as text; empty if the model is not a classifier.
    pub fn class_labels(&self) -> Vec<String> {
        let of_values = || self.class_values().iter().map(f64::to_string).collect();
        self.class_names.clone().unwrap_or_else(of_values)
    }

    fn class_count(&self) -> u32 {
        match (self.model.loss, self.model.loss.target_kind()) {
            (Loss::Softmax { classes }, _) => classes,
            (_, TargetKind::Binary) => 2,
            _ => 0,
        }
    }

    /// Checks that all parts are present, have consistent sizes and are finite.
    ///
    /// # Errors
    /// The name of the invalid part and the reason.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let model = &self.model;
        model.validate().map_err(|error| ("model", error.to_string()))?;
        if model.features == 0 {
            return Err(("model", "has no features".into()));
        }
        let weights = model.features.checked_mul(model.outputs);
        let weights = weights.ok_or_else(|| ("model", format!("has {} features", model.features)))?;
        let intercepts = if model.intercept { model.outputs } else { 0 };
        let classes = self.class_count() as usize;
        length("coef", self.coef.len(), weights)?;
        length("intercept", self.intercept.len(), intercepts)?;
        length("names", self.names.len(), model.features)?;
        length("target_names", self.target_names.len(), model.targets())?;
        let limit = match self.precision {
            Precision::Single => f64::from(f32::MAX),
            Precision::Double => f64::MAX,
        };
        within("coef", &self.coef, limit)?;
        within("intercept", &self.intercept, limit)?;
        if let Some(labels) = &self.classes {
            length("classes", labels.len(), classes)?;
            within("classes", labels, f64::MAX)?;
            let different: HashSet<u64> = labels.iter().map(|label| (label + 0.0).to_bits()).collect();
            length("different classes", different.len(), classes)?;
        }
        if let Some(names) = &self.class_names {
            length("class_names", names.len(), classes)?;
            let different: HashSet<&String> = names.iter().collect();
            length("different class_names", different.len(), classes)?;
        }
        if self.columns.as_ref().is_some_and(|columns| !columns.is_valid(model.features)) {
            return Err(("columns", format!("do not fit {} features", model.features)));
        }
        if let Some(Scaling { mean, scale }) = &self.scaling {
            length("mean", mean.len(), model.features)?;
            length("scale", scale.len(), model.features)?;
            within("mean", mean, f64::MAX)?;
            within("scale", scale, f64::MAX)?;
            if let Some(i) = scale.iter().position(|&scale| scale <= 0.0) {
                return Err(("scale", format!("element {i} is {:?}, but must be above 0", scale[i])));
            }
        }
        Ok(())
    }
}

fn length(name: &'static str, found: usize, expected: usize) -> Result<(), (&'static str, String)> {
    let why = || (name, format!("there are {found}, but the model has {expected}"));
    if found == expected { Ok(()) } else { Err(why()) }
}

fn within(name: &'static str, values: &[f64], limit: f64) -> Result<(), (&'static str, String)> {
    match values.iter().position(|value| !(-limit..=limit).contains(value)) {
        Some(i) => Err((name, format!("element {i} is {:?}, but must be within ±{limit:e}", values[i]))),
        None => Ok(()),
    }
}
