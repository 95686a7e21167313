//! `--device` and `--adapter`.

use super::{Failure, output};
use crate::bench::processor_name;
use clap::{Args, ValueEnum};
use serde::Serialize;
use wgpu_optim::cpu::parallel;
use wgpu_optim::regression::device::{Gpu, OpenError};
use wgpu_optim::wgpu::DeviceType;

/// Where to compute.
#[derive(Args, Debug)]
pub struct DeviceArguments {
    /// Where to compute: `auto` takes a hardware GPU if there is one, else the processor; `gpu` also
    /// takes a software adapter
    #[arg(long, value_enum, default_value_t = Choice::Auto, value_name = "KIND")]
    pub device: Choice,
    /// The adapter whose name contains this (see `devices`), or the best one of a backend, `vulkan`, `metal`,
    /// `dx12` or `gl`, or both as in `gl:llvmpipe`; implies `--device gpu` [default: WGPU_ADAPTER_NAME of the
    /// environment, where WGPU_BACKEND says which backends there are, as for every program that uses wgpu]
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    Auto,
    Gpu,
    Cpu,
}

/// What was chosen; `None` is the processor.
pub type Chosen = Option<Gpu>;

/// What a device is called in reports.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    pub kind: &'static str,
    pub name: String,
    pub backend: String,
    pub driver: String,
}

impl DeviceArguments {
    /// Opens the device, and says on standard error which one `auto` took.
    pub fn open(&self) -> Result<Chosen, Failure> {
        if self.device == Choice::Cpu && self.adapter.is_some() {
            let message = "--adapter names a GPU adapter, and --device cpu uses none";
            return Err(Failure::Input(message.into()));
        }
        if self.adapter.is_some() || self.device == Choice::Gpu {
            return Ok(Some(Gpu::open(self.adapter.as_deref())?));
        }
        if self.device == Choice::Cpu {
            return Ok(None);
        }
        let hardware = match Gpu::open_hardware() {
            Err(refused @ (OpenError::Refused { .. } | OpenError::Environment { .. })) => {
                output::note(&format!("{refused}. Using the processor."));
                return Ok(None);
            }
            opened => opened?,
        };
        match &hardware {
            Some(gpu) => output::note(&format!("Using the GPU: {}", gpu.info.name)),
            None => output::note(
                "No hardware GPU found: using the processor (--device gpu takes a software adapter).",
            ),
        }
        Ok(hardware)
    }
}

impl Description {
    pub fn of(chosen: &Chosen) -> Self {
        match chosen {
            Some(gpu) => Self::of_gpu(gpu),
            None => Description {
                kind: "cpu",
                name: processor_name(),
                backend: "cpu".into(),
                driver: format!("{} threads, simd {}", rayon::current_num_threads(), parallel::simd()),
            },
        }
    }

    pub fn of_gpu(gpu: &Gpu) -> Self {
        Description {
            kind: "gpu",
            name: gpu.info.name.clone(),
            backend: gpu.info.backend.to_string(),
            driver: format!("{} {}", gpu.info.driver, gpu.info.driver_info).trim().into(),
        }
    }

    /// One line for a table.
    pub fn line(&self) -> String {
        match self.kind {
            "cpu" => format!("{} ({})", self.name, self.driver),
            _ => format!("{} ({}, {})", self.name, self.backend, self.driver),
        }
    }
}

/// A device type in the words of this command.
pub fn type_name(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Cpu => "software",
        DeviceType::Other => "other",
    }
}
