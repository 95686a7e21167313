//! `apply`: optimizer steps from files to files.

mod device;
mod files;
mod passed;
mod state;
mod steps;

use super::device::{Choice, Chosen, Description, DeviceArguments};
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
pub struct Arguments {
    /// The optimizer
    #[arg(long, value_name = "NAME")]
    optimizer: Optimizer,
    /// The parameters: a safetensors file, F32 where there is a gradient (--device f64: or F64); a tensor of another
    /// type, such as a counter, comes out as it went in
    #[arg(long, value_name = "FILE")]
    params: PathBuf,
    /// The gradients, one file a step, in this order; a parameter that a file lacks is not stepped
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    grads: Vec<PathBuf>,
    /// The optimizer's state: tensors `<parameter>.exp_avg` and so on, under PyTorch's names, and
    /// `<parameter>.step`, which sgd and lion can do without; nadam's `<parameter>.mu_product` follows from the
    /// step, and is written but not read [default: none, every parameter starts at step 0]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Where the parameters go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where the state goes
    #[arg(long, value_name = "FILE")]
    state_out: Option<PathBuf>,
    /// Where to compute: `auto` takes a hardware GPU if there is one, else the processor; `gpu` also
    /// takes a software adapter; `f64` is the definition
    #[arg(long, value_enum, default_value_t = Where::Auto, value_name = "KIND")]
    device: Where,
    /// The adapter whose name contains this (see `devices`); implies `--device gpu` [default: WGPU_ADAPTER_NAME of
    /// the environment]
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rule: RuleArguments,
    /// Learning rates, one a line and step; the last one holds
    #[arg(long, value_name = "FILE", conflicts_with = "lr")]
    lr_file: Option<PathBuf>,

    /// What the gradients were multiplied by [default: 1]
    #[arg(long, value_name = "S", help_heading = "Gradients", allow_negative_numbers = true)]
    grad_scale: Option<f64>,
    /// The largest norm that all gradients may have together; `inf` measures it, and clips nothing
    #[arg(long, value_name = "MAX", help_heading = "Gradients", allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// Whose formula --clip-norm is: torch multiplies by min(1, MAX / (norm + 1e-6)), optax by MAX / norm
    /// unless norm < MAX
    #[arg(long, value_enum, default_value_t = ClipNormAs::Torch, value_name = "LIBRARY", help_heading = "Gradients")]
    #[arg(requires = "clip_norm")]
    clip_norm_as: ClipNormAs,
    /// The largest absolute value of an element; `inf` is no limit
    #[arg(long, value_name = "MAX", help_heading = "Gradients", allow_negative_numbers = true)]
    clip_value: Option<f64>,
    /// Skips a step with a gradient that is infinite or not a number
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

/// For each parameter its gradient, if it has one in the step.
type Grads<R> = Vec<Option<Vec<R>>>;

/// What is to be done in every step.
struct Plan {
    rule: Rule,
    conditioning: Conditioning,
    /// One for every step that is taken; the last one holds.
    rates: Vec<f64>,
}

/// What became of the steps.
#[derive(Default)]
struct Counters {
    taken: u64,
    skipped: u64,
    /// That of the last step's gradients ahead of clipping, where something asks for it.
    norm: Option<f64>,
}

#[derive(Serialize)]
struct Report {
    device: Description,
    optimizer: &'static str,
    steps_taken: u64,
    steps_skipped: u64,
    /// `null` also where it is not finite.
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

/// What was chosen.
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
    /// A file may take the place of the one that it goes on from, since it has its name only once it is
    /// whole.
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
                let message = "--adapter names a GPU adapter, and --device f64 uses none";
                return Err(Failure::Input(message.into()));
            }
            Where::F64 => return Ok(On::F64),
            Where::Auto => Choice::Auto,
            Where::Gpu => Choice::Gpu,
            Where::Cpu => Choice::Cpu,
        };
        let chosen: Chosen = DeviceArguments { device, adapter: self.adapter.clone() }.open()?;
        Ok(chosen.map_or(On::Cpu, |gpu| On::Gpu(Box::new(gpu))))
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

    /// One step's gradients, for parameters of these names and shapes.
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
                passed.map_or_else(|| file.error(name, "is the gradient of no parameter"), refuse)
            );
        }
        let read = |(name, shape): &(String, Vec<usize>)| {
            file.has(name).then(|| file.elements_of(name, shape)).transpose()
        };
        shapes.iter().map(read).collect()
    }

    /// Both files get their names when both are whole.
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

/// What the files hold besides the parameters that may be stepped.
struct Files {
    params: Metadata,
    state: Metadata,
    /// Of all tensors, in their order.
    names: Vec<String>,
    passed: Vec<Passed>,
}

impl Files {
    /// A row for each tensor of the file, in its order.
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
        let why =
            || error(format!("line {line} is `{text}`, and must be a learning rate: 0 ≤ lr ≤ 3.4e38"));
        rate.ok_or_else(why)
    };
    let rates = (1..).zip(text.lines()).map(rate).collect::<Result<Vec<f64>, _>>()?;
    if rates.is_empty() {
        return Err(error("line 1 is missing: there must be a learning rate".into()));
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
