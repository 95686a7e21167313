//! Placements of rows give the same bits: resident in one or several buffers, streamed through two buffers, or generated
//! in the kernels; in memory, or read from a file in every epoch.

use crate::{common, training};

use common::{Random, assert_within};
use std::fmt::Write;
use tempfile::TempDir;
use training::gpu;
use wgpu_optim::regression::Problem;
use wgpu_optim::regression::data::{FileOptions, Offset, Targets};
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::kernels::GradientLayout;
use wgpu_optim::regression::reference::synthetic::{Options, Response};
use wgpu_optim::regression::train::{
    Batches, CpuWorker, Float, GpuData, GpuWorker, HostRows, Placement, Recipe, Shuffle, Worker,
};
use wgpu_optim::{Adam, Batch, Evaluation, Lion, Loss, Model, Penalty, RmsProp, Rule, Sgd};

const ROWS: u64 = 1000;

/// The results of a run.
#[derive(Clone)]
struct Outcome {
    losses: Vec<f64>,
    params: Vec<f64>,
    moments: Vec<Vec<f64>>,
    average: Vec<f64>,
    evaluation: Evaluation,
}

impl Outcome {
    fn of(worker: &mut dyn Worker, rows: u64, batches: &Batches, rule: &Rule) -> Self {
        let all: Vec<Batch> = (0..batches.updates()).map(|i| batches.get(i)).collect();
        let mut losses = Vec::new();
        for batches in all.chunks(worker.max_updates().min(7)) {
            losses.extend(block_on(worker.run(batches, &vec![rule.lr(); batches.len()], None)).unwrap());
        }
        let (params, moments) =
            (block_on(worker.params()).unwrap(), block_on(worker.moments()).unwrap());
        let evaluation = block_on(worker.evaluate(0, rows, 0.5)).unwrap();
        block_on(worker.take_average()).unwrap();
        Outcome { losses, params, moments, average: block_on(worker.params()).unwrap(), evaluation }
    }

    /// Asserts that all parameters have the same bits, and that evaluations agree up to the rounding of sums, which are computed
    /// chunk by chunk.
    #[track_caller]
    fn assert_is(&self, what: &str, expected: &Outcome) {
        assert!(self.params.iter().all(|p| p.is_finite()) && self.params != self.average, "{what}");
        let parts = |outcome: &Outcome| {
            let Outcome { losses, params, moments, average, .. } = outcome.clone();
            let named = [("losses", losses), ("params", params), ("average", average)];
            let moments = moments.into_iter().map(|moment| ("moment", moment));
            named.into_iter().chain(moments).collect::<Vec<_>>()
        };
        for ((name, actual), (_, expected)) in parts(self).iter().zip(&parts(expected)) {
            assert_eq!(actual.len(), expected.len(), "{what}: {name}");
            let differs = |(a, e): (&f64, &f64)| a.to_bits() != e.to_bits();
            let first = actual.iter().zip(expected).position(differs);
            let values = first.map(|i| (i, actual[i], expected[i]));
            assert_eq!(values, None, "{what}: {name}");
        }
        let sums = |Evaluation { loss, weight, correct, saturated, outputs, .. }: &Evaluation| {
            [&[*loss, *weight, *correct, *saturated][..], outputs.as_flattened()].concat()
        };
        let (actual, expected) = (sums(&self.evaluation), sums(&expected.evaluation));
        let bounds: Vec<f64> = expected.iter().map(|sum| 1e-6 * (sum.abs() + ROWS as f64)).collect();
        assert_within(&format!("{what}: evaluation"), &actual, &expected, &bounds);
    }
}

/// The minimum size of a binding for everything but rows.
const LEAST: u64 = 1 << 13;

/// Placement of rows on a device.
#[derive(Clone, Copy, Debug)]
enum Place {
    Resident,
    /// Resident, in buffers of at most this many bytes.
    Chunked(u64),
    /// Streamed, in chunks of at most this many bytes.
    Streamed(u64),
    Virtual,
}

fn on_gpu(gpu: &Gpu, problem: &Problem, recipe: &Recipe, batches: &Batches, place: Place) -> Outcome {
    let small;
    let (gpu, placement) = match place {
        Place::Resident => (gpu, Placement::Resident),
        Place::Virtual => (gpu, Placement::Virtual),
        Place::Streamed(chunk) => (gpu, Placement::Streamed { chunk }),
        Place::Chunked(bytes) => {
            let limits = wgpu::Limits { max_storage_buffer_binding_size: bytes, ..gpu.device.limits() };
            let common::gpu::Gpu { device, queue, .. } = common::gpu::Gpu::with_limits(limits).unwrap();
            small = Gpu::new(device, queue, gpu.info.clone());
            (&small, Placement::Resident)
        }
    };
    let data = block_on(GpuData::new(gpu, problem, &recipe.model, batches, placement)).unwrap();
    let start = start(&recipe.model);
    let mut worker = block_on(GpuWorker::descent(&data, recipe, &start, batches)).unwrap();
    Outcome::of(&mut worker, problem.rows, batches, &recipe.rule)
}

fn on_host<R: Float>(rows: HostRows<R>, count: u64, recipe: &Recipe, batches: &Batches) -> Outcome {
    let mut worker = CpuWorker::new(rows, recipe, &start(&recipe.model)).unwrap();
    Outcome::of(&mut worker, count, batches, &recipe.rule)
}

/// In memory.
fn resident<R: Float>(problem: &Problem, recipe: &Recipe, batches: &Batches) -> Outcome {
    let (x, aux) = problem.materialize().unwrap();
    on_host::<R>(HostRows::Resident { x: &x, aux: &aux }, problem.rows, recipe, batches)
}

/// Generated or read on access.
fn on_demand<R: Float>(problem: &Problem, recipe: &Recipe, batches: &Batches) -> Outcome {
    on_host::<R>(HostRows::OnDemand(problem), problem.rows, recipe, batches)
}

/// Parameters that are all different.
fn start(model: &Model) -> Vec<f64> {
    Random(4).units(model.params()).iter().map(|&p| f64::from(p) * 0.1).collect()
}

/// Batch sizes that divide the number of rows and that do not; in order, in shuffled windows, and all rows shuffled: half
/// of them for every other case.
fn batches(case: usize) -> Vec<Batches> {
    let shuffle = |seed, window| Some(Shuffle { seed, window });
    let all = [
        (100, None),
        (64, None),
        (100, shuffle(1, 250)),
        (64, shuffle(2, 130)),
        (64, shuffle(3, 1 << 20)),
        (300, shuffle(4, 200)),
    ];
    // More than one epoch, ending within an epoch.
    let updates = |size| 2 * ROWS.div_ceil(size) + 3;
    let half = all.into_iter().skip(case % 2).step_by(2);
    half.map(|(size, shuffle)| Batches::Epochs { rows: ROWS, size, updates: updates(size), shuffle })
        .collect()
}

/// A rule for each case, with all other options of a step.
fn recipe(model: Model, which: usize) -> Recipe {
    let rules: [Rule; 4] = [
        Adam { lr: 0.02, amsgrad: true, ..Adam::default() }.into(),
        Sgd { lr: 0.02, momentum: 0.9, nesterov: true, ..Sgd::default() }.into(),
        RmsProp { lr: 0.01, centered: true, momentum: 0.5, ..RmsProp::default() }.into(),
        Lion { lr: 0.01, ..Lion::default() }.into(),
    ];
    let penalty = Penalty { alpha: 0.01, l1_ratio: 0.5 };
    Recipe { penalty, average: Some(0.9), ..Recipe::new(model, rules[which % rules.len()]) }
}

fn synthetic(features: u32, outputs: u32, loss: Loss, rows: u64) -> (Problem, Model) {
    let response = Response::from(&loss);
    let options = Options { features, outputs, response, seed: 9, ..Options::default() };
    let mut problem = Problem::synthetic(rows, &options).unwrap();
    let model = problem.model(loss, true).unwrap();
    (problem, model)
}

/// Synthetic problems of different losses and widths.
fn synthetics() -> Vec<(Problem, Model)> {
    vec![
        synthetic(7, 1, Loss::Mse, ROWS),
        synthetic(5, 3, Loss::SquaredError, ROWS),
        synthetic(64, 1, Loss::Logistic, ROWS),
        synthetic(3, 1, Loss::Poisson, ROWS),
        synthetic(9, 1, Loss::SquaredHinge, ROWS),
        synthetic(6, 5, Loss::Softmax { classes: 5 }, ROWS),
        synthetic(4, 1, Loss::Quantile { quantile: 0.3 }, ROWS),
    ]
}

/// Problems from a file with weights, offsets and several targets: in memory, and streamed.
fn files(folder: &TempDir) -> Vec<([Problem; 2], Model)> {
    let path = folder.path().join("rows.csv");
    let mut random = Random(6);
    let mut text = "a,b,c,d,e,y,z,count,class,weight,days\n".to_string();
    for i in 0..ROWS {
        (0..7).for_each(|_| write!(text, "{},", random.unit()).unwrap());
        let bits = random.bits();
        let days = 1 + bits % 9;
        writeln!(text, "{},{},{},{days}", bits >> 8 & 3, bits >> 16 & 1, i % 3).unwrap();
    }
    std::fs::write(&path, text).unwrap();
    let problem = |targets: &[&str], loss: Loss, weighted: bool, exposed: bool| {
        let options = FileOptions {
            targets: Targets::Named(targets.iter().map(|&name| name.into()).collect()),
            weight: weighted.then(|| "weight".into()),
            offset: exposed.then(|| Offset::Exposure("days".into())),
            ..FileOptions::default()
        };
        let held = Problem::file(&path, &options).unwrap();
        let streamed = Problem::file(&path, &FileOptions { memory: 0, ..options }).unwrap();
        assert!(!held.is_streamed() && streamed.is_streamed());
        let mut problems = [held, streamed];
        let models = problems.each_mut().map(|problem| {
            problem.standardize();
            let model = problem.model(loss, true).unwrap();
            if exposed {
                problem.hold_out(0.2, 5).unwrap();
            }
            model
        });
        assert_eq!(models[0], models[1]);
        (problems, models[0])
    };
    vec![
        problem(&["y"], Loss::Mse, true, false),
        problem(&["y", "z"], Loss::SquaredError, true, false),
        problem(&["class"], Loss::Logistic, true, true),
        problem(&["count"], Loss::Poisson, false, true),
        problem(&["count"], Loss::Softmax { classes: 4 }, true, false),
    ]
}

/// Chunk sizes in bytes: one batch or window, or several.
fn chunks(model: &Model, batches: &Batches) -> [u64; 2] {
    let row = GradientLayout::new(model).unwrap().row_bytes().max(model.aux_columns() as u64 * 4);
    [1, 3].map(|units| units * batches.unit() * row)
}

#[test]
fn a_device_has_the_same_bits_from_made_and_stored_rows() {
    let Some(gpu) = gpu() else { return };
    for (i, (problem, model)) in synthetics().iter().enumerate() {
        for (j, batches) in batches(i).iter().enumerate() {
            let recipe = recipe(*model, i + j);
            let of = |place| on_gpu(gpu, problem, &recipe, batches, place);
            let expected = of(Place::Resident);
            let mut places = vec![Place::Virtual];
            places.extend(chunks(model, batches).map(Place::Streamed));
            for place in places {
                of(place).assert_is(&format!("{recipe:?}, {batches:?}, {place:?}"), &expected);
            }
        }
    }
}

#[test]
fn a_device_has_the_same_bits_from_every_cut_of_a_file() {
    let Some(gpu) = gpu() else { return };
    let folder = TempDir::new().unwrap();
    for (i, ([held, streamed], model)) in files(&folder).iter().enumerate() {
        for (j, batches) in batches(i).iter().enumerate() {
            let recipe = recipe(*model, i + j);
            let expected = on_gpu(gpu, held, &recipe, batches, Place::Resident);
            let [small, large] = chunks(model, batches);
            let cuts = [
                (held, Place::Streamed(small)),
                (held, Place::Chunked(small.max(LEAST))),
                (streamed, Place::Streamed(large)),
                (streamed, Place::Resident),
            ];
            for (problem, place) in cuts {
                let outcome = on_gpu(gpu, problem, &recipe, batches, place);
                outcome.assert_is(&format!("{recipe:?}, {batches:?}, {place:?}"), &expected);
            }
        }
    }
}

#[test]
fn the_processor_has_the_same_bits_from_rows_on_demand() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder);
    let synthetics = synthetics();
    let made = synthetics.iter().map(|(problem, model)| ([problem, problem], model));
    let read = files.iter().map(|([held, streamed], model)| ([held, streamed], model));
    for (i, ([held, asked], model)) in made.chain(read).enumerate() {
        for (j, batches) in batches(i).iter().enumerate() {
            let recipe = recipe(*model, i + j);
            let what = format!("{recipe:?}, {batches:?}");
            let expected = resident::<f32>(held, &recipe, batches);
            on_demand::<f32>(asked, &recipe, batches).assert_is(&what, &expected);
            let expected = resident::<f64>(held, &recipe, batches);
            on_demand::<f64>(asked, &recipe, batches).assert_is(&what, &expected);
        }
    }
}

/// A batch is summed segment by segment, whose lengths depend on the rows alone.
#[test]
fn a_batch_may_be_larger_than_a_chunk() {
    let Some(gpu) = gpu() else { return };
    for features in [4093, 5000] {
        let rows = 5000;
        let (problem, model) = synthetic(features, 1, Loss::Mse, rows);
        let run = GradientLayout::new(&model).unwrap().segment_rows();
        assert!(run < rows && rows < 2 * run);
        let batches = Batches::Epochs { rows, size: rows, updates: 2, shuffle: None };
        let recipe = recipe(model, 0);
        let of = |place| on_gpu(gpu, &problem, &recipe, &batches, place);
        let expected = of(Place::Resident);
        for place in [Place::Virtual, Place::Streamed(1 << 26)] {
            of(place).assert_is(&format!("{features} features, {place:?}"), &expected);
        }
    }
}

/// The target of every training row, in order: a step of length one sets the weight to it.
fn targets_seen(worker: &mut dyn Worker, batches: &Batches) -> Vec<u64> {
    let all: Vec<Batch> = (0..batches.updates()).map(|i| batches.get(i)).collect();
    let mut trace = Vec::new();
    for batches in all.chunks(worker.max_updates()) {
        block_on(worker.run(batches, &vec![1.0; batches.len()], Some(&mut trace))).unwrap();
    }
    trace.iter().map(|params| params[0] as u64).collect()
}

#[test]
fn every_epoch_has_every_row_once_in_an_order_of_its_seed() {
    let rows = 60;
    let y: Vec<f64> = (0..rows).map(|i| i as f64).collect();
    let mut problem = Problem::table("counted", 1, vec![1.0; rows], y);
    let model = problem.model(Loss::SquaredError, false).unwrap();
    let recipe = Recipe::new(model, Sgd { lr: 1.0, ..Sgd::default() }.into());
    let rows = rows as u64;
    let in_order: Vec<u64> = (0..rows).collect();
    let of = |shuffle| {
        let batches = Batches::Epochs { rows, size: 1, updates: 3 * rows, shuffle };
        let mut worker = CpuWorker::<f32>::new(HostRows::OnDemand(&problem), &recipe, &[0.0]).unwrap();
        let seen = targets_seen(&mut worker, &batches);
        if let Some(gpu) = gpu() {
            let data =
                block_on(GpuData::new(gpu, &problem, &model, &batches, Placement::Resident)).unwrap();
            let mut worker = block_on(GpuWorker::descent(&data, &recipe, &[0.0], &batches)).unwrap();
            assert_eq!(targets_seen(&mut worker, &batches), seen, "{shuffle:?}");
        }
        seen
    };
    assert_eq!(of(None), in_order.repeat(3));
    let mut orders = Vec::new();
    for seed in [1, 2] {
        for epoch in of(Some(Shuffle { seed, window: rows })).chunks(rows as usize) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, in_order);
            assert!(!orders.contains(&epoch.to_vec()), "{epoch:?}");
            orders.push(epoch.to_vec());
        }
    }
}
