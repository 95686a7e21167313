//! Gradients of every loss: exact on data for which every order of summation is exact, within bounds on random data, and
//! reproducible bit by bit.

use crate::common;

use common::gpu::Gpu;
use common::{Random, assert_bits, assert_within, widen};
use wgpu_optim::cpu::Bounded;
use wgpu_optim::gpu::ReadBack;
use wgpu_optim::regression::TargetKind;
use wgpu_optim::regression::kernels::{DeviceDataset, Gradient, GradientLayout, Reduction};
use wgpu_optim::regression::reference::BoundedSums;
use wgpu_optim::regression::reference::gradient::{Rows, gradient};
use wgpu_optim::{Batch, Loss, Model, Optimizer, Rule, Sgd, Span, Window};

/// Half an ulp of one in f32.
const U: f64 = 1.0 / (1 << 24) as f64;

/// A data set on the host, and a model.
#[derive(Clone)]
struct Data {
    model: Model,
    x: Vec<f32>,
    aux: Vec<f32>,
    params: Vec<f32>,
}

/// Squared error with an intercept.
fn linear(features: usize) -> Model {
    Model::new(features, Loss::Mse)
}

impl Data {
    /// Small integers: every sum is below 2²⁴, so its order does not matter. No residual is zero, so a dropped or repeated
    /// row changes the gradient of the intercepts.
    fn exact(features: usize, rows: usize) -> Self {
        Self::exact_of(linear(features), rows)
    }

    /// [`exact`](Self::exact) data for a model of residuals, with small integers as weights and offsets.
    fn exact_of(model: Model, rows: usize) -> Self {
        let features = model.features;
        let mut random = Random((features * 1_000_003 + rows) as u64);
        let x: Vec<f32> = (0..rows * features).map(|_| random.integer(8)).collect();
        let most = if features > 10_000 { 1 } else { 8 };
        let params: Vec<f32> = (0..model.params()).map(|_| random.integer(most)).collect();
        let mut aux = Vec::new();
        for row in x.chunks(features) {
            let offset = random.integer(3);
            for k in 0..model.outputs {
                let weights = params[k * features..][..features].iter();
                let dot: f32 = row.iter().zip(weights).map(|(x, w)| x * w).sum();
                let intercept = if model.intercept { params[model.weights() + k] } else { 0.0 };
                let offset = if model.offset { offset } else { 0.0 };
                let residual = [1.0, 2.0, 3.0, -2.0][random.bits() as usize % 4];
                aux.push(dot + intercept + offset - residual);
            }
            aux.extend(model.weighted.then(|| (random.bits() % 4) as f32));
            aux.extend(model.offset.then_some(offset));
        }
        Data { model, x, aux, params }
    }

    /// Zero parameters, so that every probability and every mean is the same power of two.
    fn even(model: Model, rows: usize) -> Self {
        let mut random = Random(rows as u64);
        let x: Vec<f32> = (0..rows * model.features).map(|_| random.integer(8)).collect();
        let aux_row = |_| {
            let class = match model.loss {
                Loss::Softmax { classes } => classes,
                Loss::Poisson => 4,
                _ => 2,
            };
            let weight = model.weighted.then(|| (random.bits() % 4) as f32);
            std::iter::once((random.bits() % u64::from(class)) as f32).chain(weight).collect::<Vec<_>>()
        };
        let aux = (0..rows).flat_map(aux_row).collect();
        Data { model, x, aux, params: vec![0.0; model.params()] }
    }

    /// Random numbers within ±1.
    fn random(features: usize, rows: usize) -> Self {
        Self::random_of(linear(features), rows)
    }

    fn random_of(model: Model, rows: usize) -> Self {
        let mut random = Random(model.features as u64);
        let mut values = |n: usize| (0..n).map(|_| random.unit()).collect::<Vec<f32>>();
        let (x, mut aux) = (values(rows * model.features), values(rows * model.aux_columns()));
        // Scores of magnitude about one for every number of features.
        let scale = 2.0 / (model.features as f32).sqrt();
        let params = values(model.params()).iter().map(|w| scale * w).collect();
        for (i, aux_row) in aux.chunks_mut(model.aux_columns()).enumerate() {
            match model.loss.target_kind() {
                TargetKind::Binary => aux_row[0] = (i % 2) as f32,
                TargetKind::Count => aux_row[0] = (i * i % 5) as f32,
                TargetKind::Class => aux_row[0] = (i * 7 % model.outputs) as f32,
                TargetKind::Real => {}
            }
            if let Some(at) = model.weight_at() {
                aux_row[at] = aux_row[at].abs() * 3.0;
            }
        }
        Data { model, x, aux, params }
    }

    fn rows(&self) -> u64 {
        (self.aux.len() / self.model.aux_columns()) as u64
    }

    fn all(&self) -> Batch {
        Batch::new(0, self.rows())
    }

    /// The rows of a batch, row-major.
    fn batch(&self, batch: Batch) -> (Vec<f32>, Vec<f32>) {
        let of = |values: &[f32], width: usize| {
            let row = |i| &values[batch.row(i) as usize * width..][..width];
            (0..batch.rows).flat_map(row).copied().collect()
        };
        (of(&self.x, self.model.features), of(&self.aux, self.model.aux_columns()))
    }

    /// The definition in f64: the gradient, then the loss.
    fn definition(&self, batch: Batch) -> Vec<f64> {
        let (x, aux) = self.batch(batch);
        let (x, aux) = (widen(&x), widen(&aux));
        let mut result = vec![0.0; self.params.len()];
        let rows = Rows { x: &x, aux: &aux };
        let loss = gradient(&self.model, rows, &widen(&self.params), &mut result);
        result.push(loss);
        result
    }

    /// The f32 result of exact sums: one rounding of 1/N or 2/N, and one of the product. Sums are multiples of `unit`.
    fn scaled_sums(&self, batch: Batch, unit: f64) -> Vec<f32> {
        let (_, aux) = self.batch(batch);
        let weight = |at: usize| aux.chunks(self.model.aux_columns()).map(|s| f64::from(s[at])).sum();
        let n = self.model.weight_at().map_or(batch.rows as f64, weight);
        let mut result = self.definition(batch);
        let loss = result.pop().unwrap();
        let scaled = |factor: f64, value: f64| {
            if n == 0.0 {
                return 0.0;
            }
            let sum = (value * n / factor / unit).round() * unit;
            assert!((sum / unit).abs() < 16_777_216.0, "the data are not exact");
            (factor / n) as f32 * sum as f32
        };
        let factor = if self.model.loss == Loss::Mse { 2.0 } else { 1.0 };
        let halves = if self.model.loss == Loss::SquaredError { 0.5 } else { 1.0 };
        let grads = result.iter().map(|g| scaled(factor, *g));
        grads.chain([scaled(halves, loss)]).collect()
    }

    /// The gradient, then the loss, with bounds.
    fn bounds(&self, batch: Batch, (depth, dot_depth): (u32, u32)) -> Vec<Bounded> {
        let (x, aux) = self.batch(batch);
        let rows = Rows { x: &x, aux: &aux };
        let sums = BoundedSums::of(&self.model, rows, &self.params, dot_depth);
        let (mut bounds, loss) = sums.finish(depth);
        bounds.push(loss);
        bounds
    }
}

/// The gradient of a data set on the device.
struct Rig<'a> {
    gpu: &'a Gpu,
    shape: GradientLayout,
    samples: DeviceDataset,
    gradient: Gradient,
    grads: Span,
    max_batches: u32,
}

impl<'a> Rig<'a> {
    fn new(gpu: &'a Gpu, data: &Data, max_batch: u64, max_batches: u32) -> Self {
        let shape = GradientLayout::new(&data.model).unwrap();
        let samples = DeviceDataset::new(&gpu.device, shape, data.rows(), max_batch).unwrap();
        Self::over(gpu, data, samples, max_batch, max_batches)
    }

    /// The data set in chunks of at most `chunk` rows.
    fn chunked(gpu: &'a Gpu, data: &Data, chunk: u64, max_batch: u64, max_batches: u32) -> Self {
        let shape = GradientLayout::new(&data.model).unwrap();
        let bytes = shape.x_bytes(chunk).max(chunk * u64::from(shape.aux_columns) * 4);
        let samples =
            DeviceDataset::with_max_buffer(&gpu.device, shape, data.rows(), max_batch, bytes).unwrap();
        Self::over(gpu, data, samples, max_batch, max_batches)
    }

    fn over(
        gpu: &'a Gpu,
        data: &Data,
        samples: DeviceDataset,
        max_batch: u64,
        max_batches: u32,
    ) -> Self {
        samples.write(&gpu.queue, &data.x, &data.aux).unwrap();
        let shape = *samples.shape();
        let grads = gpu.span(&vec![f32::NAN; shape.padded_len() as usize]);
        let params = gpu.span(&shape.pad(&data.params));
        let (spans, most) = ((&params, &grads), (max_batch, max_batches));
        let gradient = Gradient::new(&gpu.device, &samples, &data.model, spans, most, true).unwrap();
        Rig { gpu, shape, samples, gradient, grads, max_batches }
    }

    /// The gradient of each batch, then its loss. As many batches as possible are prepared at once.
    fn run(&mut self, batches: &[Batch]) -> Vec<Vec<f32>> {
        let (gpu, width) = (self.gpu, self.grads.len as usize);
        let noise = Random(8).values(width);
        let mut results = Vec::new();
        for batches in batches.chunks(self.max_batches as usize) {
            self.gradient.prepare(&gpu.queue, batches).unwrap();
            gpu.write(&self.grads, &noise);
            let bytes = (batches.len() * (width + 1) * 4) as u64;
            let mut staging = ReadBack::new(&gpu.device, bytes).unwrap();
            gpu.submit(|encoder| {
                for i in 0..batches.len() {
                    self.gradient.record(&mut encoder.begin_compute_pass(&Default::default()), i);
                    staging.copy(encoder, &self.grads).unwrap();
                }
                staging
                    .copy(encoder, &Span::new(self.gradient.losses(), 0, batches.len() as u64))
                    .unwrap();
            });
            let all: Vec<f32> = gpu.wait(&mut staging);
            let (grads, losses) = all.split_at(batches.len() * width);
            let with_loss = |(grads, &loss): (&[f32], &f32)| {
                let mut result = self.shape.unpad(grads);
                assert_bits("padding", &self.shape.pad(&result), grads);
                result.push(loss);
                result
            };
            results.extend(grads.chunks(width).zip(losses).map(with_loss));
        }
        results
    }
}

/// Asserts that each batch of exact data has the exact result.
#[track_caller]
fn assert_exact(rig: &mut Rig, data: &Data, batches: &[Batch]) {
    assert_exact_to(1.0, rig, data, batches);
}

/// [`assert_exact`] for sums that are multiples of `unit`.
#[track_caller]
fn assert_exact_to(unit: f64, rig: &mut Rig, data: &Data, batches: &[Batch]) {
    for (batch, actual) in batches.iter().zip(rig.run(batches)) {
        let expected = data.scaled_sums(*batch, unit);
        let what = format!("{:?}, {batch:?}", data.model);
        if (rig.gpu.exact && !data.model.weighted) || batch.rows.is_power_of_two() {
            assert_bits(&what, &actual, &expected);
        } else {
            let expected = widen(&expected);
            let ulps: Vec<f64> = expected.iter().map(|x| 12.0 * U * x.abs()).collect();
            assert_within(&what, &widen(&actual), &expected, &ulps);
        }
    }
}

/// Batches of every length in `lengths`, at starts throughout the data.
fn batches(data: &Data, lengths: &[u64]) -> Vec<Batch> {
    let start = |(i, &rows): (usize, &u64)| Batch::new(i as u64 * 37 % (data.rows() - rows + 1), rows);
    lengths.iter().enumerate().map(start).collect()
}

const LENGTHS: [u64; 20] =
    [1, 2, 3, 4, 5, 7, 31, 32, 33, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513];

#[test]
fn exact_data_have_the_exact_gradient_at_every_shape() {
    let Some(gpu) = Gpu::get() else { return };
    for features in
        [1, 2, 3, 4, 5, 8, 63, 64, 65, 255, 256, 257, 1000, 2049, 4093, 4095, 4096, 4097, 5000]
    {
        let data = Data::exact(features, 530);
        let mut rig = Rig::new(gpu, &data, 513, LENGTHS.len() as u32);
        assert_exact(&mut rig, &data, &batches(&data, &LENGTHS));
    }
}

#[test]
fn workgroups_that_take_several_tiles_drop_no_row() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, rows) in [(1, 530_001), (5, 262_144), (64, 40_000), (250, 16_384), (1000, 3_001)] {
        let data = Data::exact(features, rows);
        let shape = GradientLayout::new(&data.model).unwrap();
        let Reduction::Teams { lanes, rows, .. } = shape.sums else { panic!("{shape:?}") };
        let tile = u64::from(64 / lanes * rows);
        let groups = u64::from(shape.groups(data.rows() as u32));
        assert!(data.rows() > tile * groups, "one tile is enough for {features} features");
        let ragged = Batch::new(3, data.rows() - 3);
        assert_exact(&mut Rig::new(gpu, &data, data.rows(), 2), &data, &[data.all(), ragged]);
    }
}

#[test]
fn rows_may_exceed_one_dimension_of_the_grid() {
    let Some(gpu) = Gpu::get() else { return };
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 512, ..gpu.device.limits() };
    let Some(small) = Gpu::with_limits(limits) else { return };
    let data = Data::exact(4099, 1100);
    assert_exact(&mut Rig::new(&small, &data, 1100, 1), &data, &[data.all()]);
}

#[test]
fn the_most_features_that_are_allowed_work() {
    let Some(gpu) = Gpu::get() else { return };
    let data = Data::exact(GradientLayout::MAX_FEATURES as usize, 2);
    assert_exact(&mut Rig::new(gpu, &data, 2, 1), &data, &[data.all()]);
}

#[test]
fn the_last_batch_may_be_ragged_and_batches_may_overlap() {
    let Some(gpu) = Gpu::get() else { return };
    let data = Data::exact(9, 1000);
    let mut rig = Rig::new(gpu, &data, 64, 16);
    let batch = |first| Batch::new(first, 64.min(1000 - first));
    let epoch: Vec<Batch> = (0..1000).step_by(64).map(batch).collect();
    assert_eq!(epoch.last().unwrap().rows, 40);
    assert_exact(&mut rig, &data, &epoch);
    let sliding: Vec<Batch> = (900..1000).map(batch).collect();
    assert_exact(&mut rig, &data, &sliding);
}

#[test]
fn batches_across_chunks_are_those_of_one_chunk() {
    let Some(gpu) = Gpu::get() else { return };
    for features in [3, 70, 4097] {
        let data = Data::exact(features, 97);
        for (chunk, max_batch) in [(1, 97), (7, 20), (16, 33), (32, 16), (32, 8), (40, 13), (96, 97)] {
            let mut rig = Rig::chunked(gpu, &data, chunk, max_batch, 9);
            assert!(rig.samples.chunks().len() > 1);
            let lengths: Vec<u64> = (1..=max_batch).collect();
            assert_exact(&mut rig, &data, &batches(&data, &lengths));
        }
    }
}

/// Chunks of whole batches, and batches that start anywhere.
#[test]
fn a_batch_may_lie_across_chunks_that_hold_whole_batches() {
    let Some(gpu) = Gpu::get() else { return };
    let data = Data::exact(64, 600);
    let mut rig = Rig::chunked(gpu, &data, 300, 100, 2);
    assert_eq!(rig.samples.chunks()[0].rows, 300);
    let across = [Batch::new(250, 100), Batch::new(299, 100)];
    assert_exact(&mut rig, &data, &across);
}

/// Each column has one non-zero row.
#[test]
fn one_hot_rows_show_every_row() {
    let Some(gpu) = Gpu::get() else { return };
    for features in [1, 4, 61, 64, 130, 256, 1000] {
        let row_of = |column: usize| (column * 7 + 3) % features;
        assert!(features % 7 != 0);
        let mut x = vec![0.0; features * features];
        (0..features).for_each(|column| x[row_of(column) * features + column] = 1.0);
        let aux: Vec<f32> = (0..features).map(|row| row as f32 + 1.0).collect();
        let data = Data { model: linear(features), x, aux, params: vec![0.0; features + 1] };
        let scale = (2.0 / features as f64) as f32;
        let expected: Vec<f32> =
            (0..features).map(|column| scale * -(row_of(column) as f32 + 1.0)).collect();
        let actual = &Rig::new(gpu, &data, data.rows(), 1).run(&[data.all()])[0];
        let (expected, bounds): (Vec<f64>, Vec<f64>) =
            widen(&expected).iter().map(|x| (*x, 2.0 * U * x.abs())).unzip();
        assert_within(&format!("{features} rows"), &widen(&actual[..features]), &expected, &bounds);
    }
}

/// Exact gradients do not show the order of a sum; those of random data do.
#[test]
fn the_same_batch_has_the_same_bits() {
    let Some(gpu) = Gpu::get() else { return };
    for features in [3, 64, 300, 4097] {
        let data = Data::random(features, 700);
        let mut rig = Rig::new(gpu, &data, 700, 3);
        let first = rig.run(&[data.all()]);
        let again = rig.run(&[Batch::new(5, 9), data.all(), data.all()]);
        assert_bits("in another slot", &again[1], &first[0]);
        assert_bits("once more", &again[2], &first[0]);
        assert_bits("made anew", &Rig::new(gpu, &data, 700, 1).run(&[data.all()])[0], &first[0]);
    }
}

#[test]
fn random_data_stay_within_the_bounds_of_f32_sums() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, rows) in [(1, 5000), (4, 40_000), (33, 3000), (256, 2000), (1500, 700), (4500, 300)] {
        let data = Data::random(features, rows);
        for (chunk, first) in [(rows, 0), (rows / 3, 1)] {
            let max_batch = data.rows() - first;
            let mut rig = Rig::chunked(gpu, &data, chunk as u64, max_batch, 1);
            assert_within_bounds(&mut rig, &data, Batch::new(first, max_batch));
        }
    }
}

/// Asserts that the gradient of a batch and its loss are within the bounds of [`BoundedSums`].
#[track_caller]
fn assert_within_bounds(rig: &mut Rig, data: &Data, batch: Batch) {
    let actual = widen(&rig.run(&[batch])[0]);
    let bounds = data.bounds(batch, rig.gradient.depths(batch));
    let values: Vec<f64> = bounds.iter().map(|bound| bound.value).collect();
    let factor = if rig.gpu.exact { 1.0 } else { 2.0 };
    let errors: Vec<f64> = bounds.iter().map(|bound| factor * bound.error).collect();
    let what = format!("{:?}, {batch:?}", data.model);
    assert_within(&what, &actual, &values, &errors);
    // The plain function gives the same result.
    let definition = data.definition(batch);
    let near: Vec<f64> = errors.iter().map(|error| error * 1e-3).collect();
    assert_within(&what, &values, &definition, &near);
}

/// Models of every loss: with weights, offsets, several outputs and without intercepts; of `features`
/// features.
fn models(features: usize) -> Vec<Model> {
    let model = |loss| Model::new(features, loss);
    vec![
        Model { weighted: true, offset: true, ..model(Loss::Mse) },
        Model { outputs: 3, weighted: true, offset: true, ..model(Loss::SquaredError) },
        Model { outputs: 70, intercept: false, ..model(Loss::Mse) },
        model(Loss::Huber { epsilon: 0.25 }),
        Model { intercept: false, ..model(Loss::Quantile { quantile: 0.75 }) },
        Model { weighted: true, ..model(Loss::Logistic) },
        Model { weighted: true, offset: true, ..model(Loss::SquaredHinge) },
        Model { offset: true, ..model(Loss::Poisson) },
        Model { weighted: true, ..model(Loss::Softmax { classes: 4 }) },
        Model { intercept: false, offset: true, ..model(Loss::Softmax { classes: 13 }) },
    ]
}

#[test]
fn every_loss_stays_within_its_bounds_at_every_shape() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, rows) in [(1, 900), (6, 700), (64, 300), (500, 90), (4100, 40)] {
        for model in models(features) {
            let data = Data::random_of(model, rows);
            let mut rig = Rig::new(gpu, &data, data.rows(), 1);
            assert_within_bounds(&mut rig, &data, data.all());
            assert_within_bounds(&mut rig, &data, Batch::new(5, 33));
            let window = Some(Window { first: 0, rows: rows as u32, key: [3, 4] });
            assert_within_bounds(&mut rig, &data, Batch { first: 2, rows: 30, window });
        }
    }
}

/// Residual losses on small integers; the others where all probabilities are one power of two.
#[test]
fn every_loss_is_exact_on_exact_data() {
    let Some(gpu) = Gpu::get() else { return };
    for features in [1, 3, 4, 5, 64, 65, 257, 1025, 4099] {
        for model in models(features) {
            let (data, unit) = match model.loss {
                Loss::Mse | Loss::SquaredError => (Data::exact_of(model, 530), 1.0),
                Loss::Huber { .. } | Loss::Quantile { .. } => (Data::exact_of(model, 530), 1.0 / 32.0),
                // ln 2 and ln K are not exact, so the loss is compared elsewhere, within bounds.
                Loss::Softmax { classes: 13 } => continue,
                _ => (Data::even(Model { offset: false, ..model }, 530), 0.25),
            };
            let lengths = [1, 2, 4, 31, 63, 64, 65, 127, 128, 256, 509, 512, 513];
            let mut rig = Rig::new(gpu, &data, 513, lengths.len() as u32);
            for (batch, actual) in
                batches(&data, &lengths).iter().zip(rig.run(&batches(&data, &lengths)))
            {
                let mut expected = data.scaled_sums(*batch, unit);
                let mut actual = actual;
                if data.model.loss.is_classifier() {
                    expected.pop();
                    actual.pop();
                }
                let what = format!("{:?}, {batch:?}", data.model);
                let expected = widen(&expected);
                // One rounding of 1/N and one of the product; with weights, of a quotient.
                let units = if data.model.weighted { 10.0 } else { 0.0 };
                let units = if rig.gpu.exact { units } else { units + 4.0 };
                let ulps: Vec<f64> = expected.iter().map(|x| units * U * x.abs()).collect();
                assert_within(&what, &widen(&actual), &expected, &ulps);
            }
        }
    }
}

/// A batch larger than a segment is summed segment by segment.
#[test]
fn batches_of_many_runs_drop_no_row() {
    let Some(gpu) = Gpu::get() else { return };
    let wide = Data::exact(GradientLayout::MAX_FEATURES as usize, 50);
    let model = Model { weighted: true, ..linear(1 << 16) };
    let weighted = Data::exact_of(model, 600);
    for data in [wide, weighted] {
        let mut rig = Rig::new(gpu, &data, data.rows(), 1);
        assert!(data.rows() > 2 * rig.shape.segment_rows(), "several runs");
        assert_exact(&mut rig, &data, &[data.all()]);
    }
}

/// The division of rows into buffers does not change the bits of consecutive batches from row 0.
#[test]
fn chunks_do_not_change_a_bit() {
    let Some(gpu) = Gpu::get() else { return };
    let cases =
        [(linear(9), 5000, 640, 700), (linear(1 << 18), 230, 115, 64), (linear(30), 600, 50, 100)];
    for (model, rows, batch, chunk) in cases {
        let data = Data::random_of(model, rows);
        let epoch: Vec<Batch> = (0..data.rows())
            .step_by(batch)
            .map(|first| Batch::new(first, (batch as u64).min(data.rows() - first)))
            .collect();
        let mut whole = Rig::new(gpu, &data, batch as u64, 1);
        let mut cut = Rig::chunked(gpu, &data, chunk, batch as u64, 1);
        assert!(cut.samples.chunks().len() > whole.samples.chunks().len());
        for (i, (cut, whole)) in cut.run(&epoch).iter().zip(whole.run(&epoch)).enumerate() {
            assert_bits(&format!("{model:?}, batch {i}"), cut, &whole);
        }
    }
}

#[test]
fn a_shuffled_epoch_has_every_row_once() {
    let Some(gpu) = Gpu::get() else { return };
    let data = Data::exact(64, 1000);
    let window = Some(Window { first: 0, rows: 1000, key: [5, 6] });
    let mut rig = Rig::new(gpu, &data, 1000, 2);
    let all = Batch { window, ..data.all() };
    let expected = data.scaled_sums(data.all(), 1.0);
    for shuffled in rig.run(&[all, data.all()]) {
        assert_bits("all rows in another order", &shuffled, &expected);
    }
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let Some(gpu) = Gpu::get() else { return };
    let data = Data::exact(4, 100);
    let mut rig = Rig::chunked(gpu, &data, 50, 50, 1);
    let refused = |rig: &mut Rig, first, rows, window: (u64, u32)| {
        let window = Some(Window { first: window.0, rows: window.1, key: [0; 2] });
        rig.gradient.prepare(&gpu.queue, &[Batch { first, rows, window }]).unwrap_err().to_string()
    };
    let text = refused(&mut rig, 0, 10, (0, 100));
    assert_eq!(text, "the end of a window is 100, but must be within one chunk of the data");
    let text = refused(&mut rig, 40, 20, (0, 50));
    assert_eq!(text, "the end of a batch is 60, but must be within its window");
}

/// Records gradients and updates in one submission, like a training loop.
#[test]
fn a_training_loop_in_one_submission_is_the_loop_step_by_step() {
    let Some(gpu) = Gpu::get() else { return };
    for rule in common::step::rules() {
        let rule = match rule {
            Rule::Sgd(sgd) => Sgd { lr: 0.01, ..sgd }.into(),
            other => other,
        };
        let data = Data::random(37, 640);
        let epoch: Vec<Batch> = (0..10).map(|i| Batch::new(i * 64, 64)).collect();
        let train = |submissions: &[&[usize]]| {
            let shape = GradientLayout::new(&data.model).unwrap();
            let samples = DeviceDataset::new(&gpu.device, shape, data.rows(), 64).unwrap();
            samples.write(&gpu.queue, &data.x, &data.aux).unwrap();
            let [params, grads] = [(); 2].map(|()| gpu.span(&shape.pad(&data.params)));
            let spans = (&params, &grads);
            let mut gradient =
                Gradient::new(&gpu.device, &samples, &data.model, spans, (64, 10), false).unwrap();
            let optimizer =
                Optimizer::new(&gpu.device, rule).tensor(params.clone(), grads).build().unwrap();
            gradient.prepare(&gpu.queue, &epoch).unwrap();
            for batches in submissions {
                gpu.run(|pass| {
                    for &batch in *batches {
                        gradient.record(pass, batch);
                        optimizer.record(pass);
                    }
                });
            }
            gpu.read(&[&params]).remove(0)
        };
        let all: Vec<usize> = (0..10).collect();
        let single: Vec<&[usize]> = all.chunks(1).collect();
        let together = train(&[&all]);
        assert_bits(rule.name(), &together, &train(&single));
        assert_ne!(together, data.params);
    }
}

/// The f32 path on the processor: its blocks are 512 rows, its lanes sixteen.
#[cfg(feature = "cpu")]
mod cpu {
    use super::*;
    use wgpu_optim::regression::reference::parallel;

    fn run(
        data: &Data,
        batch: Batch,
        path: fn(&Model, Rows<f32>, &[f32], &mut [f32]) -> f32,
    ) -> Vec<f32> {
        let (x, aux) = data.batch(batch);
        let mut result = vec![f32::NAN; data.params.len()];
        let loss = path(&data.model, Rows { x: &x, aux: &aux }, &data.params, &mut result);
        result.push(loss);
        result
    }

    #[test]
    fn exact_data_have_the_exact_gradient() {
        for features in [1, 2, 3, 15, 16, 17, 64, 257, 4097] {
            let data = Data::exact(features, 530);
            for batch in batches(&data, &LENGTHS) {
                let actual = run(&data, batch, parallel::gradient);
                let what = format!("{features} features, {batch:?}");
                assert_bits(&what, &actual, &data.scaled_sums(batch, 1.0));
            }
        }
        let data = Data::exact(3, 20_000);
        let actual = run(&data, data.all(), parallel::gradient);
        assert_bits("many blocks", &actual, &data.scaled_sums(data.all(), 1.0));
    }

    #[test]
    fn every_loss_stays_within_its_bounds() {
        use wgpu_optim::regression::reference::gradient::{depth, dot_depth};
        for features in [1, 7, 64, 500] {
            for model in models(features) {
                let data = Data::random_of(model, 1100);
                let actual = widen(&run(&data, data.all(), parallel::gradient));
                let bounds = data.bounds(data.all(), (depth(1100), dot_depth(features)));
                let (values, errors): (Vec<f64>, Vec<f64>) =
                    bounds.iter().map(|bound| (bound.value, bound.error)).unzip();
                assert_within(&format!("{model:?}"), &actual, &values, &errors);
            }
        }
    }

    #[test]
    fn threads_and_simd_do_not_change_a_bit() {
        for (features, rows) in [(1, 2000), (7, 5123), (64, 1537), (1001, 600)] {
            for model in [vec![linear(features)], models(features)].concat() {
                let data = Data::random_of(model, rows);
                let serial = run(&data, data.all(), gradient::<f32>);
                let actual = run(&data, data.all(), parallel::gradient);
                assert_bits(&format!("{model:?}"), &actual, &serial);
            }
        }
    }
}
