//! Published results of linear regressions with other optimizers, which the library reproduces.

use crate::{common, golden};

use common::gpu::Gpu;
use common::{assert_within, widen};
use golden::{LinearRegression, Published, linear_regression, take_step};
use wgpu::BufferUsages;
use wgpu_optim::cpu::exact_step;
use wgpu_optim::gpu::Arena;
use wgpu_optim::{Optimizer, Span};

/// The gradient of the sum of squares: 2 · Xᵀ(X · w − y).
fn gradient(problem: &LinearRegression, w: &[f64]) -> Vec<f64> {
    let mut gradient = vec![0.0; 3];
    for (&[a, b], y) in problem.x.iter().zip(&problem.y) {
        let residual = a * w[0] + b * w[1] + w[2] - y;
        for (sum, x) in gradient.iter_mut().zip([a, b, 1.0]) {
            *sum += 2.0 * residual * x;
        }
    }
    gradient
}

#[track_caller]
fn assert_published(case: &Published, w: &[f64]) {
    assert_within(&case.name, w, &case.expected, &[case.within; 3]);
}

#[test]
fn f64_comes_to_the_published_weights() {
    let problem = linear_regression();
    assert_eq!(problem.cases.len(), 36);
    for case in &problem.cases {
        let mut values = vec![vec![0.0; 3]; 1 + case.rule.moments().len()];
        values[0] = problem.start.to_vec();
        for t in 1..=case.steps as u64 {
            let grads = gradient(&problem, &values[0]);
            let step = exact_step(&case.rule, t, case.rule.lr());
            take_step(&case.rule, &step, &mut values, &grads);
        }
        assert_published(case, &values[0]);
    }
}

/// One workgroup per tensor of an arena, each of which begins at a block of 64.
fn gradient_kernel(problem: &LinearRegression) -> String {
    let list = |values: Vec<String>| values.join(", ");
    let row = |[a, b]: &[f64; 2]| format!("vec3f({a:?}, {b:?}, 1.0)");
    let x = list(problem.x.iter().map(row).collect());
    let y = list(problem.y.iter().map(|y| format!("{y:?}")).collect());
    format!(
        "@group(0) @binding(0) var<storage, read_write> params: array<f32>;
        @group(0) @binding(1) var<storage, read_write> grads: array<f32>;

        @compute @workgroup_size(1)
        fn main(@builtin(workgroup_id) tensor: vec3u) {{
            let first = tensor.x * 64u;
            let w = vec3f(params[first], params[first + 1u], params[first + 2u]);
            var x = array({x});
            var y = array({y});
            var gradient = vec3f();
            for (var i = 0; i < {samples}; i++) {{
                gradient += 2.0 * (dot(x[i], w) - y[i]) * x[i];
            }}
            grads[first] = gradient.x;
            grads[first + 1u] = gradient.y;
            grads[first + 2u] = gradient.z;
        }}",
        samples = problem.x.len(),
    )
}

/// All cases with the same number of steps are one optimizer over an arena, each a group with its own rule.
#[test]
fn the_device_comes_to_the_published_weights() {
    let Some(gpu) = Gpu::get() else { return };
    let problem = linear_regression();
    for steps in [100, 1_000] {
        let cases: Vec<_> = problem.cases.iter().filter(|case| case.steps == steps).collect();
        assert!(cases.len() > 5);
        let shapes = cases.iter().map(|case| (case.name.as_str(), [3].as_slice()));
        let arena = Arena::new(&gpu.device, BufferUsages::empty(), shapes).unwrap();
        let mut builder = Optimizer::new(&gpu.device, cases[0].rule);
        for case in &cases {
            builder = builder.group(case.rule).arena_tensors(&arena, |name| name == case.name);
        }
        let optimizer = builder.build().unwrap();

        let start = problem.start.map(|w| w as f32);
        arena.tensors().iter().for_each(|tensor| gpu.write(&tensor.params[0], &start));
        let first = &arena.tensors()[0];
        let [params, grads] = [&first.params[0], &first.grads[0]].map(|span| Span::whole(&span.buffer));
        let kernel = gpu.kernel(&gradient_kernel(&problem), &[&params, &grads]);
        for _ in 0..steps / 100 {
            gpu.run(|pass| {
                for _ in 0..100 {
                    kernel.record(pass, cases.len() as u32);
                    optimizer.record(pass);
                }
            });
        }
        let spans: Vec<_> = arena.tensors().iter().map(|tensor| &tensor.params[0]).collect();
        for (case, w) in cases.iter().zip(gpu.read(&spans)) {
            assert_published(case, &widen(&w));
        }
    }
}
