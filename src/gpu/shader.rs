//! Kernels as concatenations of WGSL files that agree on function names.
//!
//! Nothing is edited on the way: what a module's [`source`](Module::source) prints is what the files say,
//! and constants are pipeline overrides.

mod all;

use super::dispatch::flag;
use crate::rule::AmsgradOf;
use crate::{Loss, Rule};

pub use all::{Composed, all};

/// RMSprop as the blog series published it, in the place of the rule's file.
#[cfg(feature = "cli")]
pub(crate) const RMSPROP_AS_PUBLISHED: &str = include_str!("../../shaders/as_published/rmsprop.wgsl");

/// A kernel's files, in order.
#[derive(Clone, Debug)]
pub struct Module {
    /// What the kernel is called in labels and error messages.
    pub name: &'static str,
    files: Vec<&'static str>,
}

impl Module {
    /// The whole WGSL source.
    pub fn source(&self) -> String {
        self.files.join("\n")
    }

    /// Those of `constants` that the source has overrides for.
    pub fn declared(&self, mut constants: Vec<(&'static str, f64)>) -> Vec<(&'static str, f64)> {
        constants.retain(|(name, _)| {
            let declaration = format!("override {name}:");
            self.files.iter().any(|file| file.contains(&declaration))
        });
        constants
    }
}

macro_rules! module {
    ($name:expr, $($file:literal),+ $(,)?) => {
        Module {
            name: $name,
            files: vec![$(include_str!(concat!("../../shaders/", $file))),+],
        }
    };
}

/// How the tensors that one dispatch updates lie in its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Vectors of four of one tensor.
    Span,
    /// The last elements of a tensor, which fill no vector.
    Tail,
    /// Vectors of four of many tensors, each of which starts at a multiple of 64 elements.
    Arena,
}

impl Layout {
    /// Which step a vector belongs to, and how it is loaded and stored.
    fn files(self) -> [&'static str; 2] {
        match self {
            Layout::Span => [
                include_str!("../../shaders/step/one.wgsl"),
                include_str!("../../shaders/storage/f32.wgsl"),
            ],
            Layout::Tail => [
                include_str!("../../shaders/step/one.wgsl"),
                include_str!("../../shaders/storage/f32_tail.wgsl"),
            ],
            Layout::Arena => [
                include_str!("../../shaders/step/table.wgsl"),
                include_str!("../../shaders/storage/f32.wgsl"),
            ],
        }
    }
}

/// One step of `rule`.
pub fn update(rule: &Rule, layout: Layout) -> Module {
    update_with(rule.name(), rule_file(rule), layout)
}

/// [`update`] with another file in the place of the rule's.
pub(crate) fn update_with(name: &'static str, rule_file: &'static str, layout: Layout) -> Module {
    let mut module = module!(name, "arithmetic.wgsl", "step.wgsl");
    module.files.extend(layout.files());
    module.files.extend(module!(name, "accumulation.wgsl", "update.wgsl").files);
    module.files.push(rule_file);
    module.files.extend(module!(name, "update_all.wgsl").files);
    module
}

/// The rule's file in `shaders/update/`.
pub(crate) fn rule_file(rule: &Rule) -> &'static str {
    match rule {
        Rule::Sgd(sgd) if sgd.momentum == 0.0 => include_str!("../../shaders/update/sgd.wgsl"),
        Rule::Sgd(_) => include_str!("../../shaders/update/sgd_momentum.wgsl"),
        Rule::RmsProp(_) => include_str!("../../shaders/update/rmsprop.wgsl"),
        Rule::Adam(_) => include_str!("../../shaders/update/adam.wgsl"),
        Rule::NAdam(_) => include_str!("../../shaders/update/nadam.wgsl"),
        Rule::Adamax(_) => include_str!("../../shaders/update/adamax.wgsl"),
        Rule::Adagrad(_) => include_str!("../../shaders/update/adagrad.wgsl"),
        Rule::Lion(_) => include_str!("../../shaders/update/lion.wgsl"),
    }
}

/// The overrides of the rule's file.
pub(crate) fn rule_constants(rule: &Rule) -> Vec<(&'static str, f64)> {
    let eps_inside = flag("EPS_INSIDE", rule.eps().1 != 0.0);
    match rule {
        Rule::Sgd(sgd) if sgd.momentum == 0.0 => vec![],
        Rule::Sgd(sgd) => {
            vec![flag("NESTEROV", sgd.nesterov), flag("LR_IN_MOMENTUM", sgd.lr_in_momentum)]
        }
        Rule::RmsProp(rule) => vec![
            ("MOMENTUM_BUFFER", if rule.centered { 2.0 } else { 1.0 }),
            flag("CENTERED", rule.centered),
            flag("CLAMP_VARIANCE", rule.clamp_variance),
            flag("MOMENTUM", rule.momentum != 0.0),
            flag("LR_IN_MOMENTUM", rule.lr_in_momentum),
            flag("BIAS_CORRECTION", rule.bias_correction),
            eps_inside,
            flag("INITIAL_ACCUMULATOR", rule.initial_accumulator != 0.0),
        ],
        Rule::Adam(adam) => vec![
            flag("AMSGRAD", adam.amsgrad),
            flag("AMSGRAD_OF_CORRECTED", adam.amsgrad_of == AmsgradOf::Corrected),
            eps_inside,
        ],
        Rule::Adagrad(adagrad) => {
            vec![eps_inside, flag("INITIAL_ACCUMULATOR", adagrad.initial_accumulator != 0.0)]
        }
        Rule::NAdam(_) | Rule::Adamax(_) | Rule::Lion(_) => vec![],
    }
}

/// Measures the gradients ahead of a step.
pub fn gradient_norm(layout: Layout) -> Module {
    let name = "gradient norm";
    let mut module = module!(name, "step.wgsl");
    module.files.extend(layout.files());
    module.files.extend(module!(name, "accumulation.wgsl", "gradient_norm.wgsl").files);
    module
}

/// Decides on a step and advances every tensor's state.
pub fn step_state() -> Module {
    module!("step state", "integer.wgsl", "step.wgsl", "step_state.wgsl")
}

/// Makes the features of a synthetic problem's rows.
pub fn synthetic_features() -> Module {
    module!(
        "synthetic features",
        "integer.wgsl",
        "synthetic/generator.wgsl",
        "synthetic/in_order.wgsl",
        "synthetic/features.wgsl",
    )
}

/// Makes their targets.
pub fn synthetic_targets() -> Module {
    module!(
        "synthetic targets",
        "integer.wgsl",
        "synthetic/generator.wgsl",
        "synthetic/response.wgsl",
        "synthetic/in_order.wgsl",
        "synthetic/targets.wgsl",
    )
}

/// Where a kernel's rows are: stored, or made where they are needed.
fn rows(stored: bool) -> Vec<&'static str> {
    if stored {
        return vec![include_str!("../../shaders/gradient/stored.wgsl")];
    }
    vec![
        include_str!("../../shaders/integer.wgsl"),
        include_str!("../../shaders/synthetic/generator.wgsl"),
        include_str!("../../shaders/gradient/virtual.wgsl"),
    ]
}

/// Makes the targets of a run's rows.
pub fn virtual_targets() -> Module {
    module!(
        "targets of a run",
        "integer.wgsl",
        "synthetic/generator.wgsl",
        "synthetic/response.wgsl",
        "gradient/order.wgsl",
        "gradient/in_batch_order.wgsl",
        "synthetic/targets.wgsl",
    )
}

/// What a loss's file needs, and the file.
fn loss(loss: &Loss) -> Vec<&'static str> {
    let exponential = include_str!("../../shaders/exponential.wgsl");
    match loss {
        Loss::Mse | Loss::SquaredError => vec![include_str!("../../shaders/loss/squared.wgsl")],
        Loss::Huber { .. } => vec![include_str!("../../shaders/loss/huber.wgsl")],
        Loss::Quantile { .. } => vec![include_str!("../../shaders/loss/quantile.wgsl")],
        Loss::Logistic => vec![exponential, include_str!("../../shaders/loss/logistic.wgsl")],
        Loss::Poisson => vec![exponential, include_str!("../../shaders/loss/poisson.wgsl")],
        Loss::Softmax { .. } => vec![exponential, include_str!("../../shaders/loss/softmax.wgsl")],
    }
}

/// The overrides of the loss's file.
pub(crate) fn loss_constants(loss: &Loss) -> Vec<(&'static str, f64)> {
    match *loss {
        Loss::Huber { epsilon } => vec![("EPSILON", epsilon)],
        Loss::Quantile { quantile } => {
            vec![("QUANTILE", quantile), ("ONE_MINUS_QUANTILE", 1.0 - quantile)]
        }
        _ => vec![],
    }
}

/// A kernel over rows; `parts` come between what all of them share and its own file.
fn over_rows(name: &'static str, stored: bool, parts: Vec<&'static str>, own: &'static str) -> Module {
    let mut module = module!(name, "gradient/order.wgsl", "gradient/batch.wgsl", "gradient/model.wgsl");
    module.files.extend(rows(stored));
    module.files.extend(parts);
    module.files.push(own);
    module
}

/// A loss, and how several outputs are differentiated by it.
fn outputs(of: &Loss) -> Vec<&'static str> {
    let mut files = loss(of);
    if !matches!(of, Loss::Softmax { .. }) {
        files.push(include_str!("../../shaders/gradient/apart.wgsl"));
    }
    files
}

/// The partial sums of one output in one pass over X.
pub fn gradient_one_pass(of: &Loss, stored: bool) -> Module {
    let own = include_str!("../../shaders/gradient/one_pass.wgsl");
    over_rows("gradient in one pass", stored, loss(of), own)
}

/// The partial sums of several outputs in one pass over X.
pub fn gradient_tiles(of: &Loss, stored: bool) -> Module {
    let own = include_str!("../../shaders/gradient/tiles.wgsl");
    over_rows("gradient of several outputs", stored, outputs(of), own)
}

/// The scores of a run that is too wide for one pass.
pub fn gradient_scores(stored: bool) -> Module {
    over_rows("scores", stored, vec![], include_str!("../../shaders/gradient/scores.wgsl"))
}

/// Derivatives in the place of a run's scores.
pub fn gradient_derivatives(of: &Loss, stored: bool) -> Module {
    let own = include_str!("../../shaders/gradient/derivatives.wgsl");
    over_rows("derivatives", stored, outputs(of), own)
}

/// The gradient's partial sums from a run's derivatives.
pub fn gradient_columns(stored: bool) -> Module {
    let own = include_str!("../../shaders/gradient/columns.wgsl");
    over_rows("gradient by columns", stored, vec![], own)
}

/// Adds up partial sums, and stores the gradient.
pub fn gradient_reduce() -> Module {
    module!(
        "gradient sum",
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "gradient/store.wgsl",
    )
}

/// Adds up partial sums, and steps a rule with the gradient; with another file in the rule's place where one
/// is given.
pub(crate) fn gradient_descend(name: &'static str, rule_file: &'static str) -> Module {
    let mut module = module!(
        name,
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "arithmetic.wgsl",
        "step.wgsl",
        "gradient/descend.wgsl",
        "accumulation.wgsl",
        "update.wgsl",
    );
    module.files.push(rule_file);
    module
}

/// Many updates in one dispatch: by a thread for each model that is fitted, or a workgroup; from rows that are
/// packed, or padded.
pub(crate) fn gradient_epochs(
    name: &'static str,
    of: &Loss,
    rule_file: &'static str,
    packed: bool,
    alone: bool,
) -> Module {
    let mut module = module!(name, "gradient/order.wgsl", "gradient/batch.wgsl", "gradient/model.wgsl");
    module.files.push(if packed {
        include_str!("../../shaders/gradient/packed.wgsl")
    } else {
        include_str!("../../shaders/gradient/stored.wgsl")
    });
    module.files.extend(loss(of));
    let step = module!(
        name,
        "gradient/epochs/epochs.wgsl",
        "arithmetic.wgsl",
        "step.wgsl",
        "accumulation.wgsl",
        "update.wgsl",
    );
    module.files.extend(step.files);
    module.files.push(rule_file);
    module.files.push(if alone {
        include_str!("../../shaders/gradient/epochs/alone.wgsl")
    } else {
        include_str!("../../shaders/gradient/epochs/together.wgsl")
    });
    module
}

/// Adds up what evaluates a model.
pub fn evaluation_sum() -> Module {
    module!(
        "evaluation sum",
        "gradient/order.wgsl",
        "gradient/batch.wgsl",
        "gradient/reduce.wgsl",
        "gradient/evaluate.wgsl",
    )
}
