//! A device of one's own, for programs that have none: the command's adapter choice and its blocking
//! waits. A library user brings a [`wgpu::Device`] and needs nothing of this.

use super::{OPTIONAL_FEATURES, required_limits};
use crate::Error;
use wgpu::{Adapter, AdapterInfo, Device, DeviceType, Instance, PollType, Queue};

/// A device, its queue, and what they run on.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// The device.
    pub device: Device,
    /// Its queue.
    pub queue: Queue,
    /// What it runs on.
    pub info: AdapterInfo,
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No adapter answers to the name, or there is none at all.
    #[error("no GPU adapter{}; there {}", .name.as_ref().map_or(String::new(), |n| format!(" whose name contains `{n}`")), found(.adapters))]
    NoAdapter {
        /// The name asked for.
        name: Option<String>,
        /// The adapters there are.
        adapters: Vec<String>,
    },
    /// The adapter gives no device.
    #[error("{adapter}: {reason}")]
    Device {
        /// The adapter's name.
        adapter: String,
        /// What it says.
        reason: String,
    },
}

fn found(adapters: &[String]) -> String {
    match adapters {
        [] => "is none on this machine (is a Vulkan driver installed? Mesa's \
               mesa-vulkan-drivers brings a software one)"
            .into(),
        _ => format!("are: {}", adapters.join(", ")),
    }
}

/// Every adapter of this machine, the most powerful kinds first.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    // Checks of indirect dispatches cap buffers at 4 GiB, and nothing here dispatches indirectly.
    descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL);
    let instance = Instance::new(descriptor);
    let backends = wgpu::Backends::PRIMARY;
    let mut adapters = pollster::block_on(instance.enumerate_adapters(backends));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    });
    adapters
}

impl Gpu {
    /// The best adapter whose name contains `name`, whatever its kind: software too.
    ///
    /// # Errors
    /// [`OpenError`], listing the adapters there are.
    pub fn open(name: Option<&str>) -> Result<Self, OpenError> {
        let adapters = adapters();
        let wanted = name.map(str::to_lowercase);
        let matches = |adapter: &&Adapter| {
            let name = adapter.get_info().name.to_lowercase();
            wanted.as_ref().is_none_or(|wanted| name.contains(wanted))
        };
        match adapters.iter().find(matches) {
            Some(adapter) => Self::of(adapter),
            None => Err(OpenError::NoAdapter {
                name: name.map(str::to_string),
                adapters: adapters.iter().map(|adapter| adapter.get_info().name).collect(),
            }),
        }
    }

    /// The best hardware adapter, if there is any.
    ///
    /// # Errors
    /// [`OpenError::Device`] if it gives no device.
    pub fn open_hardware() -> Result<Option<Self>, OpenError> {
        let hardware = |adapter: &&Adapter| adapter.get_info().device_type != DeviceType::Cpu;
        adapters().iter().find(hardware).map(Self::of).transpose()
    }

    /// A device of this adapter.
    ///
    /// # Errors
    /// [`OpenError::Device`] if it gives none.
    pub fn of(adapter: &Adapter) -> Result<Self, OpenError> {
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-optim"),
            required_features: OPTIONAL_FEATURES & adapter.features(),
            required_limits: required_limits(&adapter.limits()),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| OpenError::Device { adapter: info.name.clone(), reason: e.to_string() })?;
        Ok(Gpu { device, queue, info })
    }

    /// Submits and waits until the device is done.
    ///
    /// # Errors
    /// [`Error::ReadBack`] if the device was lost.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<(), Error> {
        self.queue.submit([encoder.finish()]);
        let done = self.device.poll(PollType::wait_indefinitely());
        done.map(drop).map_err(|e| Error::ReadBack(e.to_string()))
    }

    /// Drives a read-back to its end.
    ///
    /// # Errors
    /// What the read-back fails with.
    pub fn wait<T>(&self, reading: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut reading = std::pin::pin!(reading);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // The first poll asks for the mapping, the device's poll makes it happen.
        loop {
            if let std::task::Poll::Ready(result) = reading.as_mut().poll(&mut context) {
                return result;
            }
            self.device
                .poll(PollType::wait_indefinitely())
                .map_err(|e| Error::ReadBack(e.to_string()))?;
        }
    }
}
