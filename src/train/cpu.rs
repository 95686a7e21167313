//! Training on the processor: f32 fast, or f64 as the definition.

use super::Worker;
use crate::cpu::gradient::{self, Rows};
use crate::cpu::{self, Real, RuleConstants, Step, StepState, exact_step, parallel};
use crate::gpu::Batch;
use crate::verify::{ObservedGradient, ObservedStep, Snapshot};
use crate::{Error, Rule};

/// What f32 and f64 do each in their own way.
pub trait Float: Real {
    /// Advances the state and gives the step's constants: as a device has them, or by definition.
    fn step(state: &mut StepState, rule: &Rule, lr: f64) -> Step<Self>;
    /// One step of the rule.
    fn update(
        rule: &Rule,
        step: &Step<Self>,
        params: &mut [Self],
        grads: &[Self],
        moments: &mut [Vec<Self>],
    );
    /// Gradient and loss of a batch.
    fn gradient(rows: Rows<Self>, params: &[Self], grads: &mut [Self]) -> Self;
}

impl Float for f32 {
    fn step(state: &mut StepState, rule: &Rule, lr: f64) -> Step<f32> {
        state.advance(&RuleConstants::new(rule), lr as f32)
    }

    fn update(
        rule: &Rule,
        step: &Step<f32>,
        params: &mut [f32],
        grads: &[f32],
        moments: &mut [Vec<f32>],
    ) {
        parallel::update(rule, step, params, grads, moments);
    }

    fn gradient(rows: Rows<f32>, params: &[f32], grads: &mut [f32]) -> f32 {
        parallel::mean_squared_error(rows, params, grads)
    }
}

impl Float for f64 {
    fn step(state: &mut StepState, rule: &Rule, lr: f64) -> Step<f64> {
        state.t += 1;
        exact_step(rule, state.t, lr)
    }

    fn update(
        rule: &Rule,
        step: &Step<f64>,
        params: &mut [f64],
        grads: &[f64],
        moments: &mut [Vec<f64>],
    ) {
        let mut moments: Vec<&mut [f64]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
        cpu::update(rule, step, params, grads, &mut moments);
    }

    fn gradient(rows: Rows<f64>, params: &[f64], grads: &mut [f64]) -> f64 {
        gradient::mean_squared_error(rows, params, grads)
    }
}

/// Training in memory on all threads.
#[derive(Debug)]
pub struct CpuWorker<'a, R> {
    x: &'a [R],
    y: &'a [R],
    rule: Rule,
    state: StepState,
    params: Vec<R>,
    grads: Vec<R>,
    moments: Vec<Vec<R>>,
}

impl<'a, R: Float> CpuWorker<'a, R> {
    /// A model that starts at `params` (the intercept last) on the rows of a problem, as
    /// [`Problem::materialize`](crate::regression::Problem::materialize) gives them.
    ///
    /// # Errors
    /// [`Error::HyperParameter`] if the rule is not valid.
    pub fn new(rows: (&'a [R], &'a [R]), rule: &Rule, params: &[f64]) -> Result<Self, Error> {
        rule.validate()?;
        let params: Vec<R> = params.iter().map(|&p| R::of(p)).collect();
        let grads = vec![R::zero(); params.len()];
        let moments = vec![grads.clone(); rule.moments().len()];
        let state = StepState::default();
        Ok(CpuWorker { x: rows.0, y: rows.1, rule: *rule, state, params, grads, moments })
    }

    fn rows(&self, batch: Batch) -> Rows<'a, R> {
        let features = self.params.len() - 1;
        let (first, rows) = (batch.first as usize, batch.rows as usize);
        Rows { x: &self.x[first * features..][..rows * features], y: &self.y[first..][..rows] }
    }

    fn update(&mut self, batch: Batch) -> R {
        let loss = R::gradient(self.rows(batch), &self.params, &mut self.grads);
        let step = R::step(&mut self.state, &self.rule, self.rule.lr());
        R::update(&self.rule, &step, &mut self.params, &self.grads, &mut self.moments);
        loss
    }

    fn snapshot(&self) -> Snapshot {
        let narrow = |values: &Vec<R>| values.iter().map(|&v| v.f64() as f32).collect();
        Snapshot { params: narrow(&self.params), moments: self.moments.iter().map(narrow).collect() }
    }
}

fn observed<R: Real>(batch: Batch, grads: &[R], loss: R) -> ObservedGradient {
    ObservedGradient {
        batch,
        depths: (gradient::depth(batch.rows as usize), gradient::dot_depth(grads.len() - 1)),
        grads: grads.iter().map(|&g| g.f64() as f32).collect(),
        loss: loss.f64() as f32,
    }
}

impl<R: Float> Worker for CpuWorker<'_, R> {
    fn run(
        &mut self,
        batches: &[Batch],
        mut trace: Option<&mut Vec<Vec<f64>>>,
    ) -> Result<Vec<f64>, Error> {
        let mut losses = Vec::with_capacity(batches.len());
        for &batch in batches {
            losses.push(self.update(batch).f64());
            if let Some(trace) = &mut trace {
                trace.push(self.params.iter().map(|p| p.f64()).collect());
            }
        }
        Ok(losses)
    }

    fn run_observed(&mut self, batch: Batch, sample: Option<Batch>) -> Result<ObservedStep, Error> {
        let before = self.snapshot();
        let sample = sample.map(|batch| {
            let mut grads = self.grads.clone();
            let loss = R::gradient(self.rows(batch), &self.params, &mut grads);
            observed(batch, &grads, loss)
        });
        let loss = self.update(batch);
        let gradient = observed(batch, &self.grads, loss);
        Ok(ObservedStep { t: self.state.t, before, gradient, sample, after: self.snapshot() })
    }

    fn params(&mut self) -> Result<Vec<f64>, Error> {
        Ok(self.params.iter().map(|p| p.f64()).collect())
    }

    fn moments(&mut self) -> Result<Vec<Vec<f64>>, Error> {
        Ok(self.moments.iter().map(|m| m.iter().map(|v| v.f64()).collect()).collect())
    }

    fn loss(&mut self) -> Result<f64, Error> {
        let mut grads = vec![R::zero(); self.params.len()];
        Ok(R::gradient(Rows { x: self.x, y: self.y }, &self.params, &mut grads).f64())
    }

    fn max_updates(&self) -> usize {
        1024
    }
}
