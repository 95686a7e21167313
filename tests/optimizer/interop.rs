//! Several optimizers and kernels of the caller on one device do not affect each other.

use crate::common;

use common::gpu::{Gpu, Kernel};
use common::{Random, assert_bits};
use wgpu::{BufferUsages, ComputePass};
use wgpu_optim::gpu::Arena;
use wgpu_optim::regression::kernels::{Descent, DescentOptions, DeviceDataset, GradientLayout};
use wgpu_optim::{
    Adam, Batch, ClipNorm, Conditioning, Loss, Model, NAdam, Optimizer, Penalty, RmsProp, Span,
};

/// Number of steps of each.
const STEPS: usize = 24;
const ROWS: u64 = 600;
const BATCH: u64 = 100;

/// Gradients of Σ (p − i)⁴ / 4.
const BACKWARD: &str = "
@group(0) @binding(0) var<storage, read> params: array<f32>;
@group(0) @binding(1) var<storage, read_write> grads: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&params) {
        let far = params[id.x] - f32(id.x % 7u);
        grads[id.x] = far * far * far;
    }
}";

/// A caller's own computation: xorshift, so that every step affects all later ones.
const OWN: &str = "
@group(0) @binding(0) var<storage, read_write> numbers: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&numbers) {
        var x = numbers[id.x];
        x ^= x << 13u;
        x ^= x >> 17u;
        x ^= x << 5u;
        numbers[id.x] = x;
    }
}";

/// A workload that records steps into a pass.
trait Work: Send + Sync {
    fn record(&self, pass: &mut ComputePass, step: usize);
    /// The state that a step changes.
    fn values(&self) -> Vec<Span>;
}

/// A kernel that writes gradients, followed by an optimizer.
struct Trained {
    backward: Vec<Kernel>,
    optimizer: Optimizer,
}

impl Work for Trained {
    fn record(&self, pass: &mut ComputePass, _: usize) {
        self.backward.iter().for_each(|kernel| kernel.record(pass, 10));
        self.optimizer.record(pass);
    }

    fn values(&self) -> Vec<Span> {
        let whole = [self.optimizer.state(), self.optimizer.control()].map(Span::whole);
        let tensors = self.optimizer.tensors().iter();
        let of = |tensor: &wgpu_optim::gpu::Tensor| {
            let kept = tensor.moments.iter().chain([&tensor.accumulator, &tensor.average]);
            tensor.params.iter().chain(kept.flatten()).cloned().collect::<Vec<_>>()
        };
        whole.into_iter().chain(tensors.flat_map(of)).collect()
    }
}

impl Work for Descent {
    fn record(&self, pass: &mut ComputePass, step: usize) {
        self.record(pass, step);
    }

    fn values(&self) -> Vec<Span> {
        let losses = Span::new(self.losses(), 0, STEPS as u64);
        [vec![self.params().clone(), losses], self.state()].concat()
    }
}

struct Own {
    kernel: Kernel,
    numbers: Span,
}

impl Work for Own {
    fn record(&self, pass: &mut ComputePass, _: usize) {
        self.kernel.record(pass, 2);
    }

    fn values(&self) -> Vec<Span> {
        vec![self.numbers.clone()]
    }
}

/// An arena, with all conditioning.
fn in_an_arena(gpu: &Gpu) -> Trained {
    let mut random = Random(1);
    let shapes: [(&str, &[u64]); 3] = [("a", &[300]), ("b", &[7]), ("c", &[65])];
    let arena = Arena::new(&gpu.device, BufferUsages::empty(), shapes).unwrap();
    for tensor in arena.tensors() {
        gpu.write(&tensor.params[0], &random.units(tensor.params[0].len as usize));
    }
    let conditioning = Conditioning {
        clip_norm: Some(ClipNorm::Torch(1.0)),
        skip_nonfinite: true,
        ..Conditioning::default()
    };
    let optimizer = Optimizer::new(&gpu.device, Adam { lr: 0.01, ..Adam::adamw() })
        .arena(&arena)
        .conditioning(conditioning)
        .accumulate(2)
        .average(0.9)
        .build()
        .unwrap();
    let backward = arena.tensors().iter();
    let backward = backward.map(|t| gpu.kernel(BACKWARD, &[&t.params[0], &t.grads[0]])).collect();
    Trained { backward, optimizer }
}

/// Separate tensors, in two groups with schedules.
fn apart(gpu: &Gpu) -> Trained {
    let mut random = Random(2);
    let [a, b] = [261, 70].map(|len| [(); 2].map(|()| gpu.span(&random.units(len))));
    let optimizer = Optimizer::new(&gpu.device, NAdam { lr: 0.01, ..NAdam::default() })
        .learning_rates(vec![0.02, 0.01, 0.005])
        .tensor(a[0].clone(), a[1].clone())
        .group(RmsProp { momentum: 0.5, ..RmsProp::default() })
        .tensor(b[0].clone(), b[1].clone())
        .build()
        .unwrap();
    let backward = [&a, &b].map(|[params, grads]| gpu.kernel(BACKWARD, &[params, grads]));
    Trained { backward: backward.into(), optimizer }
}

fn descent(gpu: &Gpu) -> Descent {
    let model = Model::new(12, Loss::Logistic);
    let mut random = Random(3);
    let x = random.units(ROWS as usize * 12);
    let y: Vec<f32> = x.chunks(12).map(|row| f32::from(row[0] + row[5] > 0.1)).collect();
    let shape = GradientLayout::new(&model).unwrap();
    let samples = DeviceDataset::new(&gpu.device, shape, ROWS, BATCH).unwrap();
    samples.write(&gpu.queue, &x, &y).unwrap();
    let params = gpu.span(&shape.pad(&random.units(model.params())));
    let options = DescentOptions {
        model,
        rule: Adam { lr: 0.05, ..Adam::default() }.into(),
        penalty: Penalty::l1(1e-3),
        average: Some(0.5),
        max_batch: BATCH,
        max_batches: STEPS as u32,
        shuffled: false,
    };
    let mut descent = Descent::new(&gpu.device, &samples, &params, options).unwrap();
    let batches = (0..STEPS as u64).map(|i| Batch::new(i * BATCH % ROWS, BATCH)).collect::<Vec<_>>();
    descent.prepare(&gpu.queue, &batches, &[0.05; STEPS]).unwrap();
    descent
}

fn own(gpu: &Gpu) -> Own {
    let mut random = Random(4);
    let numbers: Vec<f32> = (0..100).map(|_| f32::from_bits(random.bits() as u32 | 1)).collect();
    let numbers = gpu.span(&numbers);
    Own { kernel: gpu.kernel(OWN, &[&numbers]), numbers }
}

/// Creates all workloads.
fn works(gpu: &Gpu) -> [Box<dyn Work>; 4] {
    [Box::new(in_an_arena(gpu)), Box::new(descent(gpu)), Box::new(own(gpu)), Box::new(apart(gpu))]
}

fn read(gpu: &Gpu, work: &dyn Work) -> Vec<Vec<f32>> {
    let spans = work.values();
    let spans: Vec<&Span> = spans.iter().filter(|span| span.len > 0).collect();
    gpu.read(&spans)
}

/// The final state of each workload alone.
fn alone(gpu: &Gpu) -> [Vec<Vec<f32>>; 4] {
    [0, 1, 2, 3].map(|i| {
        let work = &works(gpu)[i];
        let before = read(gpu, &**work);
        (0..STEPS).for_each(|step| gpu.run(|pass| work.record(pass, step)));
        let after = read(gpu, &**work);
        assert_ne!(after, before, "work {i} does nothing");
        after
    })
}

/// Asserts that after `run` each workload has the same bits as alone.
#[track_caller]
fn assert_as_alone(gpu: &Gpu, run: impl FnOnce(&[Box<dyn Work>; 4])) {
    let expected = alone(gpu);
    let works = works(gpu);
    run(&works);
    for (i, (work, expected)) in works.iter().zip(&expected).enumerate() {
        for (k, (actual, expected)) in read(gpu, &**work).iter().zip(expected).enumerate() {
            assert_bits(&format!("work {i}, value {k}"), actual, expected);
        }
    }
}

#[test]
fn in_one_pass() {
    let Some(gpu) = Gpu::get() else { return };
    assert_as_alone(gpu, |works| {
        gpu.run(|pass| {
            (0..STEPS).for_each(|step| works.iter().for_each(|work| work.record(pass, step)));
        });
    });
}

#[test]
fn in_passes_of_one_encoder() {
    let Some(gpu) = Gpu::get() else { return };
    assert_as_alone(gpu, |works| {
        gpu.submit(|encoder| {
            for step in 0..STEPS {
                // In another order each time.
                for i in 0..works.len() {
                    let work = &works[(i * 3 + step) % works.len()];
                    work.record(&mut encoder.begin_compute_pass(&Default::default()), step);
                }
            }
        });
    });
}

#[test]
fn in_submissions_that_take_turns() {
    let Some(gpu) = Gpu::get() else { return };
    assert_as_alone(gpu, |works| {
        for step in 0..STEPS {
            works.iter().for_each(|work| gpu.run(|pass| work.record(pass, step)));
        }
    });
}

/// One workload temporarily precedes the others.
#[test]
fn in_submissions_of_many_steps() {
    let Some(gpu) = Gpu::get() else { return };
    assert_as_alone(gpu, |works| {
        for (first, last) in [(0, 1), (1, 9), (9, STEPS)] {
            for work in works {
                gpu.run(|pass| (first..last).for_each(|step| work.record(pass, step)));
            }
        }
    });
}

#[test]
fn in_threads_that_share_the_queue() {
    let Some(gpu) = Gpu::get() else { return };
    assert_as_alone(gpu, |works| {
        std::thread::scope(|scope| {
            for work in works {
                scope.spawn(move || {
                    (0..STEPS).for_each(|step| gpu.run(|pass| work.record(pass, step)));
                });
            }
        });
    });
}
