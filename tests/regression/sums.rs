//! The sums over a batch have one shape, whoever makes them and wherever the rows are: the tree over its units.

use crate::training;

use std::collections::HashMap;
use training::gpu;
use wgpu_optim::regression::device::{Gpu, block_on};
use wgpu_optim::regression::kernels::GradientLayout;
use wgpu_optim::regression::nodes::{Node, cover, merge};
use wgpu_optim::regression::reference::gradient::{BLOCK, BatchSums, Rows};
use wgpu_optim::regression::reference::synthetic::{Options, Response};
use wgpu_optim::regression::train::{
    Batches, CpuWorker, Float, GpuData, GpuWorker, GradientSums, HostRows, Numbers, Placement, Recipe,
    Shuffle, SplitUpdate, Worker,
};
use wgpu_optim::regression::{Problem, Table};
use wgpu_optim::{Adam, Batch, Evaluation, Loss, Model, Window};

/// Units of a batch: where a chain of sums has the bits of the tree, and where not.
const UNITS: [u64; 7] = [1, 2, 3, 4, 5, 7, 8];

fn synthetic(features: u32, outputs: u32, loss: Loss, rows: u64) -> (Problem, Model) {
    let response = Response::from(&loss);
    let options = Options { features, outputs, response, seed: 9, ..Options::default() };
    let mut problem = Problem::synthetic(rows, &options).unwrap();
    let model = problem.model(loss, true).unwrap();
    (problem, model)
}

fn recipe(model: Model) -> Recipe {
    Recipe::new(model, Adam { lr: 0.01, ..Adam::default() }.into())
}

/// Parameters that are all different.
fn start(model: &Model) -> Vec<f64> {
    (0..model.params()).map(|i| f64::from((i * 37 % 101) as f32 / 101.0 - 0.5)).collect()
}

fn bits(sums: &GradientSums) -> Vec<u64> {
    match &sums.sums {
        Numbers::Single(sums) => sums.iter().map(|sum| sum.to_bits().into()).collect(),
        Numbers::Double(sums) => sums.iter().map(|sum| sum.to_bits()).collect(),
    }
}

fn add(mut left: GradientSums, right: GradientSums) -> GradientSums {
    left.add(&right).unwrap();
    left
}

/// Asserts that shares of a batch on several processes merge to the bits of its sums; returns these, and whether a chain
/// of its units has others.
fn assert_shares(split: &mut dyn SplitUpdate, batch: Batch, processes: &[u64]) -> (GradientSums, bool) {
    let unit = split.unit_rows();
    let units = batch.rows.div_ceil(unit);
    let whole = block_on(split.gradient(batch)).unwrap();
    let mut known = HashMap::new();
    let mut sums = |node: Node| {
        let of = || block_on(split.gradient(node.rows(&batch, unit))).unwrap();
        (node, known.entry(node).or_insert_with(of).clone())
    };
    for &processes in processes {
        let share = |rank| cover(units, units * rank / processes..units * (rank + 1) / processes);
        let nodes: Vec<Node> = (0..processes).flat_map(share).collect();
        let merged = merge(units, nodes.into_iter().map(&mut sums), add).unwrap();
        assert_eq!(merged.rows, batch.rows);
        assert_eq!(bits(&merged), bits(&whole), "{units} units on {processes} processes");
    }
    let each = (0..units).map(|index| sums(Node { level: 0, index }).1);
    let chain = each.reduce(add).unwrap();
    let differs = bits(&chain) != bits(&whole);
    (whole, differs)
}

#[test]
fn shares_of_units_on_the_processor_have_the_bits_of_the_batch() {
    fn with<R: Float>(problem: &Problem, model: Model, batch: Batch) -> bool {
        let rows = HostRows::OnDemand(problem);
        let mut worker = CpuWorker::<R>::new(rows, &recipe(model), &start(&model)).unwrap();
        assert_eq!(worker.unit_rows(), BLOCK as u64);
        assert_shares(&mut worker, batch, &[1, 2, 3, 4, 7, 12]).1
    }
    let (problem, model) = synthetic(7, 1, Loss::Poisson, 6000);
    let window = Some(Window { first: 0, rows: 6000, key: [3, 4] });
    let mut chains = 0;
    for units in UNITS {
        for rows in [units * BLOCK as u64, units * BLOCK as u64 - 37] {
            for window in [None, window] {
                let batch = Batch { first: 77, rows, window };
                let differs = [with::<f32>(&problem, model, batch), with::<f64>(&problem, model, batch)];
                assert!(units > 3 || differs == [false; 2]);
                chains += differs.iter().filter(|&&differs| differs).count();
            }
        }
    }
    assert!(chains > 10, "a chain in the place of the tree would not be seen: {chains}");
}

/// Slices of any number of blocks, in one thread or several, and every block by itself.
#[test]
fn slices_and_threads_do_not_change_the_tree_of_the_processor() {
    let model = Model { weighted: true, outputs: 2, ..Model::new(300, Loss::SquaredError) };
    for units in UNITS {
        let rows = units as usize * BLOCK - 5;
        let value = |i: usize| ((i * 7919 % 1013) as f32 / 1013.0 - 0.5).abs();
        let x: Vec<f32> = (0..rows * model.features).map(value).collect();
        let aux: Vec<f32> = (0..rows * model.aux_columns()).map(|i| value(i + 5)).collect();
        let params: Vec<f32> = (0..model.params()).map(|i| value(i * 3) * 0.1).collect();
        let all = Rows { x: &x, aux: &aux };
        let part = |first: usize, most: usize| all.part(&model, first, most.min(rows - first));
        let sums_of = |slice: usize, threads: bool| {
            let mut sums = BatchSums::new(&model);
            for first in (0..rows).step_by(slice) {
                match threads {
                    #[cfg(feature = "cpu")]
                    true => wgpu_optim::regression::reference::parallel::add(
                        &mut sums,
                        part(first, slice),
                        &params,
                    ),
                    _ => sums.add(part(first, slice), &params),
                }
            }
            sums.sums()
        };
        let blocks = (0..units).map(|index| {
            let mut sums = BatchSums::new(&model);
            sums.add(part(index as usize * BLOCK, BLOCK), &params);
            (Node { level: 0, index }, sums.sums())
        });
        let add = |left: Vec<f32>, right: Vec<f32>| left.iter().zip(right).map(|(l, r)| l + r).collect();
        let expected = merge(units, blocks, add).unwrap();
        for slice in [1, 2, 3, 4, 7, 100] {
            for threads in [false, true] {
                let what = format!("{units} blocks in slices of {slice}, {threads}");
                assert_eq!(sums_of(slice * BLOCK, threads), expected, "{what}");
            }
        }
    }
}

/// A table of weighted rows, and its model.
fn weighted(features: usize, outputs: usize, rows: usize) -> (Problem, Model) {
    let value = |i: usize| (i * 7919 % 1_000_003) as f32 / 1_000_003.0 - 0.5;
    let x: Vec<f32> = (0..rows * features).map(value).collect();
    let y: Vec<f32> = (0..rows * outputs).map(|i| value(i * 31 + 7)).collect();
    let weights: Vec<f32> = (0..rows).map(|i| value(i + 3).abs()).collect();
    let table = Table::new(features, &x, &y).outputs(outputs).weights(&weights);
    let mut problem = Problem::from_table("weighted", table).unwrap();
    let model = problem.model(Loss::SquaredError, true).unwrap();
    (problem, model)
}

/// Rows with weights, whose sum every workgroup needs; in order and shuffled.
#[test]
fn shares_of_units_on_a_device_have_the_bits_of_the_batch() {
    let Some(gpu) = gpu() else { return };
    for (features, outputs, counts) in [(1, 1, &[5][..]), (4, 16, &UNITS[1..])] {
        let model = Model { outputs, weighted: true, ..Model::new(features, Loss::SquaredError) };
        let unit = GradientLayout::new(&model).unwrap().segment_rows();
        let most = counts.iter().max().unwrap() * unit + 50;
        let (problem, problems) = weighted(features, outputs, most as usize);
        assert_eq!(problems, model);
        let shuffle = Some(Shuffle { seed: 1, window: most });
        let batches = Batches::Epochs { rows: most, size: most, updates: 1, shuffle };
        let data = block_on(GpuData::new(gpu, &problem, &model, &batches, Placement::Resident)).unwrap();
        let worker = || {
            block_on(GpuWorker::split_descent(&data, &recipe(model), &start(&model), &batches)).unwrap()
        };
        let (mut split, mut whole) = (worker(), worker());
        assert_eq!(split.unit_rows(), unit);
        let window = Some(Window { first: 0, rows: most as u32, key: [3, 4] });
        for &units in counts {
            let window = window.filter(|_| units % 2 == 1);
            let batch = Batch { first: 13, rows: units * unit - 37, window };
            let (sums, differs) = assert_shares(&mut split, batch, &[2, 3, 10]);
            // A chain in the place of the tree would be seen.
            assert_eq!(differs, units > 3, "{units} units");
            // The gradient is divided by the same weight in every column.
            let losses = block_on(whole.run(&[batch], &[0.01], None)).unwrap();
            assert_eq!(block_on(split.apply(&sums, 0.01)).unwrap().to_bits(), losses[0].to_bits());
            assert_eq!(block_on(split.params()).unwrap(), block_on(whole.params()).unwrap());
        }
    }
}

/// A device whose bindings hold no more bytes.
fn limited(gpu: &Gpu, bytes: u64) -> Gpu {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: bytes, ..gpu.device.limits() };
    let crate::common::gpu::Gpu { device, queue, .. } =
        crate::common::gpu::Gpu::with_limits(limits).unwrap();
    Gpu::new(device, queue, gpu.info.clone())
}

/// Losses and parameters after some updates, and the evaluation of the rows from `held_out` on.
fn trained(
    gpu: &Gpu,
    (problem, model): &(Problem, Model),
    batches: &Batches,
    placement: Placement,
    held_out: u64,
) -> (Vec<u64>, Vec<u64>, Evaluation) {
    let data = block_on(GpuData::new(gpu, problem, model, batches, placement)).unwrap();
    let mut worker =
        block_on(GpuWorker::descent(&data, &recipe(*model), &start(model), batches)).unwrap();
    let all: Vec<Batch> = (0..batches.updates()).map(|i| batches.get(i)).collect();
    let losses = block_on(worker.run(&all, &vec![0.01; all.len()], None)).unwrap();
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect();
    let evaluation = block_on(worker.evaluate(held_out, problem.rows - held_out, 0.5)).unwrap();
    (bits(losses), bits(block_on(worker.params()).unwrap()), evaluation)
}

#[test]
fn batches_of_several_units_have_the_same_bits_wherever_rows_are() {
    let Some(gpu) = gpu() else { return };
    for (features, outputs, counts) in [(1, 1, &[4][..]), (4, 16, &[3, 4, 5, 7, 8])] {
        let synthetic = |rows| synthetic(features, outputs, Loss::SquaredError, rows);
        let shape = GradientLayout::new(&synthetic(1).1).unwrap();
        let unit = shape.segment_rows();
        let chunk = |units: u64| shape.x_bytes(units * unit).max(units * unit * 4 * u64::from(outputs));
        for &units in counts {
            // A batch, and one that is short.
            let size = units * unit - 37;
            let data = synthetic(size + unit / 2);
            let batches = Batches::epochs(data.0.rows, size, 1);
            let of = |gpu, placement| trained(gpu, &data, &batches, placement, size - unit / 2);
            let expected = of(gpu, Placement::Resident);
            let mut others = vec![
                (gpu, Placement::Virtual),
                (gpu, Placement::Streamed { chunk: 1 }),
                (gpu, Placement::Streamed { chunk: chunk(3) }),
            ];
            let small = limited(gpu, chunk(2));
            others.push((&small, Placement::Resident));
            for (gpu, placement) in others {
                let what = format!("{units} units of {features} features, {placement:?}");
                let (losses, params, evaluation) = of(gpu, placement);
                assert_eq!(losses, expected.0, "{what}");
                assert!(params == expected.1, "{what}: other parameters");
                assert_eq!(evaluation, expected.2, "{what}");
            }
        }
    }
}

/// The sums of an evaluation begin where chunks do, and not at the first row that is held out.
#[test]
fn rows_that_are_held_out_have_the_same_evaluation_wherever_they_are() {
    let Some(gpu) = gpu() else { return };
    let data = synthetic(4, 16, Loss::SquaredError, 250_000);
    // 65 batches are evaluated together.
    let batches = Batches::Epochs { rows: 250_000, size: 1000, updates: 2, shuffle: None };
    let of = |placement| trained(gpu, &data, &batches, placement, 12_345).2;
    let expected = of(Placement::Resident);
    assert_eq!(expected.weight, 237_655.0);
    let chunk = |parts: u64| Placement::Streamed { chunk: parts * 65_000 * 16 * 4 };
    for placement in [Placement::Virtual, chunk(1), chunk(2)] {
        assert_eq!(of(placement), expected, "{placement:?}");
    }
}
