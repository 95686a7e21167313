//! What was measured on, and with what.

use serde::Serialize;
use std::collections::BTreeMap;
use sysinfo::{CpuRefreshKind, System};
use wgpu::DeviceType;
use wgpu_optim::cpu::parallel;
use wgpu_optim::regression::device::Gpu;

/// The machine, the adapter, the build, and what the measurement was set to.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// What the processor calls itself.
    pub cpu: String,
    /// Threads that it runs at once.
    pub threads: usize,
    /// The widest SIMD that is used.
    pub simd: String,
    /// Its last cache, where the system tells.
    pub cache_bytes: Option<u64>,
    /// Its memory.
    pub memory_bytes: u64,
    /// The operating system.
    pub system: String,
    /// Its kernel.
    pub kernel: String,
    /// The adapter, where one was measured.
    pub adapter: Option<Adapter>,
    /// How this program was built.
    pub build: Build,
    /// Variables that change what drivers and threads do, where they are set.
    pub environment: BTreeMap<String, String>,
    /// Constants of the measurement.
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// An adapter and its device.
#[derive(Clone, Debug, Serialize)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// PCI numbers.
    pub vendor: u32,
    /// PCI numbers.
    pub device: u32,
    /// What kind of device it is, as wgpu says.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether that is the processor by another name.
    pub software: bool,
    /// What wgpu runs on.
    pub backend: String,
    /// The driver.
    pub driver: String,
    /// Its version.
    pub driver_info: String,
    /// Whether there are timestamps.
    pub timestamps: bool,
    /// Nanoseconds of a tick of them.
    pub timestamp_period_ns: f32,
    /// The limits that the device was asked for.
    pub limits: Limits,
}

/// The limits that matter to the kernels.
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

/// How a program was built.
#[derive(Clone, Debug, Serialize)]
pub struct Build {
    /// The compiler.
    pub rustc: String,
    /// The commit, or `unknown`.
    pub git_revision: String,
    /// Whether something was changed since, where that is known.
    pub git_dirty: Option<bool>,
    /// `release` or `debug`.
    pub profile: String,
    /// What the compiler optimizes.
    pub opt_level: String,
    /// The target triple.
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
    /// This one.
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

/// What the results depend on besides the machine.
pub fn versions() -> BTreeMap<String, String> {
    let versions = [("wgpu-optim", env!("CARGO_PKG_VERSION")), ("wgpu", env!("BUILD_WGPU"))];
    versions.into_iter().map(|(name, version)| (name.into(), version.into())).collect()
}

/// What the processor calls itself.
pub fn processor() -> String {
    let mut system = System::new();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    match system.cpus().first().map(|cpu| cpu.brand().trim()) {
        None | Some("") => "processor".into(),
        Some(brand) => brand.into(),
    }
}

/// Threads that run at once.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor's last cache, where the system tells: Linux does.
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
