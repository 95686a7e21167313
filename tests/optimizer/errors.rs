//! Errors, which are reported before wgpu's own errors (those would panic). No GPU is needed.

use crate::common;

use wgpu::{Buffer, BufferUsages, Device, DeviceDescriptor, Limits, Queue};
use wgpu_optim::gpu::{Arena, OptimizerBuilder, ReadBack};
use wgpu_optim::regression::kernels::{
    DeviceDataset, Generator, Gradient, GradientLayout, SyntheticRows,
};
use wgpu_optim::regression::reference::synthetic::{Options, Synthetic};
use wgpu_optim::{
    Adam, Batch, ClipNorm, Conditioning, Error, Lion, Loss, Model, Optimizer, RmsProp, Sgd, Span,
};

fn noop(limits: Limits) -> (Device, Queue) {
    Device::noop(&DeviceDescriptor { required_limits: limits, ..Default::default() })
}

/// Alignment 256, buffers up to 256 MiB.
fn device() -> Device {
    noop(Limits::default()).0
}

fn buffer_with(device: &Device, bytes: u64, usage: BufferUsages) -> Buffer {
    let descriptor =
        wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false };
    device.create_buffer(&descriptor)
}

fn buffer(device: &Device, bytes: u64) -> Buffer {
    buffer_with(device, bytes, BufferUsages::STORAGE)
}

fn span(device: &Device, len: u64) -> Span {
    Span::whole(&buffer(device, len * 4))
}

fn adam(device: &Device) -> OptimizerBuilder<'_> {
    Optimizer::new(device, Adam::default())
}

#[track_caller]
fn refused(builder: OptimizerBuilder) -> Error {
    builder.build().map(|_| ()).unwrap_err()
}

/// The error of an optimizer whose parameters are `params`.
#[track_caller]
fn refused_params(device: &Device, params: Span) -> Error {
    refused(adam(device).tensor(params, span(device, 8)))
}

#[track_caller]
fn assert_names(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not name {part:?}");
    }
}

#[test]
fn valid_settings_are_accepted() {
    let device = device();
    let shared = buffer(&device, 1024);
    let [a, b] = [Span::new(&shared, 0, 64), Span::new(&shared, 256, 64)];
    let empty = Span::new(&shared, 1024, 0);
    adam(&device).build().unwrap();
    adam(&device).tensor(a.clone(), b.clone()).tensor(empty.clone(), empty).build().unwrap();
    // Two tensors may have the same gradients.
    adam(&device).tensor(a, b.clone()).tensor(Span::new(&shared, 512, 64), b).build().unwrap();
}

#[test]
fn a_misaligned_offset() {
    let device = device();
    let shared = buffer(&device, 1024);
    for offset in [1, 4, 16, 128, 255, 257, 300] {
        let error = refused_params(&device, Span::new(&shared, offset, 8));
        assert!(matches!(error, Error::Misaligned { alignment: 256, .. }), "{error}");
        assert_names(&error, &["params of tensor 0", &offset.to_string(), "256"]);
    }
    let grads = Span::new(&shared, 4, 8);
    let error = refused(adam(&device).tensor(span(&device, 8), grads));
    assert_names(&error, &["grads of tensor 0", "offset 4"]);
}

#[test]
fn a_span_past_its_buffer() {
    let device = device();
    let shared = buffer(&device, 1024);
    let spans =
        [(0, 257), (256, 193), (1024, 1), (1280, 0), (0, u64::MAX), (u64::MAX, 0), (u64::MAX, 8)];
    for (offset, len) in spans.into_iter().chain([(0, 1 << 62), (256, (1 << 62) - 64), (1 << 63, 1)]) {
        let error = refused_params(&device, Span::new(&shared, offset, len));
        assert!(matches!(error, Error::OutOfBounds { size: 1024, .. }), "{error}");
        assert_names(&error, &["params of tensor 0", "1024"]);
    }
    let error = refused_params(&device, Span::new(&shared, 256, 193));
    assert_names(&error, &["1028"]);
}

#[test]
fn a_missing_usage() {
    let device = device();
    let other = buffer_with(&device, 32, BufferUsages::COPY_DST);
    let error = refused_params(&device, Span::whole(&other));
    assert!(matches!(error, Error::MissingUsage { .. }), "{error}");
    assert_names(&error, &["params of tensor 0", "COPY_DST", "STORAGE"]);
}

#[test]
fn different_lengths() {
    let device = device();
    let error = refused(adam(&device).tensor(span(&device, 8), span(&device, 7)));
    let what = "grads of tensor 0".into();
    assert_eq!(error, Error::Length { what, actual: 7, expected: 8 });
    assert_names(&error, &["7", "8"]);
}

#[test]
fn overlapping_spans() {
    let device = device();
    let shared = buffer(&device, 4096);
    let at = |offset, len| Span::new(&shared, offset, len);
    let own = |len| span(&device, len);

    let error = refused(adam(&device).tensor(at(0, 65), at(256, 65)));
    assert_names(&error, &["params of tensor 0", "grads of tensor 0", "overlap"]);
    let error = refused(adam(&device).tensor(at(256, 65), at(0, 65)));
    assert!(matches!(error, Error::Overlap { .. }), "{error}");
    let error = refused(adam(&device).tensor(at(0, 8), at(0, 8)));
    assert!(matches!(error, Error::Overlap { .. }), "{error}");

    let two = adam(&device).tensor(at(0, 200), own(200)).tensor(at(512, 8), own(8));
    assert_names(&refused(two), &["params of tensor 0", "params of tensor 1"]);
    let two = adam(&device).tensor(own(200), at(0, 200)).tensor(at(512, 8), own(8));
    assert_names(&refused(two), &["grads of tensor 0", "params of tensor 1"]);
}

#[test]
fn overlaps_among_many_spans() {
    let device = device();
    let count = 10_000;
    let shared = buffer(&device, 2 * count * 256);
    let at = |i: u64, len| Span::new(&shared, i * 256, len);
    let many = |last: (Span, Span)| {
        let mut builder = adam(&device);
        // Parameters first, in reverse order of tensors, then gradients.
        for i in (0..count - 1).rev() {
            builder = builder.tensor(at(i, 64), at(count + i, 64));
        }
        builder.tensor(last.0, last.1)
    };
    let last = count - 1;
    let error = refused(many((at(last - 1, 65), span(&device, 65))));
    assert_names(&error, &["params of tensor 0", "params of tensor 9999"]);
    let error = refused(many((at(last, 65), span(&device, 65))));
    assert_names(&error, &["grads of tensor 9998", "params of tensor 9999"]);
    // A span that begins long before the one that it overlaps.
    let error = refused(many((at(5, 64 * 9_000), span(&device, 64 * 9_000))));
    assert!(matches!(error, Error::Overlap { .. }), "{error}");
    // Gradients may share memory.
    let shares = adam(&device).tensor(at(8, 256), at(2, 256)).tensor(at(1, 64), at(3, 64));
    shares.tensor(at(12, 64), at(2, 64)).build().unwrap();
}

#[test]
fn gradients_that_are_written_back_twice() {
    let device = device();
    let shared = span(&device, 64);
    let two = |write_back| {
        let conditioning = Conditioning { write_back, ..Conditioning::default() };
        let builder = adam(&device).conditioning(conditioning);
        let builder = builder.tensor(span(&device, 64), shared.clone());
        builder.tensor(span(&device, 64), shared.clone())
    };
    two(false).build().unwrap();
    assert_names(&refused(two(true)), &["grads of tensor 0", "grads of tensor 1", "overlap"]);
}

#[test]
fn a_bad_part_of_a_tensor() {
    let device = device();
    let shared = buffer(&device, 4096);
    let at = |offset, len| Span::new(&shared, offset, len);
    let own = |len| span(&device, len);
    let parts = |second: (Span, Span)| {
        adam(&device).tensor(own(4), own(4)).tensor_in_parts([(own(64), at(0, 64)), second])
    };
    parts((at(256, 64), own(64))).build().unwrap();
    let error = refused(parts((at(260, 64), own(64))));
    assert!(matches!(error, Error::Misaligned { offset: 260, .. }), "{error}");
    assert_names(&error, &["params of tensor 1"]);
    let error = refused(parts((own(64), at(4096, 1))));
    assert!(matches!(error, Error::OutOfBounds { size: 4096, .. }), "{error}");
    assert_names(&error, &["grads of tensor 1"]);
    let error = refused(parts((own(64), own(63))));
    assert_eq!(error, Error::Length { what: "grads of tensor 1".into(), actual: 63, expected: 64 });
    let error = refused(parts((at(0, 64), own(64))));
    assert_names(&error, &["grads of tensor 1", "params of tensor 1", "overlap"]);
    let unusable = Span::whole(&buffer_with(&device, 256, BufferUsages::COPY_DST));
    assert!(matches!(refused(parts((unusable, own(64)))), Error::MissingUsage { .. }));
    adam(&device).tensor_in_parts([]).build().unwrap();
}

#[test]
fn an_arena_that_cannot_be() {
    let device = device();
    let none = BufferUsages::empty();
    let error = Arena::new(&device, none, [("a", &[1u64][..]), ("b", &[]), ("a", &[2])]).unwrap_err();
    assert_eq!(error, Error::Duplicate { name: "a".into() });
    assert_names(&error, &["`a`"]);
    for shape in [&[1u64 << 32, 1 << 32][..], &[u64::MAX], &[u64::MAX, u64::MAX]] {
        let error = Arena::new(&device, none, [("a", shape)]).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
    let error = Arena::with_max_buffer(&device, none, [("a", &[1u64][..])], 255).unwrap_err();
    assert_names(&error, &["max_buffer_size", "255", "256"]);
}

#[test]
fn an_arena_twice() {
    let device = device();
    let arena = Arena::new(&device, BufferUsages::empty(), [("a", &[3u64][..]), ("b", &[5])]).unwrap();
    let error = refused(adam(&device).arena(&arena).arena_tensors(&arena, |name| name == "b"));
    assert_names(&error, &["params of tensor 1", "params of tensor 2", "overlap"]);
}

#[test]
fn more_tensors_than_a_binding_has_slots_for() {
    let small = Limits { max_storage_buffer_binding_size: 10 * 256, ..Limits::default() };
    let device = noop(small).0;
    let many = |count: u64| {
        let shapes: Vec<_> = (0..count).map(|i| i.to_string()).collect();
        let shapes = shapes.iter().map(|name| (name.as_str(), &[1u64][..]));
        let arena = Arena::new(&device, BufferUsages::empty(), shapes).unwrap();
        adam(&device).arena(&arena).build().map(|_| ())
    };
    many(10).unwrap();
    let error = many(11).unwrap_err();
    assert_names(&error, &["max_storage_buffer_binding_size", "2560", "2816", "slot"]);
}

/// No combination of options causes an error of wgpu.
#[test]
fn every_rule_with_every_option_in_every_layout() {
    let (device, queue) = noop(Limits::default());
    let shapes = [("a", &[7u64, 11][..]), ("b", &[]), ("c", &[300])];
    let arena = Arena::new(&device, BufferUsages::empty(), shapes).unwrap();
    let (params, grads) = (span(&device, 4 * 77), span(&device, 4 * 77));
    // Eight combinations, in which each pair of options occurs with and without each other.
    for (i, rule) in common::step::rules().into_iter().enumerate() {
        for options in [i % 8, 7 - i % 8, (i + 3) % 8] {
            let set = |bit: usize| options >> bit & 1 == 1;
            let clips = [None, Some(ClipNorm::Torch(1.0)), Some(ClipNorm::Optax(1.0))];
            let conditioning = Conditioning {
                clip_norm: clips[(i + options) % 3],
                clip_value: set(0).then_some(0.5),
                grad_scale: if set(1) { 8.0 } else { 1.0 },
                write_back: set(2),
                skip_nonfinite: set(0) != set(1),
            };
            let mut builder = Optimizer::new(&device, rule)
                .conditioning(conditioning)
                .accumulate(1 + u32::from(set(1)))
                .arena(&arena)
                .tensor(params.clone(), grads.clone())
                .tensor_in_parts([3, 4, 5].map(|len| (span(&device, len), span(&device, len))))
                .group(Sgd::default())
                .tensor(span(&device, 5), span(&device, 5));
            if set(2) != set(0) {
                builder = builder.average(0.9);
            }
            let optimizer = builder.build().unwrap();
            let selection = optimizer.selection(&device, |tensor| tensor % 2 == 0);
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            optimizer.record(&mut pass);
            optimizer.record_selected(&mut pass, &selection);
            drop(pass);
            queue.submit([encoder.finish()]);
        }
    }
}

#[test]
fn hyper_parameters_out_of_their_range() {
    let device = device();
    let error = refused(Optimizer::new(&device, Sgd { lr: -1.0, ..Sgd::default() }));
    assert_names(&error, &["sgd", "lr", "-1"]);
    let error = refused(Optimizer::new(&device, RmsProp { alpha: 1.5, ..RmsProp::default() }));
    assert_names(&error, &["rmsprop", "alpha", "1.5", "< 1"]);
    let error = refused(Optimizer::new(&device, Adam { eps: f64::NAN, ..Adam::default() }));
    assert_names(&error, &["adam", "eps", "NaN"]);
    let nesterov = Sgd { nesterov: true, ..Sgd::default() };
    assert_names(&refused(Optimizer::new(&device, nesterov)), &["momentum", "nesterov"]);
}

#[test]
fn any_group_with_a_bad_value() {
    let device = device();
    let second = || adam(&device).tensor(span(&device, 8), span(&device, 8));
    let error = refused(second().group(Lion { betas: (0.9, f64::NAN), ..Lion::default() }));
    assert_names(&error, &["lion", "beta2", "NaN"]);
    let error = refused(second().group(Sgd::default()).learning_rates(vec![0.1, -1.0]));
    assert_names(&error, &["entry 1 of 2 is -1.0"]);
}

#[test]
fn conditioning_out_of_its_range() {
    let (device, queue) = noop(Limits::default());
    let default = Conditioning::default();
    let optimizer = adam(&device).build().unwrap();
    for bad in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-39, 1e38] {
        let clips = [ClipNorm::Torch(bad), ClipNorm::Optax(bad)].map(Some);
        let cases = clips
            .map(|clip_norm| ("clip_norm", Conditioning { clip_norm, ..default }))
            .into_iter()
            .chain([
                ("clip_value", Conditioning { clip_value: Some(bad), ..default }),
                ("grad_scale", Conditioning { grad_scale: bad, ..default }),
            ]);
        for (field, conditioning) in cases {
            let error = refused(adam(&device).conditioning(conditioning));
            assert!(matches!(error, Error::HyperParameter { .. }), "{error}");
            assert_names(&error, &[field, &format!("{bad:?}")]);
        }
        let error = optimizer.set_grad_scale(&queue, bad).unwrap_err();
        assert_names(&error, &["grad_scale", &format!("{bad:?}")]);
    }
    // An infinite limit is valid, as in PyTorch, but an infinite scale is not.
    let (none, clip_norm) = (f64::INFINITY, Some(ClipNorm::Torch(f64::INFINITY)));
    let unlimited = Conditioning { clip_norm, clip_value: Some(none), ..default };
    adam(&device).conditioning(unlimited).build().unwrap();
    let error = refused(adam(&device).conditioning(Conditioning { grad_scale: none, ..default }));
    assert_names(&error, &["grad_scale", "inf"]);
    assert_names(&optimizer.set_grad_scale(&queue, none).unwrap_err(), &["grad_scale", "inf"]);
}

#[test]
fn no_micro_batch_in_a_step() {
    let device = device();
    assert_names(&refused(adam(&device).accumulate(0)), &["micro_batches", "0"]);
    adam(&device).accumulate(u32::MAX).build().unwrap();
}

#[test]
fn a_decay_of_the_average_that_is_none() {
    let device = device();
    for bad in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        assert_names(&refused(adam(&device).average(bad)), &["average", &format!("{bad:?}")]);
    }
    adam(&device).average(0.0).build().unwrap();
}

#[test]
fn tensors_and_groups_that_are_not_there() {
    let (device, queue) = noop(Limits::default());
    let builder = adam(&device).tensor(span(&device, 8), span(&device, 8)).group(Sgd::default());
    let mut optimizer = builder.tensor(span(&device, 8), span(&device, 8)).build().unwrap();
    for index in [2, usize::MAX] {
        let what = "tensor";
        let error = Err(Error::Index { what, index, count: 2 });
        assert_eq!(optimizer.freeze(&queue, index), error);
        assert_eq!(optimizer.thaw(&queue, index), error);
        assert_eq!(optimizer.set_step(&queue, index, 7), error);
        let error = optimizer.set_learning_rates(&device, &queue, index, &[0.1]).unwrap_err();
        assert_names(&error, &["parameter group", "does not exist", &index.to_string(), "are 2"]);
    }
    optimizer.freeze(&queue, 1).unwrap();
    optimizer.set_step(&queue, 1, u64::MAX).unwrap();
    optimizer.set_learning_rates(&device, &queue, 1, &[0.1]).unwrap();
}

#[test]
fn bad_learning_rate_tables() {
    let (device, queue) = noop(Limits::default());
    let mut optimizer = adam(&device).build().unwrap();
    let bad = [
        (vec![], "it is empty"),
        (vec![0.1, f32::NAN], "entry 1 of 2 is NaN"),
        (vec![f32::INFINITY], "entry 0 of 1 is inf"),
        (vec![0.1, 0.2, -0.5], "entry 2 of 3 is -0.5"),
    ];
    for (table, text) in bad {
        let error = refused(adam(&device).learning_rates(table.clone()));
        assert_names(&error, &[text, "finite"]);
        assert_eq!(
            optimizer.set_learning_rates(&device, &queue, 0, &table).unwrap_err().to_string(),
            error.to_string()
        );
    }
}

#[test]
fn a_learning_rate_table_longer_than_a_binding() {
    let small = Limits { max_storage_buffer_binding_size: 1024, ..Limits::default() };
    let (device, queue) = noop(small);
    // Two of the 256 words locate the table.
    let mut optimizer = adam(&device).learning_rates(vec![0.1; 254]).build().unwrap();
    let error = refused(adam(&device).learning_rates(vec![0.1; 255]));
    assert_names(&error, &["1024", "1028"]);
    optimizer.set_learning_rates(&device, &queue, 0, &[0.1; 255]).unwrap_err();
}

#[test]
fn moments_longer_than_a_binding_are_several() {
    let device = device();
    let limits = wgpu_optim::gpu::span::Limits::of(&device).capped(1024);
    let (params, grads) = (span(&device, 300), span(&device, 300));
    let optimizer = adam(&device).limits(limits).tensor(params, grads).build().unwrap();
    for moment in &optimizer.tensors()[0].moments {
        let lengths: Vec<u64> = moment.iter().map(|span| span.len).collect();
        assert_eq!(lengths, [128, 128, 44]);
    }
}

#[test]
fn a_device_with_too_few_storage_buffers() {
    let with = |buffers| {
        let few = Limits { max_storage_buffers_per_shader_stage: buffers, ..Limits::default() };
        noop(few).0
    };
    adam(&with(7)).build().unwrap();
    let error = refused(adam(&with(6)));
    assert_names(&error, &["max_storage_buffers_per_shader_stage", "6", "7"]);
}

#[test]
fn shapes_that_cannot_be_computed_with() {
    for features in [0, (1 << 20) + 1, 1 << 32, usize::MAX] {
        let error = GradientLayout::new(&Model::new(features, Loss::Mse)).unwrap_err();
        assert_names(&error, &["features", &features.to_string(), "1048576"]);
    }
}

/// The shape of a linear regression's gradient.
fn shape(features: usize) -> GradientLayout {
    GradientLayout::new(&Model::new(features, Loss::Mse)).unwrap()
}

/// A gradient of `batches` batches with this number of rows.
fn gradient_of(
    device: &Device,
    samples: &DeviceDataset,
    (params, grads): (&Span, &Span),
    batches: (u64, u32),
) -> Result<Gradient, Error> {
    let model = Model::new(samples.shape().features as usize, Loss::Mse);
    Gradient::new(device, samples, &model, (params, grads), batches, false)
}

#[test]
fn samples_of_another_size() {
    let (device, queue) = noop(Limits::default());
    let samples = DeviceDataset::new(&device, shape(3), 10, 5).unwrap();
    let error = samples.write(&queue, &[0.0; 29], &[0.0; 10]).unwrap_err();
    assert_eq!(error, Error::Length { what: "x".into(), actual: 29, expected: 30 });
    let error = samples.write(&queue, &[0.0; 30], &[0.0; 11]).unwrap_err();
    assert_eq!(error, Error::Length { what: "auxiliary columns".into(), actual: 11, expected: 10 });
    let error = SyntheticRows::new(&device, &samples, &Synthetic::new(4, 0.0, 1)).unwrap_err();
    assert_names(&error, &["features", "4", "3"]);
    for features in [0, (1 << 20) + 1] {
        let error = Generator::new(&device, &Synthetic::new(features, 0.0, 1)).unwrap_err();
        assert_names(&error, &["features", &features.to_string(), "1048576"]);
    }
    let options = Options { features: 3, outputs: 2, ..Options::default() };
    let problem = Synthetic::with_options(&options).unwrap();
    let error = SyntheticRows::new(&device, &samples, &problem).unwrap_err();
    assert_eq!(error, Error::Length { what: "targets of a chunk".into(), actual: 10, expected: 20 });
    let error = DeviceDataset::with_max_buffer(&device, shape(5), 10, 5, 31).unwrap_err();
    assert_names(&error, &["max_storage_buffer_binding_size", "31", "32"]);
}

/// A gradient over ten rows of three features.
fn gradient(device: &Device) -> Gradient {
    let samples = DeviceDataset::new(device, shape(3), 10, 4).unwrap();
    gradient_of(device, &samples, (&span(device, 8), &span(device, 8)), (4, 2)).unwrap()
}

#[test]
fn batches_that_are_not_in_the_data() {
    let (device, queue) = noop(Limits::default());
    let mut gradient = gradient(&device);
    let mut prepare = |batches: &[(u64, u64)]| {
        let batches: Vec<_> = batches.iter().map(|&(first, rows)| Batch::new(first, rows)).collect();
        gradient.prepare(&queue, &batches)
    };
    prepare(&[]).unwrap();
    prepare(&[(0, 4), (6, 4)]).unwrap();
    assert_names(&prepare(&[(0, 1); 3]).unwrap_err(), &["number of batches", "3"]);
    assert_names(&prepare(&[(0, 0)]).unwrap_err(), &["rows in a batch", "0"]);
    assert_names(&prepare(&[(0, 1), (0, 5)]).unwrap_err(), &["rows in a batch", "5"]);
    assert_names(&prepare(&[(0, u64::MAX)]).unwrap_err(), &["rows in a batch"]);
    assert_names(&prepare(&[(7, 4)]).unwrap_err(), &["end of a batch", "11"]);
    for first in [10, u64::MAX - 1, u64::MAX] {
        assert_names(&prepare(&[(first, 1)]).unwrap_err(), &["end of a batch"]);
    }
}

#[test]
fn batches_that_are_not_in_the_data_have_some_depth() {
    let gradient = gradient(&device());
    for (first, rows) in [(0, 0), (0, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
        gradient.depths(Batch::new(first, rows));
    }
}

#[test]
fn a_gradient_of_other_spans() {
    let device = device();
    let samples = DeviceDataset::new(&device, shape(3), 10, 4).unwrap();
    let refused = |params: &Span, grads: &Span| {
        gradient_of(&device, &samples, (params, grads), (4, 2)).unwrap_err()
    };
    let right = span(&device, 8);
    assert_names(&refused(&span(&device, 4), &right), &["params", "4", "8"]);
    assert_names(&refused(&right, &span(&device, 9)), &["grads", "9", "8"]);
    assert_names(&refused(&right, &right), &["params", "grads", "overlap"]);
    let shared = buffer(&device, 1024);
    assert_names(&refused(&Span::new(&shared, 4, 8), &right), &["params", "offset 4", "256"]);
    assert_names(&refused(&Span::new(&shared, 0, u64::MAX), &right), &["params", "1024"]);
    let unusable = Span::whole(&buffer_with(&device, 32, BufferUsages::COPY_SRC));
    assert_names(&refused(&right, &unusable), &["grads", "COPY_SRC", "STORAGE"]);
}

#[test]
fn partial_sums_longer_than_a_binding() {
    let small = Limits { max_storage_buffer_binding_size: 4096, ..Limits::default() };
    let (device, _) = noop(small);
    let samples = DeviceDataset::new(&device, shape(64), 1000, 1000).unwrap();
    let (params, grads) = (span(&device, 68), span(&device, 68));
    let error = gradient_of(&device, &samples, (&params, &grads), (1000, 1)).unwrap_err();
    assert!(matches!(error, Error::Limit { available: 4096, .. }), "{error}");
    assert_names(&error, &["max_storage_buffer_binding_size", "4096", "partial sums"]);
}

#[test]
fn more_batches_than_a_buffer_can_describe() {
    let device = device();
    let samples = DeviceDataset::new(&device, shape(3), 10, 4).unwrap();
    let new = |max_batches| {
        let (params, grads) = (span(&device, 8), span(&device, 8));
        gradient_of(&device, &samples, (&params, &grads), (4, max_batches))
    };
    new(0).unwrap();
    assert_names(&new(u32::MAX).unwrap_err(), &["max_buffer_size", "268435456"]);
}

#[test]
fn a_gradient_on_a_device_with_too_few_storage_buffers() {
    let few = Limits { max_storage_buffers_per_shader_stage: 4, ..Limits::default() };
    let (device, _) = noop(few);
    let samples = DeviceDataset::new(&device, shape(3), 10, 4).unwrap();
    let (params, grads) = (span(&device, 8), span(&device, 8));
    let error = gradient_of(&device, &samples, (&params, &grads), (4, 2)).unwrap_err();
    assert_names(&error, &["max_storage_buffers_per_shader_stage", "4", "5"]);
}

#[test]
fn samples_in_buffers_longer_than_the_device_allows() {
    let small = Limits { max_buffer_size: 1024, ..Limits::default() };
    let (device, _) = noop(small);
    let samples = DeviceDataset::with_max_buffer(&device, shape(4), 100, 10, u64::MAX).unwrap();
    assert_eq!(samples.chunks().len(), 2);
}

#[test]
fn no_rows_are_no_error() {
    let (device, queue) = noop(Limits::default());
    let samples = DeviceDataset::new(&device, shape(3), 0, 0).unwrap();
    samples.write(&queue, &[], &[]).unwrap();
    SyntheticRows::new(&device, &samples, &Synthetic::new(3, 0.0, 1)).unwrap();
    let (params, grads) = (span(&device, 8), span(&device, 8));
    let mut gradient = gradient_of(&device, &samples, (&params, &grads), (0, 0)).unwrap();
    gradient.prepare(&queue, &[]).unwrap();
}

#[test]
fn reading_back_more_than_there_is_room_for() {
    let (device, _queue) = noop(Limits::default());
    for bytes in [u64::MAX, u64::MAX - 3, (256 << 20) + 1] {
        let error = ReadBack::new(&device, bytes).unwrap_err();
        assert_names(&error, &["max_buffer_size", "268435456", "in parts"]);
    }
    let mut staging = ReadBack::new(&device, 8).unwrap();
    let source = buffer_with(&device, 1024, BufferUsages::COPY_SRC);
    let mut encoder = device.create_command_encoder(&Default::default());
    let part = |offset, len| Span::new(&source, offset, len);
    staging.copy(&mut encoder, &part(0, 1)).unwrap();
    for len in [2, 256] {
        let error = staging.copy(&mut encoder, &part(0, len)).unwrap_err();
        assert!(matches!(error, Error::OutOfBounds { size: 8, .. }), "{error}");
    }
    for (offset, len) in [(0, 257), (1020, 2), (0, u64::MAX), (u64::MAX - 3, 1)] {
        let error = staging.copy(&mut encoder, &part(offset, len)).unwrap_err();
        assert!(matches!(error, Error::OutOfBounds { size: 1024, .. }), "{error}");
    }
    let error = staging.copy(&mut encoder, &part(2, 1)).unwrap_err();
    assert!(matches!(error, Error::Misaligned { offset: 2, alignment: 4, .. }), "{error}");
    let unreadable = Span::whole(&buffer_with(&device, 1024, BufferUsages::STORAGE));
    let error = staging.copy(&mut encoder, &Span { len: 1, ..unreadable }).unwrap_err();
    assert!(matches!(error, Error::MissingUsage { .. }), "{error}");
    staging.copy(&mut encoder, &part(1020, 1)).unwrap();
    encoder.finish();
}
