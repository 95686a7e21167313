//! The gradient of the mean squared error: on data for which every order of summation is exact, on
//! random data within the bounds of f32 sums, and always the same bits.

mod common;

use common::gpu::Gpu;
use common::{Random, assert_bits, assert_within, widen};
use wgpu_optim::cpu::gradient::{Rows, mean_squared_error};
use wgpu_optim::gpu::{Batch, LinearGradient, ReadBack, Samples, Shape};
use wgpu_optim::{Optimizer, Rule, Sgd, Span};

/// Half an ulp of one in f32.
const U: f64 = 1.0 / (1 << 24) as f64;

/// A data set on the host, and a model.
#[derive(Clone)]
struct Data {
    features: usize,
    x: Vec<f32>,
    y: Vec<f32>,
    params: Vec<f32>,
}

impl Data {
    /// Small integers: every sum is one below 2²⁴, so its order does not matter. No residual is zero,
    /// so a row that is dropped or taken twice changes the intercept's gradient.
    fn exact(features: usize, rows: usize) -> Self {
        let mut random = Random((features * 1_000_003 + rows) as u64);
        let x: Vec<f32> = (0..rows * features).map(|_| random.integer(8)).collect();
        let most = if features > 10_000 { 1 } else { 8 };
        let params: Vec<f32> = (0..=features).map(|_| random.integer(most)).collect();
        let residual = |row: &[f32]| {
            let dot: f32 = row.iter().zip(&params).map(|(x, w)| x * w).sum();
            dot + params[features] - [1.0, 2.0, 3.0, -2.0][random.bits() as usize % 4]
        };
        let y = x.chunks(features).map(residual).collect();
        Data { features, x, y, params }
    }

    /// Any numbers of size up to one.
    fn random(features: usize, rows: usize) -> Self {
        let mut random = Random(features as u64);
        let mut values = |n: usize| (0..n).map(|_| random.unit()).collect::<Vec<f32>>();
        Data { features, x: values(rows * features), y: values(rows), params: values(features + 1) }
    }

    fn rows(&self) -> u64 {
        self.y.len() as u64
    }

    fn all(&self) -> Batch {
        Batch { first: 0, rows: self.rows() }
    }

    fn batch(&self, batch: Batch) -> Rows<'_, f32> {
        let (first, rows) = (batch.first as usize, batch.rows as usize);
        let x = &self.x[first * self.features..][..rows * self.features];
        Rows { x, y: &self.y[first..][..rows] }
    }

    /// The gradient and last the loss, by the definition in f64.
    fn definition(&self, batch: Batch) -> Vec<f64> {
        let rows = self.batch(batch);
        let (x, y) = (widen(rows.x), widen(rows.y));
        let mut result = vec![0.0; self.features + 1];
        let loss = mean_squared_error(Rows { x: &x, y: &y }, &widen(&self.params), &mut result);
        result.push(loss);
        result
    }

    /// What f32 makes of exact sums: one rounding of 1/N or 2/N, and one of the product.
    fn scaled_sums(&self, batch: Batch) -> Vec<f32> {
        let n = batch.rows as f64;
        let mut result = self.definition(batch);
        let loss = result.pop().unwrap();
        let scaled = |scale: f64, value: f64| {
            let sum = (value / scale).round();
            assert!(sum.abs() < 16_777_216.0, "the data are not exact");
            scale as f32 * sum as f32
        };
        let grads = result.iter().map(|g| scaled(2.0 / n, *g));
        grads.chain([scaled(1.0 / n, loss)]).collect()
    }
}

/// The gradient of a data set on the device.
struct Rig<'a> {
    gpu: &'a Gpu,
    samples: Samples,
    gradient: LinearGradient,
    grads: Span,
    max_batches: u32,
}

impl<'a> Rig<'a> {
    fn new(gpu: &'a Gpu, data: &Data, max_batch: u64, max_batches: u32) -> Self {
        let shape = Shape::new(data.features).unwrap();
        let samples = Samples::new(&gpu.device, shape, data.rows(), max_batch).unwrap();
        Self::over(gpu, data, samples, max_batch, max_batches)
    }

    /// In chunks of at most `chunk` rows.
    fn chunked(gpu: &'a Gpu, data: &Data, chunk: u64, max_batch: u64, max_batches: u32) -> Self {
        let shape = Shape::new(data.features).unwrap();
        let bytes = chunk * shape.row_bytes();
        let samples =
            Samples::with_max_buffer(&gpu.device, shape, data.rows(), max_batch, bytes).unwrap();
        Self::over(gpu, data, samples, max_batch, max_batches)
    }

    fn over(gpu: &'a Gpu, data: &Data, samples: Samples, max_batch: u64, max_batches: u32) -> Self {
        samples.write(&gpu.queue, &data.x, &data.y).unwrap();
        let grads = gpu.span(&vec![f32::NAN; data.features + 1]);
        let params = gpu.span(&data.params);
        let gradient =
            LinearGradient::new(&gpu.device, &samples, &params, &grads, max_batch, max_batches).unwrap();
        Rig { gpu, samples, gradient, grads, max_batches }
    }

    /// The gradient of each batch and last its loss. All are prepared at once as far as there is room.
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
            let with_loss = |(grads, &loss): (&[f32], &f32)| [grads, &[loss]].concat();
            results.extend(grads.chunks(width).zip(losses).map(with_loss));
        }
        results
    }
}

/// Each batch of exact data has the exact result.
#[track_caller]
fn assert_exact(rig: &mut Rig, data: &Data, batches: &[Batch]) {
    for (batch, actual) in batches.iter().zip(rig.run(batches)) {
        let expected = data.scaled_sums(*batch);
        let what = format!("{} features, {batch:?}", data.features);
        if rig.gpu.exact || batch.rows.is_power_of_two() {
            assert_bits(&what, &actual, &expected);
        } else {
            let expected = widen(&expected);
            let ulps: Vec<f64> = expected.iter().map(|x| 4.0 * U * x.abs()).collect();
            assert_within(&what, &widen(&actual), &expected, &ulps);
        }
    }
}

/// Batches of every length in `lengths`, at starts all over the data.
fn batches(data: &Data, lengths: &[u64]) -> Vec<Batch> {
    let start = |(i, &rows): (usize, &u64)| {
        let first = i as u64 * 37 % (data.rows() - rows + 1);
        Batch { first, rows }
    };
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
        let shape = Shape::new(features).unwrap();
        let tile = u64::from(64 / shape.lanes * shape.rows);
        let groups = u64::from(shape.groups(rows as u32));
        assert!(data.rows() > tile * groups, "one tile is enough for {features} features");
        let ragged = Batch { first: 3, rows: data.rows() - 3 };
        assert_exact(&mut Rig::new(gpu, &data, data.rows(), 2), &data, &[data.all(), ragged]);
    }
}

#[test]
fn rows_go_on_past_one_dimension_of_the_grid() {
    let Some(gpu) = Gpu::get() else { return };
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 512, ..gpu.device.limits() };
    let Some(small) = Gpu::with_limits(limits) else { return };
    let data = Data::exact(4099, 1100);
    assert_exact(&mut Rig::new(&small, &data, 1100, 1), &data, &[data.all()]);
}

#[test]
fn the_most_features_that_are_allowed_work() {
    let Some(gpu) = Gpu::get() else { return };
    let data = Data::exact(Shape::MAX_FEATURES as usize, 2);
    assert_exact(&mut Rig::new(gpu, &data, 2, 1), &data, &[data.all()]);
}

#[test]
fn the_last_batch_may_be_ragged_and_batches_may_overlap() {
    let Some(gpu) = Gpu::get() else { return };
    let data = Data::exact(9, 1000);
    let mut rig = Rig::new(gpu, &data, 64, 16);
    let batch = |first| Batch { first, rows: 64.min(1000 - first) };
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

/// Chunks of whole batches, but batches that start anywhere.
#[test]
fn a_batch_may_lie_across_chunks_that_hold_whole_batches() {
    let Some(gpu) = Gpu::get() else { return };
    let data = Data::exact(64, 600);
    let mut rig = Rig::chunked(gpu, &data, 300, 100, 2);
    assert_eq!(rig.samples.chunks()[0].rows, 300);
    let across = [Batch { first: 250, rows: 100 }, Batch { first: 299, rows: 100 }];
    assert_exact(&mut rig, &data, &across);
}

/// Each row alone has something in its column.
#[test]
fn one_hot_rows_show_every_row() {
    let Some(gpu) = Gpu::get() else { return };
    for features in [1, 4, 61, 64, 130, 256, 1000] {
        let row_of = |column: usize| (column * 7 + 3) % features;
        assert!(features % 7 != 0);
        let mut x = vec![0.0; features * features];
        (0..features).for_each(|column| x[row_of(column) * features + column] = 1.0);
        let y: Vec<f32> = (0..features).map(|row| row as f32 + 1.0).collect();
        let data = Data { features, x, y, params: vec![0.0; features + 1] };
        let scale = (2.0 / features as f64) as f32;
        let expected: Vec<f32> =
            (0..features).map(|column| scale * -(row_of(column) as f32 + 1.0)).collect();
        let actual = &Rig::new(gpu, &data, data.rows(), 1).run(&[data.all()])[0];
        let (expected, bounds): (Vec<f64>, Vec<f64>) =
            widen(&expected).iter().map(|x| (*x, 2.0 * U * x.abs())).unzip();
        assert_within(&format!("{features} rows"), &widen(&actual[..features]), &expected, &bounds);
    }
}

/// The gradient that was exact twice is no evidence of order; that of random data is.
#[test]
fn the_same_batch_has_the_same_bits() {
    let Some(gpu) = Gpu::get() else { return };
    for features in [3, 64, 300, 4097] {
        let data = Data::random(features, 700);
        let mut rig = Rig::new(gpu, &data, 700, 3);
        let first = rig.run(&[data.all()]);
        let again = rig.run(&[Batch { first: 5, rows: 9 }, data.all(), data.all()]);
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
            let batch = Batch { first, rows: max_batch };
            let actual = &rig.run(&[batch])[0];
            let (depth, dot_depth) = rig.gradient.depths(batch);
            let bounds = bounds(gpu, &data, batch, depth, dot_depth);
            let what = format!("{features} features, {batch:?} of chunks of {chunk}");
            assert_within(&what, &widen(actual), &data.definition(batch), &bounds);
        }
    }
}

/// Higham and Mary's probabilistic bounds with λ = 4, for the gradient and last the loss.
fn bounds(gpu: &Gpu, data: &Data, batch: Batch, depth: u32, dot_depth: u32) -> Vec<f64> {
    let d = data.features;
    let u = if gpu.exact { U } else { 2.0 * U };
    let (outer, inner) = (f64::from(depth + 2).sqrt(), f64::from(dot_depth + 1).sqrt());
    let (params, n) = (widen(&data.params), batch.rows as f64);
    let mut bounds = vec![0.0; d + 2];
    let rows = data.batch(batch);
    for (x, y) in rows.x.chunks(d).zip(rows.y) {
        let mut x = widen(x);
        x.push(1.0);
        let residual = x.iter().zip(&params).map(|(x, w)| x * w).sum::<f64>() - f64::from(*y);
        let size = x.iter().zip(&params).map(|(x, w)| (x * w).abs()).sum::<f64>() + f64::from(y.abs());
        let error = outer * residual.abs() + inner * size;
        for (bound, x) in bounds.iter_mut().zip(&x) {
            *bound += 4.0 * u * 2.0 / n * x.abs() * error;
        }
        let square = outer * residual * residual + 2.0 * inner * residual.abs() * size;
        bounds[d + 1] += 4.0 * u / n * square;
    }
    bounds
}

/// Gradients and updates in one submission, as a training loop records them.
#[test]
fn a_training_loop_in_one_submission_is_the_loop_step_by_step() {
    let Some(gpu) = Gpu::get() else { return };
    for rule in common::step::rules() {
        let rule = match rule {
            Rule::Sgd(sgd) => Sgd { lr: 0.01, ..sgd }.into(),
            other => other,
        };
        let data = Data::random(37, 640);
        let epoch: Vec<Batch> = (0..10).map(|i| Batch { first: i * 64, rows: 64 }).collect();
        let train = |submissions: &[&[usize]]| {
            let shape = Shape::new(data.features).unwrap();
            let samples = Samples::new(&gpu.device, shape, data.rows(), 64).unwrap();
            samples.write(&gpu.queue, &data.x, &data.y).unwrap();
            let [params, grads] = [(); 2].map(|()| gpu.span(&data.params));
            let mut gradient =
                LinearGradient::new(&gpu.device, &samples, &params, &grads, 64, 10).unwrap();
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
    use wgpu_optim::cpu::parallel;

    fn run(data: &Data, batch: Batch, path: fn(Rows<f32>, &[f32], &mut [f32]) -> f32) -> Vec<f32> {
        let mut result = vec![f32::NAN; data.features + 1];
        let loss = path(data.batch(batch), &data.params, &mut result);
        result.push(loss);
        result
    }

    #[test]
    fn exact_data_have_the_exact_gradient() {
        for features in [1, 2, 3, 15, 16, 17, 64, 257, 4097] {
            let data = Data::exact(features, 530);
            for batch in batches(&data, &LENGTHS) {
                let actual = run(&data, batch, parallel::mean_squared_error);
                assert_bits(
                    &format!("{features} features, {batch:?}"),
                    &actual,
                    &data.scaled_sums(batch),
                );
            }
        }
        let data = Data::exact(3, 20_000);
        let actual = run(&data, data.all(), parallel::mean_squared_error);
        assert_bits("many blocks", &actual, &data.scaled_sums(data.all()));
    }

    #[test]
    fn threads_and_simd_do_not_change_a_bit() {
        for (features, rows) in [(1, 2000), (7, 5123), (64, 1537), (1001, 600)] {
            let data = Data::random(features, rows);
            let serial = run(&data, data.all(), mean_squared_error::<f32>);
            let actual = run(&data, data.all(), parallel::mean_squared_error);
            assert_bits(&format!("{features} features"), &actual, &serial);
        }
    }
}
