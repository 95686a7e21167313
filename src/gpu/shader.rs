//! Kernels as concatenations of WGSL files that agree on function names.
//!
//! Nothing is edited on the way: what a module's [`source`](Module::source) prints is what the files say,
//! and constants are pipeline overrides.

use super::dispatch::flag;
use crate::Rule;
use crate::rule::AmsgradOf;

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

/// The gradient's partial sums in one pass over X.
pub fn gradient_one_pass() -> Module {
    module!(
        "gradient in one pass",
        "gradient/batch.wgsl",
        "gradient/rows.wgsl",
        "gradient/one_pass.wgsl",
    )
}

/// The residuals of a batch that is too wide for one pass.
pub fn gradient_residuals() -> Module {
    module!("residuals", "gradient/batch.wgsl", "gradient/rows.wgsl", "gradient/residuals.wgsl",)
}

/// The gradient's partial sums from a batch's residuals.
pub fn gradient_columns() -> Module {
    module!("gradient by columns", "gradient/batch.wgsl", "gradient/rows.wgsl", "gradient/columns.wgsl",)
}

/// Adds up the gradient's partial sums.
pub fn gradient_reduce() -> Module {
    module!("gradient sum", "gradient/batch.wgsl", "gradient/reduce.wgsl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Adagrad, Adam, Adamax, Lion, NAdam, RmsProp, Sgd};

    #[test]
    fn every_module_is_valid_wgsl() {
        let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
        let rules: [Rule; 8] = [
            Sgd::default().into(),
            momentum.into(),
            RmsProp::default().into(),
            Adam::default().into(),
            NAdam::default().into(),
            Adamax::default().into(),
            Adagrad::default().into(),
            Lion::default().into(),
        ];
        let layouts = [Layout::Span, Layout::Tail, Layout::Arena];
        let published = include_str!("../../shaders/as_published/rmsprop.wgsl");
        let mut modules = vec![
            step_state(),
            synthetic_features(),
            synthetic_targets(),
            gradient_one_pass(),
            gradient_residuals(),
            gradient_columns(),
            gradient_reduce(),
            update_with("rmsprop", published, Layout::Span),
        ];
        modules.extend(layouts.map(gradient_norm));
        modules.extend(rules.iter().flat_map(|rule| layouts.map(|layout| update(rule, layout))));
        for module in modules {
            let source = module.source();
            let parsed = naga::front::wgsl::parse_str(&source)
                .unwrap_or_else(|e| panic!("{}: {}", module.name, e.emit_to_string(&source)));
            naga::valid::Validator::new(Default::default(), Default::default())
                .validate(&parsed)
                .unwrap_or_else(|e| panic!("{}: {}", module.name, e.emit_to_string(&source)));
        }
    }
}
