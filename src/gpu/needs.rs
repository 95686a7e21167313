//! The limits that the kernels need, in one place.

use super::bindings::check_limit;
use super::kernels;
use crate::Error;
use wgpu::{AdapterInfo, Device, Limits};

/// The limits that a family of kernels needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelLimits {
    /// Threads of a workgroup.
    pub threads: u32,
    /// Workgroup memory in bytes.
    pub workgroup_bytes: u32,
    /// Storage buffers in the layout of a pipeline.
    pub storage_buffers: u32,
}

/// The limits required by optimizer steps.
pub fn steps(adapter: &AdapterInfo) -> KernelLimits {
    let threads = kernels::workgroup_of(adapter);
    KernelLimits { threads, workgroup_bytes: kernels::MEASURING_BYTES, storage_buffers: 7 }
}

impl KernelLimits {
    /// Checks the limits of a device.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check(&self, device: &Device) -> Result<(), Error> {
        let hint = ": request the device with wgpu_optim::gpu::required_limits";
        self.check_limits(&device.limits(), hint)
    }

    /// Checks the limits of an adapter.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check_limits(&self, limits: &Limits, hint: &'static str) -> Result<(), Error> {
        let available = limits.max_storage_buffers_per_shader_stage;
        check_limit("max_storage_buffers_per_shader_stage", available, self.storage_buffers, hint)?;
        let available = limits.max_compute_invocations_per_workgroup;
        check_limit("max_compute_invocations_per_workgroup", available, self.threads, hint)?;
        let available = limits.max_compute_workgroup_size_x;
        check_limit("max_compute_workgroup_size_x", available, self.threads, hint)?;
        let available = limits.max_compute_workgroup_storage_size;
        check_limit("max_compute_workgroup_storage_size", available, self.workgroup_bytes, hint)
    }
}
