//! What samples come to, and what they were taken on.

use crate::adapter::Adapter;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use sysinfo::{CpuRefreshKind, System};

/// What a copy may be off by at the end of a run that counts as stable.
pub const DRIFT: f64 = 0.05;
const VARIABLES: [&str; 7] = ["BURN_", "CUBECL_", "WGPU_", "VK_", "LP_", "MESA_", "CUDA_"];

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut ordered = samples.to_vec();
    ordered.sort_by(f64::total_cmp);
    ordered
}

/// Between the two nearest.
fn quantile(ordered: &[f64], share: f64) -> f64 {
    let at = share * (ordered.len() - 1) as f64;
    let (low, high) = (ordered[at.floor() as usize], ordered[at.ceil() as usize]);
    low + at.fract() * (high - low)
}

/// Of any order.
pub fn median(samples: Vec<f64>) -> f64 {
    quantile(&sorted(&samples), 0.5)
}

/// Two samples that the median lies between in 95 of 100 cases, whatever the distribution: each is below it or not, as
/// a coin falls. Of fewer than six samples it is all of them.
fn interval(ordered: &[f64]) -> [f64; 2] {
    let n = ordered.len();
    let (mut outside, mut ways, mut below) = (0, 1.0, 1.0);
    while below <= 0.025 * (n as f64).exp2() {
        outside += 1;
        ways *= (n + 1 - outside) as f64 / outside as f64;
        below += ways;
    }
    let low = usize::max(outside, 1) - 1;
    [ordered[low], ordered[n - 1 - low]]
}

/// Adds what samples, and those of the copy beside them, come to.
pub fn summarize(row: &mut Value, samples: &[f64], beside: &[f64], size: u64, bytes: u64) {
    let ordered = sorted(samples);
    let middle = quantile(&ordered, 0.5);
    let shares = beside.iter().zip(samples).map(|(copy, sample)| copy / sample).collect();
    row["min_s"] = json!(ordered[0]);
    row["q1_s"] = json!(quantile(&ordered, 0.25));
    row["median_s"] = json!(middle);
    row["q3_s"] = json!(quantile(&ordered, 0.75));
    row["interval"] = json!(interval(&ordered));
    row["params_per_s"] = json!(size as f64 / middle);
    row["gb_s"] = json!(1e-9 * bytes as f64 / middle);
    row["percent_of_copy"] = json!(100.0 * median(shares));
}

/// What of the environment matters.
pub fn environment() -> BTreeMap<String, String> {
    let matters = |(name, _): &(String, String)| VARIABLES.iter().any(|start| name.starts_with(start));
    std::env::vars().filter(matters).collect()
}

/// Of burn and what it runs on, as this was built with them.
pub fn versions() -> BTreeMap<&'static str, &'static str> {
    let packages = include_str!("../Cargo.lock").split("[[package]]").filter_map(|package| {
        let value = |key| {
            package.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim_matches('"'))
        };
        Some((value("name = ")?, value("version = ")?))
    });
    packages.filter(|(name, _)| ["burn", "cubecl", "wgpu"].contains(name)).collect()
}

/// The machine and the adapter.
pub fn machine(adapter: &Adapter, settings: Value) -> Value {
    let mut system = System::new();
    system.refresh_memory();
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    let info = &adapter.info;
    json!({
        "cpu": system.cpus().first().map_or("processor", |cpu| cpu.brand().trim()),
        "threads": std::thread::available_parallelism().map_or(1, usize::from),
        "memory_bytes": system.total_memory(),
        "system": System::long_os_version(),
        "adapter": {
            "name": info.name, "type": format!("{:?}", info.device_type), "backend": info.backend.to_string(),
            "driver": info.driver, "driver_info": info.driver_info,
        },
        "settings": settings,
    })
}
