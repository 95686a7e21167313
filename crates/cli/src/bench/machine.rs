//! Description of the machine, the build and the settings of a measurement.

use serde::Serialize;
use std::collections::BTreeMap;
use sysinfo::{CpuRefreshKind, System};
use wgpu::DeviceType;
use wgpu_optim::cpu::parallel;
use wgpu_optim::regression::device::Gpu;

/// The machine, the adapter, the build and the settings of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Name of the processor.
    pub cpu: String,
    /// Number of hardware threads.
    pub threads: usize,
    /// Widest SIMD instruction set in use.
    pub simd: String,
    /// Size of the last-level cache, if the system reports it.
    pub cache_bytes: Option<u64>,
    /// Size of the memory.
    pub memory_bytes: u64,
    /// Operating system.
    pub system: String,
    /// Kernel of the operating system.
    pub kernel: String,
    /// Adapter, if one was measured.
    pub adapter: Option<Adapter>,
    /// Build of this program.
    pub build: Build,
    /// Environment variables that affect drivers and threads, if they are set.
    pub environment: BTreeMap<String, String>,
    /// Constants of the measurement.
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// An adapter and its device.
#[derive(Clone, Debug, Serialize)]
pub struct Adapter {
    /// Name.
    pub name: String,
    /// PCI vendor number.
    pub vendor: u32,
    /// PCI device number.
    pub device: u32,
    /// Kind of device, by wgpu.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is a software adapter.
    pub software: bool,
    /// wgpu's backend.
    pub backend: String,
    /// Driver.
    pub driver: String,
    /// Version of the driver.
    pub driver_info: String,
    /// Whether it has timestamps.
    pub timestamps: bool,
    /// Nanoseconds per tick of the timestamps.
    pub timestamp_period_ns: f32,
    /// Limits of the device.
    pub limits: Limits,
}

/// Limits that the kernels use.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "wgpu's names")]
pub struct Limits {
    pub max_buffer_size: u64,
    pub max_storage_buffer_binding_size: u64,
    pub max_compute_workgroups_per_dimension: u32,
    pub max_compute_invocations_per_workgroup: u32,
    pub max_compute_workgroup_storage_size: u32,
    pub max_storage_buffers_per_shader_stage: u32,
    pub min_storage_buffer_offset_alignment: u32,
}

/// Build of a program.
#[derive(Clone, Debug, Serialize)]
pub struct Build {
    /// Version of the compiler.
    pub rustc: String,
    /// Commit, or `unknown`.
    pub git_revision: String,
    /// Whether the working tree had uncommitted changes, if known.
    pub git_dirty: Option<bool>,
    /// `release` or `debug`.
    pub profile: String,
    /// Optimization level.
    pub opt_level: String,
    /// Target triple.
    pub target: String,
    /// Cargo features.
    pub features: Vec<String>,
}

const VARIABLES: [&str; 11] = [
    "WGPU_BACKEND",
    "WGPU_POWER_PREF",
    "WGPU_ADAPTER_NAME",
    "VK_ICD_FILENAMES",
    "VK_DRIVER_FILES",
    "VK_INSTANCE_LAYERS",
    "LP_NUM_THREADS",
    "LP_NATIVE_VECTOR_WIDTH",
    "MESA_VK_DEVICE_SELECT",
    "CUDA_VISIBLE_DEVICES",
    "RAYON_NUM_THREADS",
];

impl Machine {
    /// Describes this machine.
    pub fn new(gpu: Option<&Gpu>, settings: BTreeMap<String, serde_json::Value>) -> Self {
        let mut system = System::new();
        system.refresh_memory();
        let variable = |name: &&str| Some((name.to_string(), std::env::var(name).ok()?));
        Machine {
            cpu: processor(),
            threads: threads(),
            simd: parallel::simd(),
            cache_bytes: cache_bytes(),
            memory_bytes: system.total_memory(),
            system: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.into()),
            kernel: System::kernel_version().unwrap_or_default(),
            adapter: gpu.map(Adapter::of),
            build: Build::this(),
            environment: VARIABLES.iter().filter_map(variable).collect(),
            settings,
        }
    }
}

impl Adapter {
    fn of(gpu: &Gpu) -> Self {
        let (info, limits) = (&gpu.info, gpu.device.limits());
        Adapter {
            name: info.name.clone(),
            vendor: info.vendor,
            device: info.device,
            kind: format!("{:?}", info.device_type),
            software: info.device_type == DeviceType::Cpu,
            backend: info.backend.to_string(),
            driver: info.driver.clone(),
            driver_info: info.driver_info.clone(),
            timestamps: gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY),
            timestamp_period_ns: gpu.queue.get_timestamp_period(),
            limits: Limits {
                max_buffer_size: limits.max_buffer_size,
                max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
                max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
                max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
                max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
                max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
                min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment,
            },
        }
    }
}

impl Build {
    fn this() -> Self {
        Build {
            rustc: env!("BUILD_RUSTC").into(),
            git_revision: env!("BUILD_REVISION").into(),
            git_dirty: env!("BUILD_DIRTY").parse().ok(),
            profile: env!("BUILD_PROFILE").into(),
            opt_level: env!("BUILD_OPT_LEVEL").into(),
            target: env!("BUILD_TARGET").into(),
            features: env!("BUILD_FEATURES").split_whitespace().map(String::from).collect(),
        }
    }
}

/// Versions of the libraries that affect results.
pub fn versions() -> BTreeMap<String, String> {
    let versions = [("wgpu-optim", env!("CARGO_PKG_VERSION")), ("wgpu", env!("BUILD_WGPU"))];
    versions.into_iter().map(|(name, version)| (name.into(), version.into())).collect()
}

/// The name of the processor.
pub fn processor() -> String {
    let mut system = System::new();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    match system.cpus().first().map(|cpu| cpu.brand().trim()) {
        None | Some("") => "processor".into(),
        Some(brand) => brand.into(),
    }
}

/// The number of hardware threads.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The size of the processor's last-level cache, if the system reports it (Linux).
pub fn cache_bytes() -> Option<u64> {
    let caches = std::fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    let size = |entry: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(entry.ok()?.path().join("size")).ok()?;
        let text = text.trim();
        let (number, unit) =
            text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => 1,
        };
        Some(number.parse::<u64>().ok()? * unit)
    };
    caches.filter_map(size).max()
}
