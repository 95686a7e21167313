//! `shaders`: exports the kernels, for programs in other languages.

mod manifest;
mod words;

use super::output::AtomicFile;
use super::{Failure, output};
use crate::series::RMSPROP_AS_PUBLISHED;
use clap::Args;
use manifest::Kernel;
use serde::Serialize;
use std::path::{Path, PathBuf};
use wgpu_optim::RmsProp;
use wgpu_optim::gpu::shader::{self, Composed};
use wgpu_optim::regression::kernels::shader as over_rows;

#[derive(Args)]
#[command(after_help = "\
Example:
  wgpu-optim shaders --out kernels")]
pub struct Arguments {
    /// Directory for the kernels, one .wgsl file each, and manifest.json with their bindings, overrides and entry points;
    /// created if missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Manifest {
    version: &'static str,
    notes: &'static [&'static str],
    kernels: Vec<Kernel>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = &arguments.out;
    let error = |why: String| Failure::Input(format!("--out {}: {why}", folder.display()));
    if folder.exists() && !folder.is_dir() {
        return Err(error("exists and is not a directory".into()));
    }
    let composed = all();
    let kernel = |composed: &Composed| {
        let kernel = Kernel::new(composed);
        kernel.map_err(|why| Failure::Check(format!("{}: {why}", composed.name)))
    };
    let kernels = composed.iter().map(kernel).collect::<Result<Vec<_>, _>>()?;
    let manifest = Manifest { version: env!("CARGO_PKG_VERSION"), notes: words::NOTES, kernels };
    let manifest = serde_json::to_string_pretty(&manifest).map_err(|e| error(e.to_string()))?;

    std::fs::create_dir_all(folder).map_err(|e| error(e.to_string()))?;
    for Composed { name, module, .. } in &composed {
        write(&folder.join(format!("{name}.wgsl")), &module.source())?;
    }
    // Last, so that a manifest implies that all its files exist.
    write(&folder.join("manifest.json"), &(manifest + "\n"))?;
    output::note(&format!(
        "Wrote {} kernels and their manifest to {}",
        composed.len(),
        folder.display()
    ));
    Ok(())
}

/// The library's kernels, and the kernel of `reproduce`.
fn all() -> Vec<Composed> {
    let module = over_rows::gradient_descend("rmsprop", RMSPROP_AS_PUBLISHED);
    let name = "descend_rmsprop_as_published".into();
    let published = Composed::stepping(name, module, &RmsProp::default().into());
    shader::all().into_iter().chain(over_rows::all()).chain([published]).collect()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    AtomicFile::write(path, |file| file.write_all(text.as_bytes()))?.name()
}
