//! Training on the processor: f32 fast, or f64 as the definition.

use super::host::{Gathered, HostRows};
use super::{GradientSums, Numbers, Recipe, ResultFuture, SplitUpdate, Worker, WorkerState};
use crate::cpu::{self, Real, RuleConstants, Step, StepState, exact_step};
use crate::regression::Batch;
use crate::regression::ProblemError;
use crate::regression::reference;
use crate::regression::reference::gradient::{self, BLOCK, BatchSums, Rows, SLICE};
use crate::regression::tasks;
use crate::regression::verification::{ObservedGradient, ObservedStep, Snapshot};
use crate::{Error, Evaluation, Model, Penalty, Rule};

/// Rows that one task evaluates.
const TASK: usize = 1 << 12;

/// The operations that differ between f32 and f64.
pub trait Float: Real {
    /// Advances the state and returns the constants of the step: those of a device, or by definition.
    fn step(state: &mut StepState, rule: &Rule, lr: f64) -> Step<Self>;
    /// One step of the rule.
    fn update(
        rule: &Rule,
        penalty: &Penalty,
        step: &Step<Self>,
        params: &mut [Self],
        grads: &[Self],
        moments: &mut [&mut [Self]],
    );
    /// Numbers of this type.
    fn numbers(values: &[Self]) -> Numbers;
    /// The numbers as this type, rounded if necessary.
    fn of_numbers(numbers: &Numbers) -> Vec<Self>;
    /// Adds a slice of a batch to the sums of its gradient.
    fn add(sums: &mut BatchSums<Self>, rows: Rows<Self>, params: &[Self]);
}

impl Float for f32 {
    fn step(state: &mut StepState, rule: &Rule, lr: f64) -> Step<f32> {
        state.advance(&RuleConstants::new(rule), lr as f32)
    }

    fn update(
        rule: &Rule,
        penalty: &Penalty,
        step: &Step<f32>,
        params: &mut [f32],
        grads: &[f32],
        moments: &mut [&mut [f32]],
    ) {
        #[cfg(feature = "cpu")]
        cpu::parallel::update_penalized(rule, penalty, step, params, grads, moments);
        #[cfg(not(feature = "cpu"))]
        cpu::update_penalized(rule, penalty, step, params, grads, moments);
    }

    fn numbers(values: &[f32]) -> Numbers {
        Numbers::Single(values.to_vec())
    }

    fn of_numbers(numbers: &Numbers) -> Vec<f32> {
        numbers.singles().into_owned()
    }

    fn add(sums: &mut BatchSums<f32>, rows: Rows<f32>, params: &[f32]) {
        #[cfg(feature = "cpu")]
        reference::parallel::add(sums, rows, params);
        #[cfg(not(feature = "cpu"))]
        sums.add(rows, params);
    }
}

impl Float for f64 {
    fn step(state: &mut StepState, rule: &Rule, lr: f64) -> Step<f64> {
        state.t += 1;
        exact_step(rule, state.t, lr)
    }

    fn update(
        rule: &Rule,
        penalty: &Penalty,
        step: &Step<f64>,
        params: &mut [f64],
        grads: &[f64],
        moments: &mut [&mut [f64]],
    ) {
        cpu::update_penalized(rule, penalty, step, params, grads, moments);
    }

    fn numbers(values: &[f64]) -> Numbers {
        Numbers::Double(values.to_vec())
    }

    fn of_numbers(numbers: &Numbers) -> Vec<f64> {
        numbers.doubles().into_owned()
    }

    fn add(sums: &mut BatchSums<f64>, rows: Rows<f64>, params: &[f64]) {
        sums.add(rows, params);
    }
}

/// Training on all threads with the feature `cpu`, else on one, with the same bits.
#[derive(Debug)]
pub struct CpuWorker<'a, R> {
    rows: HostRows<'a, R>,
    gathered: Gathered<R>,
    recipe: Recipe,
    state: StepState,
    params: Vec<R>,
    grads: Vec<R>,
    moments: Vec<Vec<R>>,
    average: Option<Vec<R>>,
}

impl<'a, R: Float> CpuWorker<'a, R> {
    /// A model that starts at `params`, as [`Model::params`] counts them.
    ///
    /// # Errors
    /// [`Error`] if the recipe is not valid.
    pub fn new(rows: HostRows<'a, R>, recipe: &Recipe, params: &[f64]) -> Result<Self, Error> {
        recipe.validate()?;
        let params: Vec<R> = params.iter().map(|&p| R::of(p)).collect();
        let grads = vec![R::zero(); params.len()];
        let moments = vec![grads.clone(); recipe.rule.moments().len()];
        Ok(CpuWorker {
            rows,
            gathered: Gathered::new(),
            recipe: *recipe,
            state: StepState::default(),
            average: recipe.average.map(|_| params.clone()),
            params,
            grads,
            moments,
        })
    }

    fn model(&self) -> &Model {
        &self.recipe.model
    }

    /// The sums behind the gradient of a batch, slice by slice.
    fn sums(&mut self, batch: Batch) -> Result<BatchSums<R>, ProblemError> {
        let mut sums = BatchSums::new(self.model());
        for at in (0..batch.rows).step_by(SLICE) {
            let rows = (SLICE as u64).min(batch.rows - at);
            let slice = Batch { first: batch.first + at, rows, ..batch };
            let rows = self.gathered.rows(&self.rows, &self.recipe.model, &slice)?;
            Float::add(&mut sums, rows, &self.params);
        }
        Ok(sums)
    }

    fn update(&mut self, batch: Batch, lr: f64) -> Result<R, ProblemError> {
        let sums = self.sums(batch)?;
        Ok(self.step(sums, lr))
    }

    /// The step from the sums of a batch, and its loss.
    fn step(&mut self, sums: BatchSums<R>, lr: f64) -> R {
        let loss = sums.finish(&mut self.grads);
        let Recipe { model, rule, penalty, average } = &self.recipe;
        let step: Step<R> = Float::step(&mut self.state, rule, lr);
        // Intercepts are not penalized.
        let weights = model.weights();
        let (penalized, free) = self.params.split_at_mut(weights);
        let (penalized_grads, free_grads) = self.grads.split_at(weights);
        let (mut low, mut high): (Vec<&mut [R]>, Vec<&mut [R]>) =
            self.moments.iter_mut().map(|moment| moment.split_at_mut(weights)).unzip();
        Float::update(rule, penalty, &step, penalized, penalized_grads, &mut low);
        Float::update(rule, &Penalty::default(), &step, free, free_grads, &mut high);
        if let (Some(decay), Some(averages)) = (average, &mut self.average) {
            let (decay, rest) = (R::of(*decay), R::of(1.0 - decay));
            for (average, &param) in averages.iter_mut().zip(&self.params) {
                *average = if step.first { param } else { decay * *average + rest * param };
            }
        }
        loss
    }

    fn snapshot(&self) -> Snapshot {
        let narrow = |values: &Vec<R>| values.iter().map(|&v| v.f64() as f32).collect();
        Snapshot { params: narrow(&self.params), moments: self.moments.iter().map(narrow).collect() }
    }

    fn observed(&self, batch: Batch, grads: &[R], loss: R) -> ObservedGradient {
        let dot_depth = gradient::dot_depth(self.model().features);
        ObservedGradient {
            batch,
            depths: (gradient::depth(batch.rows as usize), dot_depth),
            grads: grads.iter().map(|&g| g.f64() as f32).collect(),
            loss: loss.f64() as f32,
        }
    }
}

/// The operations of [`Worker`], at once.
impl<R: Float> CpuWorker<'_, R> {
    fn run_now(
        &mut self,
        batches: &[Batch],
        learning_rates: &[f64],
        mut trace: Option<&mut Vec<Vec<f64>>>,
    ) -> Result<Vec<f64>, ProblemError> {
        tasks::within(|| {
            let mut losses = Vec::with_capacity(batches.len());
            for (&batch, &lr) in batches.iter().zip(learning_rates) {
                losses.push(self.update(batch, lr)?.f64());
                if let Some(trace) = &mut trace {
                    trace.push(self.params.iter().map(|p| p.f64()).collect());
                }
            }
            Ok(losses)
        })
    }

    fn observe_now(
        &mut self,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> Result<ObservedStep, ProblemError> {
        let before = self.snapshot();
        let mut sampled = None;
        if let Some(batch) = sample {
            let mut grads = vec![R::zero(); self.params.len()];
            let loss = self.sums(batch)?.finish(&mut grads);
            sampled = Some(self.observed(batch, &grads, loss));
        }
        let loss = self.update(batch, lr)?;
        let gradient = self.observed(batch, &self.grads, loss);
        let after = self.snapshot();
        Ok(ObservedStep { t: self.state.t, lr, before, gradient, sample: sampled, after })
    }

    fn evaluate_now(&mut self, first: u64, rows: u64, shift: f64) -> Result<Evaluation, ProblemError> {
        let mut all = Evaluation { shift, ..Evaluation::default() };
        for at in (0..rows).step_by(SLICE) {
            let slice = Batch::new(first + at, (SLICE as u64).min(rows - at));
            let (model, params) = (&self.recipe.model, &self.params);
            let rows = self.gathered.rows(&self.rows, model, &slice)?;
            let part = |task: usize| {
                let start = task * TASK;
                let part = rows.part(model, start, TASK.min(slice.rows as usize - start));
                reference::evaluate(model, part, params, shift)
            };
            let parts = tasks::map((slice.rows as usize).div_ceil(TASK), part);
            parts.iter().for_each(|part| all.add(part));
        }
        Ok(all)
    }

    fn save_now(&self) -> WorkerState {
        WorkerState {
            params: R::numbers(&self.params),
            moments: self.moments.iter().map(|moment| R::numbers(moment)).collect(),
            average: self.average.as_ref().map(|average| R::numbers(average)),
            step: self.state,
        }
    }

    fn restore_now(&mut self, state: &WorkerState) -> Result<(), Error> {
        state.check(self.params.len(), self.moments.len(), self.average.is_some())?;
        self.params = R::of_numbers(&state.params);
        self.moments = state.moments.iter().map(R::of_numbers).collect();
        self.average = state.average.as_ref().map(R::of_numbers);
        self.state = state.step;
        Ok(())
    }

    fn gradient_now(&mut self, batch: Batch) -> Result<GradientSums, ProblemError> {
        let sums = self.sums(batch)?.sums();
        Ok(GradientSums { rows: batch.rows, sums: R::numbers(&sums) })
    }

    fn apply_now(&mut self, gradient: &GradientSums, lr: f64) -> Result<f64, Error> {
        gradient.check(self.params.len())?;
        let sums = R::of_numbers(&gradient.sums);
        let sums = BatchSums::from_sums(self.model(), gradient.rows as usize, sums);
        Ok(tasks::within(|| self.step(sums, lr)).f64())
    }
}

impl<R: Float> Worker for CpuWorker<'_, R> {
    fn run<'a>(
        &'a mut self,
        batches: &'a [Batch],
        learning_rates: &'a [f64],
        trace: Option<&'a mut Vec<Vec<f64>>>,
    ) -> ResultFuture<'a, Vec<f64>> {
        Box::pin(async move { self.run_now(batches, learning_rates, trace) })
    }

    fn run_observed(
        &mut self,
        batch: Batch,
        lr: f64,
        sample: Option<Batch>,
    ) -> ResultFuture<'_, ObservedStep> {
        Box::pin(async move { self.observe_now(batch, lr, sample) })
    }

    fn params(&mut self) -> ResultFuture<'_, Vec<f64>> {
        Box::pin(async { Ok(self.params.iter().map(|p| p.f64()).collect()) })
    }

    fn moments(&mut self) -> ResultFuture<'_, Vec<Vec<f64>>> {
        Box::pin(async {
            Ok(self.moments.iter().map(|m| m.iter().map(|v| v.f64()).collect()).collect())
        })
    }

    fn take_average(&mut self) -> ResultFuture<'_, ()> {
        Box::pin(async {
            if let Some(average) = &self.average {
                self.params.clone_from(average);
            }
            Ok(())
        })
    }

    fn evaluate(&mut self, first: u64, rows: u64, shift: f64) -> ResultFuture<'_, Evaluation> {
        Box::pin(async move { self.evaluate_now(first, rows, shift) })
    }

    fn max_updates(&self) -> usize {
        1024
    }

    fn save(&mut self) -> ResultFuture<'_, WorkerState> {
        Box::pin(async { Ok(self.save_now()) })
    }

    fn restore<'a>(&'a mut self, state: &'a WorkerState) -> ResultFuture<'a, ()> {
        Box::pin(async { Ok(self.restore_now(state)?) })
    }

    fn split(&mut self) -> Option<&mut dyn SplitUpdate> {
        Some(self)
    }
}

impl<R: Float> SplitUpdate for CpuWorker<'_, R> {
    fn unit_rows(&self) -> u64 {
        BLOCK as u64
    }

    fn gradient(&mut self, batch: Batch) -> ResultFuture<'_, GradientSums> {
        Box::pin(async move { self.gradient_now(batch) })
    }

    fn apply<'a>(&'a mut self, gradient: &'a GradientSums, lr: f64) -> ResultFuture<'a, f64> {
        Box::pin(async move { Ok(self.apply_now(gradient, lr)?) })
    }
}
