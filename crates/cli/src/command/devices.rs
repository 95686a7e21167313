//! `devices`: lists the adapters.

use super::device::{Description, type_name};
use super::{Failure, output};
use clap::Args;
use serde::Serialize;
use wgpu_optim::regression::device::{OpenError, adapters, block_on, check_adapter};
use wgpu_optim::wgpu::{Adapter, Features};

#[derive(Args)]
#[command(after_help = "\
Example:
  wgpu-optim devices --json")]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    adapters: Vec<Row>,
    cpu: Description,
}

#[derive(Serialize)]
struct Row {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    backend: String,
    driver: String,
    max_buffer_size: u64,
    max_storage_buffer_binding_size: u64,
    max_compute_workgroups_per_dimension: u32,
    max_compute_invocations_per_workgroup: u32,
    max_compute_workgroup_storage_size: u32,
    max_storage_buffers_per_shader_stage: u32,
    min_storage_buffer_offset_alignment: u32,
    features: Vec<&'static str>,
    /// The reason why the adapter cannot run the kernels.
    refused: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = block_on(adapters())?;
    let adapters: Vec<Row> = found.iter().map(row).collect();
    if found.is_empty() {
        let why = OpenError::no_adapter(None, &[]);
        // With --json the empty list is enough, unless the environment hides the adapters.
        if !arguments.json || matches!(why, OpenError::Environment { .. }) {
            output::note(&format!("{why}. All commands except verify also run on the processor."));
        }
    }
    let cpu = Description::of(&None);
    if arguments.json {
        return output::json(&Listing { adapters, cpu });
    }
    let header =
        ["adapter", "type", "backend", "driver", "runs", "buffer", "binding", "alignment", "features"];
    let rows = adapters.iter().map(|row| {
        vec![
            row.name.clone(),
            row.kind.into(),
            row.backend.clone(),
            row.driver.clone(),
            if row.refused.is_none() { "yes".into() } else { "no".into() },
            mebibytes(row.max_buffer_size),
            mebibytes(row.max_storage_buffer_binding_size),
            format!("{} B", row.min_storage_buffer_offset_alignment),
            row.features.join(", "),
        ]
    });
    output::text(&output::table(&header, 5, rows))?;
    for Row { name, backend, refused, .. } in &adapters {
        if let Some(refused) = refused {
            output::text(&format!("{name} ({backend}) cannot run the kernels: {refused}"))?;
        }
    }
    output::text(&cpu.line())
}

fn row(adapter: &Adapter) -> Row {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    // Optional features: nothing requires them.
    let named = [
        (Features::TIMESTAMP_QUERY, "timestamps"),
        (Features::IMMEDIATES, "immediates"),
        (Features::SUBGROUP, "subgroups"),
        (Features::SHADER_F16, "f16"),
    ];
    let has = |&(feature, name): &(Features, &'static str)| {
        adapter.features().contains(feature).then_some(name)
    };
    Row {
        kind: type_name(info.device_type),
        backend: info.backend.to_string(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().into(),
        name: info.name,
        max_buffer_size: limits.max_buffer_size,
        max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
        max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
        max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
        max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
        min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment,
        features: named.iter().filter_map(has).collect(),
        refused: check_adapter(adapter).err().map(|error| error.to_string()),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
