//! Fused optimizer steps and regression gradients for [wgpu](https://wgpu.rs), recorded into your own
//! compute pass and verified against a definition in f64.
//!
//! ```
//! use wgpu_optim::{Adam, Optimizer, Span};
//! # fn my_backward(_: &mut wgpu::ComputePass) {}
//! # let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
//! # let usage = wgpu::BufferUsages::STORAGE;
//! # let buffer = wgpu::BufferDescriptor { label: None, size: 4096, usage, mapped_at_creation: false };
//! # let (params, grads) = (device.create_buffer(&buffer), device.create_buffer(&buffer));
//!
//! let adam = Adam { lr: 1e-3, ..Adam::default() };
//! let optimizer = Optimizer::new(&device, adam)
//!     .tensor(Span::whole(&params), Span::whole(&grads)) // your buffers, or parts of them
//!     .build()?; // pipelines, moments and bind groups: once
//!
//! let mut encoder = device.create_command_encoder(&Default::default());
//! let mut pass = encoder.begin_compute_pass(&Default::default());
//! for _ in 0..10 {
//!     my_backward(&mut pass); // writes `grads`
//!     optimizer.record(&mut pass); // ten steps, one submission
//! }
//! drop(pass);
//! queue.submit([encoder.finish()]);
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! The library records. It never submits, polls, sets a device callback, prints, or allocates per step.
//!
//! With an arena, parameter groups, a schedule and conditioned gradients:
//!
//! ```
//! use wgpu_optim::gpu::Arena;
//! use wgpu_optim::schedule::CosineAnnealing;
//! use wgpu_optim::{Adam, ClipNorm, Conditioning, Lion, Optimizer};
//! # let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
//! # let mut encoder = device.create_command_encoder(&Default::default());
//! # let mut pass = encoder.begin_compute_pass(&Default::default());
//!
//! // Many tensors in one buffer: their spans are yours to bind, one dispatch updates them all.
//! let shapes: [(&str, &[u64]); 3] = [("embed", &[1000, 64]), ("w", &[64, 10]), ("b", &[10])];
//! let arena = Arena::new(&device, wgpu::BufferUsages::empty(), shapes)?;
//! let bias = &arena.get("b").unwrap().params;
//!
//! let cosine = CosineAnnealing { t_max: 9_500, eta_min: 0.0 }.schedule(1e-3)?.warm_up(500, 0.0)?;
//! let optimizer = Optimizer::new(&device, Adam::adamw())
//!     .learning_rates(cosine.sample(10_000)?) // a table on the device, an entry a step
//!     .arena_tensors(&arena, |name| name != "embed")
//!     .group(Lion::default()) // a parameter group with a rule of its own
//!     .arena_tensors(&arena, |name| name == "embed")
//!     .conditioning(Conditioning {
//!         clip_norm: Some(ClipNorm::Torch(1.0)), // or optax's formula
//!         skip_nonfinite: true, // a step with an Inf or NaN in it is not taken, and counted
//!         ..Conditioning::default()
//!     })
//!     .accumulate(4) // the mean of four recorded gradients is one step
//!     .average(0.999) // of the parameters, kept beside them
//!     .build()?;
//!
//! let without_embed = optimizer.selection(&device, |tensor| tensor != 2); // "embed" was named last
//! optimizer.record_selected(&mut pass, &without_embed); // no gradient: not touched, its t stays
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! Optimizer state can be saved to host memory and restored; the restored optimizer continues with the same bits. A
//! program that keeps a snapshot survives a lost device. The device-lost callback stays yours:
//!
//! ```
//! # use wgpu_optim::{Error, Optimizer};
//! # async fn keep(device: wgpu::Device, queue: wgpu::Queue, optimizer: Optimizer) -> Result<(), Error> {
//! # let mut encoder = device.create_command_encoder(&Default::default());
//! let mut snapshot = optimizer.snapshot(&device)?; // staging buffers: once
//! snapshot.record(&optimizer, &mut encoder)?; // behind any step, in the middle of an accumulation too
//! queue.submit([encoder.finish()]);
//! let state = snapshot.read().await?; // resolves when you poll: moments, steps, parameters, as plain data
//!
//! optimizer.restore(&queue, &state)?; // this one, or one that was built alike on another device
//! # Ok(())
//! # }
//! ```
//!
//! With [`Arithmetic::Strict`], the bits of a step are the same on every device and on the processor:
//!
//! ```
//! # use wgpu_optim::{Adam, Arithmetic, Optimizer, Span};
//! # let (device, _) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
//! # let buffer = || device.create_buffer(&wgpu::BufferDescriptor {
//! #     label: None,
//! #     size: 64,
//! #     usage: wgpu::BufferUsages::STORAGE,
//! #     mapped_at_creation: false,
//! # });
//! # let (params, grads) = (Span::whole(&buffer()), Span::whole(&buffer()));
//! let optimizer = Optimizer::new(&device, Adam::default())
//!     .arithmetic(Arithmetic::Strict)
//!     .tensor(params, grads)
//!     .build()?;
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! With the feature `checkpoint`, [`gpu::OptimizerState`] has `save` and `load` for files.
//!
//! Every rule has three files of one name: its hyper-parameters in [`rule`] (`src/rule/adam.rs`), its definition in
//! [`cpu`] (`src/cpu/adam.rs`), and its kernel in `shaders/update/adam.wgsl`.
//!
//! # Features
//! - no feature: rules, their definitions, schedules, the optimizer, spans, arenas, snapshots and read-back;
//! - `cpu`: the rules in f32 on all threads of the processor, with SIMD selected at run time;
//! - `serde`: serialization of rules and states;
//! - `checkpoint`: optimizer state in files;
//! - `regression`: models, losses, rows in memory, gradients, training and metrics; compiles for the browser;
//! - `files`: data sets, trained models and checkpoints of runs in files;
//! - `parquet`: data sets in Parquet files;
//! - `verify`: the suite that compares every kernel with its definition on a device.
//!
//! The command `wgpu-optim` is the package `wgpu-optim-cli`.

#![warn(missing_docs)]

mod arithmetic;
mod check;
#[cfg(feature = "checkpoint")]
pub mod checkpoint;
pub mod cpu;
mod error;
pub mod gpu;
#[cfg(feature = "regression")]
pub mod regression;
pub mod rule;
pub mod schedule;
#[cfg(feature = "verify")]
pub mod verify;
mod wgsl;

pub use arithmetic::Arithmetic;
pub use error::Error;
pub use gpu::{Optimizer, Span};
#[cfg(feature = "regression")]
pub use regression::{Batch, Evaluation, Loss, Model, Window};
pub use rule::types::*;
pub use rule::{ClipNorm, Conditioning, Penalty, Rule};
pub use schedule::Schedule;
pub use wgpu;
