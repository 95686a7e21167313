//! The options `--device` and `--adapter`.

use super::{Failure, output};
use crate::bench::processor_name;
use clap::{Args, ValueEnum};
use serde::Serialize;
use wgpu_optim::cpu::parallel;
use wgpu_optim::regression::device::{Gpu, OpenError, block_on};
use wgpu_optim::wgpu::DeviceType;

/// Device to compute on.
#[derive(Args, Debug)]
pub struct DeviceArguments {
    /// Device to compute on: `auto` uses a hardware GPU if there is one, else the processor; `gpu` also
    /// accepts a software adapter
    #[arg(long, value_enum, default_value_t = Choice::Auto, value_name = "KIND")]
    pub device: Choice,
    /// Adapter to use: a part of its name (see `devices`), a backend (`vulkan`, `metal`, `dx12` or `gl`), or both as
    /// in `gl:llvmpipe`. Implies `--device gpu` [default: the environment variable WGPU_ADAPTER_NAME, among the
    /// backends of WGPU_BACKEND]
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    Auto,
    Gpu,
    Cpu,
}

/// The selected GPU; `None` is the processor.
pub type SelectedDevice = Option<Gpu>;

/// A device as reports describe it.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    pub kind: &'static str,
    pub name: String,
    pub backend: String,
    pub driver: String,
}

impl DeviceArguments {
    /// Opens the device, and reports the choice of `auto` on standard error.
    pub fn open(&self) -> Result<SelectedDevice, Failure> {
        if self.device == Choice::Cpu && self.adapter.is_some() {
            let message = "--adapter selects a GPU: it cannot be used with --device cpu";
            return Err(Failure::Input(message.into()));
        }
        if self.adapter.is_some() || self.device == Choice::Gpu {
            return Ok(Some(block_on(Gpu::open(self.adapter.as_deref()))?));
        }
        if self.device == Choice::Cpu {
            return Ok(None);
        }
        let hardware = match block_on(Gpu::open_hardware()) {
            Err(refused @ (OpenError::Refused { .. } | OpenError::Environment { .. })) => {
                output::note(&format!("{refused}. Using the processor."));
                return Ok(None);
            }
            opened => opened?,
        };
        match &hardware {
            Some(gpu) => output::note(&format!("Using the GPU: {}", gpu.info.name)),
            None => output::note(
                "No hardware GPU found: using the processor (--device gpu accepts a software adapter).",
            ),
        }
        Ok(hardware)
    }
}

impl Description {
    pub fn of(device: &SelectedDevice) -> Self {
        match device {
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

    /// The description in one line.
    pub fn line(&self) -> String {
        match self.kind {
            "cpu" => format!("{} ({})", self.name, self.driver),
            _ => format!("{} ({}, {})", self.name, self.backend, self.driver),
        }
    }
}

/// The name of a device type in reports.
pub fn type_name(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Cpu => "software",
        DeviceType::Other => "other",
    }
}
