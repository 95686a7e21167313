//! Recorded steps of other optimizers: the files of `tests/golden`, as described in `generate.py` and `check.py`.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use serde::Deserialize;
use std::collections::HashMap;
use wgpu_optim::Rule;
use wgpu_optim::cpu::{self, Number, Step};
use wgpu_optim::rule::{AmsgradOf, EpsPlacement};

/// Some steps of one tensor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// The library of the optimizer.
    pub source: String,
    /// Tolerance between the recorded values and the rule in f64, relative to the largest magnitude of the element so
    /// far.
    pub relative: f64,
    #[serde(deserialize_with = "rule_fields::deserialize")]
    pub rule: Rule,
    pub lrs: Option<Vec<f64>>,
    /// Steps taken before the first of these.
    pub t0: u64,
    start: Vec<f64>,
    start_moments: Option<HashMap<String, Vec<f64>>>,
    /// `None` for steps without a gradient.
    pub grads: Vec<Option<Vec<f64>>>,
    steps: Vec<State>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    t: u64,
    params: Vec<f64>,
    moments: HashMap<String, Vec<f64>>,
}

impl Case {
    /// The learning rate of step `i`, from 0.
    pub fn lr(&self, i: usize) -> f64 {
        self.lrs.as_ref().map_or(self.rule.lr(), |lrs| lrs[i])
    }

    /// Steps taken before step `i`.
    pub fn t_before(&self, i: usize) -> u64 {
        i.checked_sub(1).map_or(self.t0, |last| self.steps[last].t)
    }

    /// Steps taken after step `i`.
    pub fn t_after(&self, i: usize) -> u64 {
        self.steps[i].t
    }

    /// Parameters and then each moment before step `i`.
    pub fn before(&self, i: usize) -> Vec<Vec<f64>> {
        if let Some(last) = i.checked_sub(1) {
            return self.after(last);
        }
        match &self.start_moments {
            Some(moments) => self.values(&self.start, moments),
            None => {
                let mut values = vec![vec![0.0; self.start.len()]; 1 + self.rule.moments().len()];
                values[0].clone_from(&self.start);
                values
            }
        }
    }

    /// Parameters and then each moment after step `i`.
    pub fn after(&self, i: usize) -> Vec<Vec<f64>> {
        self.values(&self.steps[i].params, &self.steps[i].moments)
    }

    fn values(&self, params: &[f64], moments: &HashMap<String, Vec<f64>>) -> Vec<Vec<f64>> {
        let names = self.rule.moments();
        assert_eq!(moments.len(), names.len(), "{}", self.name);
        let moments = names.iter().map(|name| moments[*name].clone());
        std::iter::once(params.to_vec()).chain(moments).collect()
    }

    /// The names of the values after step `i`.
    pub fn names(&self, i: usize) -> Vec<String> {
        let names = std::iter::once("params").chain(self.rule.moments().iter().copied());
        names.map(|name| format!("{}, step {}: {name}", self.name, self.t_after(i))).collect()
    }
}

/// The cases of `optimizers.json`.
pub fn cases() -> Vec<Case> {
    read(include_str!("../golden/optimizers.json"))
}

/// The cases of `compare_between.json`, each the tensors of one optimizer.
pub fn between() -> Vec<Vec<Case>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Between {
        name: String,
        relative: f64,
        #[serde(deserialize_with = "rule_fields::deserialize")]
        rule: Rule,
        tensors: Vec<Tensor>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tensor {
        name: String,
        shape: Vec<usize>,
        start: Vec<f64>,
        grads: Vec<Option<Vec<f64>>>,
        /// `None` if nothing changed.
        steps: Vec<Option<State>>,
    }

    let case = |of: &Between, tensor: Tensor| {
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.start.len());
        let mut last = None;
        let steps = tensor.steps.into_iter().map(|state| {
            last = state.or(last.take());
            last.clone().expect("the first step has a gradient")
        });
        Case {
            name: format!("{}, {}", of.name, tensor.name),
            source: "torch".into(),
            relative: of.relative,
            rule: of.rule,
            lrs: None,
            t0: 0,
            start: tensor.start,
            start_moments: None,
            grads: tensor.grads,
            steps: steps.collect(),
        }
    };
    let split = |mut of: Between| {
        let tensors = std::mem::take(&mut of.tensors);
        tensors.into_iter().map(|tensor| case(&of, tensor)).collect()
    };
    read(include_str!("../golden/compare_between.json")).into_iter().map(split).collect()
}

/// `linear_regression.json`: the sum of squares of `x · w − y`, starting from `start`; a sample has two features and a
/// constant one.
#[derive(Deserialize)]
pub struct LinearRegression {
    pub x: Vec<[f64; 2]>,
    pub y: Vec<f64>,
    pub start: [f64; 3],
    pub cases: Vec<Published>,
}

/// `w` after some steps.
#[derive(Deserialize)]
pub struct Published {
    pub name: String,
    #[serde(deserialize_with = "rule_fields::deserialize")]
    pub rule: Rule,
    pub steps: usize,
    pub expected: [f64; 3],
    pub within: f64,
}

pub fn linear_regression() -> LinearRegression {
    serde_json::from_str(include_str!("../golden/linear_regression.json")).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    #[derive(Deserialize)]
    struct File<T> {
        cases: Vec<T>,
    }

    serde_json::from_str::<File<T>>(text).unwrap().cases
}

/// Takes one step in place. `values` are the parameters, then each moment.
pub fn take_step<R: Number>(rule: &Rule, step: &Step<R>, values: &mut [Vec<R>], grads: &[R]) {
    let (params, moments) = values.split_first_mut().unwrap();
    let mut moments: Vec<&mut [R]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
    cpu::update(rule, step, params, grads, &mut moments);
}

/// The numbers converted to another type.
pub fn of<R: Number>(values: &[f64]) -> Vec<R> {
    values.iter().map(|&x| R::of(x)).collect()
}

/// A rule in the recordings: its kind, and every hyper-parameter by its name.
mod rule_fields {
    use super::*;
    use serde::Deserializer;
    use serde_json::{Map, Value};
    use std::any::Any;
    use wgpu_optim::rule::Preset;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let kind = fields.remove("kind").unwrap();
        let named = Rule::names().find(|named| named.name == kind).unwrap();
        let mut rule = named.preset(Preset::Torch).unwrap();
        assert_eq!(fields.len(), rule.hyper_parameters().len(), "{kind}: {fields:?}");
        for (name, value) in &fields {
            set(rule.hyper_parameter_mut(name).unwrap(), value);
        }
        Ok(rule)
    }

    fn set(field: &mut dyn Any, value: &Value) {
        if let Some(field) = field.downcast_mut() {
            *field = value.as_bool().unwrap();
        } else if let Some(field) = field.downcast_mut() {
            *field = value.as_f64().unwrap();
        } else if let Some(field) = field.downcast_mut() {
            *field = (value[0].as_f64().unwrap(), value[1].as_f64().unwrap());
        } else if let Some(field) = field.downcast_mut::<Option<f64>>() {
            *field = (!value.is_null()).then(|| value.as_f64().unwrap());
        } else if let Some(field) = field.downcast_mut() {
            *field = match value.as_str().unwrap() {
                "outside" => EpsPlacement::Outside,
                "inside" => EpsPlacement::Inside,
                "hat" => EpsPlacement::Hat,
                other => panic!("{other}"),
            };
        } else if let Some(field) = field.downcast_mut() {
            *field = match value.as_str().unwrap() {
                "raw" => AmsgradOf::Raw,
                "corrected" => AmsgradOf::Corrected,
                other => panic!("{other}"),
            };
        } else {
            panic!("{value} is of no type that a hyper-parameter has");
        }
    }
}
