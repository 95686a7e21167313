//! Kernels as concatenations of WGSL files that agree on function names.
//!
//! Nothing is edited on the way: what a module's [`source`](Module::source) prints is what the files say,
//! and constants are pipeline overrides.

use crate::Rule;

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

/// One step of `rule` over vectors of four, and over the tail that fills no vector.
pub fn update(rule: &Rule) -> [Module; 2] {
    update_with(rule.name(), rule_file(rule))
}

/// [`update`] with another file in the place of the rule's.
pub(crate) fn update_with(name: &'static str, rule_file: &'static str) -> [Module; 2] {
    let mut vectors = module!(name, "arithmetic.wgsl", "storage/f32.wgsl", "update.wgsl");
    let mut tail = module!(name, "arithmetic.wgsl", "storage/f32_tail.wgsl", "update.wgsl");
    vectors.files.push(rule_file);
    tail.files.push(rule_file);
    [vectors, tail]
}

fn rule_file(rule: &Rule) -> &'static str {
    match rule {
        Rule::Sgd(sgd) if sgd.momentum == 0.0 => include_str!("../../shaders/update/sgd.wgsl"),
        Rule::Sgd(_) => include_str!("../../shaders/update/sgd_momentum.wgsl"),
        Rule::RmsProp(_) => include_str!("../../shaders/update/rmsprop.wgsl"),
        Rule::Adam(_) => include_str!("../../shaders/update/adam.wgsl"),
    }
}

/// Advances the step's state.
pub fn step_state() -> Module {
    module!("step state", "integer.wgsl", "step_state.wgsl")
}

/// Makes the rows of a synthetic problem.
pub fn synthetic() -> Module {
    module!("synthetic rows", "integer.wgsl", "random.wgsl")
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
    use crate::{Adam, RmsProp, Sgd};

    #[test]
    fn every_module_is_valid_wgsl() {
        let momentum = Sgd { momentum: 0.9, ..Sgd::default() };
        let rules = [
            Sgd::default().into(),
            momentum.into(),
            RmsProp::default().into(),
            Rule::from(Adam::default()),
        ];
        let kernels = [
            step_state(),
            synthetic(),
            gradient_one_pass(),
            gradient_residuals(),
            gradient_columns(),
            gradient_reduce(),
        ];
        let published = update_with("rmsprop", include_str!("../../shaders/as_published/rmsprop.wgsl"));
        for module in rules.iter().flat_map(update).chain(published).chain(kernels) {
            let source = module.source();
            let parsed = naga::front::wgsl::parse_str(&source)
                .unwrap_or_else(|e| panic!("{}: {}", module.name, e.emit_to_string(&source)));
            naga::valid::Validator::new(Default::default(), Default::default())
                .validate(&parsed)
                .unwrap_or_else(|e| panic!("{}: {}", module.name, e.emit_to_string(&source)));
        }
    }
}
