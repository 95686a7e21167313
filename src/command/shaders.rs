//! `shaders`: the kernels as files, for programs in other languages.

mod manifest;
mod words;

use super::output::Whole;
use super::{Failure, output};
use clap::Args;
use manifest::Kernel;
use serde::Serialize;
use std::path::{Path, PathBuf};
use wgpu_optim::gpu::shader::{self, Layout, Module};
use wgpu_optim::{Adagrad, Adam, Adamax, Lion, Loss, NAdam, RmsProp, Rule, Sgd};

#[derive(Args)]
pub struct Arguments {
    /// The folder that the kernels go into, a .wgsl file each, with a manifest.json of what they bind; it
    /// is made if it is not there
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
        return Err(error("is there and is not a folder".into()));
    }
    let sources = sources();
    let kernel = |source: &Source| {
        let kernel = Kernel::new(&source.name, &source.text, source.moments);
        kernel.map_err(|why| Failure::Check(format!("{}: {why}", source.name)))
    };
    let kernels = sources.iter().map(kernel).collect::<Result<Vec<_>, _>>()?;
    let manifest = Manifest { version: env!("CARGO_PKG_VERSION"), notes: words::NOTES, kernels };
    let manifest = serde_json::to_string_pretty(&manifest).map_err(|e| error(e.to_string()))?;

    std::fs::create_dir_all(folder).map_err(|e| error(e.to_string()))?;
    for source in &sources {
        write(&folder.join(format!("{}.wgsl", source.name)), &source.text)?;
    }
    // Last: where there is a manifest, there is all that it names.
    write(&folder.join("manifest.json"), &(manifest + "\n"))?;
    output::note(&format!(
        "Wrote {} kernels and their manifest into {}",
        sources.len(),
        folder.display()
    ));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    Whole::write(path, |file| file.write_all(text.as_bytes()))?.name()
}

/// A kernel's source.
struct Source {
    name: String,
    text: String,
    moments: Option<&'static [&'static str]>,
}

impl Source {
    fn new(name: impl Into<String>, module: &Module) -> Self {
        Source { name: name.into(), text: module.source(), moments: None }
    }
}

/// Every rule in the variant with the most moments.
fn rules() -> [(&'static str, Rule); 8] {
    let (momentum, centered, amsgrad) = (0.9, true, true);
    [
        ("sgd", Sgd::default().into()),
        ("sgd_momentum", Sgd { momentum, ..Sgd::default() }.into()),
        ("rmsprop", RmsProp { momentum, centered, ..RmsProp::default() }.into()),
        ("adam", Adam { amsgrad, ..Adam::default() }.into()),
        ("nadam", NAdam::default().into()),
        ("adamax", Adamax::default().into()),
        ("adagrad", Adagrad::default().into()),
        ("lion", Lion::default().into()),
    ]
}

/// A loss of every file.
fn losses() -> [Loss; 6] {
    [
        Loss::SquaredError,
        Loss::Huber { epsilon: 0.1 },
        Loss::Quantile { quantile: 0.5 },
        Loss::Logistic,
        Loss::Poisson,
        Loss::Softmax { classes: 2 },
    ]
}

fn sources() -> Vec<Source> {
    let layouts = [("", Layout::Span), ("_tail", Layout::Tail), ("_arena", Layout::Arena)];
    let mut sources = vec![
        Source::new("step_state", &shader::step_state()),
        Source::new("gradient_scores", &shader::gradient_scores(true)),
        Source::new("gradient_columns", &shader::gradient_columns(true)),
        Source::new("gradient_reduce", &shader::gradient_reduce()),
        Source::new("evaluation_sum", &shader::evaluation_sum()),
        Source::new("synthetic_features", &shader::synthetic_features()),
        Source::new("synthetic_targets", &shader::synthetic_targets()),
    ];
    for loss in losses() {
        let name = loss.name();
        let mut add =
            |kernel: &str, module| sources.push(Source::new(format!("{kernel}_{name}"), &module));
        if !matches!(loss, Loss::Softmax { .. }) {
            add("gradient_one_pass", shader::gradient_one_pass(&loss, true));
        }
        add("gradient_tiles", shader::gradient_tiles(&loss, true));
        add("gradient_derivatives", shader::gradient_derivatives(&loss, true));
    }
    for (suffix, layout) in layouts {
        let norm = shader::gradient_norm(layout);
        sources.push(Source::new(format!("gradient_norm{suffix}"), &norm));
        for (name, rule) in rules() {
            let update = shader::update(&rule, layout);
            let source = Source::new(format!("{name}{suffix}"), &update);
            sources.push(Source { moments: Some(rule.moments()), ..source });
        }
    }
    sources
}
