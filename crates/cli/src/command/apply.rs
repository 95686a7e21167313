//! `apply`: optimizer steps on safetensors files.

mod device;
mod files;
mod passed;
mod state;
mod steps;

use super::device::{Choice, Description, DeviceArguments, SelectedDevice};
use super::rules::{Optimizer, RuleArguments};
use super::{Failure, output};
use clap::{Args, ValueEnum};
use device::Device;
use files::{Element, TensorFile, write};
use passed::Passed;
use serde::Serialize;
use state::Parameter;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use steps::Processor;
use wgpu_optim::Rule;
use wgpu_optim::regression::device::Gpu;
use wgpu_optim::regression::train::Float;
use wgpu_optim::rule::{ClipNorm, Conditioning};

#[derive(Args)]
#[command(after_help = "\
Example:
  wgpu-optim apply --optimizer adam --params model.safetensors --grads grads.safetensors --out stepped.safetensors \\
      --state-out state.safetensors")]
pub struct Arguments {
    /// Optimizer
    #[arg(long, value_name = "NAME")]
    optimizer: Optimizer,
    /// Parameters, a safetensors file. Tensors with a gradient must be F32 (with --device f64 also F64); tensors of other
    /// types, such as counters, are copied unchanged
    #[arg(long, value_name = "FILE")]
    params: PathBuf,
    /// Gradients, one safetensors file per step, in order. A parameter without a gradient in a file skips that step
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    grads: Vec<PathBuf>,
    /// Optimizer state, a safetensors file with PyTorch's names: `<parameter>.exp_avg` and so on, and
    /// `<parameter>.step`, which is optional for sgd and lion. nadam's `<parameter>.mu_product` follows from the step: it
    /// is written and ignored on reading [default: no state, every parameter starts at step 0]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Write the updated parameters to this file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write the optimizer state to this file
    #[arg(long, value_name = "FILE")]
    state_out: Option<PathBuf>,
    /// Device to compute on: `auto` uses a hardware GPU if there is one, else the processor; `gpu` also accepts a
    /// software adapter; `f64` computes the definition on the processor
    #[arg(long, value_enum, default_value_t = Where::Auto, value_name = "KIND")]
    device: Where,
    /// Adapter to use, by a part of its name (see `devices`). Implies `--device gpu` [default: the environment variable
    /// WGPU_ADAPTER_NAME]
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rule: RuleArguments,
    /// Learning rates, a text file with one line per step; further steps use the last one
    #[arg(long, value_name = "FILE", conflicts_with = "lr")]
    lr_file: Option<PathBuf>,

    /// Loss scale: divide the gradients by S [default: 1]
    #[arg(long, value_name = "S", help_heading = "Gradients", allow_negative_numbers = true)]
    grad_scale: Option<f64>,
    /// Clip the gradients to this global norm; `inf` only measures the norm [default: no clipping]
    #[arg(long, value_name = "MAX", help_heading = "Gradients", allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// Formula of --clip-norm: torch multiplies by min(1, MAX / (norm + 1e-6)), optax by MAX / norm unless norm < MAX
    #[arg(long, value_enum, default_value_t = ClipNormAs::Torch, value_name = "LIBRARY", help_heading = "Gradients")]
    #[arg(requires = "clip_norm")]
    clip_norm_as: ClipNormAs,
    /// Clip every element of the gradients to ±MAX; `inf` clips nothing [default: no clipping]
    #[arg(long, value_name = "MAX", help_heading = "Gradients", allow_negative_numbers = true)]
    clip_value: Option<f64>,
    /// Skip steps with a non-finite gradient
    #[arg(long, help_heading = "Gradients")]
    skip_nonfinite: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Where {
    Auto,
    Gpu,
    Cpu,
    F64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClipNormAs {
    Torch,
    Optax,
}

/// The gradients of a step, one entry per parameter; `None` where the parameter has no gradient.
type Grads<R> = Vec<Option<Vec<R>>>;

/// The rule, conditioning and learning rates of the steps.
struct Plan {
    rule: Rule,
    conditioning: Conditioning,
    /// Learning rates by steps taken; further steps use the last one.
    rates: Vec<f64>,
}

/// Counts of steps.
#[derive(Default)]
struct Counters {
    taken: u64,
    skipped: u64,
    /// Norm of the last step's gradients before clipping, if the conditioning measures it.
    norm: Option<f64>,
}

#[derive(Serialize)]
struct Report {
    device: Description,
    optimizer: &'static str,
    steps_taken: u64,
    steps_skipped: u64,
    /// `null` if it is not measured or not finite.
    last_norm: Option<f64>,
    tensors: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    shape: Vec<usize>,
    steps_taken: u64,
    step: u64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check_outputs()?;
    let plan = arguments.plan()?;
    let device = arguments.open()?;
    let (counters, tensors) = match &device {
        On::Gpu(gpu) => arguments.on_gpu(&plan, gpu)?,
        On::Cpu => arguments.on_processor::<f32>(&plan)?,
        On::F64 => arguments.on_processor::<f64>(&plan)?,
    };
    let report = Report {
        device: device.description(),
        optimizer: plan.rule.name(),
        steps_taken: counters.taken,
        steps_skipped: counters.skipped,
        last_norm: counters.norm,
        tensors,
    };
    if arguments.json { output::json(&report) } else { output::text(&report.table()) }
}

/// The selected device.
enum On {
    Gpu(Box<Gpu>),
    Cpu,
    F64,
}

impl On {
    fn description(self) -> Description {
        let cpu = Description::of(&None);
        match self {
            On::Gpu(gpu) => Description::of_gpu(&gpu),
            On::Cpu => cpu,
            On::F64 => Description { kind: "f64", driver: "the definition in f64".into(), ..cpu },
        }
    }
}

impl Arguments {
    /// Checks the output files. An output may replace the input that it continues, because it is renamed only when
    /// complete.
    fn check_outputs(&self) -> Result<(), Failure> {
        let inputs = self.grads.iter().chain(&self.lr_file);
        let mut others: Vec<PathBuf> = inputs.filter_map(|path| path.canonicalize().ok()).collect();
        let from = |path: &Path| path.canonicalize().ok();
        let mut out_others = others.clone();
        out_others.extend(self.state.as_deref().and_then(from));
        output::check_file("--out", &self.out, &mut out_others)?;
        if let Some(path) = &self.state_out {
            others.extend(from(&self.params));
            others.extend(out_others.pop());
            output::check_file("--state-out", path, &mut others)?;
        }
        Ok(())
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let rule = self.rule.rules(&[self.optimizer])?.remove(0);
        let clip_norm = self.clip_norm.map(|max| match self.clip_norm_as {
            ClipNormAs::Torch => ClipNorm::Torch(max),
            ClipNormAs::Optax => ClipNorm::Optax(max),
        });
        let conditioning = Conditioning {
            clip_norm,
            clip_value: self.clip_value,
            grad_scale: self.grad_scale.unwrap_or(1.0),
            skip_nonfinite: self.skip_nonfinite,
            ..Conditioning::default()
        };
        conditioning.validate()?;
        let rates = match &self.lr_file {
            Some(path) => read_rates(path)?,
            None => vec![rule.lr()],
        };
        Ok(Plan { rule, conditioning, rates })
    }

    fn open(&self) -> Result<On, Failure> {
        let device = match self.device {
            Where::F64 if self.adapter.is_some() => {
                let message = "--adapter selects a GPU: it cannot be used with --device f64";
                return Err(Failure::Input(message.into()));
            }
            Where::F64 => return Ok(On::F64),
            Where::Auto => Choice::Auto,
            Where::Gpu => Choice::Gpu,
            Where::Cpu => Choice::Cpu,
        };
        let device: SelectedDevice = DeviceArguments { device, adapter: self.adapter.clone() }.open()?;
        Ok(device.map_or(On::Cpu, |gpu| On::Gpu(Box::new(gpu))))
    }

    fn on_gpu(&self, plan: &Plan, gpu: &Gpu) -> Result<(Counters, Vec<Row>), Failure> {
        let (files, parameters) = self.read::<f32>(plan)?;
        let shapes = shapes(&parameters);
        let device = Device::new(gpu, plan, parameters)?;
        for path in &self.grads {
            device.step(&self.read_grads(path, &shapes, &files.passed)?)?;
        }
        let (parameters, counters) = device.finish()?;
        self.write(plan, &files, &parameters)?;
        Ok((counters, files.rows(parameters)))
    }

    fn on_processor<R: Element + Float>(&self, plan: &Plan) -> Result<(Counters, Vec<Row>), Failure> {
        let (files, parameters) = self.read::<R>(plan)?;
        let shapes = shapes(&parameters);
        let mut processor = Processor::new(plan, parameters);
        for path in &self.grads {
            processor.step(self.read_grads(path, &shapes, &files.passed)?);
        }
        let (parameters, counters) = processor.finish();
        self.write(plan, &files, &parameters)?;
        Ok((counters, files.rows(parameters)))
    }

    fn read<R: Element>(&self, plan: &Plan) -> Result<(Files, Vec<Parameter<R>>), Failure> {
        let params = TensorFile::read(&self.params)?;
        let state = self.state.as_deref().map(TensorFile::read).transpose()?;
        let parameters = Parameter::read_all(&plan.rule, &params, state.as_ref())?;
        let metadata = |file: &TensorFile| file.metadata().cloned();
        let files = Files {
            params: metadata(&params),
            state: state.as_ref().and_then(metadata),
            names: params.names(),
            passed: Passed::read_all::<R>(&params, state.as_ref())?,
        };
        Ok((files, parameters))
    }

    /// Reads one step's gradients, for parameters of these names and shapes.
    fn read_grads<R: Element>(
        &self,
        path: &Path,
        shapes: &[(String, Vec<usize>)],
        passed: &[Passed],
    ) -> Result<Grads<R>, Failure> {
        let file = TensorFile::read(path)?;
        let known: HashSet<&String> = shapes.iter().map(|(name, _)| name).collect();
        if let Some(name) = file.names().iter().find(|name| !known.contains(name)) {
            let refuse = |passed: &Passed| passed.refuse::<R>(&self.params, path);
            let passed = passed.iter().find(|passed| passed.name() == name);
            return Err(
                passed.map_or_else(|| file.error(name, "is a gradient without a parameter"), refuse)
            );
        }
        let read = |(name, shape): &(String, Vec<usize>)| {
            file.has(name).then(|| file.elements_of(name, shape)).transpose()
        };
        shapes.iter().map(read).collect()
    }

    /// Writes both output files, and renames them only when both are complete.
    fn write<R: Element>(
        &self,
        plan: &Plan,
        files: &Files,
        parameters: &[Parameter<R>],
    ) -> Result<(), Failure> {
        let mut tensors: Vec<_> = parameters.iter().map(Parameter::output).collect();
        tensors.extend(files.passed.iter().map(Passed::output));
        let out = write(&self.out, files.params.as_ref(), tensors)?;
        if let Some(path) = &self.state_out {
            let mut tensors: Vec<_> = parameters.iter().flat_map(|p| p.state(&plan.rule)).collect();
            tensors.extend(files.passed.iter().flat_map(Passed::state));
            write(path, files.state.as_ref(), tensors)?.name()?;
        }
        out.name()
    }
}

/// Content of the input files other than the parameters to step.
struct Files {
    params: Metadata,
    state: Metadata,
    /// Names of all tensors, in file order.
    names: Vec<String>,
    passed: Vec<Passed>,
}

impl Files {
    /// A row for each tensor, in file order.
    fn rows<R>(&self, parameters: Vec<Parameter<R>>) -> Vec<Row> {
        let of_parameter =
            |p: Parameter<R>| Row { name: p.name, shape: p.shape, steps_taken: p.taken, step: p.step };
        let of_passed = |p: &Passed| Row {
            name: p.name().into(),
            shape: p.shape().to_vec(),
            steps_taken: 0,
            step: p.step,
        };
        let mut rows: Vec<Row> =
            parameters.into_iter().map(of_parameter).chain(self.passed.iter().map(of_passed)).collect();
        let places: HashMap<&String, usize> = self.names.iter().zip(0..).collect();
        rows.sort_by_key(|row| places.get(&row.name).copied());
        rows
    }
}

type Metadata = Option<HashMap<String, String>>;

fn shapes<R>(parameters: &[Parameter<R>]) -> Vec<(String, Vec<usize>)> {
    parameters.iter().map(|p| (p.name.clone(), p.shape.clone())).collect()
}

fn read_rates(path: &Path) -> Result<Vec<f64>, Failure> {
    let error = |why: String| Failure::Input(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
    let rate = |(line, text): (usize, &str)| {
        let rate = text.trim().parse().ok().filter(|lr| (0.0..=f64::from(f32::MAX)).contains(lr));
        let why = || {
            error(format!("line {line} is `{text}`: a learning rate must be a number from 0 to 3.4e38"))
        };
        rate.ok_or_else(why)
    };
    let rates = (1..).zip(text.lines()).map(rate).collect::<Result<Vec<f64>, _>>()?;
    if rates.is_empty() {
        return Err(error("is empty: it must have a learning rate in line 1".into()));
    }
    Ok(rates)
}

impl Report {
    fn table(&self) -> String {
        let header = ["tensor", "shape", "steps taken", "step"];
        let rows = self.tensors.iter().map(|row| {
            let shape = row.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
            vec![row.name.clone(), shape, row.steps_taken.to_string(), row.step.to_string()]
        });
        let table = output::table(&header, 2, rows);
        let norm = self.last_norm.map_or(String::new(), |norm| format!(", last norm {norm:.6e}"));
        let steps = format!("steps taken {}, skipped {}{norm}", self.steps_taken, self.steps_skipped);
        format!("{}: {}\n{table}\n{steps}", self.optimizer, self.device.line())
    }
}
