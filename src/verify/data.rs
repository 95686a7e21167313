//! Rows and models for the checks of sums over rows, and the expected sums.

use super::{Random, Rig};
use crate::cpu::{Bounded, Number};
use crate::regression::TargetKind;
use crate::regression::kernels::{DeviceDataset, GradientLayout, Reduction};
use crate::regression::reference::gradient::{Rows, gradient};
use crate::regression::reference::synthetic::{Options, Response, Synthetic};
use crate::regression::verification;
use crate::{Batch, Error, Loss, Model};

/// Sizes of wide features are within 2^±`OCTAVES`.
const OCTAVES: u32 = 20;

/// A data set on the host, with a model and its parameters.
#[derive(Clone, Debug)]
pub struct Data {
    pub model: Model,
    pub x: Vec<f32>,
    pub aux: Vec<f32>,
    pub params: Vec<f32>,
}

impl Data {
    /// Values of size up to one, and scores of about one for any number of features.
    pub fn random(model: Model, rows: usize, random: &mut Random) -> Self {
        let x = random.units(rows * model.features);
        let scale = 2.0 / (model.features as f32).sqrt();
        Self::of(model, x, scale, random)
    }

    /// Features of wide magnitudes, and scores that no loss makes overflow.
    pub fn wide(model: Model, rows: usize, random: &mut Random) -> Self {
        let x = random.wides(rows * model.features, OCTAVES);
        let scale = 4.0 / 2f32.powi(OCTAVES as i32) / (model.features as f32).sqrt();
        Self::of(model, x, scale, random)
    }

    /// These features, with parameters of up to `scale`.
    fn of(model: Model, x: Vec<f32>, scale: f32, random: &mut Random) -> Self {
        let rows = x.len() / model.features;
        let params = random.units(model.params()).iter().map(|w| scale * w).collect();
        let mut aux = random.units(rows * model.aux_columns());
        for aux_row in aux.chunks_mut(model.aux_columns()) {
            match model.loss.target_kind() {
                TargetKind::Binary => aux_row[0] = random.below(2) as f32,
                TargetKind::Count => aux_row[0] = random.below(5) as f32,
                TargetKind::Class => aux_row[0] = random.below(model.outputs as u32) as f32,
                TargetKind::Real => {}
            }
            if let Some(at) = model.weight_at() {
                aux_row[at] = aux_row[at].abs() * 3.0;
            }
        }
        Data { model, x, aux, params }
    }

    /// Small integers: every sum is a multiple of 2⁻⁵ that f32 holds, so its order does not matter. No residual is
    /// zero, so a row that is dropped or taken twice changes the intercepts' gradient. None for a loss that
    /// takes quotients or logarithms.
    pub fn exact(model: Model, rows: usize, random: &mut Random) -> Option<Self> {
        let features = model.features;
        // Squares of scores are summed too.
        let (most_x, most) = if features > 16 { (4, 1) } else { (8, 8) };
        let x: Vec<f32> = (0..rows * features).map(|_| random.integer(most_x)).collect();
        let even = matches!(model.loss, Loss::Poisson);
        if model.loss.is_classifier() || even && model.offset {
            return None;
        }
        // Every mean of a count is one.
        let most = if even { 0 } else { most };
        let params: Vec<f32> = (0..model.params()).map(|_| random.integer(most)).collect();
        let mut aux = Vec::with_capacity(rows * model.aux_columns());
        for row in x.chunks(features) {
            let offset = if model.offset { random.integer(3) } else { 0.0 };
            for k in 0..model.outputs {
                let weights = params[k * features..][..features].iter();
                let dot: f32 = row.iter().zip(weights).map(|(x, w)| x * w).sum();
                let intercept = if model.intercept { params[model.weights() + k] } else { 0.0 };
                let residual = [1.0, 2.0, 3.0, -2.0][random.below(4) as usize];
                let count = [0.0, 2.0, 3.0, 5.0][random.below(4) as usize];
                aux.push(if even { count } else { dot + intercept + offset - residual });
            }
            aux.extend(model.weighted.then(|| random.below(4) as f32));
            aux.extend(model.offset.then_some(offset));
        }
        Some(Data { model, x, aux, params })
    }

    /// The first rows of a synthetic problem, with random parameters.
    pub fn synthetic(model: Model, problem: &Synthetic, rows: usize, random: &mut Random) -> Self {
        let truth = problem.truth();
        let mut data = Self::random(model, rows, random);
        let rows = data.x.chunks_mut(model.features).zip(data.aux.chunks_mut(model.aux_columns()));
        (0..).zip(rows).for_each(|(i, (x, aux))| problem.fill_row(&truth, i, x, aux));
        data
    }

    pub fn rows(&self) -> u64 {
        (self.aux.len() / self.model.aux_columns()) as u64
    }

    /// The rows of a batch, contiguous.
    pub fn batch(&self, batch: Batch) -> (Vec<f32>, Vec<f32>) {
        let of = |values: &[f32], width: usize| {
            let row = |i| &values[batch.row(i) as usize * width..][..width];
            (0..batch.rows).flat_map(row).copied().collect()
        };
        (of(&self.x, self.model.features), of(&self.aux, self.model.aux_columns()))
    }

    /// The gradient of a batch and its loss, with the error bounds of a device.
    pub fn bounds(&self, batch: Batch, depths: (u32, u32)) -> (Vec<Bounded>, Bounded) {
        let (x, aux) = self.batch(batch);
        verification::gradient(&self.model, Rows { x: &x, aux: &aux }, &self.params, depths)
    }

    /// The gradient and the loss of a batch of [`exact`](Self::exact) data: exact sums, scaled. Nothing
    /// is rounded where rows have no weights and their number is a power of two.
    pub fn scaled(&self, batch: Batch) -> (Vec<Bounded>, Bounded) {
        let model = &self.model;
        let widen = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let (x, aux) = self.batch(batch);
        let (x, aux, params) = (widen(x), widen(aux), widen(self.params.clone()));
        let weight = |at: usize| aux.iter().skip(at).step_by(model.aux_columns()).sum::<f64>();
        let over = model.weight_at().map_or(batch.rows as f64, weight);
        let mut grads = vec![0.0; self.params.len()];
        let loss = gradient(model, Rows { x: &x, aux: &aux }, &params, &mut grads);
        // A quarter of a residual less an eighth, and quarters of one.
        let units = match model.loss {
            Loss::Huber { .. } | Loss::Quantile { .. } => 32.0,
            _ => 1.0,
        };
        let scaled = |factor: f64, mean: f64| {
            let sum = (mean * over / factor * units).round() / units;
            if (sum * units).abs() >= 16_777_216.0 {
                return Bounded { value: sum, error: f64::INFINITY };
            }
            match (over == 0.0, model.weighted) {
                (true, _) => Bounded::default(),
                // The device divides by the weight, the host by the number of rows.
                (_, true) => Bounded::of(factor) / Bounded::of(over) * Bounded::of(sum),
                _ if batch.rows.is_power_of_two() => Bounded::of(factor / over * sum),
                _ => Bounded::exactly((factor / over) as f32) * Bounded::of(sum),
            }
        };
        let (of_loss, of_gradient) = model.loss.factors();
        (grads.iter().map(|&g| scaled(of_gradient, g)).collect(), scaled(of_loss, loss))
    }

    /// Uploads the rows, in chunks of at most `chunk` rows.
    pub fn samples(
        &self,
        rig: &Rig,
        max_batch: u64,
        chunk: Option<u64>,
    ) -> Result<DeviceDataset, Error> {
        let shape = GradientLayout::new(&self.model)?;
        let bytes = |rows: u64| shape.x_bytes(rows).max(rows * u64::from(shape.aux_columns) * 4);
        let device = &rig.gpu.device;
        let bytes = chunk.map_or(u64::MAX, bytes);
        let samples = DeviceDataset::with_max_buffer(device, shape, self.rows(), max_batch, bytes)?;
        samples.write(&rig.gpu.queue, &self.x, &self.aux)?;
        Ok(samples)
    }
}

/// Models of every loss, with weights, offsets, several outputs and without intercepts, of `features`
/// features.
pub fn models(features: usize) -> Vec<Model> {
    let model = |loss| Model::new(features, loss);
    vec![
        model(Loss::Mse),
        Model { weighted: true, offset: true, ..model(Loss::SquaredError) },
        model(Loss::Huber { epsilon: 0.25 }),
        Model { intercept: false, ..model(Loss::Quantile { quantile: 0.75 }) },
        model(Loss::Logistic),
        Model { weighted: true, ..model(Loss::Logistic) },
        Model { weighted: true, offset: true, ..model(Loss::SquaredHinge) },
        model(Loss::Poisson),
        Model { offset: true, intercept: false, ..model(Loss::Poisson) },
    ]
}

/// Models of several outputs.
pub fn models_of_outputs(features: usize, outputs: u32) -> Vec<Model> {
    let model = |loss| Model::new(features, loss);
    let softmax = model(Loss::Softmax { classes: outputs });
    let outputs = outputs as usize;
    vec![
        Model { outputs, ..model(Loss::Mse) },
        Model { outputs, weighted: true, offset: true, ..model(Loss::SquaredError) },
        softmax,
        Model { weighted: true, offset: true, intercept: false, ..softmax },
    ]
}

/// The options of a model, in words.
pub fn describe(model: &Model) -> String {
    let mut text = format!("{} features", model.features);
    if model.outputs > 1 {
        text += &format!(", {} outputs", model.outputs);
    }
    let options =
        [(model.weighted, "weighted"), (model.offset, "offset"), (!model.intercept, "no intercept")];
    options.iter().filter(|(set, _)| *set).for_each(|(_, name)| text += &format!(", {name}"));
    text
}

/// The kernels that a model's rows are summed by.
pub fn way(shape: &GradientLayout) -> &'static str {
    match shape.sums {
        Reduction::Teams { .. } => "one pass",
        Reduction::Tiles { .. } => "tiles",
        Reduction::TwoPasses => "two passes",
    }
}

/// A synthetic problem for the model, if there is one.
pub fn made(model: &Model, seed: u64) -> Option<Synthetic> {
    if model.weighted || model.offset {
        return None;
    }
    let response = Response::from(&model.loss);
    let noise = if response == Response::Linear { 0.5 } else { 0.0 };
    let (features, outputs) = (model.features as u32, model.outputs as u32);
    let condition = if features > 1 { 3.0 } else { 1.0 };
    let options = Options { features, outputs, response, noise, condition, seed, ..Options::default() };
    Synthetic::with_options(&options).ok()
}
