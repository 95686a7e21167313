//! A device of one's own, for programs that have none: the command's adapter choice and its blocking
//! waits. A library user brings a [`wgpu::Device`] and needs nothing of this.

mod environment;

use super::kernels;
use crate::Error;
use crate::gpu::{OPTIONAL_FEATURES, required_limits};
use environment::Environment;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use wgpu::{
    Adapter, AdapterInfo, Backend, Backends, Device, DeviceType, Instance, PollError, PollStatus,
    PollType, Queue,
};

/// A device, its queue, and what they run on.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// The device.
    pub device: Device,
    /// Its queue.
    pub queue: Queue,
    /// What it runs on.
    pub info: AdapterInfo,
    /// Why nothing of it can be relied on any more, once that is so.
    lost: Arc<OnceLock<String>>,
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No adapter answers to the name, or there is none at all.
    #[error("no GPU adapter{}; there {}", .name.as_ref().map_or(String::new(), |n| format!(" is of the backend `{n}`, or has a name that contains it")), found(.adapters, .restriction.as_deref()))]
    NoAdapter {
        /// The name asked for.
        name: Option<String>,
        /// The adapters there are.
        adapters: Vec<String>,
        /// What has left out others, if anything.
        restriction: Option<String>,
    },
    /// A variable of the environment has no meaning, or asks for what is not there.
    #[error("{variable} is `{value}`: {why}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The adapter cannot run the kernels.
    #[error("{adapter} cannot run the kernels: {reason}")]
    Refused {
        /// The adapter's name and backend.
        adapter: String,
        /// What it lacks.
        reason: Error,
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

fn found(adapters: &[String], restriction: Option<&str>) -> String {
    match (adapters, restriction) {
        ([], _) => "is none on this machine (is a Vulkan driver installed? Mesa's \
               mesa-vulkan-drivers brings a software one)"
            .into(),
        (_, None) => format!("are: {}", adapters.join(", ")),
        (_, Some(restriction)) => format!("are, while {restriction}: {}", adapters.join(", ")),
    }
}

impl OpenError {
    /// None of these adapters, which are all that the environment lets be used, answers to `name`, or to
    /// `WGPU_ADAPTER_NAME` where there is no name.
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

/// An adapter as it is told from others: the same card may be there in several backends.
fn described(info: &AdapterInfo) -> String {
    format!("{} ({})", info.name, info.backend)
}

/// Every adapter of this machine, of the backends of `WGPU_BACKEND` if that is set: hardware first, and of it the most
/// powerful kinds. GL, for what has no other backend, comes behind the others.
///
/// # Errors
/// [`OpenError::Environment`]
pub fn adapters() -> Result<Vec<Adapter>, OpenError> {
    Ok(adapters_of(&Environment::read()?))
}

fn adapters_of(environment: &Environment) -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = environment.backends();
    // Checks of indirect dispatches cap buffers at 4 GiB, and nothing here dispatches indirectly.
    descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL);
    let instance = Instance::new(descriptor);
    let backends = Backends::PRIMARY | Backends::GL;
    let mut adapters = pollster::block_on(instance.enumerate_adapters(backends));
    adapters.sort_by_key(|adapter| rank(&adapter.get_info()));
    adapters
}

/// What kind a card is, GL can only guess: it must not come ahead of another backend by that.
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

/// Whether an adapter answers to `wanted`: part of its name, or its backend (`vulkan`, `metal`, `dx12`, `gl`), or
/// both as in `gl:llvmpipe`.
pub fn answers_to(info: &AdapterInfo, wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    let is_backend = |name: &str| Backend::ALL.iter().any(|backend| backend.to_str() == name);
    let (backend, part) = match wanted.split_once(':') {
        Some((backend, part)) if is_backend(backend) => (Some(backend), part),
        _ if is_backend(&wanted) => (Some(wanted.as_str()), ""),
        _ => (None, wanted.as_str()),
    };
    backend.is_none_or(|backend| info.backend.to_str() == backend)
        && info.name.to_lowercase().contains(part)
}

/// What an adapter lacks, so that not all kernels run on it.
///
/// # Errors
/// [`Error::Limit`].
pub fn check_adapter(adapter: &Adapter) -> Result<(), Error> {
    kernels::check_limits(&required_limits(&adapter.limits()), &adapter.get_info())
}

/// The first that gives a device. One that cannot run the kernels is passed over where there are others.
fn first<'a>(adapters: impl Iterator<Item = &'a Adapter>) -> Result<Option<Gpu>, OpenError> {
    let mut refused = None;
    for adapter in adapters {
        match Gpu::of(adapter) {
            Err(error @ OpenError::Refused { .. }) => refused = refused.or(Some(error)),
            opened => return opened.map(Some),
        }
    }
    refused.map_or(Ok(None), Err)
}

impl Gpu {
    /// The best adapter that [answers to](answers_to) `name`, whatever its kind: software too. Without a name it is
    /// the one of `WGPU_ADAPTER_NAME`, if that is set.
    ///
    /// # Errors
    /// [`OpenError`]; with [`OpenError::NoAdapter`] the adapters there are.
    pub fn open(name: Option<&str>) -> Result<Self, OpenError> {
        let environment = Environment::read()?;
        let adapters = adapters_of(&environment);
        let wanted = |adapter: &&Adapter| match name {
            Some(name) => answers_to(&adapter.get_info(), name),
            None => environment.allows(&adapter.get_info().name),
        };
        first(adapters.iter().filter(wanted))?.ok_or_else(|| none(&environment, name, &adapters))
    }

    /// The best hardware adapter, if there is any; where `WGPU_ADAPTER_NAME` is set, the best one of that name, whatever
    /// its kind.
    ///
    /// # Errors
    /// [`OpenError::Device`] if it gives no device, [`OpenError::Refused`] if none can run the kernels,
    /// [`OpenError::Environment`] if there is nothing of what the environment asks for.
    pub fn open_hardware() -> Result<Option<Self>, OpenError> {
        let environment = Environment::read()?;
        let adapters = adapters_of(&environment);
        let wanted = |adapter: &&Adapter| match environment.adapter_name() {
            Some(_) => environment.allows(&adapter.get_info().name),
            None => adapter.get_info().device_type != DeviceType::Cpu,
        };
        let opened = first(adapters.iter().filter(wanted))?;
        // Without hardware there is the processor; that the environment asks in vain has to be said.
        let in_vain = opened.is_none() && (environment.adapter_name().is_some() || adapters.is_empty());
        match none(&environment, None, &adapters) {
            error @ OpenError::Environment { .. } if in_vain => Err(error),
            _ => Ok(opened),
        }
    }

    /// A device of this adapter.
    ///
    /// # Errors
    /// [`OpenError::Refused`] and [`OpenError::Device`].
    pub fn of(adapter: &Adapter) -> Result<Self, OpenError> {
        let info = adapter.get_info();
        check_adapter(adapter)
            .map_err(|reason| OpenError::Refused { adapter: described(&info), reason })?;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-optim"),
            // Timestamps are for measuring.
            required_features: (OPTIONAL_FEATURES | wgpu::Features::TIMESTAMP_QUERY)
                & adapter.features(),
            required_limits: required_limits(&adapter.limits()),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| OpenError::Device { adapter: described(&info), reason: e.to_string() })?;
        Ok(Gpu::new(device, queue, info))
    }

    /// A device that nobody else has: its callbacks, for being lost and for errors that nobody awaits, are set.
    pub fn new(device: Device, queue: Queue, info: AdapterInfo) -> Self {
        let lost = Arc::new(OnceLock::new());
        let told = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            // The first reason is the one that counts.
            let _ = told.set(format!("{reason:?}: {message}").to_lowercase());
        });
        let told = lost.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let _ = told.set(error.to_string());
        }));
        Gpu { device, queue, info, lost }
    }

    /// Why the device cannot be used any more: it was lost, or failed where nothing can be relied on after it.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    fn check(&self) -> Result<(), Error> {
        self.lost().map_or(Ok(()), |reason| Err(Error::DeviceLost(reason.into())))
    }

    /// Submits and waits until the device is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<(), Error> {
        self.queue.submit([encoder.finish()]);
        self.poll(PollType::wait_indefinitely()).map(drop)
    }

    /// Polls the device; `None` where a time is over. What wgpu panics with where a driver fails in a wait is an
    /// error too.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub(crate) fn poll(&self, poll: PollType) -> Result<Option<PollStatus>, Error> {
        self.polled(|| self.device.poll(poll))
    }

    fn polled(
        &self,
        poll: impl FnOnce() -> Result<PollStatus, PollError>,
    ) -> Result<Option<PollStatus>, Error> {
        // Nothing of the device is relied on after a panic.
        let polled = catch_unwind(AssertUnwindSafe(poll)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            self.failed(text.unwrap_or("a wait failed").into())
        })?;
        self.check()?;
        match polled {
            Ok(status) => Ok(Some(status)),
            Err(PollError::Timeout) => Ok(None),
            Err(error) => Err(self.failed(error.to_string())),
        }
    }

    /// From here on it counts as lost: its own callback may come later.
    pub(crate) fn failed(&self, reason: String) -> Error {
        Error::DeviceLost(self.lost.get_or_init(|| reason).clone())
    }

    /// Allocates `what` by `make`, and waits until the device has accepted or refused it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the device has refused; the errors of `make`.
    pub(crate) fn allocate<T, E: From<Error>>(
        &self,
        what: &'static str,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let made = make();
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(Error::OutOfMemory { what, reason: error.to_string() }.into()),
            None => made,
        }
    }

    /// Drives a read-back to its end.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; what the read-back fails with.
    pub fn wait<T>(&self, reading: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut reading = std::pin::pin!(reading);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // The first poll asks for the mapping, the device's poll makes it happen.
        loop {
            if let std::task::Poll::Ready(result) = reading.as_mut().poll(&mut context) {
                self.check()?;
                return result.map_err(|error| match error {
                    Error::ReadBack(reason) => self.failed(reason),
                    other => other,
                });
            }
            self.poll(PollType::wait_indefinitely())?;
        }
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
        let answers = |wanted| answers_to(&card, wanted);
        assert!(["swift", "Vulkan", "vulkan:SWIFT", "", "vulkan:"].map(answers).iter().all(|&yes| yes));
        // `gl` is a backend, and not part of Google.
        assert!(["gl", "gl:swift", "vulkan:llvm", "dx12:"].map(answers).iter().all(|&yes| !yes));
        assert!(answers_to(&info("a:b", Backend::Gl, DeviceType::Other), "a:b"));
    }

    #[test]
    fn a_wait_that_panics_is_a_device_that_is_lost() {
        let (device, queue) = Device::noop(&Default::default());
        let gpu = Gpu::new(device, queue, info("noop", Backend::Noop, DeviceType::Other));
        assert!(gpu.poll(PollType::Poll).unwrap().is_some());
        assert_eq!(gpu.polled(|| Err(PollError::Timeout)), Ok(None));
        assert_eq!(gpu.lost(), None);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let error = gpu.polled(|| panic!("error code {}", -4)).unwrap_err();
        std::panic::set_hook(hook);
        assert_eq!(error, Error::DeviceLost("error code -4".into()));
        assert_eq!(gpu.lost(), Some("error code -4"));
        gpu.poll(PollType::Poll).unwrap_err();
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
