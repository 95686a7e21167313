//! Synthetic rows made on the device against the CPU, bit for bit on every device.

mod common;

use common::gpu::Gpu;
use common::{Random, assert_bits};
use wgpu_optim::Span;
use wgpu_optim::cpu::random::Synthetic;
use wgpu_optim::gpu::{Samples, Shape, SyntheticRows};

/// Rows from `first` on, each made by itself: x and y.
fn on_cpu(problem: &Synthetic, first: u64, rows: usize) -> (Vec<f32>, Vec<f32>) {
    let weights = problem.weight_units();
    let features = problem.features() as usize;
    let mut x = vec![f32::NAN; rows * features];
    let y = x.chunks_mut(features).zip(first..).map(|(x, row)| problem.row(row, &weights, x)).collect();
    (x, y)
}

/// The rows on the device are those of the CPU, and what pads them is zero.
fn check(gpu: &Gpu, problem: &Synthetic, rows: u64, chunk: u64) {
    let features = problem.features() as usize;
    let shape = Shape::new(features).unwrap();
    let bytes = chunk * shape.row_bytes();
    let samples = Samples::with_max_buffer(&gpu.device, shape, rows, 1, bytes).unwrap();
    for chunk in samples.chunks() {
        let mut random = Random(9);
        for buffer in [&chunk.x, &chunk.y] {
            let span = Span::whole(buffer);
            gpu.write(&span, &random.values(span.len as usize));
        }
    }
    let made = SyntheticRows::new(&gpu.device, &samples, problem).unwrap();
    assert_eq!(made.chunks(), rows.div_ceil(chunk) as usize);
    gpu.run(|pass| (0..made.chunks()).for_each(|i| made.record(pass, i)));
    for chunk in samples.chunks() {
        let what = format!("{problem:?}, rows from {}", chunk.first_row);
        let (x, y) = on_cpu(problem, chunk.first_row, chunk.rows as usize);
        let stride = shape.vectors as usize * 4;
        let mut padded = vec![0.0; chunk.rows as usize * stride];
        for (padded, x) in padded.chunks_mut(stride).zip(x.chunks(features)) {
            padded[..features].copy_from_slice(x);
        }
        let actual = gpu.read(&[&Span::whole(&chunk.x), &Span::whole(&chunk.y)]);
        assert_bits(&format!("{what}: x"), &actual[0], &padded);
        assert_bits(&format!("{what}: y"), &actual[1], &y);
    }
}

#[test]
fn every_width_has_the_bits_of_the_cpu() {
    let Some(gpu) = Gpu::get() else { return };
    for features in (1..=9).chain([16, 17, 64, 65]) {
        check(gpu, &Synthetic::new(features, 0.1, 42), 203, 203);
    }
}

#[test]
fn every_noise_and_seed_has_the_bits_of_the_cpu() {
    let Some(gpu) = Gpu::get() else { return };
    for noise in [0.0, Synthetic::NOISE_UNIT, 0.1, 3.0, 1000.0, Synthetic::MAX_NOISE] {
        for seed in [0, 1, u64::from(u32::MAX), 1 << 32, 0x0123_4567_89ab_cdef, u64::MAX] {
            check(gpu, &Synthetic::new(5, noise, seed), 130, 130);
        }
    }
}

#[test]
fn chunks_go_on_where_the_last_one_ended() {
    let Some(gpu) = Gpu::get() else { return };
    for chunk in [1, 7, 64, 99] {
        check(gpu, &Synthetic::new(6, 0.5, 3), 100, chunk);
    }
}

#[test]
fn a_chunk_may_take_more_threads_than_one_dimension_of_the_grid() {
    let Some(gpu) = Gpu::get() else { return };
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 7, ..gpu.device.limits() };
    let Some(small) = Gpu::with_limits(limits) else { return };
    check(&small, &Synthetic::new(11, 0.1, 8), 1500, 1500);
}

#[test]
fn seeds_and_rows_differ() {
    let rows = |seed| on_cpu(&Synthetic::new(4, 0.0, seed), 0, 2).0;
    assert_ne!(rows(1), rows(1 << 32 | 1));
    let two = rows(1);
    assert_ne!(two[..4], two[4..]);
}

#[cfg(feature = "cpu")]
#[test]
fn the_parallel_path_makes_the_same_rows() {
    use wgpu_optim::cpu::parallel::synthetic_rows;
    for (features, rows) in [(1, 40_000), (5, 9_001), (64, 700), (65, 1)] {
        for first in [0, 12_345, (1 << 32) - 7, 1 << 40] {
            let problem = Synthetic::new(features, 0.1, 77);
            let (expected_x, expected_y) = on_cpu(&problem, first, rows);
            let (mut x, mut y) = (vec![f32::NAN; rows * features as usize], vec![f32::NAN; rows]);
            synthetic_rows(&problem, first, &mut x, &mut y);
            assert_bits("x", &x, &expected_x);
            assert_bits("y", &y, &expected_y);
        }
    }
}
