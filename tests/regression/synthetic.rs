//! Synthetic rows of the device against the CPU, bit for bit on every device, and against their documentation.

use crate::common;

use common::gpu::Gpu;
use common::{Random, assert_bits};
use wgpu::BufferUsages;
use wgpu_optim::regression::kernels::{Chunk, DeviceDataset, Generator, GradientLayout, SyntheticRows};
use wgpu_optim::regression::reference::synthetic::{Options, Response, Synthetic};
use wgpu_optim::{Loss, Model, Span};

/// Rows from `first`, each generated separately: X and targets.
fn on_cpu(problem: &Synthetic, first: u64, rows: usize) -> (Vec<f32>, Vec<f32>) {
    let truth = problem.truth();
    let (features, width) = (problem.features() as usize, problem.targets() as usize);
    let (mut x, mut targets) = (vec![f32::NAN; rows * features], vec![f32::NAN; rows * width]);
    for (row, (x, targets)) in (first..).zip(x.chunks_mut(features).zip(targets.chunks_mut(width))) {
        problem.fill_row(&truth, row, x, targets);
    }
    (x, targets)
}

fn shape(features: u32) -> GradientLayout {
    GradientLayout::new(&Model::new(features as usize, Loss::Mse)).unwrap()
}

/// Asserts that the device's rows equal the CPU's, and that their padding is zero.
fn check(gpu: &Gpu, problem: &Synthetic, rows: u64, chunk: u64) {
    let shape = shape(problem.features());
    let bytes = shape.x_bytes(chunk);
    let samples = DeviceDataset::with_max_buffer(&gpu.device, shape, rows, 1, bytes).unwrap();
    fill_with_values(gpu, samples.chunks());
    let made = SyntheticRows::new(&gpu.device, &samples, problem).unwrap();
    assert!(made.parts() >= rows.div_ceil(chunk) as usize);
    gpu.run(|pass| (0..made.parts()).for_each(|i| made.record(pass, i)));
    samples.chunks().iter().for_each(|chunk| compare(gpu, problem, chunk));
}

/// The same for a chunk that starts at any row, with any number of targets.
fn check_rows(gpu: &Gpu, problem: &Synthetic, first_row: u64, rows: u32) {
    let buffer = |values: u64| {
        gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: values * 4,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let x = buffer(shape(problem.features()).x_bytes(rows.into()) / 4);
    let y = buffer(u64::from(rows) * u64::from(problem.targets()));
    let chunks = [Chunk { x, aux: y, first_row, rows }];
    fill_with_values(gpu, &chunks);
    let made = SyntheticRows::of_chunks(&gpu.device, &chunks, problem).unwrap();
    gpu.run(|pass| (0..made.parts()).for_each(|i| made.record(pass, i)));
    compare(gpu, problem, &chunks[0]);
}

fn fill_with_values(gpu: &Gpu, chunks: &[Chunk]) {
    for chunk in chunks {
        let mut random = Random(9);
        for buffer in [&chunk.x, &chunk.aux] {
            let span = Span::whole(buffer);
            gpu.write(&span, &random.values(span.len as usize));
        }
    }
}

fn compare(gpu: &Gpu, problem: &Synthetic, chunk: &Chunk) {
    let what = format!("{problem:?}, rows from {}", chunk.first_row);
    let (x, targets) = on_cpu(problem, chunk.first_row, chunk.rows as usize);
    let features = problem.features() as usize;
    let stride = shape(features as u32).stride as usize;
    let mut padded = vec![0.0; chunk.rows as usize * stride];
    for (padded, x) in padded.chunks_mut(stride).zip(x.chunks(features)) {
        padded[..features].copy_from_slice(x);
    }
    let actual = gpu.read(&[&Span::whole(&chunk.x), &Span::whole(&chunk.aux)]);
    // The padding of the last vec4 is undefined.
    assert_bits(&format!("{what}: x"), &actual[0][..padded.len()], &padded);
    assert_bits(&format!("{what}: targets"), &actual[1], &targets);
}

/// A problem of each response, with every option.
fn responses(features: u32, condition: f64) -> Vec<Synthetic> {
    let condition = if features == 1 { 1.0 } else { condition };
    let options = Options { features, condition, sparsity: 0.3, seed: 5, ..Options::default() };
    let linear = Options { noise: 0.5, outliers: 0.2, ..options };
    let of = |response| Options { response, ..options };
    let classes = |outputs| Options { outputs, ..of(Response::Categorical) };
    let all = [
        linear,
        Options { outputs: 3, ..linear },
        of(Response::Bernoulli),
        Options { balance: Some(0.2), ..of(Response::Bernoulli) },
        of(Response::Poisson),
        classes(2),
        classes(9),
    ];
    all.iter().map(|options| Synthetic::with_options(options).unwrap()).collect()
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
fn every_response_has_the_bits_of_the_cpu() {
    let Some(gpu) = Gpu::get() else { return };
    for (i, features) in [1, 3, 4, 5, 8, 9, 64, 257].into_iter().enumerate() {
        let [plain, correlated] = [1.0, 30.0].map(|condition| responses(features, condition));
        for (k, pair) in plain.iter().zip(&correlated).enumerate() {
            // Alternating, because compilation takes most of the time.
            let problem = if (i + k).is_multiple_of(2) { pair.0 } else { pair.1 };
            check_rows(gpu, problem, (1 << 32) - 50, 101);
        }
    }
}

#[test]
fn wide_rows_have_the_bits_of_the_cpu() {
    let Some(gpu) = Gpu::get() else { return };
    for problem in responses(5000, 1e4) {
        check_rows(gpu, &problem, 1 << 40, 9);
    }
    for (response, outputs) in
        [(Response::Linear, 8), (Response::Poisson, 1), (Response::Categorical, 8)]
    {
        let widest =
            Options { features: 1 << 20, outputs, response, condition: 1e6, ..Options::default() };
        check_rows(gpu, &Synthetic::with_options(&widest).unwrap(), 7, 2);
    }
}

#[test]
fn many_outputs_have_the_bits_of_the_cpu() {
    let Some(gpu) = Gpu::get() else { return };
    for (features, outputs, rows) in [(3, 64, 130), (5, 4096, 21), (70, 1001, 21), (2048, 4096, 2)] {
        for response in [Response::Linear, Response::Categorical] {
            let options = Options { features, outputs, response, seed: 8, ..Options::default() };
            check_rows(gpu, &Synthetic::with_options(&options).unwrap(), 99, rows);
        }
    }
}

#[test]
fn consecutive_chunks_continue_the_rows() {
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

/// A kernel of the caller that uses X without storing it.
const CONSUMER: &str = "
@group(0) @binding(0) var<storage, read_write> x: array<vec4f>;

@compute @workgroup_size(1)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let vectors = (problem.features + 3u) / 4u;
    for (var column = 0u; column < vectors; column += 1u) {
        x[id.x * vectors + column] = x_vector(vec2u(id.x - 3u, select(0u, 1u, id.x >= 3u)), column);
    }
}";

#[test]
fn any_kernel_can_be_composed_with_the_generator() {
    let Some(gpu) = Gpu::get() else { return };
    let files = [
        include_str!("../../shaders/integer.wgsl"),
        include_str!("../../shaders/synthetic/generator.wgsl"),
        CONSUMER,
    ];
    let device = &gpu.device;
    let source = wgpu::ShaderSource::Wgsl(files.join("\n").into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    for (features, condition) in [(1, 1.0), (7, 1.0), (8, 4.0), (21, 4.0)] {
        let options = Options { features, condition, seed: 17, ..Options::default() };
        let problem = Synthetic::with_options(&options).unwrap();
        let generator = Generator::new(device, &problem).unwrap();
        let stride = features.next_multiple_of(4) as usize;
        let span = gpu.span(&vec![f32::NAN; 6 * stride]);
        let entry = |binding| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: false },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &[entry(0)],
        });
        let layouts = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout), Some(generator.layout())],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&layouts),
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &generator.constants(),
                ..Default::default()
            },
            cache: None,
        });
        let resource = span.buffer.as_entire_binding();
        let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource }],
        });
        gpu.run(|pass| {
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bindings, &[]);
            pass.set_bind_group(1, generator.bind_group(), &[]);
            pass.dispatch_workgroups(6, 1, 1);
        });
        let (x, _) = on_cpu(&problem, (1 << 32) - 3, 6);
        let actual = &gpu.read(&[&span])[0];
        for (actual, x) in actual.chunks(stride).zip(x.chunks(features as usize)) {
            let mut padded = x.to_vec();
            padded.resize(stride, 0.0);
            assert_bits("x", actual, &padded);
        }
    }
}

#[test]
fn seeds_and_rows_differ() {
    let rows = |seed| on_cpu(&Synthetic::new(4, 0.0, seed), 0, 2).0;
    assert_ne!(rows(1), rows(1 << 32 | 1));
    let two = rows(1);
    assert_ne!(two[..4], two[4..]);
}

const PARAMS: [u32; 6] = [0xbdb1c000, 0x3fa78000, 0xbf875200, 0x3f3fd400, 0x3fb60400, 0x3fe66600];
const X: [u32; 5] = [0x3de2f000, 0xbf6be000, 0xbee74c00, 0x3f70ea00, 0x3d0c4000];
const Y: [u32; 1] = [0x3fe598e2];

/// The rows of earlier versions, so that published results remain reproducible.
#[test]
fn plain_problems_have_the_bits_that_they_always_had() {
    let problem = Synthetic::new(5, 0.1, 42);
    let options = Options { features: 5, noise: 0.1, seed: 42, ..Options::default() };
    assert_eq!(problem, Synthetic::with_options(&options).unwrap());
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let (x, y) = on_cpu(&problem, (1 << 32) + 3, 1);
    assert_eq!(bits(&problem.true_params()), PARAMS);
    assert_eq!(bits(&x), X);
    assert_eq!(bits(&y), Y);
}

#[cfg(feature = "cpu")]
#[test]
fn the_parallel_path_makes_the_same_rows() {
    use wgpu_optim::regression::reference::parallel::synthetic_rows;
    let check = |problem: &Synthetic, rows: usize| {
        for first in [0, 12_345, (1 << 32) - 7, 1 << 40] {
            let (expected_x, expected_targets) = on_cpu(problem, first, rows);
            let mut x = vec![f32::NAN; expected_x.len()];
            let mut targets = vec![f32::NAN; expected_targets.len()];
            synthetic_rows(problem, &problem.truth(), first, &mut x, &mut targets);
            assert_bits("x", &x, &expected_x);
            assert_bits("targets", &targets, &expected_targets);
        }
    };
    for (features, rows) in [(1, 40_000), (5, 9_001), (64, 700), (65, 1)] {
        check(&Synthetic::new(features, 0.1, 77), rows);
    }
    responses(5, 3.0).iter().for_each(|problem| check(problem, 4_001));
}
