//! The evaluation of models over rows in every placement: within the bounds of f32 sums, and bit for bit where
//! every order gives the same bits.

use super::data::{Data, describe, made, models, models_of_outputs, way};
use super::{Check, Compared, Group, Rig, SuiteError};
use crate::cpu::{Bounded, Number};
use crate::gpu::ReadBack;
use crate::regression::TargetKind;
use crate::regression::kernels::{DeviceDataset, Evaluator, GradientLayout, Reduction, RowSource};
use crate::regression::reference::gradient::{Rows as HostRows, class};
use crate::regression::reference::gradient_bounds::{FLUSHED, of_sum, score};
use crate::regression::reference::{self, loss};
use crate::{Batch, Error, Loss, Model};

pub const GROUP: Group = Group { name: "evaluations", run: |rig, checks| Box::pin(run(rig, checks)) };

const ROWS: u64 = 300;
const FEW_ROWS: u64 = 140;
/// Rows of a chunk, and of batches within one.
const CHUNK: u64 = 100;
const IN_CHUNK: u64 = 50;
/// An arbitrary shift.
const SHIFT: f32 = 2.0;

async fn run(rig: &Rig<'_>, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    let mut all = models(6);
    all.extend(models_of_outputs(6, 4));
    all.extend(models(4100).into_iter().filter(|model| rig.full() || model.weighted));
    all.extend(models_of_outputs(64, 70).into_iter().filter(|model| rig.full() || !model.weighted));
    if rig.full() {
        for features in [1, 65, 1000] {
            all.extend(models(features));
        }
        for (features, outputs) in [(1, 2), (65, 13)] {
            all.extend(models_of_outputs(features, outputs));
        }
    }
    all.retain(|model| !rig.least() || model.loss == Loss::Mse);
    for model in all {
        of_model(rig, model, checks).await?;
    }
    Ok(())
}

/// All checks of one model.
async fn of_model(rig: &Rig<'_>, model: Model, checks: &mut Vec<Check>) -> Result<(), SuiteError> {
    let shape = GradientLayout::new(&model)?;
    let kernel = format!("evaluation/{} {}", model.loss.name(), way(&shape));
    let name = describe(&model);
    let case = |what: &str| format!("{name}: {what}");
    let mut random = rig.random(&format!("{kernel}, {name}"));
    let rows = if shape.sums == Reduction::TwoPasses { FEW_ROWS } else { ROWS };
    let batch = |first| Batch::new(first, IN_CHUNK.min(rows - first));
    let epoch: Vec<Batch> = (0..rows).step_by(IN_CHUNK as usize).map(batch).collect();
    let lengths = [1, 2, 3, 5, 63, 64, 65, 128, 129, 256, rows].into_iter().filter(|n| *n <= rows);
    let all: Vec<Batch> = lengths.map(|n| Batch::new((rows - n) / 2, n)).collect();

    let data = Data::random(model, rows as usize, &mut random);
    let samples = data.samples(rig, rows, None)?;
    let mut subject = Subject::new(rig, &data, &samples, rows)?;
    checks.push(Check::derived(&kernel, &case("random"), &subject.within_bounds(&data, &all).await?));
    let whole = subject.run(&epoch).await?;
    // Other values are in the slots of the sums in between.
    subject.run(&all).await?;
    let same = alike(&epoch, subject.run(&epoch).await?, &whole);
    checks.push(Check::exact(&kernel, &case("random, twice"), &same));

    let cut = data.samples(rig, IN_CHUNK, Some(CHUNK))?;
    let mut chunked = Subject::new(rig, &data, &cut, rows)?;
    let same = alike(&epoch, chunked.run(&epoch).await?, &whole);
    checks.push(Check::exact(&kernel, &case("random, in chunks as in one"), &same));
    let across = [Batch::new(0, rows), Batch::new(95, 41)];
    let compared = chunked.within_bounds(&data, &across).await?;
    checks.push(Check::derived(&kernel, &case("random, across chunks"), &compared));

    let wide = Data::wide(model, rows as usize, &mut random);
    subject.load(&wide, &samples)?;
    let compared = subject.within_bounds(&wide, &[Batch::new(0, rows)]).await?;
    checks.push(Check::derived(&kernel, &case("wide magnitudes"), &compared));

    // The saturated loss of a count is a logarithm.
    let integers = Data::exact(model, rows as usize, &mut random);
    if let Some(small) = integers.filter(|_| model.loss != Loss::Poisson) {
        subject.load(&small, &samples)?;
        let expected: Vec<Vec<f32>> = all.iter().map(|batch| exactly(&small, *batch)).collect();
        let same = alike(&all, subject.run(&all).await?, &expected);
        checks.push(Check::exact(&kernel, &case("integers"), &same));
    }
    if let Some(problem) = made(&model, random.word().into()) {
        let data = Data::synthetic(model, &problem, rows as usize, &mut random);
        subject.load(&data, &samples)?;
        let unstored = RowSource::unstored(&rig.gpu.device, shape, &problem, rows)?;
        let mut unstored = Subject::new(rig, &data, unstored, rows)?;
        let same = alike(&all, unstored.run(&all).await?, &subject.run(&all).await?);
        checks.push(Check::exact(&kernel, &case("rows made as stored"), &same));
    }
    Ok(())
}

/// An evaluation over rows that are on the device.
struct Subject<'a> {
    rig: &'a Rig<'a>,
    shape: GradientLayout,
    rows: RowSource,
    evaluator: Evaluator,
    params: crate::Span,
}

impl<'a> Subject<'a> {
    fn new(
        rig: &'a Rig,
        data: &Data,
        rows: impl Into<RowSource>,
        max_batch: u64,
    ) -> Result<Self, Error> {
        let (shape, rows) = (GradientLayout::new(&data.model)?, rows.into());
        let params = rig.span(&shape.pad(&data.params));
        let device = &rig.gpu.device;
        let evaluator = Evaluator::new(device, &rows, &data.model, &params, (max_batch, 16))?;
        Ok(Subject { rig, shape, rows, evaluator, params })
    }

    /// Replaces rows and parameters.
    fn load(&self, data: &Data, samples: &DeviceDataset) -> Result<(), Error> {
        self.rig.write(&self.params, &self.shape.pad(&data.params));
        samples.write(&self.rig.gpu.queue, &data.x, &data.aux)
    }

    /// The sums of each batch, all in one submission: of each output, and the totals.
    async fn run(&mut self, batches: &[Batch]) -> Result<Vec<Vec<f32>>, Error> {
        let gpu = self.rig.gpu;
        self.evaluator.prepare(&gpu.queue, batches, SHIFT)?;
        let width = 4 * (self.shape.outputs as usize + 1);
        let mut staging = ReadBack::new(&gpu.device, (batches.len() * width * 4) as u64)?;
        self.rig
            .submit(|encoder| {
                for i in 0..batches.len() {
                    let sums =
                        self.evaluator.record(&mut encoder.begin_compute_pass(&Default::default()), i);
                    let count = batches.len();
                    let missing = Error::Index { what: "sums of batch", index: i, count };
                    staging.copy(encoder, &sums.ok_or(missing)?)?;
                }
                Ok(())
            })
            .await?;
        let all: Vec<f32> = gpu.wait(staging.read()).await?;
        Ok(all.chunks(width).map(<[f32]>::to_vec).collect())
    }

    async fn within_bounds(
        &mut self,
        data: &Data,
        batches: &[Batch],
    ) -> Result<Vec<Compared<Bounded>>, Error> {
        let mut compared = Vec::new();
        for (batch, actual) in batches.iter().zip(self.run(batches).await?) {
            let places = self.rows.places(batch, false)?;
            let runs: Vec<u32> = places.iter().map(|place| place.rows).collect();
            let depths = (self.shape.depth(&runs), self.shape.dot_depth());
            let what = format!("sums of {} rows from {}", batch.rows, batch.first);
            compared.push(Compared { what, actual, expected: bounds(data, *batch, depths) });
        }
        Ok(compared)
    }
}

fn alike(batches: &[Batch], actual: Vec<Vec<f32>>, expected: &[Vec<f32>]) -> Vec<Compared<f32>> {
    // −0 and 0 count as equal.
    let plus_zero = |values: &[f32]| values.iter().map(|x| x + 0.0).collect();
    let pair = |(batch, (actual, expected)): (&Batch, (Vec<f32>, &Vec<f32>))| Compared {
        what: format!("sums of {} rows from {}", batch.rows, batch.first),
        actual: plus_zero(&actual),
        expected: plus_zero(expected),
    };
    batches.iter().zip(actual.into_iter().zip(expected)).map(pair).collect()
}

/// The sums of exact data.
fn exactly(data: &Data, batch: Batch) -> Vec<f32> {
    let (x, aux) = data.batch(batch);
    let widen = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let (x, aux, params) = (widen(&x), widen(&aux), widen(&data.params));
    let rows = HostRows { x: &x, aux: &aux };
    let all = reference::evaluate(&data.model, rows, &params, SHIFT.into());
    // The host applies the factor of the loss.
    let loss = all.loss / data.model.loss.factors().0;
    let totals = [loss, all.weight, all.correct, all.saturated];
    all.outputs.iter().flatten().chain(&totals).map(|&sum| sum as f32).collect()
}

/// A sum over rows, with the bounds of its terms.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    size: f64,
    error: f64,
}

impl Sum {
    fn take(&mut self, term: Bounded) {
        self.value += term.value;
        self.size += term.value.abs();
        self.error += term.error;
    }

    fn finish(&self, depth: u32) -> Bounded {
        let error = of_sum(depth + 2) * self.size + self.error;
        let flushed = if error > 0.0 { FLUSHED } else { 0.0 };
        Bounded { value: self.value, error: error + flushed }
    }
}

/// The sums of a batch with the error bounds of a device: every term has the error of its operations.
fn bounds(data: &Data, batch: Batch, (depth, dot_depth): (u32, u32)) -> Vec<Bounded> {
    let model = &data.model;
    let (x, aux) = data.batch(batch);
    let mut outputs = vec![[Sum::default(); 4]; model.outputs];
    let mut totals = [Sum::default(); 4];
    let mut scores = vec![Bounded::default(); model.outputs];
    let shift = Bounded::exactly(SHIFT);
    for (x, aux_row) in x.chunks(model.features).zip(aux.chunks(model.aux_columns())) {
        score(model, (x, aux_row), &data.params, dot_depth, &mut scores);
        let weight = model.weight_at().map_or(Bounded::of(1.0), |at| Bounded::exactly(aux_row[at]));
        let targets: Vec<Bounded> =
            aux_row[..model.targets()].iter().map(|&y| Bounded::exactly(y)).collect();
        totals[1].take(weight);
        totals[2].take(weight * hit(model, &scores, targets[0]));
        if !matches!(model.loss, Loss::Softmax { .. }) {
            for ((&z, &y), output) in scores.iter().zip(&targets).zip(&mut outputs) {
                let (error, y_shifted) = (loss::mean(&model.loss, z) - y, y - shift);
                let terms = [error * error, error.magnitude(), y_shifted, y_shifted * y_shifted];
                output.iter_mut().zip(terms).for_each(|(sum, term)| sum.take(weight * term));
                totals[3].take(weight * loss::saturated(&model.loss, y));
            }
        }
        let class = |y: Bounded| class(model, y.value);
        totals[0].take(weight * loss::row(&model.loss, &mut scores, &targets, class));
    }
    outputs.iter().chain([&totals]).flatten().map(|sum| sum.finish(depth)).collect()
}

/// 1 if the most probable class is the class of the row, else 0; uncertain where scores are within their errors.
fn hit(model: &Model, scores: &[Bounded], target: Bounded) -> Bounded {
    let of = |distance: Bounded| {
        let value = f64::from(u8::from(distance.value > 0.0));
        let error = if distance.value.abs() <= distance.error { 1.0 } else { 0.0 };
        Bounded { value, error }
    };
    match model.loss.target_kind() {
        TargetKind::Binary if target.value > 0.5 => of(scores[0]),
        TargetKind::Binary => of(-scores[0]),
        TargetKind::Class => {
            let own = class(model, target.value);
            let others = scores.iter().enumerate().filter(|(k, _)| *k != own);
            let distances = others.map(|(_, &other)| of(scores[own] - other));
            distances.fold(Bounded::of(1.0), |all, one| all * one)
        }
        TargetKind::Real | TargetKind::Count => Bounded::of(0.0),
    }
}
