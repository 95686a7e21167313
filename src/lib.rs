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
//! A rule is found in three places of one name: what the user sets in [`rule`] (`src/rule/adam.rs`), what
//! it means in [`cpu`] (`src/cpu/adam.rs`), and what runs in `shaders/update/adam.wgsl`.
//!
//! # Features
//! - none: rules, their definitions, the kernels, spans, the gradient, synthetic rows and reading back;
//! - `cpu`: the f32 path of the processor on all threads, with SIMD chosen at run time;
//! - `cli` (default): the command and what it is made of: data sets, training, verification, the series.

#![warn(missing_docs)]

mod check;
pub mod cpu;
mod error;
pub mod gpu;
#[cfg(feature = "cli")]
pub mod regression;
pub mod rule;
pub mod schedule;
#[cfg(feature = "cli")]
pub mod series;
#[cfg(feature = "cli")]
pub mod train;
#[cfg(feature = "cli")]
pub mod verify;

pub use error::Error;
pub use gpu::{Optimizer, Span};
pub use rule::{Adagrad, Adam, Adamax, ClipNorm, Conditioning, Lion, NAdam, RmsProp, Rule, Sgd};
pub use schedule::Schedule;
pub use wgpu;
