//! The limits that the kernels over rows need.

use crate::Error;
use crate::gpu::needs::{KernelLimits, steps};
use wgpu::{AdapterInfo, Limits};

/// The generator of a synthetic problem.
pub const SYNTHETIC: KernelLimits =
    KernelLimits { threads: 64, workgroup_bytes: 2048, storage_buffers: 3 };
/// Sums over stored rows: gradients, descent, evaluation.
pub const SUMS: KernelLimits = KernelLimits { threads: 64, workgroup_bytes: 13312, storage_buffers: 5 };
/// The same over rows that are generated in the kernels.
pub const VIRTUAL_SUMS: KernelLimits = KernelLimits { storage_buffers: 6, ..SUMS };
/// Many updates in one dispatch.
pub const EPOCHS: KernelLimits =
    KernelLimits { threads: 64, workgroup_bytes: 13824, storage_buffers: 8 };

/// Whether all kernels run on a device of an adapter with these limits.
///
/// # Errors
/// [`Error::Limit`].
pub fn check_limits(limits: &Limits, adapter: &AdapterInfo) -> Result<(), Error> {
    let all = [EPOCHS, SUMS, VIRTUAL_SUMS, SYNTHETIC, steps(adapter)];
    all.iter().try_for_each(|needs| needs.check_limits(limits, ""))
}

#[cfg(test)]
mod tests {
    use super::super::shader;
    use super::*;
    use crate::gpu;
    use naga::valid::Validator;
    use naga::{AddressSpace, ArraySize, TypeInner};
    use wgpu::{Backend, DeviceType};

    fn adapter(kind: DeviceType) -> AdapterInfo {
        AdapterInfo::new(kind, Backend::Vulkan)
    }

    /// The most storage buffers that an entry point uses, and what the module shares, an array of WORKGROUP
    /// elements counted for `threads`.
    fn of(source: &str, threads: u32) -> (u32, u32) {
        let module = naga::front::wgsl::parse_str(source).unwrap();
        let info = Validator::new(Default::default(), Default::default()).validate(&module).unwrap();
        let bytes = |of: naga::Handle<naga::Type>| match module.types[of].inner {
            TypeInner::Array { size: ArraySize::Pending(_), stride, .. } => stride * threads,
            ref inner => inner.size(module.to_ctx()),
        };
        let storage = |entry: usize| {
            let used = module.global_variables.iter().filter(|(handle, variable)| {
                matches!(variable.space, AddressSpace::Storage { .. })
                    && !info.get_entry_point(entry)[*handle].is_empty()
            });
            used.count() as u32
        };
        let variables = module.global_variables.iter().map(|(_, variable)| variable);
        let shared = variables.filter(|variable| variable.space == AddressSpace::WorkGroup);
        let bytes = shared.map(|variable| bytes(variable.ty)).sum();
        ((0..module.entry_points.len()).map(storage).max().unwrap(), bytes)
    }

    #[test]
    fn the_kernels_need_what_is_said() {
        for adapter in [DeviceType::Cpu, DeviceType::DiscreteGpu].map(adapter) {
            let families = [
                ("epochs", EPOCHS),
                ("gradient_norm", steps(&adapter)),
                ("step_state", steps(&adapter)),
                ("gradient", SUMS),
                ("descend", SUMS),
                ("evaluation", SUMS),
                ("synthetic", SYNTHETIC),
                ("virtual", SYNTHETIC),
                ("", steps(&adapter)),
            ];
            let mut most = vec![(0, 0); families.len()];
            for composed in gpu::shader::all().into_iter().chain(shader::all()) {
                let family = families.iter().position(|(of, _)| composed.name.starts_with(of)).unwrap();
                let needs = match families[family].1 {
                    SUMS if composed.name.ends_with("_virtual") => VIRTUAL_SUMS,
                    needs => needs,
                };
                let (buffers, bytes) = of(&composed.module.source(), needs.threads);
                let name = &composed.name;
                assert!(buffers <= needs.storage_buffers, "{name} binds {buffers} storage buffers");
                assert!(bytes <= needs.workgroup_bytes, "{name} shares {bytes} bytes");
                most[family] = (most[family].0.max(buffers), most[family].1.max(bytes));
            }
            for of in [EPOCHS, SUMS, SYNTHETIC, steps(&adapter)] {
                let family = families.iter().zip(&most).filter(|((_, needs), _)| *needs == of);
                let bytes = family.map(|(_, most)| most.1).max();
                assert_eq!(bytes, Some(of.workgroup_bytes), "more than is needed");
            }
        }
    }

    #[test]
    fn a_device_without_compute_shaders_is_refused_with_numbers() {
        let refused = check_limits(&Limits::downlevel_webgl2_defaults(), &adapter(DeviceType::Other));
        let limit = "max_storage_buffers_per_shader_stage";
        assert_eq!(refused, Err(Error::Limit { limit, available: 0, needed: 8, hint: "" }));
        let less = Limits { max_compute_invocations_per_workgroup: 128, ..Limits::default() };
        assert!(check_limits(&less, &adapter(DeviceType::DiscreteGpu)).is_err());
        assert_eq!(check_limits(&less, &adapter(DeviceType::Cpu)), Ok(()));
        assert_eq!(check_limits(&Limits::default(), &adapter(DeviceType::DiscreteGpu)), Ok(()));
    }
}
