//! What is refused, and that it is refused before wgpu complains: any error of wgpu's own would panic.
//! No GPU is needed.

mod common;

use wgpu::{Buffer, BufferUsages, Device, DeviceDescriptor, Limits, Queue};
use wgpu_optim::cpu::random::Synthetic;
use wgpu_optim::gpu::{
    Batch, LinearGradient, OptimizerBuilder, ReadBack, Samples, Shape, SyntheticRows,
};
use wgpu_optim::{Adam, Error, Optimizer, RmsProp, Sgd, Span};

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
fn what_is_right_is_not_refused() {
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
fn bad_learning_rate_tables() {
    let (device, queue) = noop(Limits::default());
    let mut optimizer = adam(&device).build().unwrap();
    let bad = [
        (vec![], "it has no entry"),
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
    let mut optimizer = adam(&device).learning_rates(vec![0.1; 256]).build().unwrap();
    let error = refused(adam(&device).learning_rates(vec![0.1; 257]));
    assert_names(&error, &["1024", "1028"]);
    optimizer.set_learning_rates(&device, &queue, 0, &[0.1; 257]).unwrap_err();
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
        let error = Shape::new(features).unwrap_err();
        assert_names(&error, &["features", &features.to_string(), "1048576"]);
    }
}

#[test]
fn samples_of_another_size() {
    let (device, queue) = noop(Limits::default());
    let samples = Samples::new(&device, Shape::new(3).unwrap(), 10, 5).unwrap();
    let error = samples.write(&queue, &[0.0; 29], &[0.0; 10]).unwrap_err();
    assert_eq!(error, Error::Length { what: "x".into(), actual: 29, expected: 30 });
    let error = samples.write(&queue, &[0.0; 30], &[0.0; 11]).unwrap_err();
    assert_eq!(error, Error::Length { what: "y".into(), actual: 11, expected: 10 });
    let error = SyntheticRows::new(&device, &samples, &Synthetic::new(4, 0.0, 1)).unwrap_err();
    assert_names(&error, &["features", "4", "3"]);
    let error = Samples::with_max_buffer(&device, Shape::new(5).unwrap(), 10, 5, 31).unwrap_err();
    assert_names(&error, &["max_storage_buffer_binding_size", "31", "32"]);
}

/// A gradient over ten rows of three features.
fn gradient(device: &Device) -> LinearGradient {
    let samples = Samples::new(device, Shape::new(3).unwrap(), 10, 4).unwrap();
    LinearGradient::new(device, &samples, &span(device, 4), &span(device, 4), 4, 2).unwrap()
}

#[test]
fn batches_that_are_not_in_the_data() {
    let (device, queue) = noop(Limits::default());
    let mut gradient = gradient(&device);
    let mut prepare = |batches: &[(u64, u64)]| {
        let batches: Vec<_> = batches.iter().map(|&(first, rows)| Batch { first, rows }).collect();
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
        gradient.depths(Batch { first, rows });
    }
}

#[test]
fn a_gradient_of_other_spans() {
    let device = device();
    let samples = Samples::new(&device, Shape::new(3).unwrap(), 10, 4).unwrap();
    let refused = |params: &Span, grads: &Span| {
        LinearGradient::new(&device, &samples, params, grads, 4, 2).unwrap_err()
    };
    let right = span(&device, 4);
    assert_names(&refused(&span(&device, 3), &right), &["params", "3", "4"]);
    assert_names(&refused(&right, &span(&device, 5)), &["grads", "5", "4"]);
    assert_names(&refused(&right, &right), &["params", "grads", "overlap"]);
    let shared = buffer(&device, 1024);
    assert_names(&refused(&Span::new(&shared, 4, 4), &right), &["params", "offset 4", "256"]);
    assert_names(&refused(&Span::new(&shared, 0, u64::MAX), &right), &["params", "1024"]);
    let unusable = Span::whole(&buffer_with(&device, 16, BufferUsages::COPY_SRC));
    assert_names(&refused(&right, &unusable), &["grads", "COPY_SRC", "STORAGE"]);
}

#[test]
fn partial_sums_longer_than_a_binding() {
    let small = Limits { max_storage_buffer_binding_size: 4096, ..Limits::default() };
    let (device, _) = noop(small);
    let samples = Samples::new(&device, Shape::new(64).unwrap(), 1000, 1000).unwrap();
    let (params, grads) = (span(&device, 65), span(&device, 65));
    let error = LinearGradient::new(&device, &samples, &params, &grads, 1000, 1).unwrap_err();
    assert!(matches!(error, Error::Limit { available: 4096, .. }), "{error}");
    assert_names(&error, &["max_storage_buffer_binding_size", "4096", "smaller batches"]);
}

#[test]
fn more_batches_than_a_buffer_can_describe() {
    let device = device();
    let samples = Samples::new(&device, Shape::new(3).unwrap(), 10, 4).unwrap();
    let new = |max_batches| {
        LinearGradient::new(&device, &samples, &span(&device, 4), &span(&device, 4), 4, max_batches)
    };
    new(0).unwrap();
    assert_names(&new(u32::MAX).unwrap_err(), &["max_buffer_size", "268435456"]);
}

#[test]
fn a_gradient_on_a_device_with_too_few_storage_buffers() {
    let few = Limits { max_storage_buffers_per_shader_stage: 4, ..Limits::default() };
    let (device, _) = noop(few);
    let samples = Samples::new(&device, Shape::new(3).unwrap(), 10, 4).unwrap();
    let (params, grads) = (span(&device, 4), span(&device, 4));
    let error = LinearGradient::new(&device, &samples, &params, &grads, 4, 2).unwrap_err();
    assert_names(&error, &["max_storage_buffers_per_shader_stage", "4", "5"]);
}

#[test]
fn samples_in_buffers_longer_than_the_device_allows() {
    let small = Limits { max_buffer_size: 1024, ..Limits::default() };
    let (device, _) = noop(small);
    let shape = Shape::new(4).unwrap();
    let samples = Samples::with_max_buffer(&device, shape, 100, 10, u64::MAX).unwrap();
    assert_eq!(samples.chunks().len(), 2);
}

#[test]
fn no_rows_are_no_error() {
    let (device, queue) = noop(Limits::default());
    let samples = Samples::new(&device, Shape::new(3).unwrap(), 0, 0).unwrap();
    samples.write(&queue, &[], &[]).unwrap();
    SyntheticRows::new(&device, &samples, &Synthetic::new(3, 0.0, 1)).unwrap();
    let (params, grads) = (span(&device, 4), span(&device, 4));
    let mut gradient = LinearGradient::new(&device, &samples, &params, &grads, 0, 0).unwrap();
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
