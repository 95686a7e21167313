//! Devices for programs without one: selection of an adapter, and waits. Programs with a [`wgpu::Device`] do not need
//! this module.
//!
//! Opening and waiting are futures. Natively they are ready at once, because they block when they are polled:
//! [`block_on`] returns their results. In the browser they wait for promises.

mod environment;
mod waits;

#[cfg(not(target_arch = "wasm32"))]
pub use waits::block_on;
pub(crate) use waits::{Submission, turn};

use super::kernels;
use crate::Error;
use crate::gpu::{OPTIONAL_FEATURES, required_limits};
use environment::Environment;
use std::sync::{Arc, OnceLock};
use wgpu::{Adapter, AdapterInfo, Backend, Backends, Device, DeviceType, Instance, Queue};

/// A device with its queue and adapter.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// The device.
    pub device: Device,
    /// The queue.
    pub queue: Queue,
    /// The adapter.
    pub info: AdapterInfo,
    /// The reason of the loss, once the device is lost.
    lost: Arc<OnceLock<String>>,
}

/// An error of opening a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No adapter matches the name, or the machine has none.
    #[error("no GPU adapter{}; there {}", .name.as_ref().map_or(String::new(), |n| format!(" matches `{n}`, by backend or by a part of its name")), found(.adapters, .restriction.as_deref()))]
    NoAdapter {
        /// The requested name.
        name: Option<String>,
        /// The available adapters.
        adapters: Vec<String>,
        /// The restriction by the environment.
        restriction: Option<String>,
    },
    /// An environment variable is invalid, or no adapter matches it.
    #[error("{variable} is `{value}`: {why}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The reason.
        why: String,
    },
    /// The adapter cannot run the kernels.
    #[error("{adapter} cannot run the kernels: {reason}")]
    Refused {
        /// The adapter's name and backend.
        adapter: String,
        /// The limit that is too small.
        reason: Error,
    },
    /// The adapter failed to create a device.
    #[error("{adapter}: {reason}")]
    Device {
        /// The adapter's name.
        adapter: String,
        /// The adapter's message.
        reason: String,
    },
}

fn found(adapters: &[String], restriction: Option<&str>) -> String {
    match (adapters, restriction) {
        ([], _) => "is none on this machine (is a Vulkan driver installed? Mesa's \
               mesa-vulkan-drivers includes a software adapter)"
            .into(),
        (_, None) => format!("are: {}", adapters.join(", ")),
        (_, Some(restriction)) => format!("are, while {restriction}: {}", adapters.join(", ")),
    }
}

impl OpenError {
    /// Returns the error for adapters (those permitted by the environment) none of which matches `name` or, without a
    /// name, `WGPU_ADAPTER_NAME`.
    pub fn no_adapter(name: Option<&str>, adapters: &[Adapter]) -> Self {
        Environment::read().map_or_else(|error| error, |environment| none(&environment, name, adapters))
    }
}

fn none(environment: &Environment, name: Option<&str>, adapters: &[Adapter]) -> OpenError {
    if let Some(error) = environment.no_backend().filter(|_| adapters.is_empty()) {
        return error;
    }
    let adapters: Vec<String> = adapters.iter().map(|adapter| described(&adapter.get_info())).collect();
    let restriction = environment.restriction();
    let there = found(&adapters, restriction.as_deref());
    let of_variable = environment.no_name(&there).filter(|_| name.is_none());
    let name = name.map(str::to_string);
    of_variable.unwrap_or(OpenError::NoAdapter { name, adapters, restriction })
}

/// The name and backend of an adapter: one card may appear in several backends.
fn described(info: &AdapterInfo) -> String {
    format!("{} ({})", info.name, info.backend)
}

/// Lists the adapters of this machine, restricted by `WGPU_BACKEND` if it is set: hardware first, discrete GPUs before
/// integrated ones; GL after other backends.
///
/// # Errors
/// [`OpenError::Environment`]
pub async fn adapters() -> Result<Vec<Adapter>, OpenError> {
    Ok(adapters_of(&Environment::read()?).await)
}

async fn adapters_of(environment: &Environment) -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = environment.backends();
    // The validation of indirect dispatches limits buffers to 4 GiB; this library does not dispatch indirectly.
    descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL);
    let instance = Instance::new(descriptor);
    let backends = Backends::PRIMARY | Backends::GL;
    let mut adapters = instance.enumerate_adapters(backends).await;
    adapters.sort_by_key(|adapter| rank(&adapter.get_info()));
    adapters
}

/// The sort key of an adapter. GL only guesses the kind of a card, so it sorts after the other backends.
fn rank(info: &AdapterInfo) -> (bool, bool, u8) {
    let kind = match info.device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    (info.device_type == DeviceType::Cpu, info.backend == Backend::Gl, kind)
}

/// Whether an adapter matches `pattern`: a part of its name, its backend (`vulkan`, `metal`, `dx12`, `gl`), or both as
/// in `gl:llvmpipe`.
pub fn matches(info: &AdapterInfo, pattern: &str) -> bool {
    let pattern = pattern.to_lowercase();
    let is_backend = |name: &str| Backend::ALL.iter().any(|backend| backend.to_str() == name);
    let (backend, part) = match pattern.split_once(':') {
        Some((backend, part)) if is_backend(backend) => (Some(backend), part),
        _ if is_backend(&pattern) => (Some(pattern.as_str()), ""),
        _ => (None, pattern.as_str()),
    };
    backend.is_none_or(|backend| info.backend.to_str() == backend)
        && info.name.to_lowercase().contains(part)
}

/// Checks that all kernels can run on an adapter.
///
/// # Errors
/// [`Error::Limit`].
pub fn check_adapter(adapter: &Adapter) -> Result<(), Error> {
    kernels::check_limits(&required_limits(&adapter.limits()), &adapter.get_info())
}

/// Opens the first adapter that creates a device, skipping adapters that cannot run the kernels.
async fn first<'a>(adapters: impl Iterator<Item = &'a Adapter>) -> Result<Option<Gpu>, OpenError> {
    let mut refused = None;
    for adapter in adapters {
        match Gpu::of(adapter).await {
            Err(error @ OpenError::Refused { .. }) => refused = refused.or(Some(error)),
            opened => return opened.map(Some),
        }
    }
    refused.map_or(Ok(None), Err)
}

impl Gpu {
    /// Opens the best adapter that [`matches()`] `name`, of any kind, including software. Without a name, opens the one
    /// of `WGPU_ADAPTER_NAME`, if that is set.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::NoAdapter`] lists the available adapters.
    pub async fn open(name: Option<&str>) -> Result<Self, OpenError> {
        let environment = Environment::read()?;
        let adapters = adapters_of(&environment).await;
        let permitted = |adapter: &&Adapter| match name {
            Some(name) => matches(&adapter.get_info(), name),
            None => environment.allows(&adapter.get_info().name),
        };
        first(adapters.iter().filter(permitted))
            .await?
            .ok_or_else(|| none(&environment, name, &adapters))
    }

    /// Opens the best hardware adapter, if there is one. If `WGPU_ADAPTER_NAME` is set, opens the best adapter of that
    /// name, of any kind.
    ///
    /// # Errors
    /// [`OpenError::Device`] if creating a device fails, [`OpenError::Refused`] if no adapter can run the kernels,
    /// [`OpenError::Environment`] if no adapter matches the environment.
    pub async fn open_hardware() -> Result<Option<Self>, OpenError> {
        let environment = Environment::read()?;
        let adapters = adapters_of(&environment).await;
        let permitted = |adapter: &&Adapter| match environment.adapter_name() {
            Some(_) => environment.allows(&adapter.get_info().name),
            None => adapter.get_info().device_type != DeviceType::Cpu,
        };
        let opened = first(adapters.iter().filter(permitted)).await?;
        // Without hardware the processor is used, but an environment that matches no adapter is an error.
        let in_vain = opened.is_none() && (environment.adapter_name().is_some() || adapters.is_empty());
        match none(&environment, None, &adapters) {
            error @ OpenError::Environment { .. } if in_vain => Err(error),
            _ => Ok(opened),
        }
    }

    /// Creates a device of this adapter.
    ///
    /// # Errors
    /// [`OpenError::Refused`] and [`OpenError::Device`].
    pub async fn of(adapter: &Adapter) -> Result<Self, OpenError> {
        let info = adapter.get_info();
        check_adapter(adapter)
            .map_err(|reason| OpenError::Refused { adapter: described(&info), reason })?;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-optim"),
            // Timestamps are for benchmarks.
            required_features: (OPTIONAL_FEATURES | wgpu::Features::TIMESTAMP_QUERY)
                & adapter.features(),
            required_limits: required_limits(&adapter.limits()),
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| OpenError::Device { adapter: described(&info), reason: e.to_string() })?;
        Ok(Gpu::new(device, queue, info))
    }

    /// Takes over a device: sets its callbacks for device loss and for uncaptured errors.
    pub fn new(device: Device, queue: Queue, info: AdapterInfo) -> Self {
        let lost = Arc::new(OnceLock::new());
        let reason = lost.clone();
        device.set_device_lost_callback(move |kind, message| {
            // The first reason is reported.
            let _ = reason.set(format!("{kind:?}: {message}").to_lowercase());
        });
        let reason = lost.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let _ = reason.set(error.to_string());
        }));
        Gpu { device, queue, info, lost }
    }

    /// Returns the reason why the device is unusable: it was lost, or failed in a way after which results cannot be
    /// trusted.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    fn check(&self) -> Result<(), Error> {
        self.lost().map_or(Ok(()), |reason| Err(Error::DeviceLost(reason.into())))
    }

    /// Marks the device as lost, possibly before its callback, and returns the error.
    fn failed(&self, reason: String) -> Error {
        Error::DeviceLost(self.lost.get_or_init(|| reason).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, backend: Backend, device_type: DeviceType) -> AdapterInfo {
        AdapterInfo { name: name.into(), ..AdapterInfo::new(device_type, backend) }
    }

    #[test]
    fn a_card_is_asked_for_by_its_name_its_backend_or_both() {
        let card = info("Google SwiftShader", Backend::Vulkan, DeviceType::Cpu);
        let answers = |pattern| matches(&card, pattern);
        assert!(["swift", "Vulkan", "vulkan:SWIFT", "", "vulkan:"].map(answers).iter().all(|&yes| yes));
        // `gl` is a backend, and not part of Google.
        assert!(["gl", "gl:swift", "vulkan:llvm", "dx12:"].map(answers).iter().all(|&yes| !yes));
        assert!(matches(&info("a:b", Backend::Gl, DeviceType::Other), "a:b"));
    }

    #[test]
    fn hardware_comes_before_software_and_gl_behind_other_backends() {
        let of = |backend, kind| rank(&info("card", backend, kind));
        use Backend::{Gl, Vulkan};
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let sorted = [
            of(Vulkan, DiscreteGpu),
            of(Vulkan, IntegratedGpu),
            of(Gl, DiscreteGpu),
            of(Vulkan, Cpu),
            of(Gl, Cpu),
        ];
        assert!(sorted.is_sorted());
    }
}
